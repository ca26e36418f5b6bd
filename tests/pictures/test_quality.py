"""Measures of images, computed by hand."""

import cv2
import numpy as np
import pytest

from pictures.quality import Quality, measure_quality


def gray(rows) -> np.ndarray:
    return np.array(rows, np.uint8)[..., None]


def test_measure_quality_of_one_level():
    assert measure_quality(np.full((4, 4, 1), 100, np.uint8)) == Quality(100, 100, 100, 0, 0, 0)


def test_measure_quality_of_an_edge():
    # In each row the Laplacian is 0, 200, -200, 0, and the gradient 0, 200, 0: squared, 80,000 and 40,000.
    expected = Quality(brightness=100, shadows=0, highlights=200, contrast=100, colorfulness=0, sharpness=2)
    assert measure_quality(gray([[0, 0, 200, 200]] * 4)) == expected


def test_sharpness_does_not_depend_on_contrast():
    assert measure_quality(gray([[90, 90, 110, 110]] * 4)).sharpness == 2


def test_sharpness_of_rounded_levels_is_small():
    assert measure_quality(gray([[7, 7, 8, 8]] * 4)).sharpness == 0.5  # 8 by 16, the number of pixels, and not by 4


def test_sharpness_of_a_ramp_is_that_of_its_ends():
    # The levels are mirrored at the border: the Laplacian is 20, 0, 0, -20, and the gradient 10, 10, 10.
    assert measure_quality(gray([[0, 10, 20, 30]] * 4)).sharpness == 2.667


@pytest.mark.parametrize("sigma", [1.5, 2, 3])
def test_sharpness_tells_the_blur_of_an_edge(sigma):
    edge = np.full((100, 100), 20, np.uint8)
    edge[:, 50:] = 220
    blurred = cv2.GaussianBlur(edge, (0, 0), sigma)[..., None]
    assert measure_quality(blurred).sharpness == pytest.approx(1 / (2 * sigma**2), rel=0.1)


@pytest.mark.parametrize(("dark", "shadows"), [(4, 100), (5, 0)])
def test_shadows_are_the_level_of_one_in_twenty_pixels(dark, shadows):
    levels = np.full(100, 100, np.uint8)
    levels[:dark] = 0
    assert measure_quality(levels.reshape(10, 10, 1)).shadows == shadows


@pytest.mark.parametrize(("bright", "highlights"), [(1, 100), (2, 250)])
def test_highlights_leave_out_one_in_a_hundred_pixels(bright, highlights):
    levels = np.full(100, 100, np.uint8)
    levels[:bright] = 250
    assert measure_quality(levels.reshape(10, 10, 1)).highlights == highlights


def test_measure_quality_of_colors():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, 2:] = (0, 0, 200)  # blue, whose luma is 0.114 × 200, rounded: 23
    quality = measure_quality(image)
    assert (quality.brightness, quality.highlights) == (11.5, 23)
    assert quality.contrast == 100  # of the blue channel
    assert quality.colorfulness == 100  # 0 and 200
