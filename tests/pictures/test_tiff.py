"""Which page of a TIFF is the picture, and which of its bands."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from config import ImageConfig
from pictures.decoding import ImageTooLarge, UnreadableImage, decode_image, load_picture
from tests.helpers.mutations import file_of, reduced_first, scene, tiff

EXTRA = "its extra bands are not used"
PAGES = "only the first of its pages is used"


def decoded(data: bytes, mode: str = "RGB") -> np.ndarray:
    return decode_image(data, mode=mode, min_side=32, max_pixels=10**6)


def note_of(data: bytes) -> str:
    return load_picture(data, ImageConfig(), max_pixels=10**6).note


def strip_of(pixels: np.ndarray, order: str = "<") -> bytes:
    return pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()


# ---- pages ----


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("below", [False, True])
def test_decode_image_takes_the_full_page_after_a_reduced_copy(order, below):
    data = reduced_first(below=below, order=order)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (4, 3)  # unlike Pillow
    picture = load_picture(data, ImageConfig(height=32, width=40), max_pixels=10**6)
    assert np.array_equal(picture.image, scene())
    assert picture.pixels == 40 * 32
    assert picture.note == ""


def pages(*types: int | None, sizes=(), tag: int = 254) -> bytes:
    """Returns a TIFF of gray pages, numbered by their level, with these values of NewSubfileType."""
    data = b""
    for index, kind in enumerate(types):
        size = sizes[index] if sizes else (2, 2)
        tags = {} if kind is None else {f"t{tag}": (kind,)}
        strip = bytes([index]) * (size[0] * size[1])
        page = tiff(size, 8, 1, strip, start=len(data), following=1, **tags)
        following = len(data) + len(page) if index < len(types) - 1 else 0
        data += tiff(size, 8, 1, strip, start=len(data), following=following, **tags)
    return data


@pytest.mark.parametrize(
    ("types", "sizes", "used", "note"),
    [
        ((0,), (), 0, ""),
        ((None, None), (), 0, PAGES),
        ((2, 2, 2), (), 0, PAGES),  # a fax
        ((0, 1), (), 0, ""),  # the second is a reduced copy
        ((0, 4), (), 0, ""),  # or a mask
        ((1, 0), (), 1, ""),
        ((1, 4, 0), (), 2, ""),
        ((1, 0, 0), [(2, 2), (3, 3), (4, 4)], 2, PAGES),  # the largest
        ((1, 0, 1), [(2, 2), (3, 3), (4, 4)], 1, ""),
        ((1, 1), [(2, 2), (4, 4)], 1, ""),  # nothing but reduced copies: the largest
        ((1,), (), 0, ""),
    ],
)
def test_decode_image_chooses_the_page_by_what_it_is(types, sizes, used, note):
    data = pages(*types, sizes=sizes)
    assert (decoded(data, "L") == used).all()
    assert note_of(data).removesuffix("blank: all of its pixels have the same color").rstrip("; ") == note


@pytest.mark.parametrize(("types", "used"), [((2, 1), 1), ((1, 2), 0), ((3, 3), 0)])
def test_decode_image_knows_the_older_tag_of_reduced_copies(types, used):
    assert (decoded(pages(*types, tag=255), "L") == used).all()


def test_decode_image_takes_a_reduced_copy_if_the_rest_is_damaged():
    data = reduced_first()
    assert decoded(data[:300]).shape == (3, 4, 3)


def test_decode_image_refuses_a_full_page_that_is_not_read():
    at = len(tiff((4, 3), 8, 2, bytes(36), t254=(1,), following=1))
    data = tiff((4, 3), 8, 2, bytes(36), t254=(1,), following=at)
    raw = tiff((40, 32), 16, 32803, bytes(2560), start=at, t254=(0,))
    with pytest.raises(UnreadableImage, match="^is a raw file of a camera, which is not read: convert it to JPEG"):
        decoded(data + raw)


def test_decode_image_ends_where_pages_form_a_circle():
    data = tiff((2, 2), 8, 1, bytes(4), t254=(1,), following=8)
    assert decoded(data).shape == (2, 2, 3)


def test_decode_image_checks_the_size_of_the_page_that_is_used():
    with pytest.raises(ImageTooLarge, match="^has 40 × 32 pixels"):
        decode_image(reduced_first(), mode="RGB", min_side=32, max_pixels=1279)


def test_decode_image_reads_the_chosen_page_if_it_is_compressed():
    photo = Image.fromarray(scene())
    small = photo.resize((4, 3))
    data = file_of(small, "TIFF", save_all=True, append_images=[photo], compression="tiff_lzw", tiffinfo={254: 1})
    first = int.from_bytes(data[4:8], "little")
    second = data.index(struct.pack("<HHII", 254, 4, 1, 1), first + 100) + 8  # the tag of the second page
    data = data[:second] + bytes(4) + data[second + 4 :]
    assert np.array_equal(decoded(data), scene())


def test_decode_image_takes_the_full_page_of_a_bigtiff():
    photo = Image.fromarray(scene())
    small = photo.resize((4, 3))
    data = file_of(small, "TIFF", save_all=True, append_images=[photo], big_tiff=True, tiffinfo={254: 1})
    assert data.startswith(b"II\x2b\0")
    reduced, full = struct.pack("<HHQI", 254, 4, 1, 1), struct.pack("<HHQI", 254, 4, 1, 0)
    second = data.rindex(reduced)
    assert second > data.index(reduced)
    assert np.array_equal(decoded(data[:second] + full + data[second + len(full) :]), scene())


# ---- bands ----

RGBN = np.array([[[255, 128, 0, 60], [1, 2, 3, 200]]], np.uint8)  # the last band is near infrared


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("meaning", [0, None])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("colors", [1, 3])
def test_decode_image_ignores_a_band_that_is_not_transparency(order, planes, meaning, bits, colors):
    pixels = RGBN[..., [0, 3]] if colors == 1 else RGBN
    if bits > 8:
        pixels = pixels.astype(np.uint16) * (16 if bits == 12 else 257)
    stored = pixels.transpose(2, 0, 1) if planes == 2 else pixels
    tags = {"t338": (0,), "t284": (planes,)}
    data = tiff((2, 1), 8 if bits == 8 else 16, 2 if colors == 3 else 1, strip_of(stored, order), order=order, **tags)
    if meaning is None:  # another tag, without a meaning, in its place
        data = data.replace(struct.pack(order + "H", 338), struct.pack(order + "H", 700))
    expected = RGBN[..., :3] if colors == 3 else np.dstack([RGBN[..., 0]] * 3)
    assert np.array_equal(decoded(data), expected)
    assert note_of(data) == EXTRA + ("; 12-bit levels" if bits == 12 else "")


def test_decode_image_ignores_several_extra_bands():
    data = tiff((2, 1), 8, 2, np.dstack([RGBN, RGBN[..., :2]]).tobytes(), t338=(0, 2, 0))
    assert np.array_equal(decoded(data), RGBN[..., :3])
    assert note_of(data) == EXTRA


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bands", [2, 4])
@pytest.mark.parametrize(
    ("meaning", "level", "expected"),
    [(2, 0x8000, 223), (1, 0x2000, 223)],  # a quarter of the middle gray on white: 128 / 4 + 255 * 3 / 4
)
def test_decode_image_keeps_alpha_in_16_bits(order, bands, meaning, level, expected):
    pixels = np.array([[level] * (bands - 1) + [0x4000]], np.uint16)
    data = tiff((1, 1), 16, 2 if bands == 4 else 1, strip_of(pixels, order), order=order, t338=(meaning,))
    assert np.abs(decoded(data)[0, 0].astype(int) - expected).max() <= 1
    assert not note_of(data).startswith(EXTRA)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
def test_decode_image_reads_separate_planes_of_colors(order, bits):
    pixels = scene() if bits == 8 else scene().astype(np.uint16) * 257
    data = tiff((40, 32), bits, 2, strip_of(pixels.transpose(2, 0, 1), order), order=order, t284=(2,))
    assert np.array_equal(decoded(data), scene())  # Pillow takes 16 bits for 8


def test_decode_image_reads_12_bits_in_separate_planes_of_colors():
    pixels = scene().astype(np.uint16) * 16
    data = tiff((40, 32), 16, 2, strip_of(pixels.transpose(2, 0, 1)), t284=(2,))
    assert np.array_equal(decoded(data), scene())
    assert note_of(data) == "12-bit levels"


@pytest.mark.parametrize(("factor", "is_read"), [(257, True), (16, False)])
def test_decode_image_refuses_what_compressed_planes_would_lose(factor, is_read):
    planes = [zlib.compress(strip_of(scene()[..., band].astype(np.uint16) * factor)) for band in range(3)]
    size = max(map(len, planes))
    strip = b"".join(plane.ljust(size, b"\0") for plane in planes)
    data = tiff((40, 32), 16, 2, strip, t284=(2,), t259=(8,))
    if is_read:
        assert np.array_equal(decoded(data), scene())
    else:
        with pytest.raises(UnreadableImage, match="only the upper 8 of 16 bits can be read from compressed planes"):
            decoded(data)


@pytest.mark.parametrize(
    ("bits", "interpretation", "bands", "message"),
    [
        (16, 1, 13, "is a TIFF of 13 bands of 16 bits"),
        (8, 1, 4, "is a TIFF of 4 bands of 8 bits"),
        (16, 2, 7, "is a TIFF of 7 bands of 16 bits"),
        (10, 1, 1, "is a TIFF of 1 band of 10 bits"),
        (64, 1, 1, "is a TIFF of 1 band of 64 bits"),
        (16, 34892, 1, "is a raw file of a camera"),
    ],
)
def test_decode_image_says_which_bands_are_not_read(caplog, bits, interpretation, bands, message):
    extra = bands - (3 if interpretation == 2 else 1)
    tags = {"t338": (0,) * extra} if extra else {}
    data = tiff((2, 2), bits, interpretation, bytes(4 * bands * bits), **tags)
    with pytest.raises(UnreadableImage, match=f"^{message}.* not read: ") as refusal:
        decoded(data)
    assert str(refusal.value).isprintable()
    assert not caplog.records  # Pillow would log some of it


def big(data: bytes, order: str) -> bytes:
    """Returns the BigTIFF of a TIFF whose tags all have one value."""
    (count,) = struct.unpack_from(order + "H", data, 8)
    entries = [struct.unpack_from(order + "HHI4s", data, 10 + 12 * index) for index in range(count)]
    start = 16 + 8 + 20 * count + 8
    table = b""
    for tag, kind, number, value in entries:
        if tag == 273:
            value = struct.pack(order + "I", start)
        padded = value + bytes(4) if order == "<" or kind == 3 else bytes(4) + value
        table += struct.pack(order + "HHQ", tag, kind if order == "<" or kind == 3 else 16, number) + padded
    head = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQQ", 8, 0, 16, count)
    return head + table + bytes(8) + data[10 + 12 * count + 4 :]


def test_decode_image_reads_a_bigtiff():
    gray = tiff((2, 1), 8, 1, b"\x07\x4d")
    assert decoded(gray, "L").tolist() == [[7, 77]]
    assert decoded(big(gray, "<"), "L").tolist() == [[7, 77]]
    with pytest.raises(UnreadableImage, match="^is a big-endian BigTIFF, which is not read: save it as TIFF$"):
        decoded(big(tiff((2, 1), 8, 1, b"\x07\x4d", order=">"), ">"))


# ---- levels ----


@pytest.mark.parametrize(
    ("bits", "strip", "tags", "expected"),
    [
        (12, b"\x06\x40\x00", {}, 6),  # 100 · 256 / 4096
        (16, b"\x64\0\0\0", {"t281": (1023,)}, 25),  # MaxSampleValue: 100 · 256 / 1024
        (16, b"\x64\0\0\0", {}, 100),  # nothing brighter: 8 bits
    ],
)
def test_decode_image_scales_a_dark_picture_by_what_the_file_declares(bits, strip, tags, expected):
    assert decoded(tiff((2, 1), bits, 1, strip, **tags), "L").tolist() == [[expected, 0]]
