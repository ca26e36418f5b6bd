"""What a network says about images, and which of them are unknown."""

import math
from typing import NamedTuple

import numpy as np

BATCH_SIZE = 64  # limits the memory; changes results by rounding only


class Predictions(NamedTuple):
    """What a network says about some images."""

    predicted: np.ndarray  # int (count,), the index of the class with the highest logit
    logits: np.ndarray  # float32 (count, classes)
    scores: np.ndarray  # float32 (count, classes), 0..1, calibrated
    unknown: np.ndarray  # bool (count,)


class Limits(NamedTuple):
    """Beyond which a picture is called unknown. Without a calibration, none is."""

    max_distance: float = math.inf  # from the training pictures
    min_score: float = 0.0  # of the predicted class


def predictions_of(logits: np.ndarray, scores: np.ndarray, distances: np.ndarray, limits: Limits) -> Predictions:
    """Returns the predictions that follow from the three outputs of a network.

    Args:
        logits: float32 (count, classes).
        scores: float32 (count, classes), 0..1.
        distances: float32 (count,), from the training pictures.
        limits: of the network.
    """
    unknown = (distances > limits.max_distance) | (scores.max(axis=1) < limits.min_score)
    return Predictions(logits.argmax(axis=1), logits, scores, unknown)


def short_float(value: float) -> float:
    """Returns a float32 as the float with the fewest digits that stands for it: 0.1 instead of 0.10000000149."""
    return float(str(value))
