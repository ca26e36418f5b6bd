"""PBM, PGM and PPM files."""

import tracemalloc

import numpy as np
import pytest

from pictures.decoding import ImageTooLarge, UnreadableImage, decode_image
from pictures.pnm import read_pnm
from tests.helpers.mutations import by_pillow, file_of, scene


def decoded(data: bytes, mode: str = "L", max_pixels: int = 10**6) -> list:
    return decode_image(data, mode=mode, min_side=32, max_pixels=max_pixels).tolist()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P1 3 1 101", [0, 255, 0]),  # 1 is black
        (b"P1\n3 1\n1 0 1\n", [0, 255, 0]),
        (b"P1 3 1\n1 # black\n01", [0, 255, 0]),
        (b"P4 3 1 \xa0", [0, 255, 0]),
        (b"P4 9 1 \x00\x80", [255] * 8 + [0]),
        (b"P2 3 1 255 0 77 255", [0, 77, 255]),
        (b"P2\n# by a program\n3 1 # size\n15\n0 1 15\n", [0, 17, 255]),
        (b"P2\r\n3\t1\r\n1000\r\n0\r\n500\r\n1000\r\n", [0, 127, 255]),
        (b"P2 3 1 255 0 # black\n77 255", [0, 77, 255]),
        (b"P2 3 1 255 0 77 255 and more", [0, 77, 255]),
        (b"P5 3 1 255\n\x00\x4d\xff", [0, 77, 255]),
        (b"P5 3 1 15\n\x00\x01\x0f", [0, 17, 255]),
        (b"P5 3 1 1000\n\x00\x00\x01\xf4\x03\xe8", [0, 127, 255]),
        (b"P5 3 1 65535\n\x00\x00\x80\x00\xff\xff", [0, 128, 255]),
        (b"P5 3 1 255\n\n  ", [10, 32, 32]),  # levels that look like white space
        (b"P5 3 1 255\n\x00\x4d\xff more", [0, 77, 255]),
    ],
)
def test_decode_image_reads_gray_pnm_files(data, expected):
    assert decoded(data) == [expected]


@pytest.mark.parametrize(
    "data",
    [
        b"P3 2 1 255 255 0 0 0 51 102",
        b"P6 2 1 255\n\xff\x00\x00\x00\x33\x66",
        b"P6 2 1 5\n\x05\x00\x00\x00\x01\x02",
        b"P6 2 1 65535\n\xff\xff\x00\x00\x00\x00\x00\x00\x33\x33\x66\x66",
    ],
)
def test_decode_image_reads_colored_pnm_files(data):
    assert decoded(data, "RGB") == [[[255, 0, 0], [0, 51, 102]]]


@pytest.mark.parametrize("white", [1, 15, 100, 255, 256, 4095, 65534])
def test_read_pnm_agrees_with_pillow_for_any_maxval(white):
    levels = np.random.default_rng(white).integers(0, white + 1, (8, 9, 3))
    levels[0, 0] = white
    content = levels.astype(np.uint8 if white < 256 else ">u2").tobytes()
    data = b"P6 9 8 %d\n" % white + content
    assert np.array_equal(read_pnm(data)[0], levels)
    assert np.abs(np.array(decoded(data, "RGB")) - by_pillow(data)).max() <= 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5 3 2 255\n12345", "the file is truncated"),
        (b"P5 3 1 1000\n12345", "the file is truncated"),
        (b"P6 3 2 255\n" + bytes(17), "the file is truncated"),
        (b"P4 9 2 \0\0\0", "the file is truncated"),
        (b"P1 3 2 10101", "the file is truncated"),
        (b"P2 3 2 255 100 100 100 100 100", "the file is truncated"),
        (b"P3 1 1 255 100 100", "the file is truncated"),
        (b"P2 2 1 255 # 100 100", "the file is truncated"),
        (b"P5 3 1", "a broken header"),
        (b"P5 3 1 255", "a broken header or a truncated file"),
        (b"P5 0 1 255\n", "a broken header"),
        (b"P5 3 1 0\n123", "its maxval is not between 1 and 65535"),
        (b"P5 3 1 65536\n123456", "its maxval is not between 1 and 65535"),
        (b"P5 3 1 100\n\x00\x64\x65", "a level is above its maxval"),
        (b"P2 2 1 100 100 101", "a level is above its maxval"),
        (b"P2 2 1 100 100 -1", "a level is negative"),
        (b"P2 2 1 100 1.5 100", "a level is not a number"),
        (b"P2 2 1 100 100 ten", "a level is not a number"),
        (b"P1 2 1 12", "a pixel is neither 0 nor 1"),
        (b"P1 2 1 1/", "a pixel is neither 0 nor 1"),  # / stands before 0
    ],
)
def test_decode_image_refuses_a_damaged_pnm(data, reason):
    with pytest.raises(UnreadableImage, match=f"^cannot be decoded: {reason}$"):
        decoded(data)


@pytest.mark.parametrize("data", [b"P1 is my favorite", b"P5", b"P6 12", b"P2 4x4", b"P612 12 255 ", b"P7 2 2 255"])
def test_decode_image_does_not_take_text_for_a_pnm(data):
    with pytest.raises(UnreadableImage, match="^is text, not a picture$|^is a PAM picture"):
        decoded(data)


@pytest.mark.parametrize("kind", range(1, 7))
def test_decode_image_allocates_nothing_for_pixels_that_do_not_follow(kind):
    maxval = b"" if kind in (1, 4) else b"255 "
    data = b"P%d 10000 10000 %b1 " % (kind, maxval)
    tracemalloc.start()
    with pytest.raises(UnreadableImage, match="truncated"):
        decoded(data, max_pixels=10**8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6
    with pytest.raises(ImageTooLarge, match="^has 10000 × 10000 pixels, more than --max_megapixels 99$"):
        decoded(data, max_pixels=99 * 10**6)


def test_decode_image_reads_a_large_file_of_12_bits_fast():
    # Pillow takes a second for each megapixel of it.
    levels = np.random.default_rng(1).integers(0, 4096, (3000, 4000))
    data = b"P5 4000 3000 4095\n" + levels.astype(">u2").tobytes()
    result = decode_image(data, mode="L", min_side=32, max_pixels=12 * 10**6)
    assert np.array_equal(result, levels // 16)


def test_decode_image_reads_what_pillow_writes():
    assert np.array_equal(decoded(file_of(scene(), "PPM"), "RGB"), scene())
