"""The gaussian distortion: the same as Augmentor's, pixel by pixel."""

import numpy as np
import pytest
from Augmentor import Operations
from PIL import Image

from pictures.distortion import GaussianDistortion, bell_weight


@pytest.mark.parametrize(
    ("size", "columns", "rows", "magnitude"),
    [((60, 90), 7, 6, 6), ((101, 53), 2, 3, 30), ((40, 40), 16, 16, 6)],
)
def test_gaussian_distortion_is_the_one_of_augmentor(size, columns, rows, magnitude):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    bell = {"corner": "bell", "method": "in", "mex": 0.5, "mey": 0.5, "sdx": 0.05, "sdy": 0.05}
    theirs = Operations.GaussianDistortion(1, columns, rows, magnitude, **bell)
    ours = GaussianDistortion(probability=1, grid_width=columns, grid_height=rows, magnitude=magnitude)
    results = []
    for operation in (theirs, ours):
        np.random.seed(3)
        results.append(np.asarray(operation.perform_operation([image])[0]))
    np.testing.assert_array_equal(*results)
    assert not np.array_equal(results[0], np.asarray(image))


def test_gaussian_distortion_shifts_the_middle_and_hardly_the_edges():
    # A ramp from left to right: a shift by one pixel changes a pixel by one level.
    ramp = np.arange(250, dtype=np.uint8)[None, :, None].repeat(250, 0).repeat(3, 2)
    operation = GaussianDistortion(probability=1, grid_width=7, grid_height=6, magnitude=6)
    np.random.seed(1)
    results = [np.asarray(operation.perform_operation([Image.fromarray(ramp)])[0]).astype(int) for _ in range(8)]
    shift = np.abs(np.stack(results) - ramp)[..., 0].mean(axis=0)
    assert 1 < shift[75:175, 75:175].mean() < 10
    assert shift[:20, 30:-30].mean() < shift[75:175, 75:175].mean() / 3


def test_bell_weight_is_1_in_the_middle_and_never_below_0_01():
    assert bell_weight(0.5, 0.5) == pytest.approx(1, abs=0.01)
    assert bell_weight(0, 0) == bell_weight(1, 0.5) == 0.01
    assert bell_weight(0.3, 0.6) == pytest.approx(bell_weight(0.7, 0.4))
