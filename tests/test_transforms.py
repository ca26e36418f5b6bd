"""Random transforms, each by itself and all together.

A "map" is a picture whose first two channels tell where a pixel came from: 7 grey levels a pixel from left to right in
the first, from top to bottom in the second. What a transform does to it shows where each pixel of the result was taken.
"""

import numpy as np
import pytest

from transforms import transform_batch

OFF = {"mirror": False, "shift": 0.0, "rotation": 0.0, "zoom": 0.0, "contrast": 0.0}
ALL = {"mirror": True, "shift": 0.1, "rotation": 10.0, "zoom": 0.15, "contrast": 0.2}
LEVELS, HEIGHT, WIDTH = 7, 25, 35


def transform(images: np.ndarray, *, seed: int = 1, step: int = 0, **changes) -> np.ndarray:
    options = {**OFF, **changes}
    return transform_batch(images, draws=np.random.default_rng([seed, step]), **options)


def noise(count: int, height: int = 17, width: int = 31, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8)


def flat(count: int, level: int) -> np.ndarray:
    return np.full((count, 16, 20, 3), level, np.uint8)


def maps(count: int) -> np.ndarray:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    one = np.stack([across * LEVELS, down * LEVELS, down * 0], axis=-1).astype(np.uint8)
    return np.repeat(one[None], count, axis=0)


def taken_from(changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of the middle came from: places right of and below the middle, (batch, 9, 9) each."""
    rows, columns = slice(HEIGHT // 2 - 4, HEIGHT // 2 + 5), slice(WIDTH // 2 - 4, WIDTH // 2 + 5)
    middle = changed[:, rows, columns].astype(float) / LEVELS
    return middle[..., 0] - WIDTH // 2, middle[..., 1] - HEIGHT // 2


RIGHT, BELOW = np.meshgrid(np.arange(-4, 5), np.arange(-4, 5))
NEAR = 1.5 / LEVELS  # pixels; levels are whole numbers


def test_all_off_changes_no_bit():
    for pictures in (noise(5), noise(5, height=16, width=16, channels=1)):
        np.testing.assert_array_equal(transform(pictures), pictures)


def test_mirror_alone_gives_the_picture_or_its_mirror_image_each_about_half_the_time():
    pictures = noise(64)
    mirrored = 0
    for before, after in zip(pictures, transform(pictures, mirror=True), strict=True):
        if np.array_equal(after, before[:, ::-1]):
            mirrored += 1
        else:
            np.testing.assert_array_equal(after, before)
    assert 16 <= mirrored <= 48


def test_shift_alone_moves_all_pixels_alike_and_no_further_than_it_may():
    across, down = taken_from(transform(maps(200), shift=0.2))
    moves = across - RIGHT, down - BELOW
    for move, limit in zip(moves, (0.2 * WIDTH, 0.2 * HEIGHT), strict=True):
        assert np.ptp(move, axis=(1, 2)).max() <= NEAR
        assert -limit - NEAR <= move.min() < -0.9 * limit
        assert 0.9 * limit < move.max() <= limit + NEAR
    assert abs(np.corrcoef(moves[0].mean(axis=(1, 2)), moves[1].mean(axis=(1, 2)))[0, 1]) < 0.3


def test_moving_a_picture_neither_lightens_nor_darkens_it():
    pictures = flat(100, 100)
    pictures[:, :, ::2] = 101
    assert abs(transform(pictures, shift=0.2).mean() - 100.5) < 0.1


def test_rotation_alone_turns_around_the_middle_keeps_distances_and_respects_its_limit():
    across, down = taken_from(transform(maps(200), rotation=30))
    np.testing.assert_allclose(across[:, 4, 4], 0, atol=NEAR)
    np.testing.assert_allclose(down[:, 4, 4], 0, atol=NEAR)
    away = np.broadcast_to(np.hypot(RIGHT, BELOW), across.shape)
    np.testing.assert_allclose(np.hypot(across, down), away, atol=2 * NEAR)
    angles = np.degrees(np.arctan2(down[:, 4, 8], across[:, 4, 8]))  # of the place 4 pixels right of the middle
    assert -33 < angles.min() < -25
    assert 25 < angles.max() < 33


def test_zoom_alone_stretches_each_axis_by_itself_around_the_middle_and_respects_its_limits():
    across, down = taken_from(transform(maps(200), zoom=0.5))
    factors = across[:, 4, 8] / 4, down[:, 8, 4] / 4  # of the places 4 pixels right of and below the middle
    for place, axis, factor in zip((RIGHT, BELOW), (across, down), factors, strict=True):
        np.testing.assert_allclose(axis, factor[:, None, None] * place, atol=2 * NEAR)
        assert 1 / 1.5 - NEAR / 4 <= factor.min() < 0.75
        assert 1.4 < factor.max() <= 1.5 + NEAR / 4
    assert abs(np.corrcoef(*factors)[0, 1]) < 0.3


def test_contrast_alone_makes_each_colour_of_flat_pictures_lighter_or_darker_within_its_limit():
    changed = transform(flat(200, 100), contrast=0.2)
    levels = changed[:, 0, 0].astype(int)
    np.testing.assert_array_equal(changed, np.broadcast_to(levels[:, None, None], changed.shape))
    assert (levels.min(axis=0) >= 80).all()
    assert (levels.min(axis=0) < 84).all()
    assert (levels.max(axis=0) > 116).all()
    assert (levels.max(axis=0) <= 120).all()
    assert (abs(levels.mean(axis=0) - 100) < 3).all()
    assert abs(np.corrcoef(levels[:, 0], levels[:, 1])[0, 1]) < 0.3


def test_contrast_alone_stretches_what_differs_within_its_limit():
    pictures = flat(200, 80)
    pictures[:, :, 10:] = 120  # 40 levels between two halves
    changed = transform(pictures, contrast=0.2).astype(int)
    between = changed[:, 0, 19] - changed[:, 0, 0]
    assert 31 <= between.min() < 34
    assert 46 < between.max() <= 49


def test_levels_stop_at_black_and_white():
    np.testing.assert_array_equal(transform(flat(50, 0), contrast=0.9), flat(50, 0))
    bright = transform(flat(200, 200), contrast=0.9)[:, 0, 0, 0]
    assert (bright == 255).mean() > 0.25  # factors from 1.28 on, which are 34 % of those from 0.1 to 1.9
    pictures = flat(200, 10)
    pictures[:, :, 10:] = 200  # the darker half falls below black where the contrast grows
    dark = transform(pictures, contrast=0.9)[:, 0, 0, 0]
    assert (dark == 0).mean() > 0.25
    assert dark.max() < 200


def test_what_comes_in_over_an_edge_is_picture_and_not_black():
    moved = transform(flat(50, 200), shift=0.4, rotation=45, zoom=0.5, mirror=True)
    np.testing.assert_array_equal(moved, flat(50, 200))


def test_a_mirrored_and_turned_picture_keeps_its_distances_and_right_angles():
    across, down = taken_from(transform(maps(50), rotation=30, mirror=True))
    away = np.broadcast_to(np.hypot(RIGHT, BELOW), across.shape)
    np.testing.assert_allclose(np.hypot(across, down), away, atol=2 * NEAR)
    assert {-1, 1} == set(np.sign(across[:, 4, 8]))


@pytest.mark.parametrize("channels", [1, 3])
def test_all_together_keep_shape_and_type_and_change_every_picture(channels):
    pictures = noise(6, channels=channels)
    changed = transform(pictures, **ALL)
    assert changed.shape == pictures.shape
    assert changed.dtype == np.uint8
    for before, after in zip(pictures, changed, strict=True):
        assert not np.array_equal(before, after)


def test_the_pictures_of_a_batch_are_transformed_differently():
    changed = transform(np.repeat(noise(1), 8, axis=0), **ALL)
    assert len({picture.tobytes() for picture in changed}) == 8


def test_the_same_draws_give_the_same_pictures_and_others_others():
    pictures = noise(4)
    changed = transform(pictures, seed=3, step=7, **ALL)
    np.testing.assert_array_equal(changed, transform(pictures, seed=3, step=7, **ALL))
    assert not np.array_equal(changed, transform(pictures, seed=3, step=8, **ALL))
