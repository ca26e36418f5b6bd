"""The work on one picture: read, decode, resize, hash, encode."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from config import ImageConfig
from pictures.decoding import load_image
from pictures.duplicates import perceptual_hash
from pictures.manifest import EXCLUDED, KEPT, PENDING, SKIPPED, TRAIN, Picture
from pictures.quality import measure_quality
from pictures.standardize import add_hashes, carry_over, skipped, standardize
from tests.helpers.pictures import write_picture

CONFIG, MAX_PIXELS = ImageConfig(height=16, width=20), 10**6


def listed(path: Path, **changes) -> Picture:
    picture = Picture(stored="ant/a.png.png", class_name="ant", source="ant/a.png", path=str(path))
    return replace(picture, **changes)


def test_standardize_returns_a_kept_row_and_a_png(tmp_path):
    path = write_picture(tmp_path / "a.png", label=0, seed=1)
    pixels = load_image(path.read_bytes(), CONFIG, max_pixels=MAX_PIXELS)
    picture, png = standardize(listed(path), config=CONFIG, max_pixels=MAX_PIXELS)
    assert picture == listed(
        path,
        status=KEPT,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        perceptual_hash=perceptual_hash(pixels),
        pixels=1200,
        width=40,
        height=30,
        format="PNG",
        **measure_quality(pixels)._asdict(),
        stored_sha256=hashlib.sha256(png).hexdigest(),
    )
    assert np.array_equal(load_image(png, CONFIG, max_pixels=MAX_PIXELS), pixels)


def test_standardize_skips_what_cannot_be_read_with_the_reason(tmp_path):
    path = tmp_path / "a.png"
    picture, png = standardize(listed(path), config=CONFIG, max_pixels=MAX_PIXELS)
    assert (picture, png) == (listed(path, stored="", status=SKIPPED, reason="No such file or directory"), b"")
    path.write_bytes(b"")
    picture, _ = standardize(listed(path), config=CONFIG, max_pixels=MAX_PIXELS)
    assert (picture.status, picture.reason) == (SKIPPED, "the file is empty")
    assert picture.sha256 == hashlib.sha256(b"").hexdigest()  # the same content is not tried again


def test_standardize_keeps_no_sha256_of_a_picture_that_is_too_large(tmp_path):
    path = write_picture(tmp_path / "a.png", label=0, seed=1)
    picture, png = standardize(listed(path), config=CONFIG, max_pixels=1000)
    assert (picture.status, picture.sha256, png) == (SKIPPED, "", b"")  # tried again, since the limit may change
    assert picture.reason == "has 40 × 30 pixels, more than --max_megapixels 0.001"


def test_add_hashes_does_nothing_to_a_picture_that_cannot_be_read(tmp_path):
    path = write_picture(tmp_path / "a.png", label=0, seed=1)
    picture = listed(path, status=KEPT)
    hashed = add_hashes(picture, config=CONFIG, max_pixels=MAX_PIXELS)
    assert hashed.sha256 == hashed.stored_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (hashed.pixels, hashed.width, hashed.height, hashed.format) == (1200, 40, 30, "PNG")
    assert hashed.brightness > 0
    assert hashed.perceptual_hash == perceptual_hash(load_image(path.read_bytes(), CONFIG, max_pixels=MAX_PIXELS))
    path.write_bytes(b"damaged")
    assert add_hashes(picture, config=CONFIG, max_pixels=MAX_PIXELS) == picture
    assert add_hashes(listed(path), config=CONFIG, max_pixels=MAX_PIXELS) == listed(path)  # not kept


def test_skipped_has_no_image_group_and_side():
    kept = listed(Path("a.png"), status=KEPT, group="ant/a.png", split=TRAIN, sha256="ab", remarks="dark")
    assert skipped(kept, "broken") == listed(Path("a.png"), stored="", status=SKIPPED, reason="broken", sha256="ab")


def test_carry_over_decides_exclusion_and_the_side_of_a_copy_again():
    picture = listed(Path("raw/a.png"), status=PENDING)
    excluded = listed(Path("a.png"), stored="", status=EXCLUDED, reason="shows the same", perceptual_hash="ab")
    assert carry_over(excluded, picture) == listed(Path("raw/a.png"), status=KEPT, perceptual_hash="ab")
    kept = listed(Path("a.png"), status=KEPT, group="ant/old.png", split="", perceptual_hash="ab")
    copy = replace(picture, group="ant/new.png", split=TRAIN)
    assert carry_over(kept, copy) == replace(kept, group="ant/new.png", split=TRAIN, path="raw/a.png")
    assert carry_over(kept, picture) == replace(kept, path="raw/a.png")
