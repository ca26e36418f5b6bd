"""From pixels in memory to the image that a network reads."""

import numpy as np
import pytest

from config import ImageConfig
from pictures.arrays import picture_from_array
from pictures.decoding import load_picture
from tests.helpers.mutations import file_of, scene

SCENE = scene(60, 90)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("array", [SCENE, SCENE[..., 0], SCENE[::-1, ::2], np.zeros((40, 20, 3), np.uint8)])
def test_picture_from_array_is_that_of_a_png_file_with_its_pixels(array, channels):
    config = ImageConfig(height=32, width=48, color_channels=channels)
    before = array.copy()
    picture = picture_from_array(array, config)
    stored = load_picture(file_of(array), config, max_pixels=10**6)
    assert picture.image.dtype == np.uint8
    assert picture.image.shape == (32, 48, channels)
    assert np.array_equal(picture.image, stored.image)
    assert (picture.pixels, picture.note) == (stored.pixels, stored.note)
    assert np.array_equal(array, before)


def test_picture_from_array_takes_gray_with_and_without_a_last_axis():
    config = ImageConfig(height=32, width=48)
    gray = SCENE[..., :1]
    assert np.array_equal(picture_from_array(gray, config).image, picture_from_array(gray[..., 0], config).image)


def test_picture_from_array_tells_what_is_blank():
    assert picture_from_array(np.zeros((40, 40), np.uint8), ImageConfig()).note.startswith("blank: ")
    assert picture_from_array(SCENE, ImageConfig()).note == ""


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((4, 5, 3), np.float32), "float32 (4, 5, 3)"),
        (np.zeros((4, 5, 3), np.int8), "int8 (4, 5, 3)"),
        (np.zeros((4, 5, 4), np.uint8), "uint8 (4, 5, 4)"),
        (np.zeros((2, 4, 5, 3), np.uint8), "uint8 (2, 4, 5, 3)"),
        (np.zeros(5, np.uint8), "uint8 (5,)"),
        (np.zeros((0, 5, 3), np.uint8), "uint8 (0, 5, 3)"),
    ],
)
def test_picture_from_array_says_what_it_received(array, received):
    with pytest.raises(ValueError, match="expected a uint8 array") as error:
        picture_from_array(array, ImageConfig())
    assert str(error.value).endswith(f", received {received}")
