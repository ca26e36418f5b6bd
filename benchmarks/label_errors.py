"""Exchanges labels on purpose, and measures whether the trainer finds them in `suspects.csv`, and what that is worth.

    python -m benchmarks.label_errors --raw_data rawdata --seeds 3
    python -m benchmarks.label_errors --seeds 1 --folds 2 --epochs 2     a quick try

For each seed a fifth of the photos of each class is held out before anything else happens. Of a copy of the others,
5 % get into the folder of another class, those that look alike together. The trainer judges each picture with networks
that never saw it (`--folds`); what it lists as probably mislabeled is compared with what was exchanged. Then a network
is trained on each of three folders, and tested on the photos that were held out: with the exchanged labels, without the
pictures that are listed, and with the labels as they were.
"""

import csv
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

import trainer
from answers.loading import load_engine
from answers.suspects import MISLABELED
from benchmarks.harness.holdout import REST, TEST, hold_out, load_classes
from benchmarks.harness.processes import in_new_process
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import config_in
from config import Count, PictureConfig, TrainConfig
from pictures.manifest import Picture, class_names
from preprocessing import training_pictures
from reports.suspects import SUSPECTS
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Between, Validated

_EXCHANGED, _CLEANED = "exchanged", "cleaned"  # folders beside those that `hold_out` fills
_VARIANTS = {
    _EXCHANGED: "with exchanged labels",
    _CLEANED: "without those listed",
    REST: "with the labels as they were",
}


@dataclass(frozen=True, kw_only=True)
class LabelErrorsConfig(Validated):
    """What to measure."""

    # What to measure
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    exchanged: Annotated[float, Between(0, 0.5)] = 0.05  # Fraction of the pictures whose label is exchanged.
    seeds: Count = 3  # Number of times that labels are exchanged, each with other pictures held out.
    first_seed: Count = 1  # The others follow it.
    folds: Annotated[int, Between(2, 20)] = 5  # Networks with which the labels are judged.
    epochs: Count = TrainConfig.epochs  # Maximum number of passes over the training pictures.
    batch_size: Count = TrainConfig.batch_size  # Pictures per training step.


class Result(NamedTuple):
    """Of one seed."""

    exchanged: int  # pictures whose label was exchanged
    listed: int  # pictures that are listed as probably mislabeled
    found: int  # of these, those that were exchanged
    accuracies: dict[str, float]  # on the pictures held out, by the folder that was trained on

    @property
    def precision(self) -> float:
        return self.found / self.listed if self.listed else 0.0

    @property
    def recall(self) -> float:
        return self.found / self.exchanged if self.exchanged else 0.0


def exchange(pictures: Collection[Picture], names: list[str], *, fraction: float, seed: int) -> dict[str, str]:
    """Returns the new class of each picture whose label is exchanged, by its path.

    Groups of pictures that look alike are drawn until they have this fraction of the pictures.
    """
    groups = defaultdict(list)
    for picture in pictures:
        groups[picture.group].append(picture)
    rng = np.random.default_rng(seed)
    drawn: dict[str, str] = {}
    for group in rng.permutation(sorted(groups)):
        own = groups[group]
        if len(drawn) + len(own) > round(fraction * len(pictures)):
            continue
        moved_by = int(rng.integers(1, len(names)))
        for picture in own:
            drawn[picture.path] = names[(names.index(picture.class_name) + moved_by) % len(names)]
    return drawn


def copy_to(folder: Path, pictures: Collection[Picture], drawn: dict[str, str]) -> dict[str, str]:
    """Copies pictures into the folders of their classes, or of their new ones. Returns the original of each copy."""
    originals = {}
    for picture in pictures:
        name, new_class = Path(picture.path).name, drawn.get(picture.path)
        # Two classes may use the same names; those of copies must go on telling their photo.
        copy = folder / new_class / f"{picture.class_name}-{name}" if new_class else folder / picture.class_name / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture.path, copy)
        originals[str(copy)] = picture.path
    return originals


def listed_in(folder: Path) -> list[str]:
    """Returns the paths of the pictures that a run has listed as probably mislabeled, most suspicious first."""
    with (folder / SUSPECTS).open(newline="", encoding="utf-8") as file:
        return [row["picture"] for row in csv.DictReader(file) if row["kind"] == MISLABELED]


def find_listed(config: TrainConfig) -> list[str]:
    trainer.main(config)
    return listed_in(Path(config.model_save_name))


def accuracy_of(config: TrainConfig, test_folder: Path) -> float:
    """Trains a network and returns its accuracy on the pictures held out."""
    trainer.main(config)
    test = load_classes(test_folder)
    predictions = load_engine(Path(config.model_save_name)).predict(test.images)
    return float((predictions.predicted == test.labels).mean())


def measure(config: LabelErrorsConfig, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        hold_out(config.raw_data, work, seed)
        pictures = training_pictures(
            PictureConfig(raw_data=f"{work}/{REST}", data_path=f"{work}/data", augmented=f"{work}/none")
        )
        drawn = exchange(pictures, class_names(pictures), fraction=config.exchanged, seed=seed)
        originals = copy_to(work / _EXCHANGED, pictures, drawn)

        def train_on(name: str, **changes: int) -> TrainConfig:
            run = work / f"run-{name}-{len(changes)}"  # one of them twice, once with folds
            return config_in(run, work / name, seed=seed, epochs=config.epochs, batch_size=config.batch_size, **changes)

        listed = {originals[path] for path in in_new_process(find_listed, train_on(_EXCHANGED, folds=config.folds))}
        copy_to(work / _CLEANED, [picture for picture in pictures if picture.path not in listed], drawn)
        result = Result(
            exchanged=len(drawn),
            listed=len(listed),
            found=len(listed & drawn.keys()),
            accuracies={name: in_new_process(accuracy_of, train_on(name), work / TEST) for name in _VARIANTS},
        )
        print(f"seed {seed}: {result}", flush=True)
        return result


def main(config: LabelErrorsConfig) -> int:
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    results = [measure(config, seed) for seed in seeds]
    print(f"\n{config.raw_data}, seeds {seeds[0]} to {seeds[-1]}, mean ± standard deviation\n")
    print(format_header("labels exchanged", "listed", "of these exchanged", "precision", "recall"))
    columns = [[getattr(result, name) for result in results] for name in ("exchanged", "listed", "found")]
    rates = [[getattr(result, name) for result in results] for name in ("precision", "recall")]
    print(
        format_row(
            *(mean_and_deviation(values, 0) for values in columns),
            *(mean_and_deviation(values, 2) for values in rates),
        )
    )
    print(f"\n{format_header('trained on pictures', 'accuracy on pictures held out')}")
    for name, title in _VARIANTS.items():
        print(format_row(title, mean_and_deviation([result.accuracies[name] for result in results], 3)))
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, LabelErrorsConfig, __doc__)
