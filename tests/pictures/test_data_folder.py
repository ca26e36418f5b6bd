"""`data/`: whether this toolkit made it, and reading its images. Updates: test_preprocessing.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from config import PictureConfig
from pictures.data_folder import has_foreign_data, read_pixels, read_stored, sha256_of
from pictures.decoding import UnreadableImage, encode_png
from pictures.folders import read_image
from pictures.manifest import KEPT, Picture
from system.errors import UserError
from tests.helpers.pictures import write_picture


def test_has_foreign_data_is_true_for_files_without_a_manifest(tmp_path):
    data = tmp_path / "data"
    assert not has_foreign_data(data)
    (data / "ant").mkdir(parents=True)
    (data / ".lock").touch()
    assert not has_foreign_data(data)
    write_picture(data / "ant" / "a.png", label=0, seed=1)
    assert has_foreign_data(data)
    (data / "manifest.csv").touch()
    assert not has_foreign_data(data)


def test_read_pixels_prefers_the_image_in_data(settings_for, tmp_path):
    config = settings_for(PictureConfig)
    path = write_picture(tmp_path / "rawdata" / "ant" / "a.jpg", label=0, seed=1)
    picture = Picture(stored="ant/a.jpg.png", class_name="ant", source="ant/a.jpg", path=str(path), status=KEPT)
    original = read_pixels(picture, config)
    assert np.array_equal(original, read_image(path, config, max_pixels=config.max_pixels))
    write_picture(Path(config.data_path, "ant", "a.jpg.png"), label=1, seed=2)
    assert not np.array_equal(read_pixels(picture, config), original)


def test_read_pixels_names_an_image_that_is_damaged(settings_for):
    config = settings_for(PictureConfig)
    path = write_picture(Path(config.data_path, "ant", "a.jpg.png"), label=0, seed=1)
    path.write_bytes(b"")
    picture = Picture(stored="ant/a.jpg.png", class_name="ant", source="ant/a.jpg", path="gone.jpg", status=KEPT)
    with pytest.raises(UserError) as refusal:
        read_pixels(picture, config)
    assert str(refusal.value) == f"cannot read {path} (the file is empty); delete it and run this again"


def test_sha256_of_a_file_that_cannot_be_read_is_empty(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    assert (sha256_of(tmp_path / "missing"), sha256_of(tmp_path)) == ("", "")


def test_read_stored_refuses_an_image_that_has_changed(settings_for):
    """Whether the toolkit has made it, and its hash is that of another file, or the user has."""
    config = settings_for(PictureConfig)
    path = write_picture(Path(config.data_path, "ant", "a.png"), label=0, seed=1)
    image = read_image(path, config, max_pixels=config.max_pixels)
    path.write_bytes(encode_png(image))
    sha256 = sha256_of(path)
    picture = Picture(stored="ant/a.png", class_name="ant", source="ant/a.png", path="a.png", stored_sha256=sha256)
    pictures = [replace(picture, sha256=sha256_of_file) for sha256_of_file in ("0" * 64, sha256)]
    for picture in pictures:
        assert np.array_equal(read_stored(picture, config), image)
    write_picture(path, label=1, seed=1)
    for picture in pictures:
        with pytest.raises(UnreadableImage, match="^has changed since this run began$"):
            read_stored(picture, config)
    assert read_stored(replace(picture, stored_sha256=""), config).shape == config.shape
