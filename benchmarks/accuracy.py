"""Trains our defaults and a textbook Keras convnet on the identical splits of a folder of pictures, and compares.

    python benchmarks/accuracy.py --raw_data rawdata --seeds 3

Every seed makes a split, weights and an order of its own. Accuracies are measured on the validation sources, every
class counting alike: at the best epoch, which was chosen on the same pictures and so is a little flattered; as the mean
of the last five epochs; and as the mean of the five epochs before the moment at which the textbook network was
finished. Each training runs in a process of its own, one after the other.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common import alone, settings_in, spread

# isort: split

import keras
import numpy as np
import tensorflow as tf

import config as settings
import dataset
import trainer
from checkpoint import history_of, load_classifier, newest_run
from config import Checked, Count, TrainConfig
from manifest import TRAIN, VALIDATION
from preprocessing import prepare


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What to compare on."""

    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder a class.
    seeds: Count = 3  # How many splits to train on.
    textbook_epochs: Count = 60  # Passes over the training pictures of the textbook network.


class Run(NamedTuple):
    accuracies: list[float]  # on the validation sources, after each epoch
    seconds: float  # without importing TensorFlow
    weights: int


def train_ours(config: TrainConfig) -> Run:
    began = time.perf_counter()
    trainer.main(config)
    seconds = time.perf_counter() - began
    history = history_of(newest_run(Path(config.model_save_name)))
    classifier, _ = load_classifier(Path(config.model_save_name))
    return Run([figures["val_accuracy"] for figures in history], seconds, classifier.model.count_params())


def textbook(classes: int) -> keras.Model:
    """The convnet for small data sets of Chollet's "Deep Learning with Python": four 3 × 3 convolutions, doubling."""
    layers = [
        keras.Input((100, 100, 3)),
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(0.1),
        keras.layers.RandomZoom(0.2),
        keras.layers.Rescaling(1 / 255),
    ]
    for filters in (32, 64, 128, 256):
        layers += [keras.layers.Conv2D(filters, 3, activation="relu"), keras.layers.MaxPooling2D(2)]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential(layers)


def train_textbook(config: TrainConfig, epochs: int) -> Run:
    """The usual way: shuffled `tf.data` in batches of 32, and `fit`."""
    pictures = prepare(config)
    train, validation = (
        dataset.load([picture for picture in pictures if picture.split == split], config)
        for split in (TRAIN, VALIDATION)
    )
    keras.utils.set_random_seed(config.seed)
    model = textbook(len(dataset.class_names(pictures)))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices(tuple(train)).shuffle(len(train.labels)).batch(32).prefetch(2)
    held_back = dataset.validation_batches(validation, dataset.class_weights(validation.labels, balance=True))
    began = time.perf_counter()
    history = model.fit(batches, validation_data=held_back, epochs=epochs, verbose=2).history
    return Run(history["val_accuracy"], time.perf_counter() - began, model.count_params())


def after(run: Run, seconds: float) -> float:
    """The mean accuracy of the five epochs before a moment of a run, or before its end."""
    epochs = len(run.accuracies)
    reached = min(epochs, max(5, int(epochs * seconds / run.seconds)))
    return float(np.mean(run.accuracies[reached - 5 : reached]))


def row(name: str, runs: list[Run], others: list[Run]) -> str:
    cells = [
        name,
        f"{runs[0].weights:,}",
        spread([len(run.accuracies) for run in runs], 0),
        f"{spread([run.seconds for run in runs], 0)} s",
        spread([max(run.accuracies) for run in runs], 3),
        spread([after(run, run.seconds) for run in runs], 3),
        spread([after(run, other.seconds) for run, other in zip(runs, others, strict=True)], 3),
    ]
    return f"| {' | '.join(cells)} |"


def main(config: BenchmarkConfig) -> int:
    ours, theirs = [], []
    for seed in range(1, config.seeds + 1):
        with tempfile.TemporaryDirectory() as work:
            base = settings_in(Path(work), config.raw_data, seed=seed)
            prepare(base)
            ours.append(alone(train_ours, base))
            theirs.append(alone(train_textbook, base, config.textbook_epochs))
    print(f"\nvalidation accuracy on {config.raw_data}, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print("| network | weights | epochs | time | best epoch | last five epochs | after the textbook's time |")
    print("|---|---|---|---|---|---|---|")
    print(row("ours, defaults", ours, theirs))
    print(row("textbook Keras convnet", theirs, theirs))
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
