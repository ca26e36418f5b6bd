"""Do the defaults learn many classes, and classes of very uneven sizes?

    python benchmarks/classes.py many --classes 10
    python benchmarks/classes.py uneven --raw_data rawdata

`many` draws pictures of its own: every class is a shape and a colour, in front of anything, anywhere, of any size.
`uneven` keeps of the first class only a twentieth as many photographs to learn from, trains with and without
`balance_classes`, and asks both networks about pictures that were put aside before.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import colorsys

import numpy as np
import tyro
from PIL import Image, ImageDraw

import config as settings
import trainer
from accuracy import alone
from checkpoint import load_classifier
from config import Between, Checked, Count, OneOf, TrainConfig
from draw_samples import background
from evaluation import confusion_matrix
from scores import put_aside, read

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
    seeds: Count = 3  # How many parts `uneven` puts aside, and how many networks of each kind it trains.


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


def settings_in(work: Path, raw_data: Path, **changes) -> TrainConfig:
    return TrainConfig(
        raw_data=str(raw_data),
        augmented=f"{work}/none",
        data_path=f"{work}/data",
        model_save_name=f"{work}/checkpoints",
        **changes,
    )


def many(config: BenchmarkConfig) -> None:
    """Prints the trainer's own report, on the validation sources."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number in range(config.classes):
            for picture in range(config.pictures):
                path = work / "raw" / f"{number:03d}" / f"{picture:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(number, np.random.default_rng([number, picture])).save(path)
        trainer.main(settings_in(work, work / "raw"))


def recalls(raw_data: str, balance: bool, seed: int) -> tuple[np.ndarray, int]:
    """Confusion matrix on the pictures put aside, and how many of the rare class were left to the trainer."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        put_aside(raw_data, work, seed)
        first, *others = sorted((work / "rest").iterdir())
        left = max(2, round(len(list(others[0].iterdir())) / _RARE))
        for number, path in enumerate(sorted(first.iterdir())):
            if number >= left:  # more to ask about afterwards
                shutil.move(path, work / "aside" / first.name)
        trainer.main(settings_in(work, work / "rest", balance_classes=balance, seed=seed))
        aside = read(work / "aside", work, "data-aside")
        classifier, _ = load_classifier(work / "checkpoints")
        named = classifier.ask(aside.images).named
        return confusion_matrix(aside.labels, named, classes=aside.labels.max() + 1), left


def uneven(config: BenchmarkConfig) -> None:
    rows = []
    for balance in (True, False):
        results = [alone(recalls, config.raw_data, balance, seed) for seed in range(1, config.seeds + 1)]
        matrix = sum(result[0] for result in results)
        recall = matrix.diagonal() / matrix.sum(axis=1)
        cells = [str(balance), *(f"{share:.3f}" for share in recall), f"{recall.mean():.3f}"]
        rows.append(f"| {' | '.join(cells)} |")
    print(f"\n{results[0][1]} pictures of the first class to learn from, {_RARE} times as many of the second;")
    print(f"recall on {matrix.sum(axis=1).tolist()} pictures put aside, seeds 1 to {config.seeds} together\n")
    print("| balance_classes | recall of the first | of the second | mean |\n|---|---|---|---|", *rows, sep="\n")


def main(config: BenchmarkConfig) -> int:
    (many if config.what == "many" else uneven)(config)
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
