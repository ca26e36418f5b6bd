"""From bytes to pixels: the one way in, for training and for prediction."""

import contextlib
import io
import re
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

# All that is read, told by a file's content and never by its name. Pillow knows many more, whose decoders are rarely
# used and little tested, one of which starts another program. Phones' MPO files are JPEGs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_BACKGROUND = (255, 255, 255)  # what shows through transparent pixels: white, as on a page
_NO_FILTER = cv2.IMWRITE_PNG_FILTER_NONE
# Large JPEGs are decoded at no less than so many times the final size. It changes photographs by one grey level on
# average; at twice the final size it would be 0.2 and take twice as long.
_DECODED = 1.5


class TooLarge(ValueError):  # noqa: N818
    """A picture has more pixels than are allowed, by its header; nothing has been decoded."""


def standard_image(data: bytes, *, height: int, width: int, color_channels: int, max_megapixels: float) -> np.ndarray:
    """Decodes a picture file and stretches it to one size.

    `data` is the whole content of a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file; `color_channels` is 3 for RGB, 1 for
    grey; pictures of more than `max_megapixels` million pixels are not decoded.

    Returns:
        uint8 array (height, width, color_channels), 0..255, upright by its EXIF orientation, the first frame of an
        animation, transparent parts on white. A picture that has the right size already keeps its very pixels.

    Raises:
        TooLarge: it has more than `max_megapixels`.
        ValueError: it is damaged or no picture; the message says why, on one line.
    """
    mode = "RGB" if color_channels == 3 else "L"
    least = round(_DECODED * max(height, width))
    pixels = decode_image(data, mode=mode, least=least, max_megapixels=max_megapixels)
    # Averaging areas is right for shrinking, and interpolating for enlarging; each axis may need either.
    shrunk = cv2.resize(
        pixels, (min(width, pixels.shape[1]), min(height, pixels.shape[0])), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, color_channels)


def decode_image(data: bytes, *, mode: str, least: int, max_megapixels: float) -> np.ndarray:
    """Decodes a picture file, upright and in its own proportions.

    Pillow decodes, because it refuses the truncated files that OpenCV fills with grey. Large JPEGs are decoded at
    1/2, 1/4 or 1/8 of their size, which costs a fraction, but with no side below `least` pixels. Colour profiles and
    gamma are passed over. Damage that leaves a file well formed, such as other bytes among a JPEG's pixels or zeros
    for the rest of a WebP's, is not seen: only PNG has checksums.

    Returns:
        uint8 array (rows, columns, 3) for mode "RGB", (rows, columns) for mode "L".

    Raises:
        TooLarge: its header declares more than `max_megapixels` million pixels.
        ValueError: it is damaged or no picture; the message says why, on one line.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        if data.startswith(_PNG):
            _verify_checksums(data)
        elif data.startswith(_JPEG):
            _verify_end(data)
        with _opened(data, max_megapixels) as image:
            image.draft(None, (least, least))
            _scale_transparent_colour(image)
            image.load()
            _turn_upright(image)
            return np.asarray(_flatten(image, mode))
    except TooLarge:
        raise
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture, or of an unknown format") from None
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, KeyError…
        raise ValueError(f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}") from None


def _verify_checksums(png: bytes) -> None:
    """Raises ValueError for a PNG that is damaged by its own account, which Pillow overlooks behind the header.

    That is one cut off, with a wrong checksum, or with a chunk that is marked as essential and that nobody knows.
    """
    view, position, kind = memoryview(png), len(_PNG), b""
    while kind != b"IEND":
        end = position + 8 + int.from_bytes(view[position : position + 4])  # of this chunk's content
        kind = bytes(view[position + 4 : position + 8])
        if end + 4 > len(png):
            raise ValueError("the file is truncated")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        if kind[:1].isupper() and kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            raise ValueError(f"unknown chunk {kind!r}")
        position = end + 4


def _verify_end(jpeg: bytes) -> None:
    """Raises ValueError where no end follows the pixels, as in a download that broke off and was filled up with zeros.

    Pillow refuses what is cut off, but takes zeros for pixels.
    """
    position = 2
    while jpeg[position : position + 1] == b"\xff" and jpeg[position + 1 : position + 2] != b"\xda":  # segments before
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4])
    if jpeg.rfind(b"\xff\xd9", position) < 0:  # from behind, where it should be
        raise ValueError("the file is truncated")


def _opened(data: bytes, max_megapixels: float) -> Image.Image:
    """A picture of which only the header has been read; raises TooLarge by what it declares."""
    most = round(max_megapixels * 10**6)
    # Pillow has a limit of its own, one for the whole process, and refuses twice as much. It is raised where ours is
    # higher, and not switched off: it is also heeded where a header is found to be at odds with itself.
    Image.MAX_IMAGE_PIXELS = max(most, Image.MAX_IMAGE_PIXELS or 0)
    try:
        _check_size(_canvas(data), most)
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(re.sub(r"\D*(\d+).*", r"\1", str(error)), most) from None
    _check_size(image.size, most)
    tags = getattr(image, "tag_v2", {})  # of a TIFF, whose tiles are decoded whole, be the picture ever so small
    _check_size((tags.get(Base.TileWidth, 0), tags.get(Base.TileLength, 0)), most)
    if image.mode in ("I", "F"):
        raise ValueError("its levels of grey are signed, fractions or of 32 bits: which of them is white is not known")
    return image


def _canvas(data: bytes) -> tuple[int, int]:
    """Width and height in the header of a GIF or WebP, for which Pillow allocates while it opens them, or else 0, 0."""
    if data.startswith(b"GIF8"):
        return struct.unpack_from("<HH", data, 6)
    if data[8:16] == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if data[8:16] == b"WEBPVP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[8:16] == b"WEBPVP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return 0, 0


def _check_size(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise _too_large("{} × {}".format(*size), most)


def _too_large(size: str, most: int) -> TooLarge:
    return TooLarge(f"has {size} pixels, more than --max_megapixels {most / 10**6:g}")


def _scale_transparent_colour(image: Image.Image) -> None:
    """Pillow gives the transparent colour of a PNG in the bits of the file, but the pixels in 8.

    Of 16 bits the lower ones are gone, so that colours which differ in them alone become transparent too.
    """
    color, stored = image.info.get("transparency"), image.tile[0].args if image.tile else ""
    if color is not None and stored in ("L;2", "L;4"):
        image.info["transparency"] = color * (255 // 3 if stored == "L;2" else 255 // 15)
    elif color is not None and stored == "RGB;16B":
        image.info["transparency"] = tuple(level // 256 for level in color)


def _turn_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # a broken EXIF block says nothing of the pixels, which are whole
        ImageOps.exif_transpose(image, in_place=True)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Any of Pillow's pixel formats → "RGB" or "L", 8 bits a channel."""
    if image.mode.startswith("I;16"):
        image = _fine_grey(image)
    elif image.mode in ("La", "LAB"):  # which Pillow converts to hardly any other
        image = image.convert({"La": "LA", "LAB": "RGB"}[image.mode])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGB", image.size, _BACKGROUND)
        page.paste(image, mask=image)
        image = page
    return image if image.mode == mode else image.convert(mode)


def _fine_grey(image: Image.Image) -> Image.Image:
    """Grey of 12 or 16 bits, which Pillow would clip to white → "L" or, with a transparent level, "LA"."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    levels = np.asarray(image)
    grey = (levels >> (tags.get(Base.BitsPerSample, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(Base.PhotometricInterpretation) == 0:  # 0 is white, which Pillow heeds with 8 bits only
        grey = 255 - grey
    if "transparency" not in image.info:
        return Image.fromarray(grey)
    alpha = (levels != image.info["transparency"]).astype(np.uint8) * 255
    return Image.fromarray(np.dstack([grey, alpha]))


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 array (rows, columns, 1 or 3), RGB → a PNG file's content.

    Its pixels are not compressed: photographs become only a third smaller by it, and take ten times as long to write
    and, in every training run, to read.
    """
    colors = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    done, data = cv2.imencode(".png", colors, [cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, _NO_FILTER])
    assert done
    return data.tobytes()
