"""Batches. Which picture stands at which position of a run follows from the seed and the position alone."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from config import PictureConfig, TrainConfig, UserError
from files import printable
from manifest import Picture
from preprocessing import size_of, standard_image
from transforms import transform_batch

_STEPS_PER_EXECUTION = 16  # steps between two returns to Python
_VALIDATION_BATCH = 64  # its size changes no result


class Samples(NamedTuple):
    """Standardised pictures in memory."""

    images: np.ndarray  # uint8 (count, height, width, color_channels)
    labels: np.ndarray  # int32 (count,), places in the sorted class names


def class_names(pictures: Sequence[Picture]) -> list[str]:
    """The sorted names of the classes; a label is a place in this list."""
    return sorted({picture.class_name for picture in pictures})


def load(pictures: Sequence[Picture], config: PictureConfig) -> Samples:
    """Decodes pictures of `data/` into memory, with a progress bar.

    Raises:
        UserError: files that cannot be read, all of them named.
    """
    labels = {name: label for label, name in enumerate(class_names(pictures))}
    size = size_of(config)
    images = np.empty((len(pictures), *size.values()), np.uint8)

    def read(place: int) -> str | None:
        path = Path(config.data_path, pictures[place].file)
        try:
            images[place] = standard_image(path.read_bytes(), **size)
        except (ValueError, OSError) as error:
            return f"{printable(path)} ({printable(str(error))})"
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read_all = pool.map(read, range(len(pictures)))
        failures = [
            failure
            for failure in tqdm(read_all, total=len(pictures), desc="reading", unit="img", leave=False, disable=None)
            if failure
        ]
    if failures:
        raise UserError(f"cannot read {', '.join(failures)}; delete what is damaged and run this again")
    return Samples(images, np.array([labels[picture.class_name] for picture in pictures], np.int32))


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


def permutation(epoch: tf.Tensor | int, *, count: int, seed: int) -> tf.Tensor:
    """The order of all pictures in one pass over them: int64 (count,), a function of the seed and the pass alone.

    TensorFlow's `index_shuffle` would give the same without sorting, but for few pictures its permutations are far from
    equally likely and repeat.
    """
    seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), seed=seeds)


def training_batches(samples: Samples, config: TrainConfig, *, first_step: int) -> tf.data.Dataset:
    """Full batches without end, randomly transformed, from a step of the run on.

    Position p of the run, which is place p % batch_size of step p // batch_size, shows the picture at place p % count
    of the permutation of pass p // count. Nothing is buffered, so a run can go on at any step as if it had never
    stopped.

    Yields:
        (uint8 (batch_size, height, width, color_channels), int32 (batch_size,)).
    """
    with tf.device("CPU"):
        images, labels = tf.constant(samples.images), tf.constant(samples.labels)
    count = len(samples.labels)
    first_pass, place = divmod(first_step * config.batch_size, count)

    def one_pass(epoch: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(permutation(epoch, count=count, seed=config.seed))

    def batch(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        changed = transform_batch(
            tf.gather(images, indices),
            seed=config.seed,
            step=step,
            mirror=config.random_mirror,
            shift=config.random_shift,
            rotation=config.random_rotation,
            zoom=config.random_zoom,
            contrast=config.random_contrast,
        )
        return changed, tf.gather(labels, indices)

    order = tf.data.Dataset.range(first_pass, tf.int64.max).flat_map(one_pass).skip(place)
    batches = order.batch(config.batch_size, drop_remainder=True).enumerate(first_step)
    return batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def validation_batches(samples: Samples, weights: dict[int, float]) -> tf.data.Dataset:
    """Every picture once, in order; the last batch may be smaller.

    Yields:
        (uint8 (batch, height, width, color_channels), int32 (batch,), float32 (batch,) by which each picture counts).
    """
    own = np.array([weights[label] for label in samples.labels.tolist()], np.float32)
    with tf.device("CPU"):
        return tf.data.Dataset.from_tensor_slices((*samples, own)).batch(_VALIDATION_BATCH).prefetch(tf.data.AUTOTUNE)


def class_weights(labels: np.ndarray, *, balance: bool) -> dict[int, float]:
    """Label → weight of its pictures: 1, or such that all classes weigh the same and the mean weight is 1."""
    counts = np.bincount(labels)
    if not balance:
        return dict.fromkeys(range(len(counts)), 1.0)
    return {label: len(labels) / (len(counts) * count) for label, count in enumerate(counts.tolist())}
