"""Batches. Which image is at which position of a run follows from the seed and the position alone."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from config import PictureConfig, TrainConfig
from network.backend import tf
from network.layers import part_of_batch
from pictures.data_folder import read_stored
from pictures.decoding import UnreadableImage
from pictures.manifest import Picture, class_names
from system.errors import UserError
from system.progress import progress
from system.resources import memory_left
from system.terminal import printable
from training.distribution import Distribution
from training.transforms import mix, transform_batch

_MAX_STEPS_PER_EXECUTION = 16  # steps between two returns to Python
_VALIDATION_BATCH = 64  # does not change any result
_MAX_NAMES = 5  # pictures that an error names
_ORDER, _TRANSFORMS, _MIXUP = 0, 1, 2  # separate streams of random numbers


# ---- the images ----


class StreamedImages:
    """Images that are decoded each time they are used: replaces an array that does not fit into memory.

    `images[index]` gives uint8 (count, height, width, color_channels) for a slice or an array of indices.
    """

    def __init__(self, pictures: Sequence[Picture], config: PictureConfig) -> None:
        self._pictures = pictures
        self._config = config
        self.error: UserError | None = None  # kept here because TensorFlow hides what is raised in its threads

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Raises UserError for a picture that cannot be read."""
        indices = np.arange(len(self))[index]
        images = np.empty((len(indices), *self._config.shape), np.uint8)
        for image, number in zip(images, indices, strict=True):
            try:
                image[:] = read_stored(self._pictures[number], self._config)
            except (UnreadableImage, OSError) as error:
                self.error = _unreadable([_describe(self._pictures[number], error)], self._config)
                raise self.error from None
        return images


class Samples(NamedTuple):
    """Images and their classes."""

    images: np.ndarray | StreamedImages  # uint8 (count, height, width, color_channels)
    labels: np.ndarray  # int32 (count,), indices into the sorted class names
    paths: Sequence[Path] = ()  # the files they were read from


def memory_for_images(config: TrainConfig) -> int:
    """Returns how many bytes of decoded images may be kept in memory: `memory_gib`, or a quarter of what there is."""
    return int(config.memory_gib * 2**30) if config.memory_gib else memory_left()[0] // 4


def fits_in_memory(count: int, config: TrainConfig) -> bool:
    """Returns whether this many decoded images may be kept in memory."""
    return count * int(np.prod(config.shape)) <= memory_for_images(config)


def load(pictures: Sequence[Picture], config: PictureConfig, *, in_memory: bool = True) -> Samples:
    """Returns images of `data/`, decoded into memory with a progress bar, or streamed from disk.

    Raises:
        UserError: files cannot be read; all are named. Streamed ones are only reported when they are used.
    """
    label_of = {name: label for label, name in enumerate(class_names(pictures))}
    labels = np.array([label_of[picture.class_name] for picture in pictures], np.int32)
    paths = [Path(config.data_path, picture.stored) for picture in pictures]
    images = _decode_all(pictures, config) if in_memory else StreamedImages(pictures, config)
    return Samples(images, labels, paths)


def _decode_all(pictures: Sequence[Picture], config: PictureConfig) -> np.ndarray:
    images = np.empty((len(pictures), *config.shape), np.uint8)
    failures = []
    # In one thread: nothing is decompressed, so several would wait for each other (the GIL) rather than for a core.
    with progress(len(pictures), "reading") as advance:
        for image, picture in zip(images, pictures, strict=True):
            try:
                image[:] = read_stored(picture, config)
            except (UnreadableImage, OSError) as error:
                failures.append(_describe(picture, error))
            advance(1)
    if failures:
        raise _unreadable(failures, config)
    return images


def _describe(picture: Picture, error: Exception) -> str:
    return f"{printable(picture.stored)} ({printable(str(error))})"


def _unreadable(failures: Sequence[str], config: PictureConfig) -> UserError:
    more = f" and {len(failures) - _MAX_NAMES} more" if len(failures) > _MAX_NAMES else ""
    return UserError(
        f"{printable(config.data_path)}: cannot read {', '.join(failures[:_MAX_NAMES])}{more}; delete what is damaged "
        "and run this again; if another run uses this folder, give each its own --data_path"
    )


def read_error(*parts: Samples) -> UserError | None:
    """Returns why streamed images could not be read, which TensorFlow reports as an error of its own."""
    return next(filter(None, (getattr(samples.images, "error", None) for samples in parts)), None)


# ---- the order of the images ----


def require_batch_size(batch_size: int, *, count: int) -> None:
    """Raises UserError if a batch has more pictures than there are for training, so that an epoch is many passes.

    The default size is always possible, so that a first try with few pictures works.
    """
    if batch_size > (largest := max(count, TrainConfig.batch_size)):
        problem = f"--batch_size {batch_size}: there are only {count} training pictures"
        raise UserError(f"{problem}; use --batch_size {largest} or less")


def epoch_steps(count: int, batch_size: int) -> tuple[int, int]:
    """Returns how an epoch over `count` images is divided.

    Returns:
        steps per epoch: enough to see each image at least once, rounded up to a multiple of the second number; and
        steps per execution: how many the graph runs before it returns to Python.
    """
    steps = -(-count // batch_size)
    executions = -(-steps // _MAX_STEPS_PER_EXECUTION)
    per_execution = -(-steps // executions)
    return executions * per_execution, per_execution


def rng_for(seed: int, purpose: int, index: int) -> np.random.Generator:
    """Returns a generator of the random numbers at one index of the run, independent of those before it.

    Philox is made for this (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
    """
    return np.random.Generator(np.random.Philox([seed, purpose, index]))


@lru_cache(maxsize=4)  # several batches are made at the same time, also around the end of a pass
def permutation(pass_index: int, *, count: int, seed: int) -> np.ndarray:
    """Returns the order of all images in one pass over them: int64 (count,), a function of the seed and the pass."""
    # Not Generator.permutation, whose results may change with the version of NumPy.
    return rng_for(seed, _ORDER, pass_index).random(count).argsort(kind="stable")


def batch_indices(step: int, *, count: int, batch_size: int, seed: int) -> np.ndarray:
    """Returns which images a step uses: int64 (batch_size,).

    Position p of the run, which is element p % batch_size of step p // batch_size, uses the image at index p % count of
    the permutation of pass p // count.
    """
    passes, indices = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), count)
    return np.concatenate(
        [permutation(int(number), count=count, seed=seed)[indices[passes == number]] for number in np.unique(passes)]
    )


# ---- data sets of batches ----


def training_batches(
    samples: Samples,
    config: TrainConfig,
    distribution: Distribution | None = None,
    *,
    first_step: int,
    strength: Callable[[int], float] = lambda _: 1.0,
) -> tf.data.Dataset:
    """Returns an endless data set of full batches, randomly transformed, starting at a step of the run.

    Each batch follows from the number of its step alone, so a run can continue at any step as if never interrupted.
    Of several replicas, each has its part of the batch.

    Args:
        samples: the images to train on.
        config: of the run.
        distribution: of the run.
        first_step: of the first batch.
        strength: returns that of the random transforms and of mixup in an epoch counted from 0, as 0..1.

    Yields:
        uint8 (batch_size, height, width, color_channels), float32 (batch_size, classes): which share each class has of
        an image, and float32 (batch_size,): the weight of each image.
    """
    distribution = distribution or Distribution()
    steps_per_epoch, _ = epoch_steps(len(samples.labels), config.batch_size)
    weights = class_weights(samples.labels, balance=config.balance_classes)

    def batch(step: int, replica: int) -> tuple[np.ndarray, ...]:
        current = strength(step // steps_per_epoch)
        rows = np.arange(*part_of_batch(config.batch_size, replica, distribution.replicas))
        chosen, u = rng_for(config.seed, _MIXUP, step).random(2)
        if chosen >= current * config.mixup:
            return _rows_of_batch(samples, config, step, rows, strength=current, weights=weights)
        # Each image is mixed with the one at the same position counted from the end.
        others = config.batch_size - 1 - rows
        needed, positions = np.unique(np.concatenate([rows, others]), return_inverse=True)
        parts = _rows_of_batch(samples, config, step, needed, strength=current, weights=weights)
        share = np.sin(u * np.pi / 2) ** 2  # of the distribution Beta(1/2, 1/2): most are near 0 or 1
        first, second = np.split(positions, 2)
        return tuple(mix(part[first], part[second], share) for part in parts)

    return _prefetched(batch, range(first_step, 2**48), samples, distribution, config.batch_size)


def _rows_of_batch(
    samples: Samples, config: TrainConfig, step: int, rows: np.ndarray, *, strength: float, weights: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Returns some of the images of a training step, transformed, with their targets and weights.

    Args:
        samples: the images to train on.
        config: of the run.
        step: counted from the beginning of the run.
        rows: int (count,), the positions of the images in the batch.
        strength: of the random transforms.
        weights: of the classes.
    """
    batch_size, seed = config.batch_size, config.seed
    indices = batch_indices(step, count=len(samples.labels), batch_size=batch_size, seed=seed)[rows]
    rng = rng_for(seed, _TRANSFORMS, step)
    images = transformed(samples.images[indices], config, rng=rng, rows=rows, strength=strength)
    return images, *_targets(samples.labels[indices], weights)


def transformed(
    images: np.ndarray,
    config: TrainConfig,
    *,
    rng: np.random.Generator,
    strength: float = 1.0,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the images with the random transforms of a run, in a strength of 0..1. See `transform_batch`."""
    return transform_batch(
        images,
        rng=rng,
        rows=rows,
        batch_size=config.batch_size,
        mirror=config.random_mirror,
        shift=strength * config.random_shift,
        rotation=strength * config.random_rotation,
        zoom=strength * config.random_zoom,
        contrast=strength * config.random_contrast,
    )


def validation_batches(samples: Samples, distribution: Distribution | None = None, *, balance: bool) -> tf.data.Dataset:
    """Returns a data set of all images once, in order; the last batch may be smaller. `balance`: see `class_weights`.

    Of several replicas, each has its part of every batch.

    Yields:
        the same as `training_batches`, but each image is of one class.
    """
    distribution = distribution or Distribution()
    weights = class_weights(samples.labels, balance=balance)
    count, steps = len(samples.labels), validation_steps(samples, distribution)

    def batch(step: int, replica: int) -> tuple[np.ndarray, ...]:
        if distribution.replicas == 1:
            part = slice(step * _VALIDATION_BATCH, (step + 1) * _VALIDATION_BATCH)
        else:  # all parts have nearly the same size, and none is empty
            part = slice(*part_of_batch(count, step * distribution.replicas + replica, steps * distribution.replicas))
        return samples.images[part], *_targets(samples.labels[part], weights)

    return _prefetched(batch, range(steps), samples, distribution, None)


def validation_steps(samples: Samples, distribution: Distribution) -> int:
    """Returns the number of batches that `validation_batches` has."""
    return -(-len(samples.labels) // (_VALIDATION_BATCH * distribution.replicas))


def _prefetched(
    batch: Callable[[int, int], tuple[np.ndarray, ...]],
    steps: range,
    samples: Samples,
    distribution: Distribution,
    batch_size: int | None,
) -> tf.data.Dataset:
    """Returns the batches of a range of steps, in order, made by threads while the network is busy."""
    shapes = samples.images[:1].shape[1:], (samples.labels.max() + 1,), ()
    size = batch_size if distribution.replicas == 1 else None  # the parts of a batch may differ by one image

    def make(index: tf.Tensor, replicas: Sequence[int]) -> tuple[tf.Tensor, ...]:
        types = tf.uint8, tf.float32, tf.float32

        def parts_of(index: np.ndarray) -> tuple[np.ndarray, ...]:
            step, local = divmod(int(index), len(replicas))
            return batch(step, replicas[local])

        parts = tf.numpy_function(parts_of, [index], types, stateful=False)
        for part, shape in zip(parts, shapes, strict=True):
            part.set_shape((size, *shape))
        return tuple(parts)

    def dataset(replicas: Sequence[int]) -> tf.data.Dataset:
        indices = tf.data.Dataset.range(steps.start * len(replicas), steps.stop * len(replicas))
        batches = indices.map(partial(make, replicas=replicas), num_parallel_calls=os.cpu_count(), deterministic=True)
        options = tf.data.Options()
        options.autotune.enabled = False  # its thread makes an iterator wait up to a minute at its end
        return batches.prefetch(2 * len(replicas)).with_options(options)

    return distribution.dataset(dataset)


def _targets(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shares of the classes in the images of a batch, float32 (batch, classes), and their weights."""
    return np.eye(len(weights), dtype=np.float32)[labels], weights[labels]


def class_weights(labels: np.ndarray, *, balance: bool) -> np.ndarray:
    """Returns the weight of the images of each label: 1, or such that all classes weigh the same and the mean is 1.

    float32 (classes,).
    """
    counts = np.bincount(labels)
    return (len(labels) / (len(counts) * counts) if balance else np.ones(len(counts))).astype(np.float32)
