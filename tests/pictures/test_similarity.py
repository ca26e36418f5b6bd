"""The tests for a pair of pictures."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pictures.duplicates import MAX_HASH_DISTANCE, perceptual_hash
from pictures.similarity import MIRRORED_OR_TURNED, Symmetry, Thumbnails
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
