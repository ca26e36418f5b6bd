"""Batches: every picture once a pass, in an order that follows from the seed and the position alone."""

from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_picture

from config import TrainConfig, UserError
from dataset import (
    OnDisk,
    Samples,
    class_names,
    class_weights,
    draws,
    epoch_steps,
    failure_of,
    fits_in_memory,
    load,
    permutation,
    training_batches,
    validation_batches,
)
from manifest import Picture
from preprocessing import prepare

STILL = {"random_mirror": False, "random_shift": 0, "random_rotation": 0, "random_zoom": 0, "random_contrast": 0}


def numbered(count: int, classes: int = 2) -> Samples:
    """Flat pictures whose grey level is their number; the labels come in blocks, one class after the other."""
    images = np.repeat(np.arange(count, dtype=np.uint8), 16 * 16).reshape(count, 16, 16, 1)
    return Samples(images, (np.arange(count) * classes // count).astype(np.int32))


def noisy(count: int) -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    return Samples(pixels, np.arange(count, dtype=np.int32))


def batches(samples: Samples, steps: int, *, first_step: int = 0, **changes) -> list[tuple[np.ndarray, np.ndarray]]:
    stream = training_batches(samples, TrainConfig(**changes), first_step=first_step).as_numpy_iterator()
    return list(islice(stream, steps))


def order(samples: Samples, steps: int, **changes) -> list[int]:
    """The numbers of the pictures, in the order in which they come."""
    return [int(image[0, 0, 0]) for images, _ in batches(samples, steps, **STILL, **changes) for image in images]


def test_every_pass_shows_every_picture_exactly_once():
    seen = order(numbered(20), 12, batch_size=5)
    assert len(seen) == 60
    for start in (0, 20, 40):
        assert sorted(seen[start : start + 20]) == list(range(20))


def test_passes_follow_each_other_without_a_gap_where_a_batch_spans_two_of_them():
    seen = order(numbered(7), 7, batch_size=3)
    assert len(seen) == 21
    for start in (0, 7, 14):
        assert sorted(seen[start : start + 7]) == list(range(7))


def test_a_batch_larger_than_the_data_is_filled_by_several_passes():
    seen = order(numbered(3), 2, batch_size=6)
    assert [len(images) for images, _ in batches(numbered(3), 2, batch_size=6)] == [6, 6]
    for start in (0, 3, 6, 9):
        assert sorted(seen[start : start + 3]) == [0, 1, 2]


def test_the_order_differs_between_passes_and_seeds_and_repeats_for_the_same_seed():
    first = order(numbered(20), 8, batch_size=5, seed=1)
    assert first[:20] != first[20:]
    assert first[:20] != list(range(20))
    assert first == order(numbered(20), 8, batch_size=5, seed=1)
    assert first[:20] != order(numbered(20), 4, batch_size=5, seed=2)


def test_pictures_keep_their_labels():
    samples = numbered(20, classes=4)
    for images, labels in batches(samples, 4, batch_size=5, **STILL):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert labels.tolist() == [int(image[0, 0, 0]) // 5 for image in images]


def test_batches_mix_the_classes():
    kinds = [len(set(labels.tolist())) for _, labels in batches(numbered(100), 10, batch_size=10, **STILL)]
    assert kinds == [2] * 10


@pytest.mark.parametrize(
    ("count", "batch_size", "step"),
    [(6, 3, 1), (6, 3, 2), (7, 3, 2), (7, 3, 5), (2, 5, 1), (2, 5, 3), (1, 1, 4)],
    ids=["mid-pass", "pass start", "before a spanning batch", "after one", "few 1", "few 3", "one picture"],
)
def test_a_stream_from_a_step_on_equals_the_whole_stream_from_there_images_included(count, batch_size, step):
    whole = batches(noisy(count), step + 4, batch_size=batch_size)
    later = batches(noisy(count), 4, first_step=step, batch_size=batch_size)
    for (images, labels), (later_images, later_labels) in zip(whole[step:], later, strict=True):
        np.testing.assert_array_equal(later_images, images)
        np.testing.assert_array_equal(later_labels, labels)


def test_a_picture_is_transformed_anew_in_every_pass():
    samples = Samples(noisy(1).images, np.zeros(1, np.int32))
    (first, _), (second, _) = batches(samples, 2, batch_size=1)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, samples.images)


@pytest.mark.parametrize(
    "switch", ["random_mirror", "random_shift", "random_rotation", "random_zoom", "random_contrast"]
)
def test_every_transform_has_a_setting_that_reaches_the_batches(switch):
    strength = True if switch == "random_mirror" else 0.5
    strength = 90 if switch == "random_rotation" else strength
    samples = noisy(8)
    images, labels = batches(samples, 1, batch_size=8, **{**STILL, switch: strength})[0]
    assert not np.array_equal(images, samples.images[labels])


def test_validation_shows_every_picture_once_in_order_and_unchanged():
    samples = noisy(130)
    shown = list(validation_batches(samples, {label: label / 2 for label in range(130)}).as_numpy_iterator())
    images, labels, weights = (np.concatenate(parts) for parts in zip(*shown, strict=True))
    np.testing.assert_array_equal(images, samples.images)
    np.testing.assert_array_equal(labels, samples.labels)
    np.testing.assert_array_equal(weights, samples.labels / 2)
    assert len(shown) > 1


def test_orders_of_a_pass_are_close_to_equally_likely():
    seen = Counter(tuple(permutation(epoch, count=3, seed=1)) for epoch in range(600))
    assert len(seen) == 6
    assert all(60 <= times <= 140 for times in seen.values())  # 100 expected, standard deviation 9


def test_draws_repeat_for_the_same_place_and_differ_for_others():
    def first(*place):
        return draws(*place).random(4).tolist()

    assert first(3, 0, 7) == first(3, 0, 7)
    assert len({tuple(first(*place)) for place in [(3, 0, 7), (3, 0, 8), (4, 0, 7), (3, 1, 7), (7, 0, 3)]}) == 5


def test_weights_of_classes_one_to_three_even_them_out():
    assert class_weights(np.array([0, 1, 1, 1]), balance=True) == pytest.approx({0: 2, 1: 2 / 3})
    assert class_weights(np.array([1, 0]), balance=True) == {0: 1, 1: 1}
    assert class_weights(np.array([0, 1, 1, 1]), balance=False) == {0: 1, 1: 1}


@pytest.mark.parametrize(
    ("count", "batch_size", "steps", "per_execution"),
    [
        (1, 10, 1, 1),
        (10, 10, 1, 1),
        (11, 10, 2, 2),
        (160, 10, 16, 16),
        (161, 10, 18, 9),  # 17 steps do, in two executions of 9
        (320, 10, 32, 16),
        (321, 10, 33, 11),
        (5, 1, 5, 5),
    ],
)
def test_an_epoch_is_the_fewest_whole_executions_that_show_every_picture(count, batch_size, steps, per_execution):
    assert epoch_steps(count, batch_size) == (steps, per_execution)


def picture(file: str) -> Picture:
    return Picture(class_name=file.split("/")[0], source=file, file=file, origin=file)


def test_class_names_are_sorted_whatever_the_order_of_the_pictures():
    assert class_names([picture("wasp/1.png"), picture("ant/1.png"), picture("bee/1.png"), picture("ant/2.png")]) == [
        "ant",
        "bee",
        "wasp",
    ]


def test_pictures_are_loaded_with_their_own_pixels_and_labels(settings_for):
    config = settings_for(TrainConfig, height=17, width=31)
    files = ["wasp/1.png", "ant/1.png", "bee/1.png"]
    paths = [
        write_picture(Path(config.data_path, file), label=number, seed=0, size=(31, 17))
        for number, file in enumerate(files)
    ]
    samples = load([picture(file) for file in files], config)
    assert samples.labels.tolist() == [2, 0, 1]
    assert samples.labels.dtype == np.int32
    for image, path in zip(samples.images, paths, strict=True):
        np.testing.assert_array_equal(image, cv2.imread(str(path))[..., ::-1])


def test_what_preprocessing_made_loads_whole(rawdata, settings_for):
    config = settings_for(TrainConfig, color_channels=1)
    samples = load(prepare(config), config)
    assert samples.images.shape == (20, 16, 16, 1)
    assert np.bincount(samples.labels).tolist() == [12, 8]


def test_all_damaged_files_are_named_in_one_line(rawdata, settings_for):
    config = settings_for(TrainConfig)
    pictures = prepare(config)
    damaged = [Path(config.data_path, pictures[place].file) for place in (1, 5)]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-40])
    damaged[1].unlink()
    whole = Path(config.data_path, pictures[0].file)
    with pytest.raises(UserError) as refused:
        load(pictures, config)
    message = str(refused.value)
    assert all(str(path) in message for path in damaged)
    assert str(whole) not in message
    assert "delete" in message
    assert "\n" not in message


def both_ways(config: TrainConfig) -> tuple[Samples, Samples]:
    """The same pictures of `data/`, decoded into memory and left on disk."""
    pictures = prepare(config)
    return load(pictures, config), load(pictures, config, in_memory=False)


def test_a_run_streamed_from_disk_sees_the_very_batches_of_one_that_is_kept_in_memory(rawdata, settings_for):
    config = settings_for(TrainConfig, batch_size=7)
    kept, streamed = both_ways(config)
    assert isinstance(kept.images, np.ndarray)
    assert isinstance(streamed.images, OnDisk)
    for one, other in zip(
        *(islice(training_batches(s, config, first_step=2), 9) for s in (kept, streamed)), strict=True
    ):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)
    ones = dict.fromkeys(range(2), 1.0)
    for one, other in zip(validation_batches(kept, ones), validation_batches(streamed, ones), strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


def test_pictures_on_disk_are_indexed_like_an_array(rawdata, settings_for):
    kept, streamed = both_ways(settings_for(TrainConfig))
    assert len(streamed.images) == len(kept.images) == 20
    for places in (slice(3, 9), slice(18, 30), np.array([5, 0, 5]), np.array([], int)):
        np.testing.assert_array_equal(streamed.images[places], kept.images[places])


def test_pictures_fit_in_memory_up_to_the_setting_and_no_further():
    size = {"height": 64, "width": 64, "color_channels": 1}  # 4 KiB a picture
    assert fits_in_memory(2**18, TrainConfig(memory_gib=1, **size))
    assert not fits_in_memory(2**18 + 1, TrainConfig(memory_gib=1, **size))
    assert not fits_in_memory(1, TrainConfig(memory_gib=0, **size))


def test_a_picture_on_disk_that_is_damaged_is_named_when_its_turn_comes(rawdata, settings_for):
    config = settings_for(TrainConfig)
    pictures = prepare(config)
    damaged = Path(config.data_path, pictures[1].file)
    damaged.write_bytes(damaged.read_bytes()[:-40])
    samples = load(pictures, config, in_memory=False)
    assert failure_of(samples) is None
    with pytest.raises(tf.errors.OpError):
        list(validation_batches(samples, dict.fromkeys(range(2), 1.0)))
    assert str(damaged) in str(failure_of(numbered(3), samples))
