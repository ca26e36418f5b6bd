"""Pictures as they are found: every format and kind, turned, damaged, cut off, and made to burst a machine."""

import io
import json
import os
import random
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import MOST_MEGAPIXELS, bombs, by_pillow, chunk, file_of, judge, mended, mutated, png, samples, scene
from PIL import Image

from pictures import TooLarge, decode_image, standard_image

FUZZED = 3100  # inputs, a hundred of each sample
SAMPLES = samples()


def decoded(data: bytes, **options) -> np.ndarray:
    return decode_image(data, **{"mode": "RGB", "least": 32, "max_megapixels": MOST_MEGAPIXELS, **options})


# ---- what is accepted is right ----

MODES = {  # of Pillow, that each format can store
    "JPEG": ["L", "RGB", "CMYK"],
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "WEBP": ["L", "RGB", "RGBA"],
    "GIF": ["L", "P"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr", "LAB"],
    "AVIF": ["L", "RGB", "RGBA"],
}
TURNED = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")  # formats with an EXIF block
KINDS = [(kind, mode) for kind, modes in MODES.items() for mode in modes]


def in_mode(pixels: np.ndarray, mode: str) -> Image.Image:
    """A photograph in one of Pillow's modes; its transparency falls from left to right."""
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
def test_pictures_of_any_kind_and_size_are_what_pillow_shows(kind, mode, height, width, seed, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if kind in TURNED else {}
    data = file_of(in_mode(scene(height, width, seed), mode), kind, **options)
    result = decoded(data, least=300)
    expected = by_pillow(data)
    assert result.dtype == np.uint8
    assert result.shape == expected.shape
    assert np.abs(result - expected).mean() <= 1
    if kind in TURNED and orientation > 4:
        assert result.shape[:2] == (width, height)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_decoded(name):
    assert judge(SAMPLES[name]) == "accepted"
    if "large" not in name:
        assert np.abs(decoded(SAMPLES[name]) - by_pillow(SAMPLES[name])).mean() <= 1


def test_an_arithmetic_jpeg_is_the_picture_it_was_made_of():
    assert (
        np.abs(decoded(SAMPLES["JPEG, arithmetic"]) - scene(16, 24).astype(int)).mean() <= 10
    )  # quality 75, and soft colours


@pytest.mark.parametrize("name", [name for name in SAMPLES if "large" in name])
def test_a_jpeg_decoded_at_a_fraction_of_its_size_is_the_same_picture(name):
    result = decoded(SAMPLES[name]).astype(int)
    expected = Image.open(io.BytesIO(SAMPLES[name])).resize(result.shape[1::-1], Image.Resampling.BOX)
    assert result.shape == (60, 80, 3)
    assert np.abs(result - np.asarray(expected)).mean() <= 4


# ---- cut off, and with something behind ----


def cuts(size: int) -> list[int]:
    """How many bytes to leave of so many: all but the last few, and a hundred lengths before."""
    return sorted({*range(max(0, size - 40), size), *range(0, size, -(-size // 100))})


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_cut_off_anywhere_is_refused_or_whole(name):
    data, whole, accepted = SAMPLES[name], decoded(SAMPLES[name]), []
    for left in cuts(len(data)):
        try:
            pixels = decoded(data[:left])
        except ValueError as error:
            assert str(error).isprintable()
        else:
            assert np.array_equal(pixels, whole), f"{left} of {len(data)} bytes are taken for the picture"
            accepted.append(len(data) - left)
    # Only the mark of the end, further pages and pictures, or remarks behind the picture may be missing.
    least = {"GIF": 2, "TIFF, fax": 4}.get(name, len(data) if name in ("GIF, animated", "MPO") else 0)
    assert max(accepted, default=0) <= least


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("trailer", [b"\0", bytes(5000), b"a motion photo's film " * 50, SAMPLES["JPEG"]])
def test_what_lies_behind_a_whole_picture_is_passed_over(name, trailer):
    assert np.array_equal(decoded(SAMPLES[name] + trailer), decoded(SAMPLES[name]))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith(("JPEG", "PNG"))])
@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
def test_a_download_that_broke_off_and_was_filled_up_is_refused(name, filler):
    data = SAMPLES[name]
    for left in cuts(len(data))[:-1]:
        with pytest.raises(ValueError, match="cannot be decoded|not a picture"):
            decoded(data[:left] + filler * (len(data) - left))


def test_the_end_of_a_thumbnail_is_not_taken_for_that_of_the_photograph():
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + SAMPLES["JPEG, grey"]
    data = file_of(scene(), "JPEG", quality=90, exif=exif)
    assert np.array_equal(decoded(data), decoded(SAMPLES["JPEG"]))
    cut = data[: -len(SAMPLES["JPEG"]) // 3] + bytes(9999)
    with Image.open(io.BytesIO(cut)) as image:
        image.load()  # which sees nothing amiss
    with pytest.raises(ValueError, match="the file is truncated"):
        decoded(cut)


def test_of_many_pages_only_the_first_is_looked_at():
    gif = SAMPLES["GIF"][:-1] + b"," + bytes(8)  # where a second picture begins, but none follows
    assert np.array_equal(decoded(gif), decoded(SAMPLES["GIF"]))
    pages = file_of(Image.fromarray(scene()), "TIFF", save_all=True, append_images=[Image.fromarray(scene())])
    assert np.array_equal(decoded(pages[: len(pages) * 3 // 5]), decoded(pages))


# ---- damage ----


def chunks_of(png: bytes) -> list[tuple[bytes, int]]:
    """Kind and position of each chunk."""
    found, position = [], 8
    while position < len(png):
        found.append((png[position + 4 : position + 8], position))
        position += 12 + int.from_bytes(png[position : position + 4])
    return found


def test_a_png_with_any_one_bit_flipped_is_refused():
    data = file_of(scene(6, 8), "PNG", pnginfo=None)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="cannot be decoded|not a picture"):
            decoded(bytes(damaged))


@pytest.mark.parametrize("name", ["PNG", "PNG, palette", "PNG, alpha", "PNG, 16 bits", "APNG"])
def test_a_png_with_a_wrong_checksum_in_any_chunk_is_refused(name):
    data = SAMPLES[name]
    chunks = chunks_of(data)
    assert {b"IHDR", b"IDAT", b"IEND"} <= {kind for kind, _ in chunks}
    for kind, position in chunks:
        end = position + 8 + int.from_bytes(data[position : position + 4])
        damaged = data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]
        with pytest.raises(ValueError, match=f"wrong checksum of chunk {kind!r}"):
            decoded(damaged)


def test_a_png_with_an_essential_chunk_that_is_unknown_is_refused():
    data = SAMPLES["PNG"]
    with pytest.raises(ValueError, match="unknown chunk b'IDOT'"):
        decoded(data[:33] + chunk(b"IDOT", b"") + data[33:])
    assert np.array_equal(decoded(data[:33] + chunk(b"iDOT", b"") + data[33:]), decoded(data))


@pytest.mark.parametrize("start", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF"])
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(rest=st.binary(max_size=200))
def test_any_bytes_at_all_are_refused_in_one_line(start, rest):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - of any kind
        decoded(start + rest)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",  # whose decoder would start Ghostscript
        b"P6 1 1 255\nabc",
        b"\0\0\1\0\1\0\1\1\0\0\1\0\x18\0\x30\0\0\0\x16\0\0\0" + bytes(48),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    ],
    ids=["EPS", "PPM", "ICO", "SVG", "PDF", "HEIC"],
)
def test_other_formats_are_refused(data):
    with pytest.raises(ValueError, match="not a picture, or of an unknown format"):
        decoded(data)


def run_campaign(first: int, count: int, progress: Path) -> Counter:
    """Judges damaged files in another process, which a decoder may crash or block."""
    script = Path(__file__).with_name("mutations.py")
    arguments = [sys.executable, str(script), str(first), str(count), str(progress)]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, f"input {progress.read_text()} crashed: {result.stderr[-1000:]}"
    return Counter({(name, verdict): times for name, verdict, times in json.loads(result.stdout)})


def test_damaged_files_crash_nothing_and_none_is_accepted_that_pillow_refuses(tmp_path, record_property):
    verdicts = run_campaign(0, FUZZED, tmp_path / "progress")
    totals = Counter()
    for (_, verdict), times in verdicts.items():
        totals[verdict] += times
    print(f"{FUZZED} damaged files: {totals['refused']} refused, {totals['accepted']} accepted as Pillow does")
    record_property("verdicts", dict(totals))
    assert set(totals) == {"accepted", "refused"}, totals
    assert totals.total() == FUZZED
    assert totals["refused"] > FUZZED / 2


def test_a_crash_names_the_input(tmp_path, monkeypatch):
    progress = tmp_path / "progress"
    progress.write_text("42")
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **options: subprocess.CompletedProcess(command, -11, "", "Segmentation fault"),
    )
    with pytest.raises(AssertionError, match="input 42 crashed"):
        run_campaign(0, 100, progress)


def test_damage_is_repeatable_and_is_damage():
    data = SAMPLES["JPEG"]
    assert mutated(data, random.Random(5)) == mutated(data, random.Random(5))
    assert sum(mutated(data, random.Random(seed)) != data for seed in range(100)) > 90
    assert bytes(mended(SAMPLES["PNG"])) == SAMPLES["PNG"]


# ---- bombs ----

NO_ROOM = """
import resource, sys
from pathlib import Path

from PIL import Image

from pictures import TooLarge, decode_image

Image.init()
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**25,) * 2)  # 32 MB for everything
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode_image(path.read_bytes(), mode="RGB", least=32, max_megapixels=200)
    except TooLarge as error:
        print(path.name)
    except Exception as error:
        sys.exit(f"{path.name}: {error!r}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by /proc")
def test_bombs_are_refused_before_anything_is_allocated_for_them(tmp_path):
    for name, data in bombs().items():
        assert len(data) < 1000
        (tmp_path / name).write_bytes(data)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    arguments = [sys.executable, "-W", "ignore", "-c", NO_ROOM, str(tmp_path)]
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == sorted(bombs())


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_named_as_one(name):
    with pytest.raises(TooLarge, match=r"^has \d+( × \d+)? pixels, more than --max_megapixels 200$"):
        standard_image(bombs()[name], height=16, width=16, color_channels=3, max_megapixels=200)


@pytest.mark.parametrize("name", SAMPLES)
def test_of_megapixels_exactly_so_many_are_allowed(name):
    with Image.open(io.BytesIO(SAMPLES[name])) as image:
        width, height = image.size
    megapixels = width * height / 10**6
    assert decoded(SAMPLES[name], max_megapixels=megapixels).size
    with pytest.raises(TooLarge, match=f"^has {width} × {height} pixels, more than --max_megapixels 0"):
        decoded(SAMPLES[name], max_megapixels=megapixels - 1e-6)


def test_a_limit_above_that_of_pillow_itself_counts():
    # 196 million pixels, 1.5 kB a million: above what Pillow warns of, which is an error here, and what it refuses.
    data = png((14_000, 14_000), 1, 0, bytes(14_000 * 1751))
    assert decode_image(data, mode="L", least=32, max_megapixels=196).shape == (14_000, 14_000)
    with pytest.raises(TooLarge, match="^has 14000 × 14000 pixels, more than --max_megapixels 195.99$"):
        decode_image(data, mode="L", least=32, max_megapixels=195.99)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_remarks_and_profiles_that_swell_up_are_refused(kind):
    data = SAMPLES["PNG"]
    swollen = chunk(kind, b"name\0\0" + zlib.compress(bytes(50_000_000)))
    with pytest.raises(ValueError, match="too large"):
        decoded(data[:33] + swollen + data[33:])


def test_more_pixels_than_a_header_declares_are_not_decoded():
    whole = png((16, 16), 8, 0, bytes(16 * 17))
    more = png((16, 16), 8, 0, bytes(50_000_000))
    assert np.array_equal(decoded(more), decoded(whole))


@pytest.mark.parametrize("size", [(70_000, 1), (1, 70_000), (2, 500_000)])
def test_pictures_of_extreme_proportions_are_standardised(size):
    data = png(size, 8, 0, (b"\0" + b"\x4d" * size[0]) * size[1])
    assert (standard_image(data, height=16, width=24, color_channels=1, max_megapixels=1) == 77).all()
