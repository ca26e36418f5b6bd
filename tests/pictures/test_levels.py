"""Levels of 10 to 16 bits become 8 without losing those that a picture uses."""

import struct

import numpy as np
import pytest

from config import ImageConfig
from pictures.decoding import decode_image, load_picture
from pictures.levels import note, to_8_bits, white_level
from tests.helpers.mutations import chunk, file_of, png, tiff


def decoded(data: bytes) -> list:
    return decode_image(data, mode="RGB", min_side=32, max_pixels=10**6).tolist()


def note_of(data: bytes) -> str:
    return load_picture(data, ImageConfig(), max_pixels=10**6).note


def packed(levels, order: str = ">") -> bytes:
    return struct.pack(f"{order}{len(levels)}H", *levels)


# ---- the level of white ----


@pytest.mark.parametrize(
    ("largest", "white"),
    [(0, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16384, 65535)],
)
def test_white_level_is_that_of_the_fewest_usual_bits(largest, white):
    assert white_level(largest) == white


@pytest.mark.parametrize(
    ("largest", "bits", "white"),
    [(900, 12, 4095), (4095, 12, 4095), (4096, 12, 65535), (900, 16, 65535), (100, 7, 127), (900, 17, 1023)],
)
def test_white_level_follows_the_bits_that_a_file_declares(largest, bits, white):
    assert white_level(largest, bits) == white


@pytest.mark.parametrize(
    ("white", "levels", "expected"),
    [
        (65535, [0, 255, 256, 65535], [0, 0, 1, 255]),
        (4095, [0, 15, 16, 4095, 65535], [0, 0, 1, 255, 255]),
        (1000, [0, 500, 1000], [0, 127, 255]),
        (255, [0, 1, 254, 255], [0, 1, 254, 255]),
        (15, [0, 1, 15], [0, 17, 255]),
        (1, [0, 1], [0, 255]),
    ],
)
def test_to_8_bits_spreads_the_levels_up_to_white(white, levels, expected):
    result = to_8_bits(np.array(levels, np.uint16), white)
    assert result.dtype == np.uint8
    assert result.tolist() == expected


# ---- files of 16 bits ----

GRAY = {10: [0, 512, 1023], 12: [0, 2048, 4095], 14: [0, 8192, 16383], 16: [0, 32768, 65535]}  # black, middle, white


def pixels_of(bits: int, bands: int, opaque: int) -> list[int]:
    """Returns three pixels: black, of the middle gray, and white."""
    colors = bands if bands % 2 else bands - 1
    return [level for gray in GRAY[bits] for level in [gray] * colors + [opaque] * (bands - colors)]


@pytest.mark.parametrize("bits", GRAY)
@pytest.mark.parametrize(("color", "bands"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_decode_image_keeps_levels_of_any_bits_in_a_png(bits, color, bands):
    data = png((3, 1), 16, color, b"\0" + packed(pixels_of(bits, bands, 65535)))
    assert decoded(data) == [[[0] * 3, [128] * 3, [255] * 3]]
    assert note_of(data) == ("" if bits == 16 else f"{bits}-bit levels")


@pytest.mark.parametrize("bits", GRAY)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("interpretation", "bands", "tags"),
    [
        (1, 1, {}),
        (2, 3, {}),
        (2, 3, {"t284": (1,)}),
        (1, 2, {"t338": (2,)}),
        (2, 4, {"t338": (2,)}),
        (2, 4, {"t338": (1,)}),
    ],
)
def test_decode_image_keeps_levels_of_any_bits_in_a_tiff(bits, order, interpretation, bands, tags):
    strip = packed(pixels_of(bits, bands, 65535), order)
    data = tiff((3, 1), 16, interpretation, strip, order=order, **tags)
    assert decoded(data) == [[[0] * 3, [128] * 3, [255] * 3]]
    assert note_of(data) == ("" if bits == 16 else f"{bits}-bit levels")


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_decode_image_keeps_12_bits_in_a_compressed_tiff(compression):
    pixels = np.array([[0, 2048, 4095]], np.uint16)
    assert decoded(file_of(pixels, "TIFF", compression=compression)) == [[[0] * 3, [128] * 3, [255] * 3]]


@pytest.mark.parametrize("bits", GRAY)
@pytest.mark.parametrize(("kind", "bands"), [(5, 1), (6, 3), (2, 1), (3, 3)])
def test_decode_image_keeps_levels_of_any_bits_in_a_pnm(bits, kind, bands):
    levels = pixels_of(bits, bands, 0)
    content = packed(levels) if kind > 3 else " ".join(map(str, levels)).encode()
    data = b"P%d 3 1 65535\n%b" % (kind, content)
    assert decoded(data) == [[[0] * 3, [128] * 3, [255] * 3]]
    assert note_of(data) == ("" if bits == 16 else f"{bits}-bit levels")


@pytest.mark.parametrize(("color", "bands"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_decode_image_keeps_12_bits_in_an_interlaced_png(color, bands):
    colors, alpha = (bands, []) if bands % 2 else (bands - 1, [65535])
    rows = b"".join(b"\0" + packed([level] * colors + alpha) for level in (4095, 2048))  # the first and the sixth pass
    data = png((2, 1), 16, color, rows)
    header = data[16:28] + b"\1"
    assert decoded(data[:8] + chunk(b"IHDR", header) + data[33:]) == [[[255] * 3, [128] * 3]]


def test_decode_image_keeps_256_levels_of_12_bits():
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for kind in ("PNG", "TIFF", "PPM"):
        result = decode_image(file_of(pixels, kind), mode="L", min_side=32, max_pixels=10**6)
        assert np.array_equal(result, pixels // 16), kind


# ---- what the files declare ----


@pytest.mark.parametrize(
    ("bits", "levels", "expected", "note"),
    [
        (12, (0, 1000, 512), [0, 62, 32], "12-bit levels"),  # otherwise taken for 10 bits
        (12, (0, 65535, 32768), [0, 255, 128], ""),  # scaled to 16 bits, as PNG demands
        (16, (0, 1000, 512), [0, 3, 2], ""),
    ],
)
def test_decode_image_follows_the_significant_bits_of_a_png(bits, levels, expected, note):
    gray = png((3, 1), 16, 0, b"\0" + packed(levels), chunk(b"sBIT", bytes([bits])))
    assert decoded(gray) == [[[level] * 3 for level in expected]]
    assert note_of(gray) == note
    color = b"".join(packed([level] * 3 + [65535]) for level in levels)
    rgba = png((3, 1), 16, 6, b"\0" + color, chunk(b"sBIT", bytes([bits] * 3 + [16])))
    assert decoded(rgba) == decoded(gray)


@pytest.mark.parametrize(("declared", "expected"), [(4095, 62), (3000, 62), (65535, 3), (0, 250)])
def test_decode_image_follows_the_largest_level_that_a_tiff_declares(declared, expected):
    tags = {"t281": (declared,)} if declared else {}
    data = tiff((2, 1), 16, 1, packed((0, 1000), "<"), **tags)
    assert decoded(data) == [[[0] * 3, [expected] * 3]]


def test_decode_image_does_not_guess_where_a_pgm_declares_its_white():
    assert decoded(b"P5 2 1 4095\n" + packed((0, 1000))) == [[[0] * 3, [62] * 3]]
    assert note_of(b"P5 2 1 4095\n" + packed((0, 1000))) == ""


# ---- transparency ----


def test_decode_image_ignores_levels_under_full_transparency():
    data = png((2, 1), 16, 6, b"\0" + packed((2048, 2048, 2048, 65535, 65535, 65535, 65535, 0)))
    assert decoded(data) == [[[128] * 3, [255] * 3]]
    data = png((2, 1), 16, 4, b"\0" + packed((2048, 65535, 65535, 0)))
    assert decoded(data) == [[[128] * 3, [255] * 3]]


def test_decode_image_takes_12_bit_alpha_for_that():
    data = png((2, 1), 16, 6, b"\0" + packed((0, 0, 0, 4095, 4095, 0, 0, 2048)))
    assert decoded(data) == [[[0] * 3, [255, 127, 127]]]


@pytest.mark.parametrize("color", [0, 2])
def test_decode_image_compares_the_transparent_color_exactly(color):
    bands = 1 if color == 0 else 3
    key = chunk(b"tRNS", packed([2000] * bands))
    data = png((3, 1), 16, color, b"\0" + packed([2000] * bands + [2001] * bands + [0] * bands), key)
    assert decoded(data) == [[[255] * 3, [125] * 3, [0] * 3]]


@pytest.mark.parametrize("order", "<>")
def test_decode_image_inverts_12_bit_gray_whose_0_is_white(order):
    data = tiff((3, 1), 16, 0, packed((0, 2048, 4095), order), order=order)
    assert decoded(data) == [[[255] * 3, [127] * 3, [0] * 3]]


def test_note_says_if_a_few_bright_pixels_make_all_others_dark():
    ramp = np.linspace(0, 4095, 1000).astype(np.uint16)
    assert note(4095, ramp) == "12-bit levels"
    assert note(65535, ramp) == ""  # none is brighter: all of it is dark, which it may be
    for bright, said in ((1, "nearly all of its levels are dark"), (9, "nearly all of its levels are dark"), (10, "")):
        ramp[-bright:] = 65535
        assert note(65535, ramp) == said
