"""Compares our default settings with a textbook Keras convnet, and with other settings, by cross-validation.

    python -m benchmarks.accuracy --raw_data rawdata
    python -m benchmarks.accuracy --raw_data rawdata mixup=0 learning_rate_decay=0,patience=30
    python -m benchmarks.accuracy --raw_data rawdata --training_fraction 0.1     with fewer pictures
    python -m benchmarks.accuracy --folds 2 --epochs 2     a quick try

The photos are divided into folds, those that look alike together. For each fold a network is trained on the others, and
then judges the pictures of the fold. So every picture counts once, with the answer of a network that was not trained on
it, and no epoch is chosen by its accuracy: ours is the last one, whose number follows from the stopping rule. (That
rule looks at the cost on the fold, to find out when it no longer falls.) The textbook network is judged after as
many epochs as ours, and after as much time. All are compared on the same pictures, so the interval of a difference is
that of a paired comparison. Each training runs in a new process; by default, one after the other.
"""

import ast
import contextlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

import trainer
from answers.evaluation import accuracy_interval, difference_interval
from answers.loading import load_engine
from benchmarks.baselines.networks import textbook_convnet
from benchmarks.harness.processes import in_new_processes
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import config_in
from config import BatchSize, Count, Flag, Folds, Pixels, TrainConfig
from network.backend import keras, tf
from network.checkpoint_file import member_folder
from pictures.manifest import TRAIN, VALIDATION, Picture, class_names
from pictures.split import pictures_of_fold, with_part_of_training
from preprocessing import training_pictures
from system.cluster import Workers
from system.errors import EXIT_SUCCESS, UserError
from system.script import run_script
from system.validation import Between, Validated
from training.batches import Samples, load
from training.checkpoints import latest_checkpoint
from training.distribution import distribute
from training.history import history_of


@dataclass(frozen=True, kw_only=True)
class AccuracyConfig(Validated):
    """What to compare on."""

    # What to compare on
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    folds: Folds = 5  # Parts of the pictures, each judged by a network that was trained on the others.
    height: Pixels = TrainConfig.height  # Height of the images in pixels.
    width: Pixels = TrainConfig.width  # Width of the images in pixels.
    training_fraction: Annotated[float, Between(0.001, 1)] = 1.0  # Train on only this fraction of the others.
    batch_size: BatchSize = TrainConfig.batch_size  # Pictures per training step of ours; the textbook network has 32.
    epochs: Count = TrainConfig.epochs  # Maximum number of passes over the training pictures, with our settings.
    settings: tuple[str, ...] = ()  # Other settings to compare with the defaults: name=value,name=value …
    n_jobs: Count = 1  # Trainings that run at the same time, each with an equal part of the cores.
    textbook: Flag = True  # Whether the textbook network is trained too.


class Judged(NamedTuple):
    """What the networks of all folds say about the pictures that they were not trained on."""

    correct: np.ndarray  # bool (pictures,), in the same order for all networks
    epochs: list[int]  # of each fold
    seconds: list[float]  # of each fold, without importing TensorFlow


def rows_of_fold(config: TrainConfig, fold: int, fraction: float) -> list[Picture]:
    """Returns every picture, with its use by the network of a fold, which is trained on a fraction of the others."""
    with contextlib.redirect_stdout(None):  # what is found about them was printed before
        rows = pictures_of_fold(training_pictures(config), fold)
    return rows if fraction == 1 else with_part_of_training(rows, fraction=fraction, seed=config.seed)


def load_part(rows: list[Picture], part: str, config: TrainConfig) -> Samples:
    """Returns the images that are trained on or judged."""
    return load([picture for picture in rows if picture.split == part], config)


# ---- ours ----


def train_fold(config: TrainConfig, fold: int, fraction: float) -> tuple[np.ndarray, int, float]:
    """Returns for each picture of a fold whether it is predicted correctly, and the epochs and seconds of the training.

    The network is that of `trainer.py --folds`.
    """
    start = time.perf_counter()
    distribution = distribute(config, Workers())
    rows = rows_of_fold(config, fold, fraction)
    trainer.train_part(rows, trainer.config_of_fold(config, fold), config, distribution)
    seconds = time.perf_counter() - start
    folder = member_folder(Path(config.model_save_name), fold)
    checkpoint = latest_checkpoint(folder)
    assert checkpoint
    samples = load_part(rows, VALIDATION, config)
    correct = load_engine(folder).predict(samples.images).predicted == samples.labels
    return correct, len(history_of(checkpoint)), seconds


def judge_ours(config: TrainConfig, fraction: float, n_jobs: int) -> Judged:
    calls = [(config, 1 + index, fraction) for index in range(config.folds)]
    found = in_new_processes(train_fold, calls, n_jobs=n_jobs)
    correct, epochs, seconds = zip(*found, strict=True)
    return Judged(np.concatenate(correct), list(epochs), list(seconds))


def with_settings(config: TrainConfig, text: str) -> TrainConfig:
    """Returns a config with the settings of a text such as mixup=0,dropout=0.25. Raises UserError for others."""
    changes = {}
    for setting in text.split(","):
        name, _, value = setting.partition("=")
        if not hasattr(config, name):
            raise UserError(f"{text}: there is no setting {name!r}; use name=value,name=value")
        changes[name] = value if isinstance(getattr(config, name), str) else ast.literal_eval(value)
    return replace(config, **changes)


# ---- the textbook network ----


class _Snapshots(keras.callbacks.Callback):
    """Keeps the weights after a number of epochs, and those after the last epoch that ended within some seconds.

    It ends the training when there were enough epochs and enough time.
    """

    def __init__(self, *, epochs: int, seconds: float) -> None:
        super().__init__()
        self._epochs, self._seconds = epochs, seconds
        self.after_epochs: list[np.ndarray] = []
        self.in_time: list[np.ndarray] = []
        self.epochs_in_time = 0
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        is_in_time = time.perf_counter() - self._start <= self._seconds
        if is_in_time or not epoch:
            self.in_time, self.epochs_in_time = self.model.get_weights(), epoch + 1
        if epoch + 1 == self._epochs:
            self.after_epochs = self.model.get_weights()
        self.model.stop_training = epoch + 1 >= self._epochs and not is_in_time


def prepare_textbook(rows: list[Picture], config: TrainConfig) -> tuple[keras.Model, tf.data.Dataset, Samples]:
    """Returns the textbook network, its training batches, and the pictures to judge: shuffled, 32 at a time."""
    train, test = load_part(rows, TRAIN, config), load_part(rows, VALIDATION, config)
    keras.utils.set_random_seed(config.seed)
    model = textbook_convnet(len(class_names(rows)), config.shape)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices((train.images, train.labels))
    return model, batches.shuffle(len(train.labels)).batch(32).prefetch(2), test


def train_textbook(
    config: TrainConfig, fold: int, fraction: float, epochs: int, seconds: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Trains the usual way, with `fit`.

    Returns:
        for each picture of the fold whether it is predicted correctly after some epochs, and after some seconds; and
        the number of epochs in that time.
    """
    model, batches, test = prepare_textbook(rows_of_fold(config, fold, fraction), config)
    snapshots = _Snapshots(epochs=epochs, seconds=seconds)
    model.fit(batches, epochs=10**6, callbacks=[snapshots], shuffle=False, verbose=0)

    def correct(weights: list[np.ndarray]) -> np.ndarray:
        model.set_weights(weights)
        return model.predict(test.images, batch_size=64, verbose=0).argmax(axis=1) == test.labels

    return correct(snapshots.after_epochs), correct(snapshots.in_time), snapshots.epochs_in_time


def judge_textbook(config: TrainConfig, fraction: float, ours: Judged, n_jobs: int) -> tuple[Judged, Judged]:
    """Returns the judgements of the textbook network after as many epochs as ours, and after as much time."""
    calls = [(config, 1 + index, fraction, ours.epochs[index], ours.seconds[index]) for index in range(config.folds)]
    found = in_new_processes(train_textbook, calls, n_jobs=n_jobs)
    by_epochs, by_time, epochs = zip(*found, strict=True)
    return (
        Judged(np.concatenate(by_epochs), ours.epochs, []),
        Judged(np.concatenate(by_time), list(epochs), ours.seconds),
    )


# ---- the table ----


def row(name: str, judged: Judged, first: Judged) -> str:
    low, high = accuracy_interval(int(judged.correct.sum()), len(judged.correct))
    difference = "-"
    if judged is not first:
        lowest, highest = difference_interval(first.correct, judged.correct)
        mean = np.mean(judged.correct) - np.mean(first.correct)
        difference = f"{mean:+.3f} ({lowest:+.3f} to {highest:+.3f})"
    return format_row(
        name,
        mean_and_deviation(judged.epochs, 0),
        f"{mean_and_deviation(judged.seconds, 0)} s" if judged.seconds else "-",
        f"{np.mean(judged.correct):.3f} ({low:.3f} to {high:.3f})",
        difference,
    )


def main(config: AccuracyConfig) -> int:
    sizes = {name: getattr(config, name) for name in ("folds", "height", "width", "batch_size", "epochs")}
    rows: dict[str, Judged] = {}
    with tempfile.TemporaryDirectory() as work:
        base = config_in(Path(work), config.raw_data, **sizes)
        changed = {text: with_settings(base, text) for text in config.settings}
        training_pictures(base)
        options = {"fraction": config.training_fraction, "n_jobs": config.n_jobs}
        ours = rows["ours, defaults"] = judge_ours(base, **options)
        for index, (text, other) in enumerate(changed.items()):
            rows[f"ours, {text}"] = judge_ours(replace(other, model_save_name=f"{work}/checkpoints-{index}"), **options)
        if config.textbook:
            _print_table(config, rows)  # which is complete some hours later
            by_epochs, by_time = judge_textbook(base, ours=ours, **options)
            rows["textbook Keras convnet, as many epochs"] = by_epochs
            rows["textbook Keras convnet, as much time"] = by_time
    _print_table(config, rows)
    return EXIT_SUCCESS


def _print_table(config: AccuracyConfig, rows: dict[str, Judged]) -> None:
    ours = next(iter(rows.values()))
    print(
        f"\n{len(ours.correct):,} pictures of {config.raw_data}, each judged by a network that was not trained on it;"
    )
    print(f"{config.folds} folds; epochs and time of one network: mean ± standard deviation\n")
    print(format_header("network", "epochs", "time", "accuracy (95 % interval)", "difference (95 % interval)"))
    for name, judged in rows.items():
        print(row(name, judged, ours), flush=True)


if __name__ == "__main__":
    run_script(main, AccuracyConfig, __doc__)
