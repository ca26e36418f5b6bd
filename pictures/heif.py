"""HEIC and other HEIF files, which phones write.

pillow-heif decodes them. pi-heif, the same without encoders, is discontinued: its last release has vulnerabilities that
are known and fixed in pillow-heif.
"""

import io
import re
import struct
from typing import Any

from pictures.formats import FormatNotRead

_IMAGE_SIZE = re.compile(rb"\0\0\0\x14ispe\0{4}(.{8})", re.DOTALL)  # the boxes with the size of an image
_BOXES = (b"ftyp", b"meta", b"mdat", b"free", b"skip", b"moov", b"uuid")  # of which a file consists
_AVIF_BRANDS = {b"avif", b"avis"}  # HEIF files whose codec is AV1, which Pillow decodes


def brands(data: bytes) -> set[bytes]:
    """Returns what the first box of an ISO media file says of its content, such as {b"heic", b"mif1"}."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4]), 200)
    return {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}


def is_avif(data: bytes) -> bool:
    return bool(brands(data) & _AVIF_BRANDS)


def is_heif(data: bytes) -> bool:
    """Returns whether it is a HEIF file that is no AVIF."""
    return not is_avif(data) and any(brand[:3] in (b"hei", b"hev", b"mif", b"msf") for brand in brands(data))


def declared_size(data: bytes) -> tuple[int, int]:
    """Returns width and height of the largest image of a file; what is cut off of it is decoded too."""
    sizes = [struct.unpack(">II", size) for size in _IMAGE_SIZE.findall(data)]
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _verify_end(data: bytes) -> None:
    """Raises ValueError if the file ends within a box. libheif shows the parts of a photo that are missing as green."""
    position = 0
    while data[position + 4 : position + 8] in _BOXES:
        length = int.from_bytes(data[position : position + 4])
        if length == 1:  # the length follows in 8 bytes
            length = int.from_bytes(data[position + 8 : position + 16])
        if length == 0:  # to the end of the file
            return
        position += max(length, 8)
    if position > len(data):
        raise ValueError("the file is truncated")


def open_heif(data: bytes) -> tuple[Any, int]:
    """Returns the main image of a file, and how many there are.

    Of the image, only the header has been read. It has a `size`, and `to_pillow()` decodes it.

    Raises:
        FormatNotRead: pillow-heif is not installed.
        ValueError, RuntimeError: it is damaged.
    """
    _verify_end(data)
    try:
        import pillow_heif  # only here, since importing it takes 0.05 s

        pillow_heif.options.DECODE_THREADS = 1  # with more, the pixels of a damaged file differ from time to time
        file = pillow_heif.open_heif(io.BytesIO(data))
    except ImportError:
        advice = "pip install -r requirements.txt, or convert it to PNG or JPEG"
        raise FormatNotRead(f"is a HEIC picture, which needs the package pillow-heif: {advice}") from None
    return file[file.primary_index], len(file)
