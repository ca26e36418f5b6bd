"""Batches: every image once per pass, in an order that follows from the seed and the position alone."""

import os
import threading
from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from config import TrainConfig
from network.backend import tf
from pictures.manifest import Picture
from preprocessing import training_pictures
from system.errors import UserError
from tests.helpers.pictures import write_picture
from training.batches import (
    Samples,
    StreamedImages,
    batch_indices,
    class_weights,
    epoch_steps,
    fits_in_memory,
    load,
    permutation,
    read_error,
    require_batch_size,
    rng_for,
    training_batches,
    validation_batches,
)
from training.transforms import transform_batch

NO_TRANSFORMS = {
    "random_mirror": False,
    "random_shift": 0,
    "random_rotation": 0,
    "random_zoom": 0,
    "random_contrast": 0,
    "mixup": 0,
}


def numbered(count: int, classes: int = 2) -> Samples:
    """Returns images whose gray level is their index; the labels come in blocks, one class after the other."""
    images = np.repeat(np.arange(count, dtype=np.uint8), 16 * 16).reshape(count, 16, 16, 1)
    return Samples(images, (np.arange(count) * classes // count).astype(np.int32))


def noisy(count: int) -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    return Samples(pixels, np.arange(count, dtype=np.int32))


def batches(samples: Samples, steps: int, *, first_step: int = 0, **changes) -> list[tuple[np.ndarray, ...]]:
    stream = training_batches(samples, TrainConfig(**changes), first_step=first_step).as_numpy_iterator()
    found = list(islice(stream, steps))
    assert len(found) == steps
    return found


def order(samples: Samples, steps: int, **changes) -> list[int]:
    """Returns the indices of the images, in the order in which they come."""
    return [
        int(image[0, 0, 0]) for images, *_ in batches(samples, steps, **NO_TRANSFORMS, **changes) for image in images
    ]


def test_every_pass_uses_every_image_exactly_once():
    seen = order(numbered(20), 12, batch_size=5)
    assert len(seen) == 60
    for start in (0, 20, 40):
        assert sorted(seen[start : start + 20]) == list(range(20))


def test_batch_may_span_two_passes():
    seen = order(numbered(7), 7, batch_size=3)
    assert len(seen) == 21
    for start in (0, 7, 14):
        assert sorted(seen[start : start + 7]) == list(range(7))


def test_batch_larger_than_the_data_is_filled_by_several_passes():
    seen = order(numbered(3), 2, batch_size=6)
    assert [len(images) for images, *_ in batches(numbered(3), 2, batch_size=6)] == [6, 6]
    for start in (0, 3, 6, 9):
        assert sorted(seen[start : start + 3]) == [0, 1, 2]


def test_order_differs_between_passes_and_seeds_and_is_repeatable():
    first = order(numbered(20), 8, batch_size=5, seed=1)
    assert first[:20] != first[20:]
    assert first[:20] != list(range(20))
    assert first == order(numbered(20), 8, batch_size=5, seed=1)
    assert first[:20] != order(numbered(20), 4, batch_size=5, seed=2)


def test_training_batches_keep_images_and_labels_together():
    samples = numbered(20, classes=4)
    for images, shares, weights in batches(samples, 4, batch_size=5, **NO_TRANSFORMS):
        assert images.dtype == np.uint8
        assert shares.dtype == weights.dtype == np.float32
        assert shares.tolist() == [np.eye(4)[image[0, 0, 0] // 5].tolist() for image in images]
        assert weights.tolist() == [1] * 5


def test_training_batches_weigh_the_images_of_rare_classes_more():
    samples = Samples(numbered(4).images, np.array([0, 1, 1, 1], np.int32))
    for balance, weights in ((True, [2, 2 / 3]), (False, [1, 1])):
        ((_, shares, found),) = batches(samples, 1, batch_size=4, balance_classes=balance, **NO_TRANSFORMS)
        assert found == pytest.approx([weights[label] for label in shares.argmax(axis=1)])


def test_training_batches_mix_pairs_in_a_fraction_of_the_batches():
    changes = {**NO_TRANSFORMS, "mixup": 0.25, "batch_size": 2}
    mixed = [bool(shares.max() < 1) for _, shares, _ in batches(numbered(2), 200, **changes)]
    assert 30 <= sum(mixed) <= 70  # 50 expected, standard deviation 6


def test_training_batches_mix_images_classes_and_weights_alike():
    samples = Samples(np.repeat(np.uint8([0, 250]), 16 * 16).reshape(2, 16, 16, 1), np.array([0, 1], np.int32))
    for images, shares, weights in batches(samples, 8, batch_size=2, **{**NO_TRANSFORMS, "mixup": 1}):
        np.testing.assert_allclose(images[:, 0, 0, 0], 250 * shares[:, 1], atol=0.5)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        assert shares[0].tolist() == shares[1, ::-1].tolist()
        assert weights.tolist() == [1, 1]


def test_training_batches_mix_the_classes():
    class_counts = [
        int(shares.any(axis=0).sum()) for _, shares, _ in batches(numbered(100), 10, batch_size=10, **NO_TRANSFORMS)
    ]
    assert class_counts == [2] * 10


@pytest.mark.parametrize(
    ("count", "batch_size", "step"),
    [(6, 3, 1), (6, 3, 2), (7, 3, 2), (7, 3, 5), (2, 5, 1), (2, 5, 3), (1, 1, 4)],
    ids=["mid-pass", "pass start", "before a spanning batch", "after one", "few 1", "few 3", "one image"],
)
def test_training_batches_from_a_step_equal_the_whole_stream_from_there(count, batch_size, step):
    whole = batches(noisy(count), step + 4, batch_size=batch_size)
    later = batches(noisy(count), 4, first_step=step, batch_size=batch_size)
    for batch, same in zip(whole[step:], later, strict=True):
        for part, other in zip(batch, same, strict=True):
            np.testing.assert_array_equal(part, other)


def test_training_batches_keep_their_order_if_one_takes_longer(monkeypatch):
    samples, second_is_made = numbered(20), threading.Event()
    first = batch_indices(0, count=20, batch_size=5, seed=1)

    class SlowAtFirst(StreamedImages):
        def __getitem__(self, index):
            if np.array_equal(index, first):
                second_is_made.wait(timeout=60)  # in vain if batches are made one after the other
            elif not isinstance(index, slice):
                second_is_made.set()
            return samples.images[index]

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    slow = Samples(SlowAtFirst([], TrainConfig()), samples.labels)
    assert order(slow, 4, batch_size=5, seed=1) == order(samples, 4, batch_size=5, seed=1)


def test_image_is_transformed_differently_in_every_pass():
    samples = Samples(noisy(1).images, np.zeros(1, np.int32))
    (first, *_), (second, *_) = batches(samples, 2, batch_size=1)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, samples.images)


@pytest.mark.parametrize(
    ("name", "strength"), [("mirror", True), ("shift", 0.25), ("rotation", 40), ("zoom", 0.35), ("contrast", 0.45)]
)
def test_every_setting_of_the_transforms_reaches_its_transform(name, strength):
    off = {"mirror": False, "shift": 0, "rotation": 0, "zoom": 0, "contrast": 0}
    samples, seed, step = noisy(40), 3, 2
    changes = {**NO_TRANSFORMS, f"random_{name}": strength, "seed": seed, "batch_size": 8}
    ((images, shares, _),) = batches(samples, 1, first_step=step, **changes)
    sources = samples.images[shares.argmax(axis=1)]
    transforms = 1  # their random numbers are not those of the order, which are number 0
    expected = transform_batch(sources, rng=rng_for(seed, transforms, step), **{**off, name: strength})
    np.testing.assert_array_equal(images, expected)
    assert not np.array_equal(images, sources)


def test_validation_batches_have_every_image_once_in_order_unchanged():
    samples = Samples(noisy(130).images, np.repeat(np.int32([0, 1]), [26, 104]))
    shown = list(validation_batches(samples, balance=True).as_numpy_iterator())
    images, shares, weights = (np.concatenate(parts) for parts in zip(*shown, strict=True))
    np.testing.assert_array_equal(images, samples.images)
    np.testing.assert_array_equal(shares, np.eye(2)[samples.labels])
    assert weights == pytest.approx([2.5] * 26 + [0.625] * 104)
    assert len(shown) > 1


def test_permutation_makes_all_orders_about_equally_likely():
    seen = Counter(tuple(permutation(epoch, count=3, seed=1)) for epoch in range(600))
    assert len(seen) == 6
    assert all(60 <= count <= 140 for count in seen.values())  # 100 expected, standard deviation 9


def test_batch_indices_follow_the_permutations_of_the_passes():
    assert [permutation(number, count=3, seed=1).tolist() for number in (0, 1)] == [[2, 0, 1], [1, 2, 0]]
    indices = [batch_indices(step, count=3, batch_size=2, seed=1).tolist() for step in range(3)]
    assert indices == [[2, 0], [1, 1], [2, 0]]


def test_rng_for_depends_on_seed_purpose_and_index_only():
    def first(*position):
        return rng_for(*position).random(4).tolist()

    assert first(3, 0, 7) == first(3, 0, 7)
    assert len({tuple(first(*position)) for position in [(3, 0, 7), (3, 0, 8), (4, 0, 7), (3, 1, 7), (7, 0, 3)]}) == 5


def test_class_weights_balance_the_classes():
    assert class_weights(np.array([0, 1, 1, 1]), balance=True) == pytest.approx([2, 2 / 3])
    assert class_weights(np.array([1, 0]), balance=True).tolist() == [1, 1]
    assert class_weights(np.array([0, 1, 1, 1]), balance=False).tolist() == [1, 1]


@pytest.mark.parametrize(("count", "largest"), [(2, 10), (10, 10), (11, 11), (3000, 3000)])
def test_require_batch_size_allows_as_many_as_there_are_or_the_default(count, largest):
    require_batch_size(largest, count=count)
    with pytest.raises(UserError) as refused:
        require_batch_size(largest + 1, count=count)
    problem = f"--batch_size {largest + 1}: there are only {count} training pictures"
    assert str(refused.value) == f"{problem}; use --batch_size {largest} or less"


@pytest.mark.parametrize(
    ("count", "batch_size", "steps", "per_execution"),
    [
        (1, 10, 1, 1),
        (10, 10, 1, 1),
        (11, 10, 2, 2),
        (160, 10, 16, 16),
        (161, 10, 18, 9),  # 17 steps are enough, but two executions of 9 are 18
        (320, 10, 32, 16),
        (321, 10, 33, 11),
        (5, 1, 5, 5),
    ],
)
def test_epoch_steps_are_the_fewest_equal_executions_for_all_images(count, batch_size, steps, per_execution):
    assert epoch_steps(count, batch_size) == (steps, per_execution)


def picture(name: str) -> Picture:
    return Picture(class_name=name.split("/")[0], source=name, stored=name, path=name)


def test_load_returns_pixels_and_labels_in_order(settings_for):
    config = settings_for(TrainConfig, height=17, width=31)
    names = ["wasp/1.png", "ant/1.png", "bee/1.png"]
    paths = [
        write_picture(Path(config.data_path, name), label=number, seed=0, size=(31, 17))
        for number, name in enumerate(names)
    ]
    samples = load([picture(name) for name in names], config)
    assert samples.labels.tolist() == [2, 0, 1]
    assert samples.labels.dtype == np.int32
    for image, path in zip(samples.images, paths, strict=True):
        np.testing.assert_array_equal(image, cv2.imread(str(path))[..., ::-1])


def test_load_reads_what_preprocessing_has_made(rawdata, settings_for):
    config = settings_for(TrainConfig, color_channels=1)
    samples = load(training_pictures(config), config)
    assert samples.images.shape == (20, 16, 16, 1)
    assert np.bincount(samples.labels).tolist() == [12, 8]


def test_load_names_all_damaged_files_in_one_line(rawdata, settings_for):
    config = settings_for(TrainConfig)
    pictures = training_pictures(config)
    damaged = [pictures[index].stored for index in (1, 5)]
    Path(config.data_path, damaged[0]).write_bytes(b"damaged")
    Path(config.data_path, damaged[1]).unlink()
    with pytest.raises(UserError) as refused:
        load(pictures, config)
    assert str(refused.value) == (
        f"{config.data_path}: cannot read {damaged[0]} (has changed since this run began), {damaged[1]} (No such file "
        "or directory); delete what is damaged and run this again; if another run uses this folder, give each its own "
        "--data_path"
    )


def test_load_names_at_most_five_files(rawdata, settings_for):
    config = settings_for(TrainConfig)
    pictures = training_pictures(config)
    for picture in pictures[:7]:
        Path(config.data_path, picture.stored).unlink()
    with pytest.raises(UserError) as refused:
        load(pictures, config)
    assert str(refused.value).count("No such file") == 5
    assert " and 2 more; delete what is damaged" in str(refused.value)


def test_load_refuses_an_image_that_was_exchanged_for_another(rawdata, settings_for):
    config = settings_for(TrainConfig)
    pictures = training_pictures(config)
    one, other = (Path(config.data_path, name) for name in ("ant/ant00.jpg.png", "bee/bee00.png.png"))
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) == len(second)  # sizes do not show it
    one.write_bytes(second)
    other.write_bytes(first)
    for in_memory in (True, False):
        with pytest.raises(UserError, match=r"ant/ant00.jpg.png \(has changed since this run began\)"):
            samples = load(pictures, config, in_memory=in_memory)
            samples.images[:]


def both_ways(config: TrainConfig) -> tuple[Samples, Samples]:
    """Returns the same pictures of `data/`, decoded into memory and streamed from disk."""
    pictures = training_pictures(config)
    return load(pictures, config), load(pictures, config, in_memory=False)


def test_streamed_images_give_the_same_batches_as_images_in_memory(rawdata, settings_for):
    config = settings_for(TrainConfig, batch_size=7)
    in_memory, streamed = both_ways(config)
    assert isinstance(in_memory.images, np.ndarray)
    assert isinstance(streamed.images, StreamedImages)
    all_batches = []
    for samples in (in_memory, streamed):
        training = islice(training_batches(samples, config, first_step=2), 9)
        all_batches.append([*training, *validation_batches(samples, balance=False)])
    assert len(all_batches[0]) == 9 + 1
    for one, other in zip(*all_batches, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


def test_streamed_images_are_indexed_like_an_array(rawdata, settings_for):
    in_memory, streamed = both_ways(settings_for(TrainConfig))
    assert len(streamed.images) == len(in_memory.images) == 20
    for index in (slice(3, 9), slice(18, 30), np.array([5, 0, 5]), np.array([], int)):
        np.testing.assert_array_equal(streamed.images[index], in_memory.images[index])


def test_fits_in_memory_up_to_the_setting():
    size = {"height": 64, "width": 64, "color_channels": 1}  # 4 KiB per image
    assert fits_in_memory(2**18, TrainConfig(memory_gib=1, **size))
    assert not fits_in_memory(2**18 + 1, TrainConfig(memory_gib=1, **size))
    assert not fits_in_memory(1, TrainConfig(memory_gib=1e-6, **size))


def test_fits_in_memory_up_to_a_quarter_of_what_there_is(monkeypatch):
    monkeypatch.setattr("training.batches.memory_left", lambda: (4 * 4096 * 10, 0))
    size = {"height": 64, "width": 64, "color_channels": 1}  # 4 KiB per image
    assert fits_in_memory(10, TrainConfig(**size))
    assert not fits_in_memory(11, TrainConfig(**size))


def test_read_error_names_a_damaged_streamed_picture(rawdata, settings_for):
    config = settings_for(TrainConfig)
    pictures = training_pictures(config)
    damaged = pictures[1].stored
    Path(config.data_path, damaged).write_bytes(b"damaged")
    samples = load(pictures, config, in_memory=False)
    assert read_error(samples) is None
    with pytest.raises(tf.errors.OpError):
        list(validation_batches(samples, balance=False))
    assert f"cannot read {damaged} (has changed since" in str(read_error(numbered(3), samples))


def test_training_batches_are_transformed_with_the_strength_of_their_epoch():
    """Epochs of two steps with the strengths 1, 0.5 and 0; the first step is over."""
    samples, strengths = noisy(8), (1, 0.5, 0)
    config = TrainConfig(**{**NO_TRANSFORMS, "random_shift": 0.4, "batch_size": 4, "seed": 3})
    stream = training_batches(samples, config, first_step=1, strength=lambda epoch: strengths[min(epoch, 2)])
    off = {"mirror": False, "rotation": 0, "zoom": 0, "contrast": 0}
    for step, (images, shares, _) in zip(range(1, 7), stream.as_numpy_iterator(), strict=False):
        sources = samples.images[shares.argmax(axis=1)]
        shift = 0.4 * strengths[min(step // 2, 2)]
        expected = transform_batch(sources, rng=rng_for(3, 1, step), shift=shift, **off)
        np.testing.assert_array_equal(images, expected)


def test_training_batches_mix_fewer_pairs_with_less_strength():
    config = TrainConfig(**{**NO_TRANSFORMS, "mixup": 1, "batch_size": 2})
    stream = training_batches(numbered(2), config, first_step=0, strength=lambda _: 0.5).as_numpy_iterator()
    mixed = [bool(shares.max() < 1) for _, shares, _ in islice(stream, 100)]
    assert 30 <= sum(mixed) <= 70  # 50 expected, standard deviation 5
