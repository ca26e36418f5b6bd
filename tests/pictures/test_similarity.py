"""The tests for a pair of pictures."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pictures.duplicates import MAX_HASH_DISTANCE, perceptual_hash
from pictures.similarity import (
    MIRRORED_OR_TURNED,
    Symmetry,
    Thumbnails,
    _direction,
    _local_contrast,
    _mean_squares,
    _normalized,
)
from tests.helpers.pictures import as_jpeg, clouds

FIRST = np.array([0])


def standard(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((100, 100)))


def thumbnails(*images: Image.Image) -> Thumbnails:
    return Thumbnails(len(images), lambda index: standard(images[index]))


@pytest.mark.parametrize(
    ("symmetry", "expected"),
    [
        (Symmetry(), [[1, 2], [3, 4]]),
        (Symmetry(columns=True), [[2, 1], [4, 3]]),
        (Symmetry(rows=True), [[3, 4], [1, 2]]),
        (Symmetry(rows=True, columns=True), [[4, 3], [2, 1]]),
        (Symmetry(transpose=True), [[1, 3], [2, 4]]),
        (Symmetry(transpose=True, rows=True), [[2, 4], [1, 3]]),
    ],
)
def test_symmetry_mirrors_and_turns_images(symmetry, expected):
    assert symmetry.apply(np.array([[[1, 2], [3, 4]]])).tolist() == [expected]


def test_mirrored_or_turned_with_their_reverse_are_all_ways():
    image = np.arange(9).reshape(1, 3, 3)
    ways = {symmetry.apply(image).tobytes() for symmetry in MIRRORED_OR_TURNED}
    assert len(ways) == 6
    quarter = {np.rot90(image, turns, axes=(1, 2)).tobytes() for turns in (1, 3)}
    assert len(quarter & ways) == 1  # the other is this one for the pair in the other order
    assert image.tobytes() not in ways


@pytest.mark.parametrize("symmetry", MIRRORED_OR_TURNED)
def test_symmetry_of_a_hash_is_nearly_that_of_the_image(symmetry):
    for seed in range(20):
        pixels = standard(clouds(seed))
        turned = np.ascontiguousarray(symmetry.apply(pixels[None])[0])
        one, other = (np.array([int(perceptual_hash(image), 16)], np.uint64) for image in (pixels, turned))
        assert np.bitwise_count(symmetry.apply_to_hashes(one) ^ other)[0] <= MAX_HASH_DISTANCE - 2


def test_alike_and_same_for_all_pairs():
    dark = ImageEnhance.Brightness(clouds(1)).enhance(0.8)
    images = thumbnails(clouds(1), as_jpeg(clouds(1)), dark, clouds(2))
    rows = columns = np.arange(4)
    alike, same = images.alike(rows, columns), images.same(rows, columns)
    assert alike.tolist() == [[True, True, True, False]] * 3 + [[False, False, False, True]]
    assert same.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    assert images.same(np.array([1]), np.array([3, 0])).tolist() == [[False, True]]


@pytest.mark.parametrize(("sigma", "same"), [(1, True), (6, False)])
def test_same_allows_little_noise(sigma, same):
    def noisy(seed):
        noise = np.random.default_rng(seed).normal(0, sigma, (120, 160, 3))
        return Image.fromarray(np.clip(np.asarray(clouds(1)) + noise, 0, 255).astype(np.uint8))

    assert thumbnails(noisy(1), noisy(2)).same(FIRST, FIRST + 1)[0, 0] == same


def test_same_compares_colors_of_one_brightness():
    red, green = (Image.new("RGB", (100, 100), "white") for _ in range(2))
    red.paste((200, 0, 0), (30, 30, 42, 42))
    green.paste((0, 102, 0), (30, 30, 42, 42))
    assert not thumbnails(red, green).same(FIRST, FIRST + 1)[0, 0]


def test_turned_finds_the_way_that_a_picture_was_turned():
    images = thumbnails(clouds(1), clouds(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), clouds(2))
    assert images.turned(FIRST, np.array([1, 2]), Symmetry(columns=True)).tolist() == [[True, False]]
    assert images.turned(FIRST, np.array([1, 2]), Symmetry(rows=True)).tolist() == [[False, False]]


# ---- limits, for images of the size of a thumbnail ----

FLAT = np.full((48, 48, 1), 100, np.uint8)


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(Thumbnails(2, lambda index: (one, other)[index]).same(FIRST, FIRST + 1)[0, 0])


def changed(image: np.ndarray, part: tuple, by: int | tuple[int, ...]) -> np.ndarray:
    copy = image.copy()
    copy[part] += np.uint8(by)
    return copy


@pytest.mark.parametrize(("rows", "same"), [(27, True), (28, False)])
def test_same_allows_a_root_mean_square_of_three_quarters_of_a_level(rows, same):
    # 27 rows of 48 that differ by 1: a mean square of 0.5625 = 0.75².
    assert is_same(FLAT, changed(FLAT, np.s_[:rows], 1)) == same


@pytest.mark.parametrize(("levels", "same"), [(3, True), (4, False)])
def test_same_allows_three_levels_in_one_cell(levels, same):
    assert is_same(FLAT, changed(FLAT, np.s_[20, 30], levels)) == same


@pytest.mark.parametrize(("red", "same"), [(108, True), (109, False)])
def test_same_allows_eight_levels_of_a_color(red, same):
    one, other = (np.full((48, 48, 3), color, np.uint8) for color in ((100, 100, 100), (red, 96, 100)))
    assert is_same(one, other) == same  # both are 100 as gray: 0.299 · 8 ≈ 0.587 · 4


def test_same_allows_more_where_there_are_more_details():
    # Each cell of this pattern differs by 15 from the mean of its neighbors: 0.75 + 0.03 · 15 = 1.2 levels are allowed.
    pattern = (np.indices((48, 48)).sum(axis=0) % 2 * 34).astype(np.uint8)[..., None]
    assert is_same(pattern, pattern + np.uint8(1))
    assert not is_same(pattern, pattern + np.uint8(2))
    assert not is_same(FLAT, FLAT + np.uint8(1))


def test_turned_compares_details_and_not_only_colors():
    pattern = (np.indices((48, 48)).sum(axis=0) % 2 * 34).astype(np.uint8)[..., None]
    images = [pattern, pattern[:, ::-1], pattern]  # mirrored, its dark cells are bright
    found = Thumbnails(3, images.__getitem__).turned(FIRST, np.array([1, 2]), Symmetry(columns=True))
    assert found.tolist() == [[True, False]]


# ---- parts ----

STRIPES = np.tile(np.array([0, 0, 240], np.uint8), (144, 48))[..., None]


def test_brightness_is_the_mean_of_each_picture_and_of_all_its_pixels():
    images = [FLAT, STRIPES, np.full((30, 20, 3), 7, np.uint8)]
    assert Thumbnails(3, images.__getitem__).brightness(np.array([1, 2, 0])).tolist() == [80, 7, 100]


def test_alike_compares_the_mean_colors_of_all_pixels():
    half = STRIPES.copy()
    half[:, 72:] = 80
    images = [half, np.full((144, 144, 1), 80, np.uint8), np.full((144, 144, 1), 81, np.uint8)]
    assert Thumbnails(3, images.__getitem__).alike(FIRST, np.array([1, 2])).tolist() == [[True, False]]


def test_thumbnails_read_each_picture_once_and_when_it_is_needed():
    read = []
    thumbnails = Thumbnails(9, lambda index: read.append(index) or FLAT)
    thumbnails.alike(np.array([3, 1]), np.array([1, 5]))
    assert sorted(read) == [1, 3, 5]
    thumbnails.same(np.array([3, 1]), np.array([6]))
    assert sorted(read) == [1, 3, 5, 6]


def test_direction_has_mean_0_and_length_1():
    color = np.zeros((2, 2, 1), np.float32)
    color[0, 0] = 4
    assert _direction(color).ravel() == pytest.approx(np.array([3, -1, -1, -1]) / 12**0.5)


def test_direction_of_a_single_color_is_the_same_for_that_color_only():
    red, other = (np.full((8, 8, 3), color, np.float32) for color in ((200, 0, 0), (201, 0, 0)))
    assert np.array_equal(_direction(red), _direction(red.copy()))
    assert np.linalg.norm(_direction(red)) == pytest.approx(1)
    assert abs((_direction(red) * _direction(other)).sum()) < 0.5


def test_normalized_has_mean_0_and_length_1_or_is_0():
    images = np.array([[[0, 0], [0, 1]], [[5, 5], [5, 5]]], np.uint8)
    assert _normalized(images)[0] == pytest.approx(np.array([-1, -1, -1, 3]) / 12**0.5)
    assert _normalized(images)[1].tolist() == [0, 0, 0, 0]


def test_mean_squares_of_all_pairs():
    rows, columns = (
        np.array([[[0, 0]], [[10, 20]]], np.uint8),
        np.array([[[0, 10]], [[255, 255]], [[10, 20]]], np.uint8),
    )
    assert _mean_squares(rows, columns) == pytest.approx(np.array([[50, 65025, 250], [100, 57625, 0]]), abs=0.01)


def test_local_contrast_is_that_of_a_cell_and_its_neighbors():
    image = np.full((5, 6), 20, np.uint8)
    image[2, 3] = 50
    expected = np.zeros((5, 6), np.uint8)
    expected[1:4, 2:5] = 30
    assert _local_contrast(image).tolist() == expected.tolist()
