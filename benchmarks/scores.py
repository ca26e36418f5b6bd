"""What the scores are worth on pictures that were neither trained nor calibrated on, with either loss.

    python benchmarks/scores.py --raw_data rawdata --strange FOLDER --seeds 3

For every seed a fifth of the photographs of each class is put aside before anything else happens, and the trainer sees
only the rest. Asked are then: the pictures put aside; the pictures of another folder, which show none of the classes;
one-coloured pictures and noise; and pairs of pictures of the first two classes, put side by side into one.
"""

import contextlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np

import config as settings
import dataset
import trainer
from accuracy import alone
from calibration import log_odds
from checkpoint import load_classifier
from config import LOSSES, Checked, Count, PictureConfig, TrainConfig
from evaluation import accuracy_interval, calibration_error
from manifest import validation_sources
from preprocessing import prepare

_HELD_BACK = 0.2  # share of the photographs that is put aside


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What to measure on."""

    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder a class.
    strange: str = ""  # Folder of pictures that show none of its classes, in sub-folders.
    seeds: Count = 3  # How many parts to put aside, and how many networks of each kind to train.


class Result(NamedTuple):
    """Of one network; everything on pictures that it has never seen."""

    right: np.ndarray  # bool (pictures put aside,)
    plain: np.ndarray  # the highest sigmoid of their raw magnitudes
    uncalibrated: np.ndarray  # the highest sigmoid of their log-odds
    calibrated: np.ndarray  # their highest score
    unknown: dict[str, np.ndarray]  # of each kind of pictures, bool
    both: np.ndarray  # the lower one of the first two scores of pairs


def put_aside(raw_data: str, work: Path, seed: int) -> None:
    """Copies a fifth of the photographs to work/aside and the rest to work/rest."""
    with contextlib.redirect_stdout(None):
        pictures = prepare(PictureConfig(raw_data=raw_data, data_path=f"{work}/all", augmented=f"{work}/none"))
    for class_name in dataset.class_names(pictures):
        own = [picture for picture in pictures if picture.class_name == class_name]
        aside = validation_sources({picture.group for picture in own}, share=_HELD_BACK, seed=1000 + seed)
        for picture in own:
            folder = work / ("aside" if picture.group in aside else "rest") / class_name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture.origin, folder)


def read(folder: Path | str, work: Path, name: str) -> dataset.Samples:
    """All pictures of a folder, standardised as the trainer does it."""
    config = PictureConfig(raw_data=str(folder), data_path=f"{work}/{name}", augmented=f"{work}/none")
    with contextlib.redirect_stdout(None):
        return dataset.load(prepare(config), config)


def side_by_side(samples: dataset.Samples) -> np.ndarray:
    """Pictures of the first class, narrowed to the left half, beside pictures of the second one."""
    left, right = (samples.images[samples.labels == label] for label in (0, 1))
    count, height, width = min(len(left), len(right)), *samples.images.shape[1:3]

    def narrow(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (width // 2, height), interpolation=cv2.INTER_AREA)

    return np.stack([np.hstack([narrow(left[i]), narrow(right[i])]) for i in range(count)])


def measure(raw_data: str, strange: str, loss: str, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        put_aside(raw_data, work, seed)
        checkpoints = f"{work}/checkpoints"
        trainer.main(
            TrainConfig(
                raw_data=f"{work}/rest",
                augmented=f"{work}/none",
                data_path=f"{work}/data",
                model_save_name=checkpoints,
                loss=loss,
                seed=seed,
            )
        )
        classifier, _ = load_classifier(Path(checkpoints))
        aside = read(work / "aside", work, "data-aside")
        dice = np.random.default_rng(seed)
        shape = (200, *aside.images.shape[1:])
        kinds = {
            "put aside": aside.images,
            "both": side_by_side(aside),
            "one colour": np.broadcast_to(dice.integers(0, 256, (200, 1, 1, 3), np.uint8), shape),
            "noise": dice.integers(0, 256, shape, np.uint8),
        }
        if strange:
            kinds["strange"] = read(strange, work, "data-strange").images
        answers = {kind: classifier.ask(images) for kind, images in kinds.items()}
        named, logits, scores, _ = answers["put aside"]
        odds = log_odds(logits, loss=loss)
        return Result(
            right=named == aside.labels,
            plain=1 / (1 + np.exp(-logits.max(axis=1))),
            uncalibrated=1 / (1 + np.exp(-odds.max(axis=1))),
            calibrated=scores.max(axis=1),
            unknown={kind: answer.unknown for kind, answer in answers.items()},
            both=np.sort(answers["both"].scores[:, :2], axis=1)[:, 0],
        )


def table(results: dict[str, list[Result]]) -> str:
    rows = ["pictures put aside", "accuracy on them", "its 95 % interval"]
    rows += [f"calibration error of the {what}" for what in ("sigmoid of raw magnitudes", "log-odds", "scores")]
    kinds = list(next(iter(results.values()))[0].unknown)
    rows += [f"called unknown: {kind}" for kind in kinds] + ["lower of two scores where both are shown, mean"]
    columns = []
    for runs in results.values():
        right = np.concatenate([run.right for run in runs])
        low, high = accuracy_interval(int(right.sum()), len(right))
        errors = [
            calibration_error(np.concatenate([getattr(run, name) for run in runs]), right)
            for name in ("plain", "uncalibrated", "calibrated")
        ]
        unknown = [float(np.concatenate([run.unknown[kind] for run in runs]).mean()) for kind in kinds]
        both = float(np.concatenate([run.both for run in runs]).mean())
        columns.append(
            [
                str(len(right)),
                f"{right.mean():.3f}",
                f"{low:.3f} to {high:.3f}",
                *(f"{error:.3f}" for error in errors),
                *(f"{share:.1%}" for share in unknown),
                f"{both:.3f}",
            ]
        )
    head = f"| | {' | '.join(results)} |\n|---|{'---|' * len(results)}\n"
    return head + "\n".join(f"| {' | '.join(cells)} |" for cells in zip(rows, *columns, strict=True))


def main(config: BenchmarkConfig) -> int:
    seeds = range(1, config.seeds + 1)
    results = {loss: [alone(measure, config.raw_data, config.strange, loss, seed) for seed in seeds] for loss in LOSSES}
    print(f"\n{config.raw_data}, seeds 1 to {config.seeds} together; strange: {config.strange or 'none'}\n")
    print(table(results))
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
