"""A trained network in Keras: while a run goes on, and to be converted for prediction (engine.py)."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from answers import calibration
from answers.calibration import Calibration
from answers.grad_cam import GradCam
from answers.predictions import BATCH_SIZE, Outputs, Predictions, predictions_of
from answers.scores import log_odds, measures, outputs
from model import count_statistics, generate_model, with_features
from network.backend import keras, tf
from network.checkpoint_file import BEST, Checkpoint, checkpoint_path, read_best, write_checkpoint
from network.device import in_float32
from network.model_config import ModelConfig
from network.state import by_path, load_state, state_of
from system.errors import UserError
from system.terminal import printable


class TrainedNetwork:
    """A network and its calibration, which is None until it is fitted."""

    def __init__(self, model: keras.Model, model_config: ModelConfig, *, step: int = 0, source: str = "") -> None:
        self.model = model
        self.model_config = model_config
        self.step = step  # training steps of its weights
        self.source = source  # checksum of its checkpoint
        self.calibration: Calibration | None = None
        self.with_features = with_features(model, random_mirror=model_config.random_mirror)
        self.with_features.jit_compile = False  # compiling takes longer than predicting
        self.features: int = self.with_features.output_shape[1][-1]  # how many there are
        self.statistics = count_statistics(model)  # how many of them are statistics

    def predict(self, images: np.ndarray) -> Predictions:
        """Returns predictions for uint8 images (count, height, width, color_channels)."""
        return self._predictions(*self._run(images))

    @cached_property
    def grad_cam(self) -> GradCam:
        """Computes heat maps. Raises UserError for a network that has none."""
        config = self.model_config
        return GradCam(self.model, loss=config.loss, random_mirror=config.random_mirror)

    def heat_maps(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns how much each part of an image speaks for a class: float32 (count, rows, columns), 0..1.

        Args:
            images: uint8 (count, height, width, color_channels).
            classes: int (count,), the index of the class in question for each image.

        Raises:
            UserError: `model.py` was edited so that there are none.
        """
        found = []
        for start in range(0, len(images), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            features, middle = self.grad_cam.first(tf.constant(images[batch]), training=False)
            found.append(self.grad_cam(features, middle, tf.constant(classes[batch], tf.int32)))
        return np.concatenate(found)

    def calibrate(
        self, *, training: np.ndarray, validation: np.ndarray, labels: np.ndarray, unknown_rate: float
    ) -> Predictions:
        """Fits the calibration and returns the predictions for the validation images.

        Args:
            training: uint8 images (count, height, width, color_channels) that it was trained on.
            validation: uint8 images that it was not trained on.
            labels: int (count,), of the validation images.
            unknown_rate: fraction of such pictures that may be called unknown, 0..0.5.
        """
        logits, features = self._run(validation)
        self.calibration = calibration.fit(
            training_features=self._run(training)[1],
            statistics=self.statistics,
            validation_odds=np.asarray(log_odds(logits, loss=self.model_config.loss)),
            validation_labels=labels,
        )
        self.calibration = calibration.with_scale(self.calibration, measures(features, self.calibration).numpy())
        self.set_max_distance(self.outputs(logits, features)["distance"].numpy(), unknown_rate=unknown_rate)
        return self._predictions(logits, features)

    def set_max_distance(self, distances: np.ndarray, *, unknown_rate: float) -> None:
        """Sets the limit for unknown pictures from the distances of validation images."""
        assert self.calibration
        self.calibration = calibration.with_max_distance(self.calibration, distances, unknown_rate=unknown_rate)

    @property
    def members(self) -> "list[TrainedNetwork]":
        """The networks whose answers are combined, as in an `Ensemble`: itself."""
        return [self]

    def combined(self, found: Sequence[Sequence[tf.Tensor]]) -> dict[str, tf.Tensor]:
        """Returns the outputs by name from those of `with_features` of each member; also in a graph."""
        return self.outputs(*found[0])

    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs for uint8 images by name; also in a graph."""
        return self.combined([self.with_features(images, training=False)])

    @property
    def max_distance(self) -> float:
        """Pictures that are farther from the training pictures are unknown; infinite without a calibration."""
        return self.calibration.max_distance if self.calibration else math.inf

    def save(self, folder: Path) -> None:
        """Writes weights and calibration as the best network in a folder of checkpoints."""
        tensors = state_of("average", by_path(self.model.weights))
        if self.calibration:
            tensors |= {f"calibration/{name}": np.asarray(value) for name, value in self.calibration._asdict().items()}
        self.source = write_checkpoint(checkpoint_path(folder / BEST, self.step), tensors, self.model_config)

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns logits (count, classes) and features (count, features)."""
        batches = [
            self.with_features.predict_on_batch(images[start : start + BATCH_SIZE])
            for start in range(0, len(images), BATCH_SIZE)
        ]
        logits, features = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return logits, features

    def outputs(self, logits: tf.Tensor, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns raw, scores and distance, as in scores.py, from the outputs of `with_features`; also in a graph."""
        return outputs(logits, features, loss=self.model_config.loss, calibration=self.calibration)

    def _predictions(self, logits: np.ndarray, features: np.ndarray) -> Predictions:
        found = self.outputs(logits, features)
        outputs = Outputs(logits, found["scores"].numpy(), found["distance"].numpy())
        return predictions_of(outputs, max_distance=self.max_distance)


def load_trained_network(folder: Path) -> TrainedNetwork:
    """Returns the trained network of the best epoch, or of the newest checkpoint if no epoch is finished.

    It computes in float32, on any device. It is calibrated if the run came to its end or was stopped after its first
    epoch, but not if it was killed.

    Raises:
        UserError: there is no intact checkpoint, or it does not belong to model.json.
    """
    checkpoint = read_best(folder)
    try:
        return rebuild(checkpoint)
    except ValueError as error:
        remedy = "train to a new folder with --model_save_name"
        raise UserError(f"{printable(checkpoint.path)}: {error}; {remedy}") from None


def rebuild(checkpoint: Checkpoint) -> TrainedNetwork:
    """Returns the network of a checkpoint. Raises ValueError if its weights do not fit its model config."""
    # Before memory is allocated for weights that the file does not have: a graph allocates none.
    with tf.Graph().as_default():
        shapes = {weight.path: tuple(weight.shape) for weight in generate_model(checkpoint.model_config).weights}
    if {name: value.shape for name, value in checkpoint.part("average").items()} != shapes:
        raise ValueError("its weights do not fit this network")
    with in_float32():
        model = generate_model(checkpoint.model_config)
        network = TrainedNetwork(model, checkpoint.model_config, step=checkpoint.step, source=checkpoint.checksum)
    load_state("average", by_path(model.weights), checkpoint)
    if stored := checkpoint.part("calibration"):
        network.calibration = _read_calibration(stored, features=network.features, statistics=network.statistics)
    return network


def _read_calibration(stored: dict[str, np.ndarray], *, features: int, statistics: int) -> Calibration:
    count = max(1, len(np.atleast_1d(stored.get("references", 0.0))))
    shapes = {
        "mean": (statistics,),
        "whitening": (statistics, statistics),
        "references": (count, features - statistics),
        "centers": (2,),
        "spreads": (2,),
    }
    wanted = dict.fromkeys(Calibration._fields, ((), np.dtype(np.float64)))
    wanted |= {name: (shape, np.dtype(np.float32)) for name, shape in shapes.items()}
    if {name: (value.shape, value.dtype) for name, value in stored.items()} != wanted:
        raise ValueError("its calibration does not fit this network")
    return Calibration(**{name: value if value.ndim else float(value) for name, value in stored.items()})
