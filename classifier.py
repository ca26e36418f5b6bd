"""A network as it is asked: raw magnitudes, scores, and whether a picture is like those that it was trained on."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import calibration
from calibration import Calibration
from model import with_features

_BATCH = 64  # bounds the memory; it changes answers by rounding alone


class Answers(NamedTuple):
    """What a network says of some pictures."""

    named: np.ndarray  # int (count,), the place of the class with the highest raw magnitude
    logits: np.ndarray  # float32 (count, classes), the raw magnitudes
    scores: np.ndarray  # float64 (count, classes), 0..1, calibrated
    unknown: np.ndarray  # bool (count,)


class Classifier:
    """A network and its calibration."""

    def __init__(self, model: keras.Model, *, loss: str, random_mirror: bool) -> None:
        self.model = model
        self._loss = loss
        self._with_features = with_features(model, random_mirror=random_mirror)
        self._with_features.jit_compile = False  # compiling takes longer than asking
        features = self._with_features.output_shape[1][-1]
        empty = Calibration(center=np.zeros(features), whitening=np.zeros((features, features)))
        with tf.device("CPU"):
            self.calibration = Calibration(*(tf.Variable(value, dtype=tf.float64) for value in empty))
        self.weights = [weight.value for weight in model.weights]

    @property
    def is_calibrated(self) -> bool:
        return bool(np.any(self.calibration.whitening.numpy()))

    def ask(self, images: np.ndarray) -> Answers:
        """Answers for uint8 pictures (count, height, width, color_channels)."""
        calibrated = Calibration(*(variable.numpy() for variable in self.calibration))
        logits, features = self._run(images)
        odds = calibration.log_odds(logits, loss=self._loss)
        unknown = calibration.is_unknown(odds, features, calibrated)
        return Answers(logits.argmax(axis=1), logits, calibration.scores(odds, calibrated), unknown)

    def calibrate(
        self, *, training: np.ndarray, validation: np.ndarray, labels: np.ndarray, unknown_rate: float
    ) -> None:
        """Fits the calibration to the weights that the network has now.

        Args:
            training: uint8 pictures (count, height, width, color_channels) that it was trained on.
            validation: uint8 pictures that it was not trained on.
            labels: int, of those.
            unknown_rate: share of such pictures that may be called unknown, 0..0.5.
        """
        logits, features = self._run(validation)
        fitted = calibration.fit(
            training_features=self._run(training)[1],
            validation_features=features,
            validation_odds=calibration.log_odds(logits, loss=self._loss),
            validation_labels=labels,
            unknown_rate=unknown_rate,
        )
        for variable, value in zip(self.calibration, fitted, strict=True):
            variable.assign(value)

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [
            self._with_features.predict_on_batch(images[start : start + _BATCH])
            for start in range(0, len(images), _BATCH)
        ]
        logits, features = (np.concatenate(part) for part in zip(*parts, strict=True))
        return logits, features
