"""Batches. Which picture stands at which position of a run follows from the seed and the position alone."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from config import PictureConfig, TrainConfig, UserError
from files import printable, progress
from listing import content_of
from manifest import Picture
from pictures import standard_image
from preprocessing import decoding, size_of
from transforms import transform_batch

_STEPS_PER_EXECUTION = 16  # steps between two returns to Python
_VALIDATION_BATCH = 64  # its size changes no result
_ORDER, _TRANSFORMS = 0, 1  # what draws are for


class OnDisk:
    """Standardised pictures that are decoded whenever they are asked for: the place of an array that would not fit.

    `images[places]` gives uint8 (count, height, width, color_channels) for a slice or for an array of places.
    """

    def __init__(self, paths: Sequence[Path], config: PictureConfig) -> None:
        self._paths = paths
        self._size = size_of(config)
        self._decoding = decoding(config)
        self.failure: UserError | None = None  # TensorFlow hides what is raised inside its threads

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        """Raises UserError for a picture that cannot be read."""
        numbers = np.arange(len(self))[places]
        images = np.empty((len(numbers), *self._size.values()), np.uint8)
        for image, number in zip(images, numbers, strict=True):
            if isinstance(read := _read(self._paths[number], self._decoding), str):
                self.failure = _unreadable([read])
                raise self.failure
            image[:] = read
        return images


class Samples(NamedTuple):
    """Standardised pictures and their classes."""

    images: np.ndarray | OnDisk  # uint8 (count, height, width, color_channels)
    labels: np.ndarray  # int32 (count,), places in the sorted class names
    paths: Sequence[Path] = ()  # where they were read from


def class_names(pictures: Sequence[Picture]) -> list[str]:
    """The sorted names of the classes; a label is a place in this list."""
    return sorted({picture.class_name for picture in pictures})


def failure_of(*parts: Samples) -> UserError | None:
    """Why batches of samples on disk could not be made, which TensorFlow reports as an error of its own."""
    return next(filter(None, (getattr(samples.images, "failure", None) for samples in parts)), None)


def fits_in_memory(count: int, config: TrainConfig) -> bool:
    """Whether so many standardised pictures may be kept decoded."""
    return count * int(np.prod(list(size_of(config).values()))) <= config.memory_gib * 2**30


def load(pictures: Sequence[Picture], config: PictureConfig, *, in_memory: bool = True) -> Samples:
    """Decodes pictures of `data/` into memory, with a progress bar; or leaves them on disk until they are asked for.

    Raises:
        UserError: files that cannot be read, all of them named. On disk, they are found out when it is their turn.
    """
    labels = {name: label for label, name in enumerate(class_names(pictures))}
    paths = [Path(config.data_path, picture.file) for picture in pictures]
    images = _decoded(paths, config) if in_memory else OnDisk(paths, config)
    return Samples(images, np.array([labels[picture.class_name] for picture in pictures], np.int32), paths)


def _decoded(paths: Sequence[Path], config: PictureConfig) -> np.ndarray:
    images = np.empty((len(paths), *size_of(config).values()), np.uint8)
    how = decoding(config)
    failures = []
    # In one thread: where nothing has to be decompressed, several would rather wait for each other than for a core.
    with progress(len(paths), "reading", leave=False) as advance:
        for image, path in zip(images, paths, strict=True):
            if isinstance(read := _read(path, how), str):
                failures.append(read)
            else:
                image[:] = read
            advance(1)
    if failures:
        raise _unreadable(failures)
    return images


def _read(path: Path, how: dict[str, float]) -> np.ndarray | str:
    """The pixels of a picture, or the reason why there are none."""
    try:
        return standard_image(content_of(path), **how)
    except (ValueError, OSError) as error:
        return f"{printable(path)} ({printable(str(error))})"


def _unreadable(failures: Sequence[str]) -> UserError:
    return UserError(f"cannot read {', '.join(failures)}; delete what is damaged and run this again")


def epoch_steps(count: int, batch_size: int) -> tuple[int, int]:
    """How an epoch over `count` pictures is divided.

    Returns:
        steps per epoch, so many that every picture is seen at least once, rounded up to a multiple of the second; and
        steps per execution, how many the graph runs before it returns to Python.
    """
    steps = -(-count // batch_size)
    executions = -(-steps // _STEPS_PER_EXECUTION)
    per_execution = -(-steps // executions)
    return executions * per_execution, per_execution


def draws(seed: int, purpose: int, place: int) -> np.random.Generator:
    """The same random numbers for the same place of a run, without those before it.

    Philox is made for that (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
    """
    return np.random.Generator(np.random.Philox([seed, purpose, place]))


@lru_cache(maxsize=4)  # several batches are made at a time, around the end of a pass too
def permutation(number: int, *, count: int, seed: int) -> np.ndarray:
    """The order of all pictures in one pass over them: int64 (count,), a function of the seed and the pass alone."""
    # Not Generator.permutation, whose results another release of NumPy may change.
    return draws(seed, _ORDER, number).random(count).argsort(kind="stable")


def places_of(step: int, *, count: int, batch_size: int, seed: int) -> np.ndarray:
    """Which pictures a step shows, int64 (batch_size,).

    Position p of the run, which is place p % batch_size of step p // batch_size, shows the picture at place p % count
    of the permutation of pass p // count.
    """
    passes, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), count)
    return np.concatenate(
        [permutation(int(number), count=count, seed=seed)[places[passes == number]] for number in np.unique(passes)]
    )


def training_batches(samples: Samples, config: TrainConfig, *, first_step: int) -> tf.data.Dataset:
    """Full batches without end, randomly transformed, from a step of the run on.

    Every batch follows from the number of its step alone, so a run can go on at any step as if it had never stopped.

    Yields:
        (uint8 (batch_size, height, width, color_channels), int32 (batch_size,)).
    """

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        places = places_of(step, count=len(samples.labels), batch_size=config.batch_size, seed=config.seed)
        changed = transform_batch(
            samples.images[places],
            draws=draws(config.seed, _TRANSFORMS, step),
            mirror=config.random_mirror,
            shift=config.random_shift,
            rotation=config.random_rotation,
            zoom=config.random_zoom,
            contrast=config.random_contrast,
        )
        return changed, samples.labels[places]

    return _made_ahead(batch, range(first_step, 2**62), samples, config.batch_size, (np.uint8, np.int32))


def validation_batches(samples: Samples, weights: dict[int, float]) -> tf.data.Dataset:
    """Every picture once, in order; the last batch may be smaller.

    Yields:
        (uint8 (batch, height, width, color_channels), int32 (batch,), float32 (batch,) by which each picture counts).
    """
    own = np.array([weights[label] for label in samples.labels.tolist()], np.float32)

    def batch(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = slice(number * _VALIDATION_BATCH, (number + 1) * _VALIDATION_BATCH)
        return samples.images[part], samples.labels[part], own[part]

    count = -(-len(own) // _VALIDATION_BATCH)
    return _made_ahead(batch, range(count), samples, None, (np.uint8, np.int32, np.float32))


def _made_ahead(
    batch: Callable[[int], tuple[np.ndarray, ...]],
    numbers: range,
    samples: Samples,
    batch_size: int | None,
    types: tuple[type, ...],
) -> tf.data.Dataset:
    """The batches of a range of numbers, in order, made by threads while the network is busy with those before."""
    shape = samples.images[:1].shape[1:]

    def made(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        parts = tf.numpy_function(lambda number: batch(int(number)), [number], list(types), stateful=False)
        parts[0].set_shape((batch_size, *shape))
        for part in parts[1:]:
            part.set_shape((batch_size,))
        return tuple(parts)

    batches = tf.data.Dataset.range(numbers.start, numbers.stop)
    batches = batches.map(made, num_parallel_calls=os.cpu_count(), deterministic=True).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # the thread that tunes keeps an iterator waiting up to a minute at its end
    return batches.with_options(options)


def class_weights(labels: np.ndarray, *, balance: bool) -> dict[int, float]:
    """Label → weight of its pictures: 1, or such that all classes weigh the same and the mean weight is 1."""
    counts = np.bincount(labels)
    if not balance:
        return dict.fromkeys(range(len(counts)), 1.0)
    return {label: len(labels) / (len(counts) * count) for label, count in enumerate(counts.tolist())}
