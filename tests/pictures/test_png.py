"""Which chunks of a PNG matter."""

import os
import zlib

import numpy as np
import pytest
from PIL import Image

from pictures.decoding import UnreadableImage, decode_image
from pictures.png import cleaned
from tests.helpers.mutations import chunk, file_of, png, scene

DATA = png((4, 1), 8, 0, b"\0\1\2\3\4")
MEGABYTES = zlib.compress(bytes(3 * 2**20))


def decoded(data: bytes) -> np.ndarray:
    return decode_image(data, mode="L", min_side=32, max_pixels=10**6)


def with_chunks(*chunks: bytes, data: bytes = DATA) -> bytes:
    """Returns the file with more chunks before its pixels."""
    return data[:33] + b"".join(chunks) + data[33:]


LARGE = {
    "text": chunk(b"tEXt", b"workflow\0" + os.urandom(2**20).hex().encode()),
    "compressed text": chunk(b"zTXt", b"workflow\0\0" + MEGABYTES),
    "international text": chunk(b"iTXt", b"workflow\0\0\0\0\0" + b"x" * 2**21),
    "compressed international text": chunk(b"iTXt", b"workflow\0\1\0\0\0" + MEGABYTES),
    "color profile": chunk(b"iCCP", b"profile\0\0" + MEGABYTES),
    "color profile of noise": chunk(b"iCCP", b"profile\0\0" + zlib.compress(os.urandom(2**21))),
    "broken text": chunk(b"zTXt", b"workflow\0\0no zlib"),
    "broken gamma": chunk(b"gAMA", b""),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("count", [1, 70])
def test_decode_image_reads_a_png_with_any_text_and_profile(kind, count):
    assert decoded(with_chunks(*[LARGE[kind]] * count)).tolist() == [[1, 2, 3, 4]]
    after = DATA[:-12] + LARGE[kind] * count + DATA[-12:]
    assert decoded(after).tolist() == [[1, 2, 3, 4]]


def test_cleaned_keeps_what_affects_the_pixels():
    other = [chunk(kind, b"x") for kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"pHYs", b"prVt", b"tIME")]
    kept = [chunk(kind, b"x") for kind in (b"tRNS", b"eXIf", b"acTL", b"fcTL")]
    assert cleaned(with_chunks(*other, *kept)) == (with_chunks(*kept), 0)
    assert cleaned(DATA + b"after the end") == (DATA + b"after the end", 0)
    assert cleaned(with_chunks(*other) + b"after the end") == (DATA, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (DATA[:-1], "the file is truncated"),
        (DATA[:-9], "the file is truncated"),
        (DATA[:-12], "the file is truncated"),
        (DATA[:-1] + b"x", "wrong checksum of chunk b'IEND'"),
        (with_chunks(chunk(b"AbCd", b"")), "unknown critical chunk b'AbCd'"),
        (DATA[:33] + DATA[-12:], "it has no pixels"),
    ],
)
def test_cleaned_says_what_is_wrong(data, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        cleaned(data)


def test_cleaned_keeps_an_orientation_in_a_text_of_up_to_a_megabyte():
    largest = b"Raw profile type exif\0".ljust(2**20, b"x")
    text, larger = chunk(b"tEXt", largest), chunk(b"tEXt", largest + b"x")
    broken = chunk(b"zTXt", b"Raw profile type exif\0\0no zlib")
    assert cleaned(with_chunks(larger, broken, text, text)) == (with_chunks(text), 0)


@pytest.mark.parametrize(
    ("color", "content", "bits"),
    [(0, b"\x0c", 12), (4, b"\x0c\x10", 12), (2, b"\x0a\x0c\x0b", 12), (6, b"\x0a\x0c\x0b\x10", 12), (0, b"", 0)],
)
def test_cleaned_tells_the_significant_bits_of_the_colors(color, content, bits):
    assert cleaned(png((1, 1), 16, color, bytes(9), chunk(b"sBIT", content)))[1] == bits


EXIF = Image.Exif()
EXIF[0x0112] = 6  # shown rotated
PROFILE = b"\nexif\n%8d\n%b\n" % (len(EXIF.tobytes()), EXIF.tobytes().hex().encode())
XMP = b"<x:xmpmeta><rdf:Description tiff:Orientation='6' xmlns:tiff='http://ns.adobe.com/tiff/1.0/'/></x:xmpmeta>"
TEXTS = {
    "text": chunk(b"tEXt", b"Raw profile type exif\0" + PROFILE),
    "compressed text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.replace(b"'", b'"')),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_decode_image_rotates_by_an_orientation_in_a_text(kind):
    upright = decoded(with_chunks(TEXTS[kind], data=file_of(scene(4, 6))))
    assert np.array_equal(upright, np.rot90(decoded(file_of(scene(4, 6))), -1))


@pytest.mark.parametrize("count", [1, 100])
def test_decode_image_drops_an_orientation_in_too_large_a_text(count):
    texts = [
        chunk(b"zTXt", b"Raw profile type exif\0\0" + MEGABYTES),
        chunk(b"zTXt", b"Raw profile type exif\0\0no zlib"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + MEGABYTES),
        chunk(b"tEXt", b"XML:com.adobe.xmp\0" + bytes(2**20)),
    ]
    assert decoded(with_chunks(*texts * count)).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("name", [b"ID\0T", b"a1XT", b"\xffDAT"])
def test_decode_image_refuses_a_broken_name_of_a_chunk(name):
    with pytest.raises(UnreadableImage, match="broken name of chunk"):
        decoded(with_chunks(chunk(name, b"")))


def test_decode_image_refuses_an_animation_without_its_first_frame():
    frames = [Image.fromarray(scene(seed=seed)) for seed in range(2)]
    data = file_of(frames[0], "PNG", save_all=True, append_images=frames[1:])
    start = data.index(b"IDAT") - 4
    length = int.from_bytes(data[start : start + 4])
    with pytest.raises(UnreadableImage, match="it has no pixels"):
        decoded(data[:start] + data[start + 12 + length :])
