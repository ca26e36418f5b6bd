"""Other ways of training the same network: with Keras as in its tutorials, as the original did it, and with PyTorch."""

import importlib.util
import itertools
from pathlib import Path

import cv2
import numpy as np

from benchmarks.baselines.networks import default_network
from benchmarks.harness.steps import StepTimer, time_steps, work_of
from benchmarks.harness.timing import Measurement
from config import TrainConfig
from network.backend import keras, tf
from pictures.folders import find_classes, picture_files
from training.optimizer import FusedAdam

HAS_PYTORCH = importlib.util.find_spec("torch") is not None


def time_textbook_keras(config: TrainConfig, steps: int) -> Measurement:
    """Uses `image_dataset_from_directory`, Adam and `fit`, all with their defaults, without transforms or averaging.

    The data set is repeated because TensorFlow may take seconds to close it at the end of an epoch.
    """
    batches = keras.utils.image_dataset_from_directory(
        config.data_path, batch_size=config.batch_size, image_size=(config.height, config.width), verbose=False
    )
    model = default_network(len(batches.class_names))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    timer = StepTimer(steps)
    model.fit(batches.repeat(), steps_per_epoch=10**6, callbacks=[timer], verbose=0)
    return timer.measurement(config.batch_size)


def time_original(config: TrainConfig, steps: int) -> Measurement:
    """Reads the pictures of each step from disk, computes the loss, and then forward and backward again.

    The original's Adam was one kernel of TensorFlow's, the same that FusedAdam calls.
    """
    paths, labels = _labeled_files(Path(config.data_path))
    model = default_network(int(labels.max()) + 1)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = FusedAdam(config.learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def compute_loss(images, labels):
        return cross_entropy(labels, model(images, training=True))

    @tf.function
    def update(images, labels):
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, model(images, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    def step(indices: np.ndarray) -> None:
        images = np.stack([cv2.imread(paths[index]) for index in indices]).astype(np.float32)
        float(compute_loss(images, labels[indices]))
        update(images, labels[indices])

    seconds = time_steps(step, len(paths), config.batch_size, steps)
    return Measurement(seconds, steps * config.batch_size, work_of(model, config.batch_size))


def time_pytorch(config: TrainConfig, steps: int) -> Measurement:
    """Trains with all pictures in memory, in PyTorch's order of dimensions (batch, channels, height, width)."""
    import torch
    from torch import nn

    paths, labels = _labeled_files(Path(config.data_path))
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

    def step(indices: np.ndarray) -> None:
        chosen = torch.from_numpy(indices)
        loss = nn.functional.cross_entropy(model(images[chosen].float() / 127.5 - 1), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds = time_steps(step, len(paths), config.batch_size, steps)
    weights = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point())
    return Measurement(seconds, steps * config.batch_size, ((config.batch_size, *config.shape), classes, weights))


def _labeled_files(data: Path) -> tuple[list[str], np.ndarray]:
    """Returns the pictures of `data/`, class after class, and their labels, int32."""
    folders = [list(picture_files(folder)) for folder in find_classes(data).values()]
    labels = np.repeat(np.arange(len(folders), dtype=np.int32), [len(paths) for paths in folders])
    return [str(path) for path in itertools.chain(*folders)], labels
