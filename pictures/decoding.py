"""From the bytes of a picture file to pixels: the only way in, for training and for prediction."""

import contextlib
import io
import re
import struct
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.ExifTags import Base

from config import ImageConfig
from pictures import colors, formats, heif, levels, png, pnm, tiff
from system.terminal import printable

# Pillow's names of the formats that it decodes. The content of a file decides, never its name. Pillow knows many more,
# but their decoders are rarely used and little tested, and that of EPS starts Ghostscript. MPO files of phones are
# JPEGs. TIFF, PPM and HEIC are opened by modules of their own.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_SIGNATURES = (png.SIGNATURE, _JPEG_SIGNATURE, b"GIF8", *tiff.PREFIXES)  # of formats that are read
_CANON_RAW = re.compile(rb"II\x2a\0.{4}CR", re.DOTALL)  # a TIFF whose first page Pillow may open
_MARKER = re.compile(
    rb"\xff+[^\xff\xda]", re.DOTALL
)  # of a JPEG's segment, except for that of the pixels; may be padded
_MAX_CAMERA = 60  # letters
BLANK = "blank: all of its pixels have the same color"  # a note
_BLANK_RANGE = 2  # levels by which the pixels of a blank image differ at most
# Large JPEGs are decoded at this multiple of the final size or more. Compared with a full decode it changes photos by
# one gray level on average; a factor of 2 changes them by 0.2 levels and takes twice as long.
_MIN_SCALE = 1.5


class UnreadableImage(ValueError):
    """A file whose image cannot be read; the message is the reason, on one line."""


class ImageTooLarge(UnreadableImage):
    """An image whose header declares more pixels than are allowed; it was not decoded."""


class NotAPicture(UnreadableImage):
    """A file that has nothing to do with pictures, such as text, or whose content is unknown."""


@dataclass(frozen=True)
class LoadedPicture:
    """The image of a picture file."""

    image: np.ndarray  # uint8 (height, width, color_channels)
    pixels: int  # that the file declares, of the page that is used
    note: str  # what the image does not show, or how it had to be interpreted; "" if nothing
    size: tuple[int, int] = (0, 0)  # width and height of the file, upright; zeros if the pixels are of no file
    format: str = ""  # of the file
    camera: str = ""  # that made it, by its EXIF block; "" if it has none


def load_picture(data: bytes, config: ImageConfig, *, max_pixels: int) -> LoadedPicture:
    """Returns a picture decoded and resized (stretched) to the size of the config.

    Args:
        data: the content of a file of one of `formats.FORMATS`.
        config: the size and the color format of the result.
        max_pixels: larger pictures are not decoded.

    Returns:
        the image: uint8 array (height, width, color_channels), 0..255, RGB or gray, upright by its EXIF orientation,
        the first frame of an animation, transparent parts on white, or on black where they would hide all the rest. A
        picture that already has the right size is not resampled.

    Raises:
        ImageTooLarge: it has more than `max_pixels`.
        NotAPicture: it is no picture of any kind.
        UnreadableImage: it is damaged, or of a format that is not read.
    """
    height, width, channels = config.shape
    mode = "RGB" if channels == 3 else "L"
    decoded = _decode(data, mode=mode, min_side=round(_MIN_SCALE * max(height, width)), max_pixels=max_pixels)
    image, note = standard_image(decoded.image, config)
    return replace(decoded, image=image, note=_join(decoded.note, note))


def standard_image(pixels: np.ndarray, config: ImageConfig) -> tuple[np.ndarray, str]:
    """Returns an image resized (stretched) to the size of the config, and a note if it is blank.

    Args:
        pixels: uint8 array (rows, columns, 3) in RGB, or (rows, columns) in gray, as the config has it.
        config: the size and the color format of the result.
    """
    height, width, _ = config.shape
    # Averaging areas is right for shrinking and interpolating for enlarging; each axis may need either.
    smaller = min(width, pixels.shape[1]), min(height, pixels.shape[0])
    shrunk = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    image = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).reshape(config.shape)
    return image, BLANK if _is_blank(image) else ""


def load_image(data: bytes, config: ImageConfig, *, max_pixels: int) -> np.ndarray:
    """Returns the image of `load_picture` alone; raises the same."""
    return load_picture(data, config, max_pixels=max_pixels).image


def decode_image(data: bytes, *, mode: str, min_side: int, max_pixels: int) -> np.ndarray:
    """Returns a picture decoded, upright and in its own proportions.

    Pillow decodes because it refuses truncated files, which OpenCV fills with gray. Large JPEGs are decoded at 1/2, 1/4
    or 1/8 of their size, which is much faster, but with no side below `min_side` pixels. Color profiles and gamma are
    ignored. Damage that leaves a file well-formed, such as changed bytes among the pixels of a JPEG, or zeros for the
    rest of a WebP, is not detected: only PNG has checksums.

    Returns:
        uint8 array (rows, columns, 3) for mode "RGB", (rows, columns) for mode "L".

    Raises:
        the same as `load_picture`.
    """
    return _decode(data, mode=mode, min_side=min_side, max_pixels=max_pixels).image


def _decode(data: bytes, *, mode: str, min_side: int, max_pixels: int) -> LoadedPicture:
    if not data:
        raise UnreadableImage("the file is empty")
    # Pillow has a limit of its own for the whole process and refuses images of more than twice its size. It is raised
    # if ours is higher, and not switched off, because Pillow also applies it where a header contradicts itself.
    Image.MAX_IMAGE_PIXELS = max(max_pixels, Image.MAX_IMAGE_PIXELS or 0)
    try:
        if size := pnm.declared_size(data):
            read = _read_pnm(data, size, max_pixels)
        elif heif.is_heif(data):
            read = _read_heif(data, max_pixels)
        else:
            read = _read_by_pillow(data, min_side, max_pixels)
        flat, note = colors.flatten(read.image, mode)
        return LoadedPicture(
            np.asarray(flat),
            pixels=read.size[0] * read.size[1],
            note=_join(read.note, note),
            size=read.size,
            format=read.format,
            camera=read.camera,
        )
    except UnreadableImage:
        raise
    except formats.FormatNotRead as error:
        raise UnreadableImage(str(error)) from None
    except MemoryError:
        raise ImageTooLarge("needs more memory than there is") from None
    except struct.error:  # a header that is cut off
        raise UnreadableImage("cannot be decoded: the file is truncated") from None
    except Image.UnidentifiedImageError:
        raise _unidentified(data) from None
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, KeyError…
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        raise UnreadableImage(f"cannot be decoded: {reason}") from None


def _unidentified(data: bytes) -> UnreadableImage:
    name = "" if heif.is_avif(data) else formats.name_format(data)
    if not name and (heif.is_avif(data) or data.startswith(_SIGNATURES) or data[8:12] == b"WEBP"):
        name = "cannot be decoded: its header is damaged"
    return UnreadableImage(name) if name else NotAPicture(formats.name_content(data))


# ---- readers ----


@dataclass(frozen=True)
class _Read:
    """A picture of any of Pillow's modes with 8 bits per channel, upright."""

    image: Image.Image  # large JPEGs are read smaller
    size: tuple[int, int]  # width and height of the file, upright
    format: str
    note: str = ""
    camera: str = ""


def _read_by_pillow(data: bytes, min_side: int, max_pixels: int) -> _Read:
    significant_bits, note, camera = 0, "", ""
    if data.startswith(png.SIGNATURE):
        data, significant_bits = png.cleaned(data)
    elif data.startswith(_JPEG_SIGNATURE):
        _verify_jpeg_end(data)
    with _open(data, max_pixels) as image:
        size, frames_note = image.size, _frames_note(image, data)
        if _deep_rawmode(image):
            upright, note = _read_deep(image, data, significant_bits, max_pixels)
            size = upright.size
        else:
            image.draft(None, (min_side, min_side))
            colors.fix_transparent_color(image)
            image.load()
            camera, loaded_size = _camera(image), image.size
            _rotate_upright(image)
            if image.size != loaded_size:  # a quarter turn
                size = size[1], size[0]
            upright = image.convert("RGB") if _has_unused_alpha(image) else image
        name = "JPEG" if image.format == "MPO" else str(image.format)
        return _Read(upright, size, name, _join(frames_note, _bands_note(image), note), camera)


def _frames_note(image: ImageFile.ImageFile, data: bytes) -> str:
    if isinstance(image, tiff.Page):
        return "only the first of its pages is used" if tiff.has_more_pages(data) else ""
    with contextlib.suppress(Exception):  # the next frame of a GIF may be damaged
        # The second image of an MPO is another view of the same, or for another screen.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            return "only the first frame of its animation is used"
    return ""


def _bands_note(image: ImageFile.ImageFile) -> str:
    return "its extra bands are not used" if getattr(image, "ignores_bands", False) else ""


def _has_unused_alpha(image: ImageFile.ImageFile) -> bool:
    """Returns whether it is a BMP whose fourth band is all 0, as programs write it that know no transparency."""
    return image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def _read_deep(
    image: ImageFile.ImageFile, data: bytes, significant_bits: int, max_pixels: int
) -> tuple[Image.Image, str]:
    """Returns the picture of an opened file of 16 bits, and a note."""
    array, note = levels.read_deep(
        _deep_rawmode(image),
        lambda rawmode: _load_as(data, rawmode, max_pixels),
        color_key=_tuple(image.info.get("transparency", ())),
        largest=getattr(image, "largest", 0),
        significant_bits=significant_bits,
    )
    if getattr(image, "white_is_zero", False):
        array[..., 0] = 255 - array[..., 0]
    return _as_image(array), note


def _deep_rawmode(image: ImageFile.ImageFile) -> str:
    """Returns how the file stores a pixel of 16 bits per level; "" for 8 bits."""
    if isinstance(image, tiff.Page):
        return image.deep_rawmode
    rawmode = str(image.tile[0].args) if image.format == "PNG" and image.tile else ""
    return rawmode if ";16" in rawmode else ""


def _load_as(data: bytes, rawmode: str, max_pixels: int) -> np.ndarray:
    """Returns the pixels of a PNG or TIFF, read as if they were stored in another of Pillow's raw modes."""
    with _open(data, max_pixels) as image:
        if isinstance(image, tiff.Page):
            image.use_rawmode(rawmode)
        else:
            image.tile = [tile._replace(args=rawmode) for tile in image.tile]
        image.load()
        _rotate_upright(image)
        return np.asarray(image)


def _read_pnm(data: bytes, size: tuple[int, int], max_pixels: int) -> _Read:
    _check_size(size, max_pixels)
    array, white = pnm.read_pnm(data)
    note = ""
    if white == 65535:  # what programs declare that do not know better
        white = levels.white_level(int(array.max()))
        note = levels.note(white, array)
    return _Read(_as_image(levels.to_8_bits(array, white)), size, "PNM", note)


def _read_heif(data: bytes, max_pixels: int) -> _Read:
    _check_size(heif.declared_size(data), max_pixels)
    picture, count = heif.open_heif(data)
    _check_size(picture.size, max_pixels)
    image = picture.to_pillow()  # upright: its orientation is part of the format, and EXIF must not repeat it
    camera = _camera(image)
    if image.mode == "I;16":
        image = Image.fromarray(levels.to_8_bits(np.asarray(image), 65535))  # pillow-heif has scaled it
    note = "only the main one of its images is used" if count > 1 else ""
    return _Read(image, picture.size, "HEIF", note, camera)


def _verify_jpeg_end(jpeg: bytes) -> None:
    """Raises ValueError if no end marker follows the pixels, as in an interrupted download that is padded with zeros.

    Pillow refuses a file that is cut off, but takes zeros for pixels.
    """
    position = 2
    while match := _MARKER.match(jpeg, position):  # a segment of the header
        position = match.end() + int.from_bytes(jpeg[match.end() : match.end() + 2])
    if jpeg.rfind(b"\xff\xd9", position) < 0:  # searched from the end, where it should be
        raise ValueError("the file is truncated")


# ---- sizes, checked before memory is allocated ----


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Returns a picture of which only the header has been read. Raises ImageTooLarge for the size that it declares."""
    try:
        _check_size(_declared_size(data), max_pixels)
        if data.startswith(tiff.PREFIXES) and not _CANON_RAW.match(data):
            image: ImageFile.ImageFile = tiff.open_page(data)
        else:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(re.sub(r"\D*(\d+).*", r"\1", str(error)), max_pixels) from None
    _check_size(image.size, max_pixels)
    tags = getattr(image, "tag_v2", {})  # of a TIFF: each of its tiles is decoded whole, even if the picture is small
    _check_size((tags.get(Base.TileWidth, 0), tags.get(Base.TileLength, 0)), max_pixels)
    if image.mode in ("I", "F"):
        problem = "its gray levels are signed, fractional or 32-bit, so it is unknown which of them is white"
        raise ValueError(f"{problem}: save it with 8 or 16 bits")
    return image


def _declared_size(data: bytes) -> tuple[int, int]:
    """Returns width and height from the header of a PNG, GIF or WebP; other formats give (0, 0).

    Pillow allocates memory when it opens a GIF or WebP, and of a large PNG it may only tell the number of pixels.
    """
    if data.startswith(png.SIGNATURE) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
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


# ---- pixels ----


def _camera(image: Image.Image) -> str:
    """Returns the maker and the model of the camera, as its EXIF block has them; "" without one."""
    with contextlib.suppress(Exception):  # a broken EXIF block does not affect the pixels
        exif = image.getexif()
        words = " ".join(str(exif.get(tag, "")) for tag in (Base.Make, Base.Model)).replace("\0", " ").split()
        return printable(" ".join(words))[:_MAX_CAMERA]
    return ""


def _rotate_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # a broken EXIF block does not affect the pixels
        ImageOps.exif_transpose(image, in_place=True)


def _is_blank(image: np.ndarray) -> bool:
    some = image[::9, ::9, 0]  # enough to tell that nearly all pictures are not blank, in a fraction of the time
    return np.ptp(some) <= _BLANK_RANGE and bool((np.ptp(image, axis=(0, 1)) <= _BLANK_RANGE).all())


def _as_image(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _tuple(value: object) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _join(*notes: str) -> str:
    return "; ".join(filter(None, notes))


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


def decode_png(data: bytes) -> np.ndarray:
    """Returns the array that `encode_png` was given: the same as `load_image`, without the checks of a user's file."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels[..., np.newaxis]
