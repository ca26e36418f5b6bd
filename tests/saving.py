"""Runs that are saved without being trained, for the tests of checkpoints."""

from pathlib import Path

import keras
import numpy as np

from checkpoint import (
    Checkpoints,
    load_best,
    newest_run,
    save_calibration,
)
from classifier import Classifier
from description import Description

FIELDS = {
    "validation_split": 0.2,
    "class_names": ["ant", "bee"],
    "height": 16,
    "width": 16,
    "color_channels": 3,
    "scale_input": True,
    "batch_normalization": True,
    "dropout": 0.5,
    "loss": "softmax",
    "random_mirror": True,
    "balance_classes": True,
    "batch_size": 10,
    "seed": 1,
    "pictures": "0123abcd",
}
DESCRIPTION = Description(**FIELDS)


def new_run(folder: Path, *, max_to_keep: int = 4) -> tuple[keras.Model, Checkpoints]:
    """A fresh network, and its checkpoints in a folder that need not be empty."""
    model = DESCRIPTION.network()
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model, Checkpoints(folder, model, DESCRIPTION, max_to_keep=max_to_keep)


def resumed(folder: Path, *, max_to_keep: int = 4) -> tuple[keras.Model, Checkpoints]:
    """The run in a folder, gone on with."""
    model, checkpoints = new_run(folder, max_to_keep=max_to_keep)
    checkpoints.restore(newest_run(folder))
    return model, checkpoints


def figures(val_accuracy: float, val_cost: float = 0.5) -> dict[str, float]:
    return {
        "cost": 0.25,
        "accuracy": 0.75,
        "val_cost": val_cost,
        "val_accuracy": val_accuracy,
        "learning_rate": 0.001,
    }


def add_epoch(model: keras.Model, checkpoints: Checkpoints, accuracy: float) -> None:
    """An epoch of 10 steps: the biases of the logits tell its number, and those of the averaged network do so too."""
    number = len(checkpoints.history) + 1
    model.get_layer("logits").bias.assign([number, -number])
    for average, weight in zip(checkpoints.average, model.weights, strict=True):
        average.assign(weight.value)
    model.optimizer.iterations.assign(10 * number)
    checkpoints.add_epoch(figures(accuracy))


def save_epochs(model: keras.Model, checkpoints: Checkpoints, *accuracies: float) -> None:
    for accuracy in accuracies:
        add_epoch(model, checkpoints, accuracy)
        checkpoints.save()


def epoch_of(network: keras.Model | Classifier) -> int:
    model = network.model if isinstance(network, Classifier) else network
    return int(model.get_layer("logits").bias.numpy()[0])


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in folder.glob("ckpt-*.safetensors"))


def weights_file(folder: Path, number: int) -> Path:
    return folder / f"ckpt-{number}.safetensors"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def calibrate_best(folder: Path) -> None:
    """Writes 1.5, 2.5, … as the scale, offset and so on of the best network."""
    classifier, description, step = load_best(folder)
    for number, variable in enumerate(classifier.calibration, 1):
        variable.assign(np.full(variable.shape, number + 0.5))
    save_calibration(folder, classifier, description, step)
