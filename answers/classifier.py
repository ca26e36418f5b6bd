"""A trained network that predicts: logits, scores, and whether a picture is unlike those that it was trained on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from answers import calibration
from answers.calibration import Calibration
from model import generate_model, with_features
from network.backend import keras, tf
from network.checkpoint_file import (
    BEST,
    Checkpoint,
    checkpoint_path,
    checkpoint_paths,
    read_intact,
    step_of,
    write_checkpoint,
)
from network.model_config import MODEL_CONFIG, ModelConfig, read_model_config
from network.state import by_path, load_state, state_of
from system.errors import UserError
from system.terminal import printable

BATCH_SIZE = 64  # limits the memory; changes results by rounding only


class Predictions(NamedTuple):
    """What a network says about some images."""

    predicted: np.ndarray  # int (count,), the index of the class with the highest logit
    logits: np.ndarray  # float32 (count, classes)
    scores: np.ndarray  # float64 (count, classes), 0..1, calibrated
    unknown: np.ndarray  # bool (count,)


class Classifier:
    """A network and its calibration, which is None until it is fitted."""

    def __init__(
        self, model: keras.Model, model_config: ModelConfig, *, step: int = 0, fitted: Calibration | None = None
    ) -> None:
        self.model = model
        self.model_config = model_config
        self.step = step  # training steps of its weights
        self.calibration = fitted
        self._with_features = with_features(model, random_mirror=model_config.random_mirror)
        self._with_features.jit_compile = False  # compiling takes longer than predicting
        self.features: int = self._with_features.output_shape[1][-1]  # how many there are

    def predict(self, images: np.ndarray) -> Predictions:
        """Returns predictions for uint8 images (count, height, width, color_channels)."""
        return self._predictions(*self._run(images))

    def _predictions(self, logits: np.ndarray, features: np.ndarray) -> Predictions:
        odds = calibration.log_odds(logits, loss=self.model_config.loss)
        return Predictions(
            predicted=logits.argmax(axis=1),
            logits=logits,
            scores=calibration.scores(odds, self.calibration),
            unknown=calibration.is_unknown(odds, features, self.calibration),
        )

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
            validation_features=features,
            validation_odds=calibration.log_odds(logits, loss=self.model_config.loss),
            validation_labels=labels,
            unknown_rate=unknown_rate,
        )
        return self._predictions(logits, features)

    def save(self, folder: Path) -> None:
        """Writes weights and calibration as the best network in a folder of checkpoints."""
        tensors = state_of("average", by_path(self.model.weights))
        if self.calibration:
            tensors |= {
                f"calibration/{name}": np.array(value, np.float64) for name, value in self.calibration._asdict().items()
            }
        write_checkpoint(checkpoint_path(folder / BEST, self.step), tensors, self.model_config)

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns logits (count, classes) and features (count, features)."""
        batches = [
            self._with_features.predict_on_batch(images[start : start + BATCH_SIZE])
            for start in range(0, len(images), BATCH_SIZE)
        ]
        logits, features = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return logits, features


def memory_need(folder: Path) -> int:
    """Returns about how many bytes it takes to load the network of a folder: about six times its file, as measured."""
    return 6 * next((path.stat().st_size for path in _trained_checkpoints(folder)), 0)


def load_classifier(folder: Path) -> Classifier:
    """Returns the trained network of the best epoch, or of the newest checkpoint if no epoch is finished.

    It is calibrated if the run came to its end or was stopped after its first epoch, but not if it was killed.

    Raises:
        UserError: there is no intact checkpoint, or it does not belong to model.json.
    """
    model_config = read_model_config(folder)
    trained = _trained_checkpoints(folder)
    for checkpoint in read_intact(trained):
        if checkpoint.model_config != model_config:
            path, other = printable(checkpoint.path), printable(folder / MODEL_CONFIG)
            raise UserError(
                f"{path}: belongs to a different network than {other}; bring back the two that belong together"
            )
        try:
            return _rebuild(checkpoint)
        except ValueError as error:
            remedy = "train to a new folder with --model_save_name"
            raise UserError(f"{printable(checkpoint.path)}: {error}; {remedy}") from None
    if trained:
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; train to a new folder")
    raise UserError(f"{printable(folder)}: training has not saved any weights yet; run trainer.py to its end")


def _trained_checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints to predict with: first that of the best epoch, then the newest ones."""
    return [path for path in (*checkpoint_paths(folder / BEST), *checkpoint_paths(folder)) if step_of(path)]


def _rebuild(checkpoint: Checkpoint) -> Classifier:
    """Returns the network of a checkpoint. Raises ValueError if its weights do not fit its model config."""
    # Before memory is allocated for weights that the file does not have: a graph allocates none.
    with tf.Graph().as_default():
        shapes = {weight.path: tuple(weight.shape) for weight in generate_model(checkpoint.model_config).weights}
    if {name: value.shape for name, value in checkpoint.part("average").items()} != shapes:
        raise ValueError("its weights do not fit this network")
    model = generate_model(checkpoint.model_config)
    load_state("average", by_path(model.weights), checkpoint)
    classifier = Classifier(model, checkpoint.model_config, step=checkpoint.step)
    if stored := checkpoint.part("calibration"):
        classifier.calibration = _read_calibration(stored, features=classifier.features)
    return classifier


def _read_calibration(stored: dict[str, np.ndarray], *, features: int) -> Calibration:
    shapes: dict[str, tuple[int, ...]] = {**dict.fromkeys(Calibration._fields, ()), "mean": (features,)}
    shapes["whitening"] = (features, features)
    if {name: (value.shape, value.dtype) for name, value in stored.items()} != {
        name: (shape, np.dtype(np.float64)) for name, shape in shapes.items()
    }:
        raise ValueError("its calibration does not fit this network")
    return Calibration(**{name: value if value.ndim else float(value) for name, value in stored.items()})
