"""Compares our default settings with a textbook Keras convnet, on identical splits of a folder of pictures.

    python -m benchmarks.accuracy --raw_data rawdata --seeds 3
    python -m benchmarks.accuracy --seeds 1 --epochs 2 --textbook_epochs 2     a quick try

Each seed determines a split, the initial weights and an order. Accuracies are balanced ones on the validation pictures:
of the best epoch, which was chosen with the same pictures and so is slightly too high; the mean of the last five
epochs; and the mean of the five epochs before the moment at which the textbook network was finished. The trainings run
one after the other, each in a new process.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.baselines.networks import textbook_convnet
from benchmarks.harness.processes import in_new_process
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import TrainingResult, config_in, train_ours
from config import Count, TrainConfig
from network.backend import keras, tf
from pictures.manifest import TRAIN, VALIDATION, class_names
from preprocessing import training_pictures
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Validated
from training.batches import class_weights, load, validation_batches


@dataclass(frozen=True, kw_only=True)
class AccuracyConfig(Validated):
    """What to compare on."""

    # What to compare on
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    seeds: Count = 3  # Number of splits to train on.
    epochs: Count = TrainConfig.epochs  # Maximum number of passes over the training pictures, with our settings.
    textbook_epochs: Count = 60  # Passes over the training pictures of the textbook network.


def train_textbook(config: TrainConfig, epochs: int) -> TrainingResult:
    """Trains the usual way: shuffled `tf.data` in batches of 32, and `fit`."""
    pictures = training_pictures(config)
    train, validation = (
        load([picture for picture in pictures if picture.split == split], config) for split in (TRAIN, VALIDATION)
    )
    keras.utils.set_random_seed(config.seed)
    model = textbook_convnet(len(class_names(pictures)))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    examples = (train.images, train.labels)
    batches = tf.data.Dataset.from_tensor_slices(examples).shuffle(len(train.labels)).batch(32).prefetch(2)
    validating = validation_batches(validation, class_weights(validation.labels, balance=True))
    start = time.perf_counter()
    # The data set shuffles itself; fit would only warn that it cannot.
    history = model.fit(batches, validation_data=validating, epochs=epochs, shuffle=False, verbose=2).history
    return TrainingResult(history["val_accuracy"], time.perf_counter() - start, model.count_params())


def accuracy_after(result: TrainingResult, seconds: float) -> float:
    """Returns the mean accuracy of the five epochs before a moment of a run, or before its end."""
    epochs = len(result.accuracies)
    reached = min(epochs, max(5, int(epochs * seconds / result.seconds)))
    return float(np.mean(result.accuracies[max(0, reached - 5) : reached]))


def row(name: str, results: list[TrainingResult], textbook: list[TrainingResult]) -> str:
    return format_row(
        name,
        f"{results[0].weights:,}",
        mean_and_deviation([len(result.accuracies) for result in results], 0),
        f"{mean_and_deviation([result.seconds for result in results], 0)} s",
        mean_and_deviation([max(result.accuracies) for result in results], 3),
        mean_and_deviation([accuracy_after(result, result.seconds) for result in results], 3),
        mean_and_deviation(
            [accuracy_after(result, other.seconds) for result, other in zip(results, textbook, strict=True)], 3
        ),
    )


def main(config: AccuracyConfig) -> int:
    ours, textbook = [], []
    for seed in range(1, config.seeds + 1):
        with tempfile.TemporaryDirectory() as work:
            base = config_in(Path(work), config.raw_data, seed=seed, epochs=config.epochs)
            training_pictures(base)
            ours.append(in_new_process(train_ours, base))
            textbook.append(in_new_process(train_textbook, base, config.textbook_epochs))
    print(f"\nvalidation accuracy on {config.raw_data}, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print(
        format_header(
            "network", "weights", "epochs", "time", "best epoch", "last five epochs", "after the textbook's time"
        )
    )
    print(row("ours, defaults", ours, textbook))
    print(row("textbook Keras convnet", textbook, textbook))
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, AccuracyConfig, __doc__)
