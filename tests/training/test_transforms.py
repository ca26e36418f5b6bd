"""Random transforms, each by itself and all together.

A "map" is an image whose first two channels encode the position of a pixel: 7 levels per pixel, from left to right in
the first, from top to bottom in the second. In a transformed map they show where each pixel was taken from.
"""

import numpy as np
import pytest

from training.transforms import mix, transform_batch

OFF = {"mirror": False, "shift": 0.0, "rotation": 0.0, "zoom": 0.0, "contrast": 0.0}
ALL = {"mirror": True, "shift": 0.1, "rotation": 10.0, "zoom": 0.15, "contrast": 0.2}
LEVELS, HEIGHT, WIDTH = 7, 25, 35


def transform(images: np.ndarray, *, seed: int = 1, step: int = 0, **changes) -> np.ndarray:
    options = {**OFF, **changes}
    return transform_batch(images, rng=np.random.default_rng([seed, step]), **options)


def noise(count: int, height: int = 17, width: int = 31, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8)


def flat(count: int, level: int) -> np.ndarray:
    return np.full((count, 16, 20, 3), level, np.uint8)


def maps(count: int) -> np.ndarray:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    one = np.stack([across * LEVELS, down * LEVELS, down * 0], axis=-1).astype(np.uint8)
    return np.repeat(one[None], count, axis=0)


def taken_from(changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the pixels around the middle were taken from, relative to it: x and y, (batch, 9, 9) each."""
    rows, columns = slice(HEIGHT // 2 - 4, HEIGHT // 2 + 5), slice(WIDTH // 2 - 4, WIDTH // 2 + 5)
    middle = changed[:, rows, columns].astype(float) / LEVELS
    return middle[..., 0] - WIDTH // 2, middle[..., 1] - HEIGHT // 2


RIGHT, BELOW = np.meshgrid(np.arange(-4, 5), np.arange(-4, 5))
NEAR = 1.5 / LEVELS  # pixels; levels are integers


def test_no_transform_changes_no_bit():
    for images in (noise(5), noise(5, height=16, width=16, channels=1)):
        np.testing.assert_array_equal(transform(images), images)


def test_mirror_flips_about_half_of_the_images():
    images = noise(64)
    mirrored = 0
    for before, after in zip(images, transform(images, mirror=True), strict=True):
        if np.array_equal(after, before[:, ::-1]):
            mirrored += 1
        else:
            np.testing.assert_array_equal(after, before)
    assert 16 <= mirrored <= 48


def test_shift_moves_all_pixels_alike_within_its_limits():
    across, down = taken_from(transform(maps(200), shift=0.2))
    shifts = across - RIGHT, down - BELOW
    for shift, limit in zip(shifts, (0.2 * WIDTH, 0.2 * HEIGHT), strict=True):
        assert np.ptp(shift, axis=(1, 2)).max() <= NEAR
        assert -limit - NEAR <= shift.min() < -0.9 * limit
        assert 0.9 * limit < shift.max() <= limit + NEAR
    assert abs(np.corrcoef(shifts[0].mean(axis=(1, 2)), shifts[1].mean(axis=(1, 2)))[0, 1]) < 0.3


def test_shift_keeps_the_mean_brightness():
    images = flat(100, 100)
    images[:, :, ::2] = 101
    assert abs(transform(images, shift=0.2).mean() - 100.5) < 0.1


def test_rotation_turns_around_the_middle_within_its_limits():
    across, down = taken_from(transform(maps(200), rotation=30))
    np.testing.assert_allclose(across[:, 4, 4], 0, atol=NEAR)
    np.testing.assert_allclose(down[:, 4, 4], 0, atol=NEAR)
    away = np.broadcast_to(np.hypot(RIGHT, BELOW), across.shape)
    np.testing.assert_allclose(np.hypot(across, down), away, atol=2 * NEAR)
    angles = np.degrees(np.arctan2(down[:, 4, 8], across[:, 4, 8]))  # of the pixel 4 to the right of the middle
    assert -33 < angles.min() < -25
    assert 25 < angles.max() < 33


def test_zoom_scales_each_axis_around_the_middle_within_its_limits():
    across, down = taken_from(transform(maps(200), zoom=0.5))
    factors = across[:, 4, 8] / 4, down[:, 8, 4] / 4  # of the pixels 4 to the right of and below the middle
    for offset, axis, factor in zip((RIGHT, BELOW), (across, down), factors, strict=True):
        np.testing.assert_allclose(axis, factor[:, None, None] * offset, atol=2 * NEAR)
        assert 1 / 1.5 - NEAR / 4 <= factor.min() < 0.75
        assert 1.4 < factor.max() <= 1.5 + NEAR / 4
    assert abs(np.corrcoef(*factors)[0, 1]) < 0.3


def test_contrast_changes_the_brightness_of_each_color_within_limits():
    changed = transform(flat(200, 100), contrast=0.2)
    levels = changed[:, 0, 0].astype(int)
    np.testing.assert_array_equal(changed, np.broadcast_to(levels[:, None, None], changed.shape))
    assert (levels.min(axis=0) >= 80).all()
    assert (levels.min(axis=0) < 84).all()
    assert (levels.max(axis=0) > 116).all()
    assert (levels.max(axis=0) <= 120).all()
    assert (abs(levels.mean(axis=0) - 100) < 3).all()
    assert abs(np.corrcoef(levels[:, 0], levels[:, 1])[0, 1]) < 0.3


def test_contrast_scales_differences_within_its_limits():
    images = flat(200, 80)
    images[:, :, 10:] = 120  # halves that differ by 40 levels
    changed = transform(images, contrast=0.2).astype(int)
    difference = changed[:, 0, 19] - changed[:, 0, 0]
    assert 31 <= difference.min() < 34
    assert 46 < difference.max() <= 49


def test_contrast_clips_at_black_and_white():
    np.testing.assert_array_equal(transform(flat(50, 0), contrast=0.9), flat(50, 0))
    bright = transform(flat(200, 200), contrast=0.9)[:, 0, 0, 0]
    assert (bright == 255).mean() > 0.25  # factors from 1.28 on, which are 34 % of those from 0.1 to 1.9
    images = flat(200, 10)
    images[:, :, 10:] = 200  # the darker half is clipped at black if the contrast grows
    dark = transform(images, contrast=0.9)[:, 0, 0, 0]
    assert (dark == 0).mean() > 0.25
    assert dark.max() < 200


def test_area_beyond_an_edge_is_filled_with_the_image_not_with_black():
    moved = transform(flat(50, 200), shift=0.4, rotation=45, zoom=0.5, mirror=True)
    np.testing.assert_array_equal(moved, flat(50, 200))


def test_mirror_and_rotation_together_keep_distances():
    across, down = taken_from(transform(maps(50), rotation=30, mirror=True))
    away = np.broadcast_to(np.hypot(RIGHT, BELOW), across.shape)
    np.testing.assert_allclose(np.hypot(across, down), away, atol=2 * NEAR)
    assert {-1, 1} == set(np.sign(across[:, 4, 8]))


@pytest.mark.parametrize("channels", [1, 3])
def test_all_transforms_keep_shape_and_dtype_and_change_every_image(channels):
    images = noise(6, channels=channels)
    changed = transform(images, **ALL)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    for before, after in zip(images, changed, strict=True):
        assert not np.array_equal(before, after)


def test_images_of_a_batch_are_transformed_differently():
    changed = transform(np.repeat(noise(1), 8, axis=0), **ALL)
    assert len({image.tobytes() for image in changed}) == 8


def test_results_follow_from_the_random_generator():
    images = noise(4)
    changed = transform(images, seed=3, step=7, **ALL)
    np.testing.assert_array_equal(changed, transform(images, seed=3, step=7, **ALL))
    assert not np.array_equal(changed, transform(images, seed=3, step=8, **ALL))


def test_mix_gives_each_value_its_share():
    values, others = np.float32([[1, 0], [0, 4], [2, 2]]), np.float32([[2, 2], [0, 4], [1, 0]])
    np.testing.assert_allclose(mix(values, others, 0.75), [[1.25, 0.5], [0, 4], [1.75, 1.5]])
    assert mix(np.float32([1, 3]), np.float32([3, 1]), 0.25).tolist() == [2.5, 1.5]


def test_mix_rounds_images_and_keeps_their_shape():
    images = np.repeat(np.uint8([10, 13]), 12).reshape(2, 2, 2, 3)
    mixed = mix(images, images[::-1], 0.75)  # 10.75 and 12.25
    assert (mixed.dtype, mixed.shape) == (np.uint8, (2, 2, 2, 3))
    assert [np.unique(image).tolist() for image in mixed] == [[11], [12]]


def test_part_of_a_batch_is_transformed_as_in_the_whole():
    images = noise(5)
    whole, rows = transform(images, **ALL), np.array([3, 1])
    np.testing.assert_array_equal(transform(images[rows], **ALL, rows=rows, batch_size=5), whole[rows])
