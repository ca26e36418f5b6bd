"""Transforms: each by itself and all in the pipeline, with true probabilities, on pictures of any size."""

import io
from collections import Counter

import numpy as np
import pytest
from Augmentor import Operations
from conftest import write_picture
from PIL import Image

import augment
from augment import Task, make_copies, pipeline, reduced, transform
from config import AugmentConfig
from manifest import Picture

# Augmentor's perspective uses a class of NumPy's that is out of fashion.
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")

TRANSFORMS = ["mirror", "black_and_white", "gaussian_distortion", "rotate", "skew", "skew_tilt", "skew_left_right"]
NONE = dict.fromkeys(TRANSFORMS, 0)
ALL = dict.fromkeys(TRANSFORMS, 1)


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def only(**settings) -> list:
    return pipeline(AugmentConfig(**{**NONE, **settings}))


def changed(image: Image.Image, **settings) -> np.ndarray:
    """Pixels of a copy that the named transforms were surely applied to."""
    return np.asarray(transform(image, only(**settings), seed="1"))


# ---- every transform by itself ----


def test_with_all_probabilities_at_zero_a_copy_has_the_very_pixels():
    image = noise(30, 40)
    for seed in range(50):
        assert np.array_equal(np.asarray(transform(image, only(), seed=str(seed))), np.asarray(image))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_setting_switches_on_a_transform_that_keeps_the_size(name):
    image = noise(60, 80)
    before = np.asarray(image).copy()
    results = [np.asarray(transform(image, only(**{name: 1}), seed=str(seed))) for seed in range(10)]
    assert all(result.shape == before.shape and result.dtype == np.uint8 for result in results)
    assert sum(not np.array_equal(result, before) for result in results) >= 8  # a turn by 0 degrees changes nothing
    assert np.array_equal(np.asarray(image), before)  # the picture itself is not touched


def test_mirroring_swaps_left_and_right():
    image = noise(30, 40)
    assert np.array_equal(changed(image, mirror=1), np.fliplr(np.asarray(image)))


@pytest.mark.parametrize(("threshold", "white"), [(1, [1, 128, 255]), (128, [128, 255]), (255, [255])])
def test_black_and_white_knows_nothing_between(threshold, white):
    levels = [0, 1, 127, 128, 254, 255]
    image = Image.fromarray(np.array([[[level] * 3 for level in levels]], np.uint8))
    result = changed(image, black_and_white=1, black_and_white_threshold=threshold)
    assert set(np.unique(result)) == {0, 255}
    assert (result[..., 0] == result[..., 2]).all()
    lowest = min(white)
    assert result[0, :, 0].tolist() == [255 if level >= lowest else 0 for level in levels]


def slope(pixels: np.ndarray) -> float:
    """Degrees by which the edge between a dark upper and a bright lower half is turned, clockwise."""
    height, width = pixels.shape[:2]
    dark = (pixels[..., 0] < 128).sum(axis=0)  # rows above the edge, in each column
    middle = slice(width // 4, -width // 4)
    return np.degrees(np.arctan(np.polyfit(np.arange(width)[middle], dark[middle], 1)[0]))


@pytest.mark.parametrize("degrees", [5, 10, 15])
def test_rotations_go_to_either_side_and_no_further_than_set(degrees):
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[100:] = 255
    operations = only(rotate=1, rotate_degrees=degrees)
    image = Image.fromarray(pixels)
    angles = [slope(np.asarray(transform(image, operations, seed=str(seed)))) for seed in range(150)]
    # Augmentor stretches what it has cropped a little, so angles are true to a fraction only.
    assert degrees * 0.8 < max(angles) < degrees * 1.1
    assert -degrees * 1.1 < min(angles) < -degrees * 0.8


def test_distortion_moves_the_middle_and_hardly_the_rim():
    # A ramp from left to right: a shift by a pixel shows as a change by a level.
    ramp = np.arange(250, dtype=np.uint8)[None, :, None].repeat(250, 0).repeat(3, 2)
    image, operations = Image.fromarray(ramp), only(gaussian_distortion=1)
    results = [np.asarray(transform(image, operations, seed=str(seed))).astype(int) for seed in range(8)]
    moved = np.abs(np.stack(results) - ramp)[..., 0].mean(axis=0)
    assert 1 < moved[75:175, 75:175].mean() < 10
    assert moved[:20, 30:-30].mean() < moved[75:175, 75:175].mean() / 3


def test_skewing_left_or_right_leaves_above_and_below_alike_and_tilting_does_not():
    half = np.asarray(noise(4, 10).resize((100, 40), Image.Resampling.BICUBIC))
    image = Image.fromarray(np.concatenate([half, half[::-1]]))

    def asymmetry(**setting) -> list[float]:
        results = [np.asarray(transform(image, only(**setting), seed=str(s))).astype(int) for s in range(20)]
        return [np.abs(result - result[::-1]).mean() for result in results]

    assert max(asymmetry(skew_left_right=1)) < 5
    assert max(asymmetry(skew_tilt=1)) > 15


@pytest.mark.parametrize("name", ["skew", "skew_tilt", "skew_left_right"])
def test_a_skew_is_as_strong_as_set(name):
    image = noise(6, 8).resize((80, 60), Image.Resampling.BICUBIC)

    def change(magnitude: float) -> float:
        operations = only(**{name: 1, f"{name}_magnitude": magnitude})
        results = [np.asarray(transform(image, operations, seed=str(seed))).astype(int) for seed in range(20)]
        return np.abs(np.stack(results) - np.asarray(image)).mean()

    assert change(0.05) < change(0.3) < change(1)


# ---- the pipeline ----


def test_nothing_turns_a_picture_over():
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[:20, :, 0] = 255  # red above
    pixels[20:, :, 2] = 255  # blue below
    image, operations = Image.fromarray(pixels), only(**{**ALL, "black_and_white": 0})
    rows = np.arange(40)
    for seed in range(25):
        result = np.asarray(transform(image, operations, seed=str(seed))).astype(float)
        red, blue = result[..., 0].sum(axis=1), result[..., 2].sum(axis=1)
        assert (red @ rows) / red.sum() < (blue @ rows) / blue.sum()


def test_all_transforms_at_once_keep_size_and_mode():
    result = transform(noise(60, 80), only(**ALL), seed="1")
    assert (result.size, result.mode) == ((80, 60), "RGB")
    assert 0.1 < np.asarray(result).mean() / 255 < 0.9  # something is left to see


@pytest.mark.parametrize("size", [(3, 3), (1, 40), (40, 1), (30, 240), (240, 30)])
def test_tiny_and_narrow_pictures_are_copied_too(size, settings_for, tmp_path):
    config = settings_for(AugmentConfig, **ALL)
    path = write_picture(tmp_path / "rawdata" / "ant" / "odd.png", label=2, seed=1, size=size)
    picture = Picture(class_name="ant", source="ant/odd.png", sha256="0" * 64, origin=path.as_posix())
    copies = make_copies(Task(picture, range(20)), config)
    assert len(copies) == 20
    assert len({Image.open(io.BytesIO(copy)).size for copy in copies}) == 1


@pytest.mark.parametrize(("probability", "low", "high"), [(0.1, 146, 254), (0.5, 910, 1090), (0.95, 1861, 1939)])
def test_a_probability_is_what_it_says(probability, low, high):
    # Of 2,000 throws, 4 standard deviations to either side. Augmentor rounds its dice to one decimal: it would mirror
    # 300 times at 0.1, and always at 0.95.
    image = Image.fromarray(np.array([[[0] * 3, [255] * 3]], np.uint8))
    operations = only(mirror=probability)
    mirrored = sum(transform(image, operations, seed=str(seed)).getpixel((0, 0)) == (255,) * 3 for seed in range(2000))
    assert low <= mirrored <= high


def test_every_transform_throws_dice_of_its_own():
    fired = Counter()

    class Watched:
        def __init__(self, place):
            self.place = place

        def perform_operation(self, images):
            fired[self.place] += 1
            return images

    dice = [(probability, Watched(place)) for place, (probability, _) in enumerate(pipeline(AugmentConfig()))]
    for seed in range(1000):
        transform(Image.new("RGB", (1, 1)), dice, seed=str(seed))
    for place, expected in enumerate([0.5, 0.1, 0.4, 0.3, 0.4, 0.6, 0.5]):  # the original's
        assert abs(fired[place] / 1000 - expected) < 4 * (expected * (1 - expected) / 1000) ** 0.5


def test_switching_a_transform_off_leaves_the_others_as_they_were():
    # A pure black or white picture, mirrored or not, tells whether the second transform fired.
    image = noise(30, 40)

    def fires(**settings) -> list[bool]:
        operations = only(black_and_white=0.5, **settings)
        results = (np.asarray(transform(image, operations, seed=str(seed))) for seed in range(60))
        return [set(np.unique(result)) == {0, 255} for result in results]

    assert fires(mirror=0) == fires(mirror=0.5) == fires(mirror=1)


def test_a_copy_follows_from_its_seed_alone():
    image, operations = noise(60, 80), only(**ALL)
    one = transform(image, operations, seed="1/ant")
    transform(image, operations, seed="2/ant")  # whatever was drawn in between
    assert transform(image, operations, seed="1/ant").tobytes() == one.tobytes()
    assert len({transform(image, operations, seed=str(seed)).tobytes() for seed in range(8)}) == 8


# ---- the size that is worked on ----


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1000, 800), (250, 200)),  # no side below twice 100
        ((800, 1000), (200, 250)),
        ((300, 300), (200, 200)),
        ((150, 90), (150, 90)),  # never enlarged
        ((200, 400), (200, 400)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_are_reduced_to_about_twice_the_size_in_their_proportions(size, expected, kind):
    data = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(data, kind)
    image = reduced(data.getvalue(), height=100, width=100, max_megapixels=200)
    assert (image.size, image.mode) == (expected, "RGB")
    assert np.abs(np.array(image.getpixel((50, 50))) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("size", "columns", "rows", "magnitude"),
    [((60, 90), 7, 6, 6), ((101, 53), 2, 3, 30), ((40, 40), 16, 16, 6)],
)
def test_the_distortion_is_augmentors_pixel_by_pixel(size, columns, rows, magnitude):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    bell = {"corner": "bell", "method": "in", "mex": 0.5, "mey": 0.5, "sdx": 0.05, "sdy": 0.05}
    theirs = Operations.GaussianDistortion(1, columns, rows, magnitude, **bell)
    ours = augment.GaussianDistortion(probability=1, columns=columns, rows=rows, magnitude=magnitude)
    results = []
    for operation in (theirs, ours):
        np.random.seed(3)
        results.append(np.asarray(operation.perform_operation([image])[0]))
    np.testing.assert_array_equal(*results)
    assert not np.array_equal(results[0], np.asarray(image))
