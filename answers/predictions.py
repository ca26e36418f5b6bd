"""What a network says about images, and which of them are unknown."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

BATCH_SIZE = 32  # limits the memory, is as fast as more, and with LiteRT changes no result
MAX_DIFFERENCE = 1e-4  # of raw magnitudes, between two forms of a network


class Predictions(NamedTuple):
    """What a network says about some images."""

    predicted: np.ndarray  # int (count,), the index of the class with the highest logit
    logits: np.ndarray  # float32 (count, classes)
    scores: np.ndarray  # float32 (count, classes), 0..1, calibrated
    unknown: np.ndarray  # bool (count,)
    agreement: np.ndarray | None = None  # float32 (count,), the part of the networks of an ensemble that predict this


class Outputs(NamedTuple):
    """The outputs of a network for some images, all float32."""

    logits: np.ndarray  # (count, classes)
    scores: np.ndarray  # (count, classes), 0..1
    distances: np.ndarray  # (count,), from the training pictures
    agreement: np.ndarray | None = None  # (count,), 0..1; None for a single network


def predictions_of(outputs: Outputs, *, max_distance: float) -> Predictions:
    """Returns the predictions that follow from the outputs of a network.

    Args:
        outputs: for some images.
        max_distance: pictures that are farther from the training pictures are unknown; infinite: none is.
    """
    logits, scores, distances, agreement = outputs
    return Predictions(logits.argmax(axis=1), logits, scores, distances > max_distance, agreement)


def short_float(value: float) -> float:
    """Returns a float32 as the float with the fewest digits that stands for it: 0.1 instead of 0.10000000149."""
    return float(str(value))


def outputs_of(run: Callable[[np.ndarray], Mapping[str, np.ndarray]], images: np.ndarray) -> Outputs:
    """Returns the outputs for any number of images.

    Args:
        run: returns raw, scores and distance for a batch and, of an ensemble, agreement.
        images: uint8 (count, height, width, color_channels), at least one.
    """
    batches = [run(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)]
    logits, scores, distances = (
        np.concatenate([batch[name] for batch in batches]) for name in ("raw", "scores", "distance")
    )
    is_ensemble = "agreement" in batches[0]
    agreement = np.concatenate([batch["agreement"] for batch in batches]) if is_ensemble else None
    return Outputs(logits, scores, distances, agreement)


def largest_difference(logits: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference of raw magnitudes, which is not a number if one of them is none."""
    return float(np.abs(logits - expected).max())


def are_equal(logits: np.ndarray, expected: np.ndarray) -> bool:
    """Returns whether raw magnitudes differ by rounding only.

    That is by at most 0.0001, or by one in ten thousand of the largest one if that is more. So the predicted class is
    the same, unless two classes are equally likely.
    """
    return largest_difference(logits, expected) <= MAX_DIFFERENCE * max(1.0, float(np.abs(expected).max()))
