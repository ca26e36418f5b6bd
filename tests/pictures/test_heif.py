"""HEIC files."""

import io
import struct
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from config import ImageConfig
from pictures.decoding import ImageTooLarge, UnreadableImage, decode_image, load_picture
from pictures.heif import declared_size, is_avif, is_heif
from tests.helpers.mutations import file_of, scene
from tests.helpers.pictures import ROOT


def decoded(data: bytes, mode: str = "RGB") -> np.ndarray:
    return decode_image(data, mode=mode, min_side=32, max_pixels=10**6).astype(int)


def photo(height: int = 64, width: int = 80) -> Image.Image:
    return Image.fromarray(scene(height, width))


@pytest.mark.parametrize("options", [{}, {"tile_size": 64}, {"chroma": 444}], ids=["", "grid", "full color"])
def test_decode_image_reads_heic(options):
    data = file_of(photo(150, 200), "HEIF", quality=95, **options)
    assert np.abs(decoded(data) - scene(150, 200)).mean() < 6
    picture = load_picture(data, ImageConfig(), max_pixels=10**6)
    assert (picture.pixels, picture.note) == (150 * 200, "")


def test_decode_image_reads_heic_with_alpha():
    image = photo()
    image.putalpha(Image.fromarray(np.tile(np.uint8([0] * 40 + [255] * 40), (64, 1))))
    result = decoded(file_of(image, "HEIF", quality=95))
    assert (result[:, :36] > 250).all()
    assert np.abs(result[:, 44:] - scene(64, 80)[:, 44:]).mean() < 6


@pytest.mark.parametrize(("mode", "channels"), [("I;16", 1), ("RGB;16", 3)])
def test_decode_image_reads_heic_of_10_bits(mode, channels):
    levels = scene(64, 80)[..., :channels].astype(np.uint16) * 257
    file, data = pillow_heif.from_bytes(mode, (80, 64), levels.tobytes()), io.BytesIO()
    file.save(data, quality=95)
    assert pillow_heif.open_heif(data).info["bit_depth"] == 10
    assert np.abs(decoded(data.getvalue()) - scene(64, 80)[..., :channels]).mean() < 6


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_decode_image_rotates_heic_upright_once(orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # pillow-heif writes it as a property of the image too.
    result = decoded(file_of(photo(), "HEIF", quality=95, exif=exif.tobytes()))
    assert result.shape[:2] == ((64, 80) if turns % 2 == 0 else (80, 64))
    assert np.abs(result - np.rot90(scene(64, 80), turns)).mean() < 6


def test_load_picture_knows_the_size_and_the_camera_of_a_heic():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Apple", "iPhone 12"
    data = file_of(photo(), "HEIF", quality=95, exif=exif.tobytes())
    picture = load_picture(data, ImageConfig(), max_pixels=10**6)
    assert (picture.size, picture.format, picture.camera) == ((64, 80), "HEIF", "Apple iPhone 12")


def test_load_picture_notes_further_images_of_a_heic():
    file, stream = pillow_heif.from_pillow(photo()), io.BytesIO()
    file.add_from_pillow(Image.fromarray(scene(64, 80, 1)))
    file.save(stream, quality=95)
    data = stream.getvalue()
    assert load_picture(data, ImageConfig(), max_pixels=10**6).note == "only the main one of its images is used"
    assert np.abs(decoded(data) - scene(64, 80)).mean() < 10


@pytest.mark.parametrize("name", ["heic", "heix", "mif1", "msf1", "hevc"])
def test_is_heif_knows_the_brands(name):
    other = struct.pack(">I4s4sI4s", 20, b"ftyp", name.encode(), 0, b"mif1")
    assert is_heif(other) and not is_avif(other)
    av1 = struct.pack(">I4s4sI4s", 20, b"ftyp", name.encode(), 0, b"avif")
    assert is_avif(av1) and not is_heif(av1)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x18ftyp", file_of(photo(), "AVIF"), b"\0\0\0\x14ftypisom\0\0\0\0mp42"])
def test_is_heif_does_not_take_other_files_for_heif(data):
    assert not is_heif(data)


def test_declared_size_is_that_of_the_largest_image():
    data = file_of(photo(150, 200), "HEIF", tile_size=64)
    assert declared_size(data) == (200, 150)
    assert declared_size(b"") == (0, 0)


def test_decode_image_checks_the_size_of_a_heic_before_it_decodes():
    data = file_of(photo(128, 192), "HEIF")
    assert decode_image(data, mode="L", min_side=32, max_pixels=128 * 192).shape == (128, 192)
    with pytest.raises(ImageTooLarge, match="^has 192 × 128 pixels"):
        decode_image(data, mode="L", min_side=32, max_pixels=128 * 192 - 1)


@pytest.mark.parametrize("options", [{}, {"tile_size": 64}], ids=["one image", "grid"])
def test_decode_image_refuses_a_truncated_heic(options):
    # libheif would show the missing parts of a grid, as phones write it, as green.
    data = file_of(photo(256, 256), "HEIF", **options)
    for left in range(100, len(data), len(data) // 50):
        with pytest.raises(UnreadableImage, match="cannot be decoded"):
            decoded(data[:left])
    assert np.array_equal(decoded(data + b"video of a motion photo" * 99), decoded(data))
    assert np.array_equal(decoded(data + bytes(99)), decoded(data))


def test_decode_image_names_heic_where_its_decoder_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(UnreadableImage, match="^is a HEIC picture, which needs the package pillow-heif: pip install"):
        decoded(struct.pack(">I4s4sI", 16, b"ftyp", b"heic", 0))


def test_heif_decoder_is_imported_only_for_heic():
    code = """
import sys
from pathlib import Path
from pictures.decoding import decode_image

data = next(Path("samples/unseen").glob("*.jpg")).read_bytes()
decode_image(data, mode="L", min_side=9, max_pixels=10**8)
assert "pillow_heif" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
