"""From the bytes of a picture file to pixels: the only way in, for training and for prediction.

The checks of PNG chunks are ours because Pillow's `verify()` accepts a wrong checksum of the last chunk, a missing last
chunk and unknown critical chunks.
"""

import contextlib
import io
import re
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from config import ImageConfig

# The formats that are read. The content of a file decides, never its name. Pillow knows many more, but their decoders
# are rarely used and little tested, and that of EPS starts Ghostscript. MPO files of phones are JPEGs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_MARKER = re.compile(
    rb"\xff+[^\xff\xda]", re.DOTALL
)  # of a JPEG's segment, except for that of the pixels; may be padded
_BACKGROUND = (255, 255, 255)  # shown through transparent pixels: white, like paper
# Large JPEGs are decoded at this multiple of the final size or more. Compared with a full decode it changes photos by
# one gray level on average; a factor of 2 changes them by 0.2 levels and takes twice as long.
_MIN_SCALE = 1.5


NOT_A_PICTURE = "not a picture, or of an unknown format"


class LoadedPicture(NamedTuple):
    image: np.ndarray
    pixels: int
    note: str


class UnreadableImage(ValueError):
    """A file whose image cannot be read; the message is the reason, on one line."""


class ImageTooLarge(UnreadableImage):
    """An image whose header declares more pixels than are allowed; it was not decoded."""


def load_image(data: bytes, config: ImageConfig, *, max_pixels: int) -> np.ndarray:
    """Returns a picture decoded and resized (stretched) to the size of the config.

    Args:
        data: the content of a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.
        config: the size and the color format of the result.
        max_pixels: larger pictures are not decoded.

    Returns:
        uint8 array (height, width, color_channels), 0..255, RGB or gray, upright by its EXIF orientation, the first
        frame of an animation, transparent parts on white. A picture that already has the right size is not resampled.

    Raises:
        ImageTooLarge: it has more than `max_pixels`.
        UnreadableImage: it is damaged or not a picture.
    """
    height, width, channels = config.shape
    mode = "RGB" if channels == 3 else "L"
    pixels = decode_image(data, mode=mode, min_side=round(_MIN_SCALE * max(height, width)), max_pixels=max_pixels)
    # Averaging areas is right for shrinking and interpolating for enlarging; each axis may need either.
    shrunk = cv2.resize(
        pixels, (min(width, pixels.shape[1]), min(height, pixels.shape[0])), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).reshape(config.shape)


def load_picture(data: bytes, config: ImageConfig, *, max_pixels: int) -> LoadedPicture:
    image = load_image(data, config, max_pixels=max_pixels)
    with Image.open(io.BytesIO(data)) as picture:
        return LoadedPicture(image, picture.width * picture.height, "")


def decode_image(data: bytes, *, mode: str, min_side: int, max_pixels: int) -> np.ndarray:
    """Returns a picture decoded, upright and in its own proportions.

    Pillow decodes because it refuses truncated files, which OpenCV fills with gray. Large JPEGs are decoded at 1/2, 1/4
    or 1/8 of their size, which is much faster, but with no side below `min_side` pixels. Color profiles and gamma are
    ignored. Damage that leaves a file well-formed, such as changed bytes among the pixels of a JPEG, or zeros for the
    rest of a WebP, is not detected: only PNG has checksums.

    Returns:
        uint8 array (rows, columns, 3) for mode "RGB", (rows, columns) for mode "L".

    Raises:
        ImageTooLarge: its header declares more than `max_pixels`.
        UnreadableImage: it is damaged or not a picture.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        if data.startswith(_PNG_SIGNATURE):
            _verify_png_chunks(data)
        elif data.startswith(_JPEG_SIGNATURE):
            _verify_jpeg_end(data)
        with _open(data, max_pixels) as image:
            image.draft(None, (min_side, min_side))
            _fix_transparent_color(image)
            image.load()
            _rotate_upright(image)
            return np.asarray(_flatten(image, mode))
    except ImageTooLarge:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage(NOT_A_PICTURE) from None
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, KeyError…
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(f"cannot be decoded: {reason}") from None


def _verify_png_chunks(png: bytes) -> None:
    """Raises ValueError for a truncated PNG, a wrong checksum, or an unknown chunk that is marked as critical."""
    view, position, kind = memoryview(png), len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        end = position + 8 + int.from_bytes(view[position : position + 4])  # of the content of this chunk
        kind = bytes(view[position + 4 : position + 8])
        if end + 4 > len(png):
            raise ValueError("the file is truncated")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        if kind[:1].isupper() and kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            raise ValueError(f"unknown critical chunk {kind!r}")
        position = end + 4


def _verify_jpeg_end(jpeg: bytes) -> None:
    """Raises ValueError if no end marker follows the pixels, as in an interrupted download that is padded with zeros.

    Pillow refuses a file that is cut off, but takes zeros for pixels.
    """
    position = 2
    while match := _MARKER.match(jpeg, position):  # a segment of the header
        position = match.end() + int.from_bytes(jpeg[match.end() : match.end() + 2])
    if jpeg.rfind(b"\xff\xd9", position) < 0:  # searched from the end, where it should be
        raise ValueError("the file is truncated")


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Returns a picture of which only the header has been read. Raises ImageTooLarge for the size that it declares."""
    # Pillow has a limit of its own for the whole process and refuses images of more than twice its size. It is raised
    # if ours is higher, and not switched off, because Pillow also applies it where a header contradicts itself.
    Image.MAX_IMAGE_PIXELS = max(max_pixels, Image.MAX_IMAGE_PIXELS or 0)
    try:
        _check_size(_declared_size(data), max_pixels)
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(re.sub(r"\D*(\d+).*", r"\1", str(error)), max_pixels) from None
    _check_size(image.size, max_pixels)
    tags = getattr(image, "tag_v2", {})  # of a TIFF: each of its tiles is decoded whole, even if the picture is small
    _check_size((tags.get(Base.TileWidth, 0), tags.get(Base.TileLength, 0)), max_pixels)
    if image.mode in ("I", "F"):
        raise ValueError("its gray levels are signed, fractional or 32-bit, so it is unknown which of them is white")
    return image


def _declared_size(data: bytes) -> tuple[int, int]:
    """Returns width and height from the header of a GIF or WebP, for which Pillow allocates memory on opening.

    Other formats give (0, 0).
    """
    if data.startswith(b"GIF8"):
        width, height = struct.unpack_from("<HH", data, 6)
        return width, height
    if data[8:16] == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if data[8:16] == b"WEBPVP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[8:16] == b"WEBPVP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return 0, 0


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise _too_large("{} × {}".format(*size), max_pixels)


def _too_large(size: str, max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"has {size} pixels, more than --max_megapixels {max_pixels / 10**6:g}")


def _fix_transparent_color(image: Image.Image) -> None:
    """Scales the transparent color of a PNG to 8 bits, like its pixels; Pillow keeps it at the bit depth of the file.

    The lower 8 of 16 bits are lost, so colors that differ only in them become transparent too.
    """
    tiles = getattr(image, "tile", [])
    color, stored_mode = image.info.get("transparency"), tiles[0].args if tiles else ""
    if color is not None and stored_mode in ("L;2", "L;4"):
        image.info["transparency"] = color * (255 // 3 if stored_mode == "L;2" else 255 // 15)
    elif color is not None and stored_mode == "RGB;16B":
        image.info["transparency"] = tuple(level // 256 for level in color)


def _rotate_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # a broken EXIF block does not affect the pixels
        ImageOps.exif_transpose(image, in_place=True)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image of any of Pillow's modes as "RGB" or "L", with 8 bits per channel."""
    if image.mode.startswith("I;16"):
        image = _reduce_gray_levels(image)
    elif image.mode in ("La", "LAB"):  # Pillow converts them to hardly any other mode
        image = image.convert({"La": "LA", "LAB": "RGB"}[image.mode])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGB", image.size, _BACKGROUND)
        page.paste(image, mask=image)
        image = page
    return image if image.mode == mode else image.convert(mode)


def _reduce_gray_levels(image: Image.Image) -> Image.Image:
    """Returns a gray image of 12 or 16 bits, which Pillow would clip to white, as "L" or, with transparency, "LA"."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    levels = np.asarray(image)
    gray = (levels >> (tags.get(Base.BitsPerSample, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(Base.PhotometricInterpretation) == 0:  # 0 is white; Pillow inverts only images of 8 bits
        gray = 255 - gray
    if "transparency" not in image.info:
        return Image.fromarray(gray)
    alpha = (levels != image.info["transparency"]).astype(np.uint8) * 255
    return Image.fromarray(np.dstack([gray, alpha]))


def encode_png(pixels: np.ndarray) -> bytes:
    """Returns the content of a PNG file for a uint8 array (rows, columns, 1 or 3), gray or RGB.

    Its pixels are not compressed: compression makes photos only a third smaller, and compressed files would take ten
    times as long to write and, in every training run, to read.
    """
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    options = [cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    encoded, data = cv2.imencode(".png", bgr, options)
    assert encoded
    return data.tobytes()
