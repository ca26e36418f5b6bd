"""Measures how long it takes until our network is as accurate as a textbook Keras convnet at its best.

    python -m benchmarks.time_to_accuracy --raw_data rawdata
    python -m benchmarks.time_to_accuracy --folds 2 --textbook_epochs 2     a quick try

The photos are divided into folds, those that look alike together. For each fold, the textbook network is trained on the
others for a number of epochs, and judged on the fold after each. Its highest accuracy is the goal: ours is trained with
the default settings until it is as accurate. Both are thus judged by their luckiest epoch, so the accuracies are too
high; `benchmarks.accuracy` has fair ones. The time includes compiling and judging, but not importing TensorFlow and
reading the pictures. The trainings run one after the other, each in a new process.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trainer
from benchmarks.accuracy import prepare_textbook, rows_of_fold
from benchmarks.harness.processes import in_new_process
from benchmarks.harness.tables import format_header, format_row
from benchmarks.harness.training import config_in
from config import Count, Folds, TrainConfig
from network.backend import keras
from preprocessing import training_pictures
from reports.console import EpochTable
from system.cluster import Workers
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Validated
from training.distribution import distribute


@dataclass(frozen=True, kw_only=True)
class TimeConfig(Validated):
    """What to compare on."""

    # What to compare on
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    folds: Folds = 5  # Parts of the pictures; for each, both networks are trained on the others.
    textbook_epochs: Count = 60  # Of the textbook network.


class Reached(NamedTuple):
    """An accuracy on the pictures of a fold, and when it was reached for the first time."""

    accuracy: float
    epoch: int
    seconds: float  # since the training began


def time_textbook(config: TrainConfig, fold: int, epochs: int) -> Reached:
    """Returns the highest accuracy of the textbook network."""
    model, batches, test = prepare_textbook(rows_of_fold(config, fold, 1), config)
    start, ends = time.perf_counter(), []
    ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter() - start))
    validation = (test.images, test.labels)
    history = model.fit(batches, epochs=epochs, validation_data=validation, callbacks=[ended], shuffle=False, verbose=0)
    accuracies = history.history["val_accuracy"]
    best = accuracies.index(max(accuracies))
    return Reached(accuracies[best], 1 + best, ends[best])


class _EndAtGoal(EpochTable):
    """Ends the training after the first epoch with an accuracy of at least `goal`, a setting of the class."""

    goal = 1.0

    def on_train_begin(self, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if as_accurate(logs["val_accuracy"], self.goal):
            raise _GoalReached(Reached(logs["val_accuracy"], 1 + epoch, time.perf_counter() - self._begin))


def as_accurate(accuracy: float, goal: float) -> bool:
    """Returns whether an accuracy is at least the goal.

    Keras's metric has float32, and ours float64, so an equal fraction of the pictures may differ in the eighth digit.
    """
    return accuracy > goal - 1e-6


class _GoalReached(Exception):
    """Its argument says when."""


def time_ours(config: TrainConfig, fold: int, goal: float) -> Reached | None:
    """Returns when ours was as accurate as the goal, or None if it never was."""
    rows = rows_of_fold(config, fold, 1)
    trainer.EpochTable, _EndAtGoal.goal = _EndAtGoal, goal
    try:
        trainer.train_part(rows, trainer.config_of_fold(config, fold), config, distribute(config, Workers()))
    except _GoalReached as reached:
        return reached.args[0]
    return None


def main(config: TimeConfig) -> int:
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as work:
        base = config_in(Path(work), config.raw_data, folds=config.folds)
        training_pictures(base)
        for fold in range(1, config.folds + 1):
            best = in_new_process(time_textbook, base, fold, config.textbook_epochs)
            ours = in_new_process(time_ours, base, fold, best.accuracy)
            ratios.append(ours.seconds / best.seconds if ours else float("inf"))
            rows.append(format_row(fold, describe(best), describe(ours), f"{ratios[-1]:.2f}"))
    print(f"\n{config.raw_data}, accuracy on the pictures of the fold\n")
    print(format_header("fold", "textbook at its best", "ours", "time, ours / textbook"))
    print(*rows, sep="\n")
    print(f"\nmedian of the ratios: {statistics.median(ratios):.2f}")
    return EXIT_SUCCESS


def describe(reached: Reached | None) -> str:
    if not reached:
        return "never as accurate"
    return f"{reached.accuracy:.3f} after {reached.epoch} epochs, {reached.seconds:.0f} s"


if __name__ == "__main__":
    run_script(main, TimeConfig, __doc__)
