"""Decoding of every format and kind: rotated, truncated, damaged, and with headers that declare huge sizes."""

import io
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from config import ImageConfig
from pictures.decoding import ImageTooLarge, UnreadableImage, decode_image, load_image
from tests.helpers.mutations import (
    MAX_PIXELS,
    MIN_SIDE,
    bombs,
    by_pillow,
    chunk,
    file_of,
    judge,
    mutated,
    png,
    samples,
    scene,
    with_checksums,
)
from tests.helpers.processes import with_modules

MUTATIONS = 4100  # a hundred of each sample
SAMPLES = samples()


def decoded(data: bytes, **options) -> np.ndarray:
    return decode_image(data, **{"mode": "RGB", "min_side": MIN_SIDE, "max_pixels": MAX_PIXELS, **options})


# ---- correct pixels ----

MODES = {  # the modes of Pillow that each format can store
    "JPEG": ["L", "RGB", "CMYK"],
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "WEBP": ["L", "RGB", "RGBA"],
    "GIF": ["L", "P"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr", "LAB"],
    "AVIF": ["L", "RGB", "RGBA"],
    "PPM": ["1", "L", "RGB", "I;16"],
    "HEIF": ["L", "RGB", "RGBA"],
}
WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")  # formats with an EXIF block
KINDS = [(kind, mode) for kind, modes in MODES.items() for mode in modes]


def in_mode(pixels: np.ndarray, mode: str) -> Image.Image:
    """Returns a photo in one of Pillow's modes; its opacity falls from left to right."""
    photo = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    if mode == "LAB":
        return Image.fromarray(pixels, "RGB").convert("LAB")
    if mode in ("LA", "RGBA"):
        alpha = np.linspace(255, 0, pixels.shape[1]).round().astype(np.uint8)
        photo.putalpha(Image.fromarray(np.tile(alpha, (pixels.shape[0], 1))))
    return photo.quantize(32) if mode == "P" else photo.convert(mode)


@pytest.mark.parametrize(("kind", "mode"), KINDS)
@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 99), orientation=st.integers(1, 8))
def test_decode_image_agrees_with_pillow_for_any_kind_and_size(kind, mode, height, width, seed, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if kind in WITH_EXIF else {}
    data = file_of(in_mode(scene(height, width, seed), mode), kind, **options)
    result = decoded(data, min_side=300)
    expected = by_pillow(data)
    assert result.dtype == np.uint8
    assert result.shape == expected.shape
    assert np.abs(result - expected).mean() <= 1
    if kind in WITH_EXIF and orientation > 4:
        assert result.shape[:2] == (width, height)


@pytest.mark.parametrize("name", SAMPLES)
def test_decode_image_reads_every_sample(name):
    assert judge(SAMPLES[name]) == "accepted"
    if "large" not in name:
        assert np.abs(decoded(SAMPLES[name]) - by_pillow(SAMPLES[name])).mean() <= 1


def test_decode_image_reads_an_arithmetic_jpeg():
    difference = decoded(SAMPLES["JPEG, arithmetic"]) - scene(16, 24).astype(int)
    assert np.abs(difference).mean() <= 10  # quality 75, with colors at half the resolution


@pytest.mark.parametrize("name", [name for name in SAMPLES if "large" in name])
def test_decode_image_at_a_fraction_of_the_size_gives_the_same_picture(name):
    result = decoded(SAMPLES[name]).astype(int)
    expected = Image.open(io.BytesIO(SAMPLES[name])).resize(result.shape[1::-1], Image.Resampling.BOX)
    assert result.shape == (60, 80, 3)
    assert np.abs(result - np.asarray(expected)).mean() <= 4


# ---- truncated, and with bytes after the end ----


def cuts(size: int) -> list[int]:
    """Returns lengths to truncate a file of this size to: all near its end, and a hundred others."""
    return sorted({*range(max(0, size - 40), size), *range(0, size, -(-size // 100))})


@pytest.mark.parametrize("name", SAMPLES)
def test_decode_image_refuses_a_file_truncated_anywhere(name):
    data, whole, accepted = SAMPLES[name], decoded(SAMPLES[name]), []
    for left in cuts(len(data)):
        if name == "PPM, plain" and left >= len(data) - 4:
            continue  # whether its last number is whole cannot be known
        try:
            pixels = decoded(data[:left])
        except UnreadableImage as error:
            assert str(error).isprintable()
        else:
            assert np.array_equal(pixels, whole), f"{left} of {len(data)} bytes are accepted"
            accepted.append(len(data) - left)
    # Only the end marker, further frames and pages, or comments after the picture may be missing.
    missing = {"GIF": 2, "TIFF, fax": 4}.get(name, len(data) if name in ("GIF, animated", "MPO") else 0)
    assert max(accepted, default=0) <= missing


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("trailer", [b"\0", bytes(5000), b"video of a motion photo " * 50, SAMPLES["JPEG"]])
def test_decode_image_ignores_bytes_after_the_picture(name, trailer):
    assert np.array_equal(decoded(SAMPLES[name] + trailer), decoded(SAMPLES[name]))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith(("JPEG", "PNG"))])
@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
def test_decode_image_refuses_an_interrupted_download_that_was_padded(name, filler):
    data = SAMPLES[name]
    for left in cuts(len(data))[:-1]:
        with pytest.raises(UnreadableImage, match="cannot be decoded|not a picture|only zeros"):
            decoded(data[:left] + filler * (len(data) - left))


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_decode_image_accepts_fill_bytes_before_a_marker_of_a_jpeg(count):
    data = SAMPLES["JPEG"]
    assert data[:3] == b"\xff\xd8\xff"
    assert np.array_equal(decoded(data[:2] + b"\xff" * count + data[2:]), decoded(data))


def test_decode_image_does_not_take_the_end_of_a_thumbnail_for_the_end():
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + SAMPLES["JPEG, gray"]
    data = file_of(scene(), "JPEG", quality=90, exif=exif)
    assert np.array_equal(decoded(data), decoded(SAMPLES["JPEG"]))
    cut = data[: -len(SAMPLES["JPEG"]) // 3] + bytes(9999)
    with Image.open(io.BytesIO(cut)) as image:
        image.load()  # Pillow does not notice
    with pytest.raises(UnreadableImage, match="the file is truncated"):
        decoded(cut)


def test_decode_image_reads_only_the_first_of_many_pages():
    gif = SAMPLES["GIF"][:-1] + b"," + bytes(8)  # announces a second frame that does not follow
    assert np.array_equal(decoded(gif), decoded(SAMPLES["GIF"]))
    pages = file_of(Image.fromarray(scene()), "TIFF", save_all=True, append_images=[Image.fromarray(scene())])
    assert np.array_equal(decoded(pages[: len(pages) * 3 // 5]), decoded(pages))


# ---- damage ----


def chunks_of(png: bytes) -> list[tuple[bytes, int]]:
    """Returns the kind and the position of each chunk."""
    found, position = [], 8
    while position < len(png):
        found.append((png[position + 4 : position + 8], position))
        position += 12 + int.from_bytes(png[position : position + 4])
    return found


def test_decode_image_refuses_a_png_with_any_bit_flipped():
    data = file_of(scene(6, 8), "PNG", pnginfo=None)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnreadableImage, match="cannot be decoded|not a picture"):
            decoded(bytes(damaged))


@pytest.mark.parametrize("name", ["PNG", "PNG, palette", "PNG, alpha", "PNG, 16 bits", "APNG"])
def test_decode_image_refuses_a_wrong_checksum_of_any_png_chunk(name):
    data = SAMPLES[name]
    chunks = chunks_of(data)
    assert {b"IHDR", b"IDAT", b"IEND"} <= {kind for kind, _ in chunks}
    for kind, position in chunks:
        end = position + 8 + int.from_bytes(data[position : position + 4])
        damaged = data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]
        with pytest.raises(UnreadableImage, match=f"wrong checksum of chunk {kind!r}"):
            decoded(damaged)


def test_decode_image_refuses_an_unknown_critical_png_chunk():
    data = SAMPLES["PNG"]
    with pytest.raises(UnreadableImage, match="unknown critical chunk b'IDOT'"):
        decoded(data[:33] + chunk(b"IDOT", b"") + data[33:])
    assert np.array_equal(decoded(data[:33] + chunk(b"iDOT", b"") + data[33:]), decoded(data))


STARTS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0+",
    b"RIFF",
    b"P6 4 4 255 ",
    b"P2 4 4 9 ",
]


@pytest.mark.parametrize("start", [*STARTS, b"\0\0\0\x18ftypheic"])
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(rest=st.binary(max_size=200))
def test_decode_image_refuses_any_bytes_in_one_line(start, rest):
    with pytest.raises(UnreadableImage) as refusal:
        decoded(start + rest)
    assert str(refusal.value).isprintable()


def run_campaign(first: int, count: int, progress: Path) -> Counter:
    """Counts the verdicts on damaged files, judged in another process, which a decoder may crash or block."""
    arguments = [sys.executable, "-m", "tests.helpers.mutations", str(first), str(count), str(progress)]
    result = subprocess.run(arguments, env=with_modules(), capture_output=True, text=True)
    assert result.returncode == 0, f"input {progress.read_text()} crashed: {result.stderr[-1000:]}"
    return Counter({(name, verdict): count for name, verdict, count in json.loads(result.stdout)})


def test_decode_image_never_crashes_and_accepts_only_what_pillow_accepts(tmp_path, record_property):
    verdicts = run_campaign(0, MUTATIONS, tmp_path / "progress")
    totals = Counter()
    for (_, verdict), count in verdicts.items():
        totals[verdict] += count
    print(f"{MUTATIONS} damaged files: {totals['refused']} refused, {totals['accepted']} accepted, as by Pillow")
    record_property("verdicts", dict(totals))
    assert set(totals) == {"accepted", "refused"}, totals
    assert totals.total() == MUTATIONS
    assert totals["refused"] > MUTATIONS / 2


def test_campaign_names_the_input_that_crashes_it(tmp_path, monkeypatch):
    progress = tmp_path / "progress"
    progress.write_text("42")
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **options: subprocess.CompletedProcess(command, -11, "", "Segmentation fault"),
    )
    with pytest.raises(AssertionError, match="input 42 crashed"):
        run_campaign(0, 100, progress)


def test_mutated_is_repeatable_and_changes_the_file():
    data = SAMPLES["JPEG"]
    assert mutated(data, random.Random(5)) == mutated(data, random.Random(5))
    assert sum(mutated(data, random.Random(seed)) != data for seed in range(100)) > 90
    assert bytes(with_checksums(SAMPLES["PNG"])) == SAMPLES["PNG"]


# ---- bombs ----

WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path

import pillow_heif
from PIL import Image

from pictures.decoding import ImageTooLarge, decode_image

Image.init()
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**25,) * 2)  # 32 MB for everything
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode_image(path.read_bytes(), mode="RGB", min_side=32, max_pixels=200_000_000)
    except ImageTooLarge:
        print(path.name)
    except Exception as error:
        sys.exit(f"{path.name}: {error!r}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to limit memory")
def test_decode_image_refuses_bombs_before_it_allocates_memory(tmp_path):
    for name, data in bombs().items():
        assert len(data) < 1000
        (tmp_path / name).write_bytes(data)
    arguments = [sys.executable, "-W", "ignore", "-c", WITH_LITTLE_MEMORY, str(tmp_path)]
    result = subprocess.run(arguments, env=with_modules(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == sorted(bombs())


@pytest.mark.parametrize("name", bombs())
def test_load_image_says_how_many_pixels_a_bomb_declares(name):
    with pytest.raises(ImageTooLarge, match=r"^has \d+( × \d+)? pixels, more than --max_megapixels 200$"):
        load_image(bombs()[name], ImageConfig(), max_pixels=200_000_000)


@pytest.mark.parametrize("name", SAMPLES)
def test_decode_image_allows_exactly_max_pixels(name):
    if name.startswith("HEIC"):
        width, height = 64, 64  # what is decoded, of which 40 × 32 are shown
    else:
        with Image.open(io.BytesIO(SAMPLES[name])) as image:
            width, height = image.size
    assert decoded(SAMPLES[name], max_pixels=width * height).size
    with pytest.raises(ImageTooLarge, match=f"^has {width} × {height} pixels, more than --max_megapixels 0"):
        decoded(SAMPLES[name], max_pixels=width * height - 1)


def test_decode_image_allows_more_pixels_than_pillow_by_default():
    # 196 million pixels: more than what Pillow warns of, which is an error here, and what it refuses.
    data = png((14_000, 14_000), 1, 0, bytes(14_000 * 1751))
    assert decode_image(data, mode="L", min_side=32, max_pixels=196_000_000).shape == (14_000, 14_000)
    with pytest.raises(ImageTooLarge, match="^has 14000 × 14000 pixels, more than --max_megapixels 195.99$"):
        decode_image(data, mode="L", min_side=32, max_pixels=195_990_000)


def test_decode_image_ignores_more_pixels_than_the_header_declares():
    whole = png((16, 16), 8, 0, bytes(16 * 17))
    more = png((16, 16), 8, 0, bytes(50_000_000))
    assert np.array_equal(decoded(more), decoded(whole))


@pytest.mark.parametrize("size", [(70_000, 1), (1, 70_000), (2, 500_000)])
def test_load_image_accepts_extreme_proportions(size):
    data = png(size, 8, 0, (b"\0" + b"\x4d" * size[0]) * size[1])
    config = ImageConfig(height=16, width=24, color_channels=1)
    np.testing.assert_array_equal(load_image(data, config, max_pixels=10**6), np.full(config.shape, 77))


def test_header_that_is_cut_off_is_called_truncated():
    with pytest.raises(UnreadableImage, match="^cannot be decoded: the file is truncated$"):
        decoded(b"GIF89a")


def test_decode_image_names_the_size_that_a_large_png_declares():
    with pytest.raises(ImageTooLarge, match="^has 20000 × 20000 pixels, more than --max_megapixels 100$"):
        decode_image(png((20_000, 20_000), 1, 0, b""), mode="L", min_side=32, max_pixels=100_000_000)
