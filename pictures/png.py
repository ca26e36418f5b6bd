"""The chunks of a PNG file: their checksums, and which of them Pillow gets to see.

The checks are ours because Pillow's `verify()` accepts a wrong checksum of the last chunk, a missing last chunk and
unknown critical chunks. And Pillow refuses a picture for more than 1 MB of text or color profile in it, which drawing
programs, slide scanners and workflow tools write.
"""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_KEPT = (*_CRITICAL, b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")  # with these, Pillow shows the same pixels
_ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # texts in which it may also stand
_MAX_TEXT = 2**20  # bytes of such a text, as in Pillow


def cleaned(png: bytes) -> tuple[bytes, int]:
    """Returns a PNG file without the chunks that do not affect its pixels, and the significant bits of its colors.

    The significant bits are those of the sBIT chunk, 0 if it has none.

    Raises:
        ValueError: the file is truncated, a checksum is wrong, or a chunk is broken or unknown and critical.
    """
    view, significant_bits = memoryview(png), 0
    kept, texts, kinds = [memoryview(SIGNATURE)], set(), []
    for kind, start, end in _chunks(png):
        kinds.append(kind)
        content = view[start:end]
        keyword = _orientation_keyword(kind, bytes(content[: _MAX_TEXT + 1])) if kind.endswith(b"Xt") else b""
        if kind in _KEPT or (keyword and keyword not in texts):
            kept.append(view[start - 8 : end + 4])
            texts.add(keyword)
        elif kind == b"sBIT":
            colors = 3 if png[25] & 2 else 1  # the color type of the header; alpha comes last
            significant_bits = max(content[:colors], default=0)
    if b"IDAT" not in kinds:  # Pillow would take a later frame of an animation
        raise ValueError("it has no pixels")
    return b"".join(kept) if len(kept) <= len(kinds) else png, significant_bits


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind of each chunk and where its content starts and ends."""
    view, position, kind = memoryview(png), len(SIGNATURE), b""
    while kind != b"IEND":
        start = position + 8
        end = start + int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : start])
        if end + 4 > len(png):
            raise ValueError("the file is truncated")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        if not kind.isalpha():
            raise ValueError(f"broken name of chunk {kind!r}")
        if kind[:1].isupper() and kind not in _CRITICAL:
            raise ValueError(f"unknown critical chunk {kind!r}")
        yield kind, start, end
        position = end + 4


def _orientation_keyword(kind: bytes, content: bytes) -> bytes:
    """Returns the keyword of a text of at most 1 MB that may hold the orientation of the picture, b"" for others."""
    keyword, _, text = content.partition(b"\0")
    if keyword not in _ORIENTATION or len(content) > _MAX_TEXT:
        return b""
    if kind == b"zTXt":
        unpacker = zlib.decompressobj()
        try:
            unpacker.decompress(text[1:], _MAX_TEXT)
        except zlib.error:
            return b""
        return b"" if unpacker.unconsumed_tail else keyword
    return b"" if kind == b"iTXt" and text[:1] != b"\0" else keyword  # not if it is compressed
