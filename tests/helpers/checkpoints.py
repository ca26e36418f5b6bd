"""Runs that are saved without being trained, for the tests of checkpoints."""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from answers.calibration import Calibration
from answers.trained_network import TrainedNetwork, load_trained_network
from model import generate_model
from network.backend import keras
from network.checkpoint_file import _checksum
from network.model_config import ModelConfig
from training.checkpoints import CheckpointManager, latest_checkpoint

FIELDS = {
    "validation_split": 0.2,
    "folds": 1,
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
    "group_similar": True,
    "pictures": "0123abcd",
    "epochs": 300,
    "patience": 30,
    "learning_rate": 0.001,
    "learning_rate_decay": 0.3,
    "weight_decay": 0.3,
    "mixup": 0.5,
    "adapt_regularization": True,
    "random_shift": 0.1,
    "random_rotation": 10,
    "random_zoom": 0.15,
    "random_contrast": 0.4,
    "average_weights": True,
    "precision": "auto",
    "unknown_rate": 0.05,
    "replicas": 1,
}
MODEL_CONFIG = ModelConfig(**FIELDS)


def model_config(**changes) -> ModelConfig:
    return ModelConfig(**{**FIELDS, **changes})


def new_run(
    folder: Path, *, max_to_keep: int = 4, model_config: ModelConfig = MODEL_CONFIG
) -> tuple[keras.Model, CheckpointManager]:
    """Returns a new network, and its checkpoints in a folder that need not be empty."""
    model = generate_model(model_config)
    model.compile(keras.optimizers.Adam(name="adam"), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model, CheckpointManager(folder, model, model_config, max_to_keep=max_to_keep)


def resumed(folder: Path, **options) -> tuple[keras.Model, CheckpointManager]:
    """Returns the run in a folder, restored from its latest checkpoint."""
    model, checkpoints = new_run(folder, **options)
    checkpoints.restore(latest_checkpoint(folder))
    return model, checkpoints


def metrics(val_accuracy: float, val_loss: float | None = None) -> dict[str, float]:
    """Returns the metrics of an epoch; unless the cost is given, it is the lower, the higher the accuracy is."""
    return {
        "loss": 0.25,
        "accuracy": 0.75,
        "val_loss": 1 - val_accuracy if val_loss is None else val_loss,
        "val_accuracy": val_accuracy,
        "learning_rate": 0.001,
        "val_recall_mean": val_accuracy,
        "val_recall_worst": val_accuracy,
        "val_recall_best": 1.0,
    }


def add_epoch(model: keras.Model, checkpoints: CheckpointManager, accuracy: float) -> None:
    """Adds an epoch of 10 steps. The biases of the logits are set to its number, in the averaged network too."""
    number = len(checkpoints.history) + 1
    model.get_layer("logits").bias.assign([number, -number])
    for average, weight in zip(checkpoints.average, model.weights, strict=True):
        average.assign(weight.value)
    model.optimizer.iterations.assign(10 * number)
    checkpoints.add_epoch(metrics(accuracy))


def save_epochs(model: keras.Model, checkpoints: CheckpointManager, *accuracies: float) -> None:
    for accuracy in accuracies:
        add_epoch(model, checkpoints, accuracy)
        checkpoints.save()


def epoch_of(network: keras.Model | TrainedNetwork) -> int:
    """Returns the number that `add_epoch` has set."""
    model = network.model if isinstance(network, TrainedNetwork) else network
    return int(model.get_layer("logits").bias.numpy()[0])


def steps(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, in ascending order."""
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in folder.glob("ckpt-*.safetensors"))


def checkpoint_file(folder: Path, step: int) -> Path:
    return folder / f"ckpt-{step}.safetensors"


def write_first_version(folder: Path) -> Path:
    """Writes a checkpoint and a model.json as the first version of this toolkit did; returns the checkpoint."""
    folder.mkdir(exist_ok=True)
    description = json.dumps(FIELDS, indent=1).encode()
    tensors = {"average/000": np.zeros(3, np.float32), "step": np.array(7)}
    tensors["description"] = np.frombuffer(description, np.uint8)
    path = checkpoint_file(folder, 7)
    path.write_bytes(safetensors.numpy.save({**tensors, "checksum": _checksum(tensors)}))
    (folder / "model.json").write_bytes(description)
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def calibrate_best(folder: Path) -> None:
    """Gives the best network a calibration, each part of which has another value."""
    classifier = load_trained_network(folder)
    classifier.calibration = Calibration(
        mean=np.full(classifier.statistics, 1.5, np.float32),
        whitening=np.full((classifier.statistics, classifier.statistics), 2.5, np.float32),
        references=np.full((2, classifier.features - classifier.statistics), 7.5, np.float32),
        centers=np.full(2, 8.5, np.float32),
        spreads=np.full(2, 9.5, np.float32),
        slope=3.5,
        intercept=4.5,
        max_distance=5.5,
    )
    classifier.save(folder)
