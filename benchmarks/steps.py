"""Training steps: ours, textbook Keras, the original's way and PyTorch, with the same network; and the machine's limit.

Every way runs in a process of its own, is warmed up first, and then timed over many steps: from pictures in `data/` to
new weights, without validation and without saving.

The limit of a step is the larger of two times, since arithmetic and moving memory may overlap:

- its multiplications and additions at the rate of a large matrix product: forward once, backward once for the gradient
  of the weights and once for that of each layer's input, except for the first layer, whose input needs none;
- its bytes at the rate of a large streaming update: of every weight, Adam reads the gradient (4 bytes) and reads and
  writes the weight and two moments (24); forward and backward each read the weight once (8), and the gradient is
  written once (4).
"""

import contextlib
import importlib.util
import io
import itertools
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from common import settings_in

# isort: split

import cv2
import keras
import numpy as np
import tensorflow as tf

import trainer
from callbacks import Averaging
from config import TrainConfig
from dataset import class_names, class_weights, epoch_steps, load, training_batches
from device import set_up
from manifest import TRAIN
from model import generate_model
from optimizer import FusedAdam
from peers import Run
from preprocessing import class_folders, prepare, visible_files

_BYTES_PER_WEIGHT = 4 + 24 + 8 + 4
_WEIGHTS = 11_106_594
_MULTIPLY_ADDS = (  # of one picture of 100×100×3, forward, layer by layer
    100 * 100 * 5 * 5 * 3 * 16,
    50 * 50 * 4 * 4 * 16 * 32,
    25 * 25 * 3 * 3 * 32 * 64,
    10_816 * 1024,
    1024 * 2,
)


# ---- ours ----


class Stopwatch(keras.callbacks.Callback):
    """Times steps once a third as many have warmed everything up, and then ends the training.

    The times are taken between batches, because TensorFlow may take long to put an endless data set away.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._marks: list[tuple[int, float]] = []  # steps done, and when

    def on_train_batch_end(self, batch, logs=None):
        done = int(self.model.optimizer.iterations)
        if done >= (self._marks[0][0] + self._steps if self._marks else self._steps // 3):
            self._marks.append((done, time.perf_counter()))
        self.model.stop_training = len(self._marks) == 2

    def run(self, batch_size: int, work: tuple) -> Run:
        (first, began), (last, ended) = self._marks
        return Run(ended - began, (last - first) * batch_size, work)


def ours(config: TrainConfig, steps: int) -> Run:
    """The same calls as in trainer.py, without validation and saving."""
    with contextlib.redirect_stdout(io.StringIO()):
        set_up(config.precision)
        pictures = prepare(config)
    train = load([picture for picture in pictures if picture.split == TRAIN], config)
    options = ("height", "width", "color_channels", "scale_input", "batch_normalization", "dropout", "random_mirror")
    keras.utils.set_random_seed(config.seed)
    model = generate_model(
        classes=len(class_names(pictures)), **{option: getattr(config, option) for option in options}
    )
    steps_per_epoch, steps_per_execution = epoch_steps(len(train.labels), config.batch_size)
    trainer.compile_model(model, config, steps_per_execution=steps_per_execution)
    average = [tf.Variable(weight.value) for weight in model.weights]
    averaging = Averaging(average, steps_per_execution=steps_per_execution, switched_on=config.average_weights)
    stopwatch = Stopwatch(steps)
    model.fit(
        training_batches(train, config, first_step=0),
        steps_per_epoch=steps_per_epoch,
        epochs=10**6,
        class_weight=class_weights(train.labels, balance=config.balance_classes),
        callbacks=[averaging, stopwatch],
        shuffle=False,
        verbose=0,
    )
    return stopwatch.run(config.batch_size, work_of(model, config.batch_size))


def work_of(model: keras.Model, batch_size: int) -> tuple:
    """What has to be the same on all sides: pictures of a batch, classes, weights."""
    return (batch_size, *model.input_shape[1:]), model.output_shape[1], model.count_params()


# ---- others ----


def plain_network(classes: int) -> keras.Model:
    """The default network of Keras's own layers."""
    layers = [keras.Input((100, 100, 3)), keras.layers.Rescaling(1 / 127.5, -1.0)]
    for size, filters in ((5, 16), (4, 32), (3, 64)):
        layers += [
            keras.layers.Conv2D(filters, size, padding="same"),
            keras.layers.MaxPooling2D(size, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(1024, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dropout(0.5), keras.layers.Dense(classes)])


def textbook(config: TrainConfig, steps: int) -> Run:
    """The usual way with Keras: `image_dataset_from_directory`, Adam and `fit`, all with their defaults.

    No transforms, no averaging. The pictures are repeated, as at the end of an epoch TensorFlow may take seconds to put
    its data set away.
    """
    batches = keras.utils.image_dataset_from_directory(
        config.data_path, batch_size=config.batch_size, image_size=(config.height, config.width), verbose=False
    )
    model = plain_network(len(batches.class_names))
    cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=cost, metrics=["accuracy"])
    stopwatch = Stopwatch(steps)
    model.fit(batches.repeat(), steps_per_epoch=10**6, callbacks=[stopwatch], verbose=0)
    return stopwatch.run(config.batch_size, work_of(model, config.batch_size))


def originals_way(config: TrainConfig, steps: int) -> Run:
    """Every step reads its pictures from disk, computes the cost, and then forward and backward again.

    The original's Adam was one kernel of TensorFlow's, the same that FusedAdam calls.
    """
    paths, labels = labelled_files(Path(config.data_path))
    model = plain_network(int(labels.max()) + 1)
    cost_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = FusedAdam(config.learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def cost(images, labels):
        return cost_of(labels, model(images, training=True))

    @tf.function
    def learn(images, labels):
        with tf.GradientTape() as tape:
            value = cost_of(labels, model(images, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(value, model.trainable_variables), model.trainable_variables, strict=True)
        )

    def step(places: np.ndarray) -> None:
        images = np.stack([cv2.imread(paths[place]) for place in places]).astype(np.float32)
        float(cost(images, labels[places]))
        learn(images, labels[places])

    seconds = time_steps(step, len(paths), config.batch_size, steps)
    return Run(seconds, steps * config.batch_size, work_of(model, config.batch_size))


def labelled_files(data: Path) -> tuple[list[str], np.ndarray]:
    """The pictures of `data/`, class after class, and their labels, int32."""
    folders = [list(visible_files(folder)) for folder in class_folders(data).values()]
    labels = np.repeat(np.arange(len(folders), dtype=np.int32), [len(paths) for paths in folders])
    return [str(path) for path in itertools.chain(*folders)], labels


def time_steps(step: Callable[[np.ndarray], None], count: int, batch_size: int, steps: int) -> float:
    """Calls a step with the places of its pictures, in order; returns the seconds after a third as many to warm up."""
    warm_up = steps // 3
    for number in range(warm_up + steps):
        if number == warm_up:
            began = time.perf_counter()
        step((number * batch_size + np.arange(batch_size)) % count)
    return time.perf_counter() - began


def pytorch(config: TrainConfig, steps: int) -> Run:
    """PyTorch with all pictures in memory, in its own order of dimensions (batch, channels, height, width)."""
    import torch
    from torch import nn

    paths, labels = labelled_files(Path(config.data_path))
    images = torch.from_numpy(np.stack([cv2.imread(path) for path in paths]).transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(labels.astype(np.int64))
    classes, channels, layers = int(labels.max()) + 1, 3, []
    for size, filters in ((5, 16), (4, 32), (3, 64)):
        layers += [nn.Conv2d(channels, filters, size, padding="same"), nn.MaxPool2d(size, 2, padding=(size - 1) // 2)]
        layers += [nn.BatchNorm2d(filters), nn.ReLU()]
        channels = filters
    layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(10_816, 1024), nn.ReLU(), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.Linear(1024, classes)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)

    def step(places: np.ndarray) -> None:
        chosen = torch.from_numpy(places)
        value = nn.functional.cross_entropy(model(images[chosen].float() / 127.5 - 1), labels[chosen])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    seconds = time_steps(step, len(paths), config.batch_size, steps)
    weights = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point())
    work = ((config.batch_size, config.height, config.width, config.color_channels), classes, weights)
    return Run(seconds, steps * config.batch_size, work)


WAYS = {"ours": ours, "textbook Keras": textbook, "the original's way": originals_way}
if importlib.util.find_spec("torch"):
    WAYS["PyTorch"] = pytorch


def measure(way: str, data: Path, work: Path, batch_size: int, steps: int) -> Run:
    """Trains in one of the ways on a ready-made `data/`."""
    config = replace(settings_in(work, work / "raw", batch_size=batch_size), data_path=str(data))
    return WAYS[way](config, steps)


# ---- the machine ----


class Machine(NamedTuple):
    """What the machine can do, as measured."""

    name: str
    bandwidth: float  # bytes a second
    float32: float  # multiplications and additions a second
    bfloat16: float

    def floor(self, batch_size: int) -> tuple[float, float]:
        """Seconds of arithmetic and of moving memory, below which no step can fall."""
        operations = 2 * (3 * sum(_MULTIPLY_ADDS) - _MULTIPLY_ADDS[0]) * batch_size
        return operations / max(self.float32, self.bfloat16), _BYTES_PER_WEIGHT * _WEIGHTS / self.bandwidth

    def __str__(self) -> str:
        return (
            f"{self.name}; memory {self.bandwidth / 1e9:.1f} GB/s; matrix products float32 {self.float32 / 1e9:.0f}, "
            f"bfloat16 {self.bfloat16 / 1e9:.0f} GFLOP/s"
        )


def measure_machine() -> Machine:
    return Machine(_machine_name(), _bandwidth(), _matrix_rate(tf.float32), _matrix_rate(tf.bfloat16))


def _machine_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    parts = [models[0] if models else platform.processor(), f"{os.cpu_count()} cores"]
    parts += [gpu.get("device_name", "GPU") for gpu in gpus]
    parts += [platform.system(), f"Python {platform.python_version()}", f"TensorFlow {tf.__version__}"]
    return ", ".join([*parts, f"Keras {keras.__version__}", f"OpenCV {cv2.__version__}"])


def _best(function: Callable[[], object], times: int) -> float:
    """The shortest of several times, after one to warm up: a shared machine only ever adds to it."""
    function()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _bandwidth() -> float:
    weight, first, second = (tf.Variable(tf.zeros(_WEIGHTS)) for _ in range(3))
    gradient = tf.zeros(_WEIGHTS)

    def update() -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=first.handle,
            v=second.handle,
            grad=gradient,
            lr=0.001,
            beta1=0.9,
            beta2=0.999,
            beta1_power=0.9,
            beta2_power=0.999,
            epsilon=1e-7,
        )
        float(weight[0])  # waits for a GPU

    return 28 * _WEIGHTS / _best(update, 20)


def _matrix_rate(kind: tf.DType, side: int = 4096) -> float:
    matrix = tf.ones((side, side), kind)
    return 2 * side**3 / _best(lambda: float(tf.matmul(matrix, matrix)[0, 0]), 3)
