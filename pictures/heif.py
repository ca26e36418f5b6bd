"""HEIC and other HEIF files, which phones write.

pillow-heif decodes them. pi-heif, the same without encoders, is discontinued: its last release has vulnerabilities that
are known and fixed in pillow-heif.
"""

import io
from typing import Any

from pictures.formats import FormatNotRead

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


def open_heif(data: bytes) -> tuple[Any, int]:
    """Returns the main image of a file, and how many there are.

    Of the image, only the header has been read. It has a `size`, and `to_pillow()` decodes it.

    Raises:
        FormatNotRead: pillow-heif is not installed.
        ValueError, RuntimeError: it is damaged.
    """
    try:
        import pillow_heif  # only here, since importing it takes 0.05 s

        file = pillow_heif.open_heif(io.BytesIO(data))
    except ImportError:
        advice = "pip install -r requirements.txt, or convert it to PNG or JPEG"
        raise FormatNotRead(f"is a HEIC picture, which needs the package pillow-heif: {advice}") from None
    return file[file.primary_index], len(file)
