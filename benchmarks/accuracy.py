"""Trains our defaults and a textbook Keras convnet on the identical splits of a folder of pictures, and compares.

    python benchmarks/accuracy.py --raw_data rawdata --seeds 3

Every seed makes a split, weights and an order of its own. Accuracies are measured on the validation sources: as the
mean of the last five epochs, which chooses nothing, and at the best epoch, which was chosen on the same pictures and so
is a little flattered. Each training runs in a process of its own, one after the other.
"""

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import numpy as np
import tensorflow as tf

import config as settings
import dataset
import trainer
from checkpoint import read_history
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
    history = read_history(Path(config.model_save_name))
    model = trainer.load_classifier(Path(config.model_save_name))[0].model
    return Run([figures["val_accuracy"] for figures in history], seconds, model.count_params())


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
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices(tuple(train)).shuffle(len(train.labels)).batch(32).prefetch(2)
    held_back = tf.data.Dataset.from_tensor_slices(tuple(validation)).batch(32)
    began = time.perf_counter()
    history = model.fit(batches, validation_data=held_back, epochs=epochs, verbose=2).history
    return Run(history["val_accuracy"], time.perf_counter() - began, model.count_params())


def alone(function, *arguments) -> Run:
    """Runs a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def row(name: str, runs: list[Run]) -> str:
    def spread(values: list[float], digits: int) -> str:
        return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=min(1, len(values) - 1)):.{digits}f}"

    cells = [
        name,
        f"{runs[0].weights:,}",
        spread([len(run.accuracies) for run in runs], 0),
        spread([float(np.mean(run.accuracies[-5:])) for run in runs], 3),
        spread([max(run.accuracies) for run in runs], 3),
        f"{spread([run.seconds for run in runs], 0)} s",
    ]
    return f"| {' | '.join(cells)} |"


def main(config: BenchmarkConfig) -> int:
    ours, theirs = [], []
    for seed in range(1, config.seeds + 1):
        with tempfile.TemporaryDirectory() as work:
            base = TrainConfig(
                raw_data=config.raw_data,
                augmented=f"{work}/augmented",
                data_path=f"{work}/data",
                model_save_name=f"{work}/checkpoints",
                seed=seed,
            )
            prepare(base)
            ours.append(alone(train_ours, base))
            theirs.append(alone(train_textbook, base, config.textbook_epochs))
    print(f"\nvalidation accuracy on {config.raw_data}, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print("| network | weights | epochs | last five epochs | best epoch | time |\n|---|---|---|---|---|---|")
    print(row("ours, defaults", ours))
    print(row("textbook Keras convnet", theirs))
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
