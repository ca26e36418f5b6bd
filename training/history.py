"""The metrics of the epochs of a run: which epoch is the best, and when the run is finished. Needs no TensorFlow."""

from collections.abc import Sequence

import numpy as np

from config import TrainConfig
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
_ROUNDING = 1e-6  # validation accuracies that differ by less are equal: their weights are rounded to 24 bits


def _most_accurate(history: History) -> list[int]:
    """Returns the indices of the epochs with the highest validation accuracy."""
    highest = max((metrics["val_accuracy"] for metrics in history), default=0)
    return [epoch for epoch, metrics in enumerate(history) if metrics["val_accuracy"] > highest - _ROUNDING]


def best_epoch(history: History) -> int:
    """Returns the index of the best epoch: the most accurate; if equal, that with the smallest loss; then the first."""
    return min(_most_accurate(history), key=lambda epoch: history[epoch]["val_loss"])


def epochs_without_progress(history: History) -> int:
    """Returns the number of epochs since the first one with the highest validation accuracy."""
    return len(history) - 1 - _most_accurate(history)[0]


def reached_limits(history: History, config: TrainConfig) -> dict[str, int]:
    """Returns the limits that end a run after these epochs, each with a value that lets it continue.

    It is empty if the run is not finished. Only the epochs since the highest accuracy count: what came before does not
    matter, whatever the limits were at that time.
    """
    reached = {}
    if history and (without_progress := epochs_without_progress(history)) >= config.patience:
        reached["patience"] = without_progress + config.patience
    if len(history) >= config.epochs:
        reached["epochs"] = len(history) + config.epochs
    return reached


def history_of(checkpoint: Checkpoint) -> list[dict[str, float]]:
    """Returns the metrics of each epoch in a checkpoint. Raises ValueError if it has no valid history."""
    rows = checkpoint.tensors.get("history", np.zeros(0))
    if rows.ndim != 2 or rows.shape[1] != len(METRICS) or not np.isfinite(rows).all():
        raise ValueError("it has no valid history")
    return [dict(zip(METRICS, row, strict=True)) for row in rows.tolist()]
