"""From the bytes of a picture file to pixels: sizes, colors, orientation and refusals."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from config import ImageConfig
from pictures import decoding
from pictures.decoding import UnreadableImage, decode_image, decode_png, encode_png, load_image, load_picture
from tests.helpers.mutations import chunk, file_of, png, tiff

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112  # the EXIF tag
MAX_PIXELS = 200_000_000


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


def block(color, height: int = 16, width: int = 16) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def decoded(data: bytes, mode: str = "RGB") -> np.ndarray:
    return decode_image(data, mode=mode, min_side=32, max_pixels=MAX_PIXELS)


def loaded(data: bytes, height: int, width: int, channels: int = 3) -> np.ndarray:
    config = SmallConfig(height=height, width=width, color_channels=channels)
    return load_image(data, config, max_pixels=MAX_PIXELS)


class SmallConfig(ImageConfig):
    """Allows images of a few pixels, whose values can be written down."""

    def __post_init__(self) -> None:
        pass


# ---- sizes ----


def test_load_image_does_not_resample_a_picture_of_the_right_size():
    pixels = noise(20, 30)
    assert np.array_equal(loaded(file_of(pixels), 20, 30), pixels)


def test_load_image_does_not_resample_a_gray_picture_of_the_right_size():
    pixels = noise(20, 30, 1)
    result = loaded(file_of(pixels[..., 0]), 20, 30, channels=1)
    assert result.dtype == np.uint8
    assert np.array_equal(result, pixels)


def test_load_image_averages_areas_when_it_shrinks():
    # Blocks of 3×3 pixels, of which interpolation would use only the one in the middle.
    pixels = np.zeros((6, 6), np.uint8)
    pixels[:3, :3] = [[0, 0, 0], [0, 90, 0], [0, 0, 0]]  # 90 / 9 = 10
    pixels[:3, 3:] = [[9, 18, 27], [36, 45, 54], [63, 72, 81]]  # 405 / 9 = 45
    pixels[3:, :3] = [[180, 180, 180], [180, 0, 180], [180, 180, 180]]  # 1440 / 9 = 160
    pixels[3:, 3:] = 255
    assert loaded(file_of(pixels), 2, 2, channels=1)[..., 0].tolist() == [[10, 45], [160, 255]]


def test_load_image_splits_a_pixel_between_two_areas():
    # Three columns become two of one and a half: (0 + 90 / 2) / 1.5 = 30 and (90 / 2 + 180) / 1.5 = 150.
    pixels = np.array([[0, 90, 180]] * 2, np.uint8)
    assert loaded(file_of(pixels), 2, 2, channels=1)[..., 0].tolist() == [[30, 150]] * 2


def test_load_image_interpolates_when_it_enlarges():
    # The centers of the four new columns are at -1/4, 1/4, 3/4 and 5/4 of the old ones.
    pixels = np.array([[0, 200]] * 2, np.uint8)
    assert loaded(file_of(pixels), 2, 4, channels=1)[..., 0].tolist() == [[0, 50, 150, 200]] * 2


def test_load_image_shrinks_or_enlarges_each_axis_separately():
    pixels = np.array([[0, 90, 0, 255, 255, 255]], np.uint8)  # one row of six
    assert loaded(file_of(pixels), 3, 2, channels=1)[..., 0].tolist() == [[30, 255]] * 3


def test_load_image_does_not_swap_height_and_width():
    pixels = block(RED, 40, 50)
    pixels[:20] = BLUE
    result = loaded(file_of(pixels), 20, 30)
    assert result.shape == (20, 30, 3)
    assert (result[:10] == BLUE).all() and (result[10:] == RED).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_load_image_accepts_any_proportions(size):
    np.testing.assert_array_equal(loaded(file_of(block(RED, *size)), 16, 24), block(RED, 16, 24))


# ---- colors ----


@pytest.mark.parametrize(("color", "name"), [(RED, "red"), (GREEN, "green"), (BLUE, "blue")])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_load_image_keeps_colors(kind, color, name):
    result = loaded(file_of(block(color), kind), 16, 16).astype(int)
    assert np.abs(result - color).max() <= (3 if kind in ("JPEG", "WEBP") else 0)


def test_load_image_weighs_colors_for_gray_like_the_eye():
    gray = [loaded(file_of(block(color)), 16, 16, channels=1)[0, 0, 0] for color in (RED, GREEN, BLUE, WHITE)]
    assert gray == [76, 150, 29, 255]  # 0.299, 0.587 and 0.114 of 255


def test_load_image_gives_a_gray_picture_three_equal_channels():
    result = loaded(file_of(np.full((16, 16), 77, np.uint8)), 16, 16)
    assert (result == 77).all() and result.shape == (16, 16, 3)


def test_encode_png_keeps_pixels_in_color_and_in_gray():
    for channels in (3, 1):
        pixels = noise(20, 30, channels)
        data = encode_png(pixels)
        assert data.startswith(b"\x89PNG")
        assert np.array_equal(loaded(data, 20, 30, channels), pixels)
        assert np.array_equal(decode_png(data), pixels)
        # Pillow reads the same colors.
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))).reshape(pixels.shape), pixels)


def test_decode_image_puts_transparent_parts_on_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0] = [(255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 51)]  # 51 / 255 = 1/5 red on 4/5 white
    assert decoded(file_of(pixels)).tolist() == [[[255, 0, 0], [255, 255, 255], [255, 204, 204]]]
    gray = np.array([[(0, 255), (0, 0), (0, 51)]], np.uint8)
    assert decoded(file_of(Image.fromarray(gray, "LA"), "PNG"), "L").tolist() == [[0, 255, 204]]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_decode_image_reads_a_palette_with_a_transparent_color(kind):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 255, 0, 255, 0])
    image.putdata([0, 1])
    assert decoded(file_of(image, kind)).tolist() == [[[0, 0, 255], [0, 255, 0]]]
    assert decoded(file_of(image, kind, transparency=0)).tolist() == [[[255, 255, 255], [0, 255, 0]]]


def test_decode_image_reads_pictures_of_one_bit():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert decoded(file_of(image), "L").tolist() == [[0, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decode_image_scales_16_bit_gray_and_does_not_clip_it(kind, mode):
    pixels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    gray = [0, 0, 1, 128, 255]  # 256 of the levels become one
    expected = [gray] if mode == "L" else [[[level] * 3 for level in gray]]
    assert decoded(file_of(pixels, kind), mode).tolist() == expected


def levels_16(*levels: int, order: str = ">") -> bytes:
    """Returns levels of 16 bits as files store them."""
    return struct.pack(f"{order}{len(levels)}H", *levels)


def transparent_color(*levels: int) -> bytes:
    return chunk(b"tRNS", levels_16(*levels))


@pytest.mark.parametrize(
    ("color", "levels", "expected"),
    [
        (2, (0, 256, 65535), [0, 1, 255]),  # RGB
        (4, (32768, 65535), [128] * 3),  # gray and alpha
        (4, (0, 0x3300), [204] * 3),  # a fifth of black on white
        (6, (65535, 0, 0, 0x3300), [255, 204, 204]),
        (6, (0, 0, 0, 0), [255] * 3),
    ],
)
def test_decode_image_scales_16_bit_colors_and_alpha(color, levels, expected):
    assert decoded(png((1, 1), 16, color, b"\0" + levels_16(*levels))).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("bits", "color", "levels", "key", "expected"),
    [
        (1, 0, [0b10000000], (1,), [[255] * 3, [0] * 3]),
        (2, 0, [0b01100000], (1,), [[255] * 3, [170] * 3]),  # the second of four levels is transparent, the third not
        (4, 0, [0x12], (1,), [[255] * 3, [34] * 3]),
        (4, 0, [0x10], (0,), [[17] * 3, [255] * 3]),
        (8, 0, [1, 15], (1,), [[255] * 3, [15] * 3]),
        (8, 2, [1, 2, 3, 1, 2, 4], (1, 2, 3), [[255] * 3, [1, 2, 4]]),
        (16, 0, levels_16(300, 32768), (300,), [[255] * 3, [128] * 3]),
        (16, 0, levels_16(300, 301), (300,), [[255] * 3, [75] * 3]),  # 301 of 10 bits
        (16, 2, levels_16(300, 0, 0, 301, 32768, 0), (300, 0, 0), [[255] * 3, [1, 128, 0]]),
        (16, 2, levels_16(300, 0, 0, 301, 0, 0), (300, 0, 0), [[255] * 3, [75, 0, 0]]),
    ],
)
def test_decode_image_finds_the_transparent_color_at_any_bit_depth(bits, color, levels, key, expected):
    data = png((2, 1), bits, color, b"\0" + bytes(levels), transparent_color(*key))
    assert decoded(data).tolist() == [expected]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "interpretation", "levels", "tags", "expected"),
    [
        (1, 1, [0b10000000], {}, [255, 255, 255]),
        (1, 0, [0b10000000], {}, [0, 0, 0]),  # 0 is white
        (8, 0, [15], {}, [240] * 3),
        (8, 1, [10, 20], {"t338": (1,)}, [245] * 3),  # gray already multiplied by its alpha: 10 + 255 - 20
        (8, 1, [10, 51], {"t338": (2,)}, [206] * 3),  # 10 / 5 + 255 * 4 / 5
        (8, 2, [10, 20, 30, 51], {"t338": (1,)}, [214, 224, 234]),
        (8, 2, [10, 20, 30, 99], {"t338": (0,)}, [10, 20, 30]),  # a channel without a meaning
        (8, 3, [1, 51], {"t338": (2,), "t320": (0, 65535, *[0] * 766)}, [255, 204, 204]),  # palette and alpha
        (8, 5, [0, 255, 255, 0], {}, [255, 0, 0]),  # magenta and yellow ink
        (8, 6, [76, 85, 255], {"t530": (1, 1)}, [254, 0, 0]),  # luminance and chrominance
        (8, 8, [255, 0, 0], {}, [255, 255, 255]),  # CIE L*a*b*
        (16, 1, (0x8012,), {}, [128] * 3),
        (16, 2, (0, 0x8012, 0xFFFF), {}, [0, 128, 255]),
        (16, 2, (0, 0x8012, 0xFFFF, 0x3300), {"t338": (2,)}, [204, 229, 255]),
        (16, 5, (0, 0xFFFF, 0xFFFF, 0), {}, [255, 0, 0]),
    ],
)
def test_decode_image_reads_tiffs_of_all_kinds(order, bits, interpretation, levels, tags, expected):
    strip = levels_16(*levels, order=order) if bits == 16 else bytes(levels)
    data = tiff((1, 1), bits, interpretation, strip, order=order, **tags)
    assert np.abs(decoded(data).astype(int) - expected).max() <= 1
    gray = np.dot(expected, (0.299, 0.587, 0.114))
    assert abs(int(decoded(data, "L")[0, 0]) - gray) <= 1.5


def test_decode_image_reads_lab_colors():
    data = tiff((1, 1), 8, 8, bytes([138, 81, 70]))  # 54.3, 80.8 and 69.9 in L*a*b* for daylight of 5000 K
    assert np.abs(decoded(data).astype(int) - RED).max() <= 6


@pytest.mark.parametrize(
    ("bits", "interpretation", "strip", "expected"),
    [(12, 1, b"\x80\x0f\xff", [128, 255]), (16, 0, levels_16(0, 0xFFFF, order="<"), [255, 0])],
)
def test_decode_image_scales_12_bit_gray_and_gray_whose_0_is_white(bits, interpretation, strip, expected):
    assert decoded(tiff((2, 1), bits, interpretation, strip), "L").tolist() == [expected]  # unlike Pillow


@pytest.mark.parametrize(("bits", "form"), [(16, 2), (32, 1), (32, 2), (32, 3)])
def test_decode_image_refuses_gray_with_an_unknown_white(bits, form):
    with pytest.raises(UnreadableImage, match="so it is unknown which of them is white"):
        decoded(tiff((1, 1), bits, 1, bytes(bits // 8), t339=(form,)))


def test_decode_image_reads_cmyk():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink make red
    assert (decoded(file_of(image, "TIFF")) == RED).all()
    jpeg = file_of(image, "JPEG", quality=95)
    assert b"Adobe" in jpeg  # its inks are stored inverted
    assert np.abs(decoded(jpeg).astype(int) - RED).max() <= 6


def test_decode_image_reads_cmyk_stored_as_luminance():
    # The inks 0, 255, 255, taken as red, green and blue, have luminance 179 and chrominance 170 and 0; the black ink 0
    # is stored as 255. Pillow inverts everything it writes.
    image = Image.new("CMYK", (16, 16), (255 - 179, 255 - 170, 255, 0))
    jpeg = bytearray(file_of(image, "JPEG", quality=100))
    transform = jpeg.index(b"Adobe") + 11
    assert jpeg[transform] == 0
    jpeg[transform] = 2
    assert np.abs(decoded(bytes(jpeg)).astype(int) - RED).max() <= 6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_decode_image_takes_the_first_of_several_frames(kind):
    frames = [Image.fromarray(block(color)) for color in (RED, GREEN, BLUE)]
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert np.abs(decoded(data).astype(int) - RED).max() <= 6


def test_decode_image_does_not_lower_the_limit_of_pillow():
    limit = Image.MAX_IMAGE_PIXELS
    decode_image(file_of(block(RED)), mode="RGB", min_side=32, max_pixels=1000)
    assert limit == Image.MAX_IMAGE_PIXELS


# ---- what an image does not show ----


def note_of(data: bytes, channels: int = 3) -> str:
    return load_picture(data, ImageConfig(color_channels=channels), max_pixels=MAX_PIXELS).note


@pytest.mark.parametrize(
    ("kind", "size"), [("PNG", (30, 20)), ("JPEG", (1200, 900)), ("PPM", (30, 20)), ("HEIF", (30, 20))]
)
def test_load_picture_tells_how_many_pixels_the_file_has(kind, size):
    picture = load_picture(file_of(noise(*size[::-1]), kind), ImageConfig(), max_pixels=MAX_PIXELS)
    assert picture.pixels == size[0] * size[1]  # also of a JPEG that is decoded at a fraction of its size
    assert picture.note == ""
    assert picture.image.shape == (100, 100, 3)


def test_load_image_is_the_image_of_load_picture():
    data, config = file_of(noise(30, 20), "JPEG"), ImageConfig(height=16, width=24)
    image = load_image(data, config, max_pixels=MAX_PIXELS)
    assert np.array_equal(image, load_picture(data, config, max_pixels=MAX_PIXELS).image)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("GIF", "only the first frame of its animation is used"),
        ("PNG", "only the first frame of its animation is used"),
        ("WEBP", "only the first frame of its animation is used"),
        ("AVIF", "only the first frame of its animation is used"),
        ("TIFF", "only the first of its pages is used"),
        ("MPO", ""),  # another view of the same
    ],
)
def test_load_picture_notes_further_frames_and_pages(kind, note):
    frames = [Image.fromarray(noise(16, 16)), Image.fromarray(block(RED))]
    assert note_of(file_of(frames[0], kind, save_all=True, append_images=frames[1:])) == note
    assert note_of(file_of(frames[0], "JPEG" if kind == "MPO" else kind)) == ""


BLANK = "blank: all of its pixels have the same color"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("difference", "note"), [(0, BLANK), (2, BLANK), (3, "")])
def test_load_picture_notes_blank_pictures(channels, difference, note):
    pixels = block((90, 100, 110), 40, 30)
    pixels[:20] += np.uint8(difference)
    assert note_of(file_of(pixels), channels) == note


def test_load_picture_calls_blank_what_is_blank_after_resizing():
    pixels = block(WHITE, 2000, 2000)
    pixels[1000, 1000] = 0  # 1/400 of a pixel in the end
    assert note_of(file_of(pixels)) == BLANK


def test_load_picture_joins_several_notes():
    frame = Image.fromarray(block(RED))
    data = file_of(frame, "TIFF", save_all=True, append_images=[frame])
    assert note_of(data) == f"only the first of its pages is used; {BLANK}"


# ---- drawings on transparent ground ----

ON_BLACK = "white on transparent ground, shown on black"


def drawing(color, ground=(9, 99, 200), opacity: int = 255) -> np.ndarray:
    """Returns a square of a color in the middle of a transparent ground, whose color must not matter."""
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., :3] = ground
    pixels[10:30, 10:30] = (*color, opacity)
    return pixels


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)])
def test_load_picture_shows_white_drawings_on_black(kind, ground):
    data = file_of(Image.fromarray(drawing(WHITE, ground)), kind, **({"lossless": True} if kind == "WEBP" else {}))
    picture = load_picture(data, ImageConfig(height=40, width=40), max_pixels=MAX_PIXELS)
    assert picture.note == ON_BLACK
    assert picture.image[20, 20].min() > 250 and picture.image[2, 2].max() < 5


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_load_picture_shows_white_palette_drawings_on_black(kind):
    image = Image.new("P", (40, 40), 0)
    image.putpalette([9, 99, 200, 255, 255, 255])
    image.paste(1, (10, 10, 30, 30))
    assert note_of(file_of(image, kind, transparency=0)) == ON_BLACK
    assert decoded(file_of(image, kind, transparency=0))[[2, 20], [2, 20]].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("color", "opacity", "channels", "note"),
    [
        (WHITE, 60, 3, ON_BLACK),  # a watermark
        ((255, 255, 240), 255, 3, ON_BLACK),  # ivory
        ((224, 224, 224), 255, 3, ON_BLACK),
        ((223, 223, 223), 255, 3, ""),  # 32 levels darker than white
        ((255, 255, 0), 255, 3, ""),  # yellow: visible in color, and as gray only on black
        ((255, 255, 0), 255, 1, ON_BLACK),
        ((0, 0, 0), 255, 3, ""),
        ((0, 0, 0), 30, 3, ""),  # faint on white, and not better on black
    ],
)
def test_load_picture_shows_on_black_only_what_white_hides(color, opacity, channels, note):
    assert note_of(file_of(drawing(color, opacity=opacity)), channels) == note


@pytest.mark.parametrize(("alpha", "expected"), [((0, 0), [[1, 2, 3], [9, 9, 9]]), ((0, 255), [[255] * 3, [9, 9, 9]])])
def test_decode_image_ignores_the_alpha_of_a_bmp_that_is_all_0(alpha, expected):
    pixels = bytes((3, 2, 1, alpha[0], 9, 9, 9, alpha[1]))
    header = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)  # where red, green, blue, alpha are
    assert decoded(b"BM" + struct.pack("<IHHI", 130, 0, 0, 122) + header + pixels).tolist() == [expected]


def test_load_picture_calls_a_picture_that_is_all_transparent_blank():
    assert note_of(file_of(drawing(RED, opacity=0))) == BLANK
    assert (decoded(file_of(drawing(RED, opacity=0))) == 255).all()


# ---- EXIF ----

STORED = {  # by orientation: how an upright picture is stored
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def rotated(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
def test_decode_image_rotates_a_picture_upright(orientation):
    upright = noise(4, 6)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    assert np.array_equal(decoded(file_of(stored, exif=rotated(orientation))), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_load_image_rotates_a_photo_that_is_decoded_at_reduced_size(orientation):
    upright = block(RED, 400, 640)
    upright[:200, :320] = BLUE  # upper left
    stored = np.ascontiguousarray(STORED[orientation](upright))
    result = loaded(file_of(stored, "JPEG", quality=95, exif=rotated(orientation)), 20, 32).astype(int)
    assert np.abs(result[1:9, 1:15] - BLUE).max() <= 6
    assert np.abs(result[11:] - RED).max() <= 6 and np.abs(result[:, 17:] - RED).max() <= 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # by Pillow; users do not see it: test_preprocessing.py
@pytest.mark.parametrize(
    "block_of_bytes",
    [b"", b"garbage", b"II*\x00", b"II*\x00\xff\xff\xff\xff", b"MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12"],
)
def test_decode_image_ignores_a_broken_exif_block(block_of_bytes):
    pixels = noise(24, 32)
    whole = decoded(file_of(pixels, "JPEG"))
    assert np.array_equal(decoded(file_of(pixels, "JPEG", exif=b"Exif\x00\x00" + block_of_bytes)), whole)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_decode_image_ignores_an_invalid_orientation(orientation):
    pixels = noise(4, 6)
    assert np.array_equal(decoded(file_of(pixels, exif=rotated(orientation))), pixels)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_load_picture_knows_the_upright_size_and_the_format(kind, orientation):
    stored = np.ascontiguousarray(STORED[orientation](block(RED, 400, 640)))
    picture = load_picture(file_of(stored, kind, exif=rotated(orientation)), ImageConfig(), max_pixels=MAX_PIXELS)
    assert (picture.size, picture.pixels, picture.format) == ((640, 400), 640 * 400, kind)


@pytest.mark.parametrize(
    ("maker", "model", "camera"),
    [
        ("Canon", "EOS 5D", "Canon EOS 5D"),
        (" Apple\0", "iPhone\n12\0\0", "Apple iPhone 12"),
        ("\x1b[31m", "", "\\x1b[31m"),
        ("", "x" * 100, "x" * 60),
        ("", "", ""),
    ],
)
def test_load_picture_knows_the_camera(maker, model, camera):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = maker, model
    picture = load_picture(file_of(noise(20, 30), "JPEG", exif=exif), ImageConfig(), max_pixels=MAX_PIXELS)
    assert picture.camera == camera


# ---- damage ----


def damaged() -> dict[str, tuple[bytes, str]]:
    """Returns files that must be refused, with a part of the reason."""
    jpeg, png_ = file_of(noise(40, 50), "JPEG"), file_of(noise(40, 50), "PNG")
    progressive = file_of(noise(40, 50), "JPEG", progressive=True)
    cuts = {
        f"{name} without its last {count} bytes": (data[:-count], "truncated")
        for name, data, counts in (
            ("JPEG", jpeg, (1, 2, 10, len(jpeg) // 2)),
            ("progressive JPEG", progressive, (1, 2, 10, len(progressive) // 2)),
            ("PNG", png_, (1, 2, 12, 13, 40, len(png_) // 2)),
        )
        for count in counts
    }
    return cuts | {
        "nothing": (b"", "the file is empty"),
        "zeros": (bytes(1000), "contains only zeros"),
        "text": (b"a letter, not a picture\n" * 20, "not a picture"),
        "a web page": (b"<!DOCTYPE html><html><body>404 Not found</body></html>", "is a web page, not the picture"),
        "the start of a JPEG": (jpeg[:20], "not a picture|cannot be decoded"),
        "the start of a PNG": (png_[:8], "not a picture|cannot be decoded"),
        "a truncated WebP": (file_of(noise(40, 50), "WEBP")[:-100], "cannot be decoded"),
    }


@pytest.mark.parametrize("name", damaged())
def test_load_image_refuses_a_damaged_file_in_one_line(name):
    data, reason = damaged()[name]
    with pytest.raises(UnreadableImage, match=reason) as refusal:
        loaded(data, 16, 16)
    assert str(refusal.value).isprintable()


# ---- reduced decoding ----


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((800, 800), 100, (100, 100)),  # an eighth
        ((792, 792), 100, (198, 198)),  # an eighth would be 99
        ((1200, 800), 100, (150, 100)),
        ((80, 60), 100, (80, 60)),  # never enlarged
    ],
)
def test_decode_image_reduces_large_jpegs_but_no_side_below_the_minimum(size, min_side, expected):
    data = file_of(block(RED, *size), "JPEG")
    assert decode_image(data, mode="RGB", min_side=min_side, max_pixels=MAX_PIXELS).shape[:2] == expected


def test_decode_image_does_not_reduce_a_rotated_photo_too_far():
    # Stored 400 wide and 800 high, shown 800 wide and 400 high: a quarter would leave a height of only 100.
    data = file_of(block(RED, 800, 400), "JPEG", exif=rotated(6))
    assert decode_image(data, mode="RGB", min_side=150, max_pixels=10**6).shape == (200, 400, 3)


@pytest.mark.parametrize(("side", "expected"), [(1200, 150), (1192, 298)])
def test_load_image_decodes_large_jpegs_at_1_5_times_the_final_size(monkeypatch, side, expected):
    shapes, decode = [], decoding._decode

    def recording(data: bytes, **options) -> decoding.LoadedPicture:
        decoded = decode(data, **options)
        shapes.append(decoded.image.shape)
        return decoded

    monkeypatch.setattr(decoding, "_decode", recording)
    loaded(file_of(block(RED, side, side), "JPEG"), 60, 100)
    assert shapes == [(expected, expected, 3)]


def test_load_image_hardly_changes_a_photo_by_reduced_decoding():
    # Like a photo: soft shapes, hard edges and fine grain.
    rng = np.random.default_rng(1)
    scene = cv2.resize(noise(9, 12), (1600, 1200), interpolation=cv2.INTER_CUBIC).astype(int)
    scene[300:700, 500:900] += 80
    scene = (scene + rng.normal(0, 8, scene.shape)).clip(0, 255).astype(np.uint8)
    data = file_of(scene, "JPEG", quality=90)
    with Image.open(io.BytesIO(data)) as image:
        whole = cv2.resize(np.asarray(image), (100, 80), interpolation=cv2.INTER_AREA)
    assert decoded(data).shape < scene.shape
    assert np.abs(loaded(data, 80, 100).astype(int) - whole).mean() < 1  # of 255 levels
