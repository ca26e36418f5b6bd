"""Do the defaults learn many classes, and classes of very uneven sizes?

    python benchmarks/classes.py many --classes 10
    python benchmarks/classes.py uneven --raw_data rawdata

A fifth of the photographs of each class is put aside before, and asked about afterwards. `many` draws pictures of its
own: every class is a shape and a colour, in front of anything, anywhere, of any size. `uneven` leaves of the first
class only a twentieth as many photographs as of the others, and trains with and without `balance_classes`.
"""

import colorsys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from common import alone, put_aside, read, settings_in, spread

# isort: split

import numpy as np
import tyro
from PIL import Image, ImageDraw

import config as settings
import trainer
from checkpoint import load_classifier
from config import Between, Checked, Count, OneOf
from draw_samples import background
from evaluation import confusion_matrix
from preprocessing import class_folders, visible_files

# Corners, radius between them (the cosine of π / corners makes the sides straight), height.
_SHAPES = [(3, 0.5, 1), (4, 0.71, 1), (6, 0.87, 1), (24, 1, 1), (24, 1, 0.4), (4, 0.71, 0.4)]  # without dents
_SHAPES += [(3, 0.2, 1), (4, 0.35, 1), (5, 0.45, 1), (9, 0.65, 1)]  # stars
_RARE = 20  # pictures of the other classes for each one of the rare class


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What to measure."""

    what: tyro.conf.Positional[Annotated[str, OneOf(("many", "uneven"))]]  # "many" or "uneven".
    classes: Annotated[int, Between(2, 100)] = 10  # Classes that `many` draws.
    pictures: Count = 60  # Pictures that `many` draws of each class.
    raw_data: str = "rawdata"  # Folder of pictures for `uneven`, one sub-folder a class.
    seeds: Count = 3  # How many parts to put aside, and how many networks of each kind to train.


def shape(number: int, size: float) -> np.ndarray:
    """Outline of one of ten shapes, of about radius `size`: float (points, 2)."""
    corners, waist, flat = _SHAPES[number]
    angles = np.pi * np.arange(2 * corners) / corners - np.pi / 2
    radius = np.where(np.arange(2 * corners) % 2, waist, 1.0)
    return size * radius[:, None] * np.stack([np.cos(angles), flat * np.sin(angles)], axis=1)


def draw(number: int, dice: np.random.Generator) -> Image.Image:
    """A picture of class `number`: its last digit is the shape, the one before it the hue."""
    side = 120
    image = background(side, side, dice)
    turn = dice.normal(0, 0.15)
    outline = shape(number % 10, dice.uniform(0.28, 0.42) * side)
    turned = outline @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    red, green, blue = colorsys.hsv_to_rgb(number // 10 / 10, dice.uniform(0.75, 1), dice.uniform(0.7, 1))
    place = side / 2 + dice.uniform(-0.12, 0.12, 2) * side
    color = tuple(int(255 * part) for part in (red, green, blue))
    ImageDraw.Draw(image).polygon([tuple(point) for point in turned + place], fill=color, outline="black", width=2)
    return image


def many(config: BenchmarkConfig) -> None:
    accuracies = [alone(accuracy_of_many, config.classes, config.pictures, seed) for seed in seeds_of(config)]
    print("\n| classes | pictures of each | accuracy on pictures put aside | by chance |\n|---|---|---|---|")
    print(f"| {config.classes} | {config.pictures} | {spread(accuracies, 3)} | {1 / config.classes:.3f} |")


def accuracy_of_many(classes: int, pictures: int, seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number in range(classes):
            for picture in range(pictures):
                path = work / "raw" / f"{number:03d}" / f"{picture:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(number, np.random.default_rng([number, picture])).save(path)
        put_aside(str(work / "raw"), work, seed)
        config = settings_in(work, work / "rest", seed=seed)
        trainer.main(config)
        aside = read(work / "aside", work)
        classifier, _ = load_classifier(Path(config.model_save_name))
        return float((classifier.ask(aside.images).named == aside.labels).mean())


def recalls(raw_data: str, balance: bool, seed: int) -> tuple[np.ndarray, int]:
    """The recall of each class on pictures put aside, and how many of the rare class were left to the trainer."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        first, *others = sorted(class_folders(Path(raw_data)).values())
        rare = round(0.8 * min(len(list(visible_files(other))) for other in others) / _RARE)
        put_aside(raw_data, work, seed, rare=rare)
        config = settings_in(work, work / "rest", balance_classes=balance, seed=seed)
        trainer.main(config)
        aside = read(work / "aside", work)
        classifier, _ = load_classifier(Path(config.model_save_name))
        named = classifier.ask(aside.images).named
        matrix = confusion_matrix(aside.labels, named, classes=aside.labels.max() + 1)
        print(f"balance_classes {balance}, seed {seed}: {matrix.tolist()}")
        return matrix.diagonal() / matrix.sum(axis=1), rare


def uneven(config: BenchmarkConfig) -> None:
    rows = []
    for balance in (True, False):
        results = [alone(recalls, config.raw_data, balance, seed) for seed in seeds_of(config)]
        recall = np.array([result[0] for result in results])
        cells = [str(balance), spread(recall[:, 0], 3), spread(recall[:, 1:].mean(axis=1), 3)]
        rows.append(f"| {' | '.join([*cells, spread(recall.mean(axis=1), 3)])} |")
    print(
        f"\n{results[0][1]} photographs of the first class, a fifth of them to validate, {_RARE} times as many of the"
    )
    print(f"others; recall on pictures put aside, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print("| balance_classes | recall of the rare class | of the others | mean |\n|---|---|---|---|", *rows, sep="\n")


def seeds_of(config: BenchmarkConfig) -> range:
    return range(1, config.seeds + 1)


def main(config: BenchmarkConfig) -> int:
    (many if config.what == "many" else uneven)(config)
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
