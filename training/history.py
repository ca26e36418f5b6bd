"""The metrics of the epochs of a run, and which epoch is the best. Needs no TensorFlow."""

import itertools
from collections.abc import Sequence

import numpy as np

from network.checkpoint_file import Checkpoint

# Of each epoch, in the history. Times are not among them: two runs with the same settings have equal checkpoints.
METRICS = (
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "val_recall_mean",
    "val_recall_worst",
    "val_recall_best",
)

History = Sequence[dict[str, float]]  # the metrics of each finished epoch
_LEAST_PROGRESS = 1e-4  # of the cost
_ROUNDING = 1e-6  # validation accuracies that differ by less are equal: their weights are rounded to 24 bits


def best_epoch(history: History) -> int:
    """Returns the index of the epoch whose network is kept.

    It is the most accurate one; if equal, that with the smaller loss; then the first. But while the learning rate
    falls, it is always the newest one: its weights are better than those before, even if chance hides it.
    """
    best = 0
    for epoch in range(1, len(history)):
        falls = history[epoch]["learning_rate"] < history[epoch - 1]["learning_rate"]
        if falls or _is_better(history[epoch], history[best]):
            best = epoch
    return best


def _is_better(metrics: dict[str, float], best: dict[str, float]) -> bool:
    difference = metrics["val_accuracy"] - best["val_accuracy"]
    return metrics["val_loss"] < best["val_loss"] if abs(difference) <= _ROUNDING else difference > 0


def epochs_without_progress(history: History) -> int:
    """Returns the number of epochs since the first one with the lowest validation cost.

    Not the highest accuracy: of 200 pictures it is highest by chance in an early epoch now and then, while the cost
    still falls.
    """
    lowest = min(metrics["val_loss"] for metrics in history)
    first = next(epoch for epoch, metrics in enumerate(history) if metrics["val_loss"] < lowest + _LEAST_PROGRESS)
    return len(history) - 1 - first


def falling_epochs(history: History) -> int:
    """Returns in how many of the last epochs the learning rate was lower than in the epoch before each."""
    rates = [metrics["learning_rate"] for metrics in reversed(history)]
    falling = itertools.takewhile(lambda pair: pair[0] < pair[1], itertools.pairwise(rates))
    return sum(1 for _ in falling)


def history_of(checkpoint: Checkpoint) -> list[dict[str, float]]:
    """Returns the metrics of each epoch in a checkpoint. Raises ValueError if it has no valid history."""
    rows = checkpoint.tensors.get("history", np.zeros(0))
    if rows.ndim != 2 or rows.shape[1] != len(METRICS) or not np.isfinite(rows).all():
        raise ValueError("it has no valid history")
    return [dict(zip(METRICS, row, strict=True)) for row in rows.tolist()]
