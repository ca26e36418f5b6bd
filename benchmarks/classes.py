"""Measures whether the default settings learn many classes, and classes of very different sizes.

    python -m benchmarks.classes many --classes 10
    python -m benchmarks.classes uneven --raw_data rawdata
    python -m benchmarks.classes --classes 3 --pictures 10 --seeds 1 --epochs 2     a quick try of both

A fifth of the photos of each class is held out first, and predicted at the end. `many` draws its own pictures: each
class is a shape and a color, at any position and of any size, on a random background. `uneven` keeps only a twentieth
as many photos of the first class as of the others, and trains with and without `balance_classes`.
"""

import colorsys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw

import trainer
from answers.evaluation import confusion_matrix
from answers.loading import load_engine
from benchmarks.harness.holdout import REST, TEST, hold_out, load_classes
from benchmarks.harness.options import select
from benchmarks.harness.processes import in_new_process
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import config_in
from config import Count, TrainConfig
from pictures.folders import find_classes, picture_files
from samples.draw_samples import background
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Between, Validated

# Corners, radius halfway between them (the cosine of π / corners makes the sides straight), height.
_SHAPES = [(3, 0.5, 1), (4, 0.71, 1), (6, 0.87, 1), (24, 1, 1), (24, 1, 0.4), (4, 0.71, 0.4)]  # convex
_SHAPES += [(3, 0.2, 1), (4, 0.35, 1), (5, 0.45, 1), (9, 0.65, 1)]  # stars
_RATIO = 20  # pictures of each other class for each one of the rare class
_SIDE = 120  # pixels of the pictures that are drawn


@dataclass(frozen=True, kw_only=True)
class ClassesConfig(Validated):
    """What to measure."""

    # What to measure
    experiments: tuple[str, ...] = ()  # "many" or "uneven"; both if none is given.
    classes: Annotated[int, Between(2, 100)] = 10  # Classes that `many` draws.
    pictures: Count = 60  # Pictures per class that `many` draws.
    raw_data: str = "rawdata"  # Folder of pictures for `uneven`, one sub-folder per class.
    seeds: Count = 3  # Number of parts to hold out, and of networks of each kind to train.
    epochs: Count = TrainConfig.epochs  # Maximum number of passes over the training pictures.


# ---- many classes ----


def shape(number: int, size: float) -> np.ndarray:
    """Returns the outline of one of ten shapes, of about radius `size`: float (points, 2)."""
    corners, waist, height = _SHAPES[number]
    angles = np.pi * np.arange(2 * corners) / corners - np.pi / 2
    radius = np.where(np.arange(2 * corners) % 2, waist, 1.0)
    return size * radius[:, None] * np.stack([np.cos(angles), height * np.sin(angles)], axis=1)


def draw(number: int, rng: np.random.Generator) -> Image.Image:
    """Returns a picture of class `number`: its last digit is the shape, its first one the hue."""
    image = background(_SIDE, _SIDE, rng)
    angle = rng.normal(0, 0.15)
    outline = shape(number % 10, rng.uniform(0.28, 0.42) * _SIDE)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    red, green, blue = colorsys.hsv_to_rgb(number // 10 / 10, rng.uniform(0.75, 1), rng.uniform(0.7, 1))
    center = _SIDE / 2 + rng.uniform(-0.12, 0.12, 2) * _SIDE
    color = tuple(int(255 * part) for part in (red, green, blue))
    points = [tuple(point) for point in outline @ rotation + center]
    ImageDraw.Draw(image).polygon(points, fill=color, outline="black", width=2)
    return image


def accuracy_of_many(config: ClassesConfig, seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number in range(config.classes):
            for picture in range(config.pictures):
                path = work / "raw" / f"{number:03d}" / f"{picture:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(number, np.random.default_rng([number, picture])).save(path)
        hold_out(str(work / "raw"), work, seed)
        train_config = config_in(work, work / REST, seed=seed, epochs=config.epochs)
        trainer.main(train_config)
        test = load_classes(work / TEST)
        predictions = load_engine(Path(train_config.model_save_name)).predict(test.images)
        return float((predictions.predicted == test.labels).mean())


def many(config: ClassesConfig) -> None:
    accuracies = [in_new_process(accuracy_of_many, config, seed) for seed in seeds_of(config)]
    print()
    print(format_header("classes", "pictures per class", "accuracy on held-out pictures", "by chance"))
    print(format_row(config.classes, config.pictures, mean_and_deviation(accuracies, 3), f"{1 / config.classes:.3f}"))


# ---- uneven classes ----


def recalls(config: ClassesConfig, balance: bool, seed: int) -> tuple[np.ndarray, int]:
    """Returns the recall of each class on held-out pictures, and how many of the rare class the trainer got."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _, *others = find_classes(Path(config.raw_data)).values()
        rare = max(2, round(0.8 * min(len(list(picture_files(other))) for other in others) / _RATIO))
        hold_out(config.raw_data, work, seed, rare=rare)
        train_config = config_in(work, work / REST, balance_classes=balance, seed=seed, epochs=config.epochs)
        trainer.main(train_config)
        test = load_classes(work / TEST)
        predicted = load_engine(Path(train_config.model_save_name)).predict(test.images).predicted
        matrix = confusion_matrix(test.labels, predicted, classes=test.labels.max() + 1)
        print(f"balance_classes {balance}, seed {seed}: {matrix.tolist()}")
        return matrix.diagonal() / matrix.sum(axis=1), rare


def uneven(config: ClassesConfig) -> None:
    rows = []
    for balance in (True, False):
        results = [in_new_process(recalls, config, balance, seed) for seed in seeds_of(config)]
        recall = np.array([result[0] for result in results])
        values = recall[:, 0], recall[:, 1:].mean(axis=1), recall.mean(axis=1)
        rows.append(format_row(balance, *(mean_and_deviation(value, 3) for value in values)))
    print(
        f"\n{results[0][1]} photos of the first class, a fifth of them for validation, and {_RATIO} times as many of "
        f"each other\nclass; recall on held-out pictures, seeds 1 to {config.seeds}, mean ± standard deviation\n"
    )
    print(format_header("balance_classes", "recall of the rare class", "of the others", "mean"), *rows, sep="\n")


EXPERIMENTS = {"many": many, "uneven": uneven}


def seeds_of(config: ClassesConfig) -> range:
    return range(1, config.seeds + 1)


def main(config: ClassesConfig) -> int:
    for name in select(config.experiments, EXPERIMENTS):
        EXPERIMENTS[name](config)
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, ClassesConfig, __doc__)
