"""What the scores are worth on pictures that were neither trained nor calibrated on, with either loss.

    python benchmarks/scores.py --raw_data rawdata --strange FOLDER --seeds 3

For every seed a fifth of the photographs of each class is put aside before anything else happens, and the trainer sees
only the rest. Asked are then: the pictures put aside; the pictures of another folder, which show none of the classes;
one-coloured pictures and noise; and pairs of pictures of the first two classes, put side by side into one.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common import alone, put_aside, read, settings_in, spread

# isort: split

import cv2
import numpy as np
from scipy.special import expit

import config as settings
import dataset
import trainer
from calibration import log_odds
from checkpoint import load_classifier
from config import LOSSES, Checked, Count
from evaluation import calibration_error


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What to measure on."""

    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder a class.
    strange: str = ""  # Folder of pictures that show none of its classes, in sub-folders.
    seeds: Count = 3  # How many parts to put aside, and how many networks of each kind to train.


class Result(NamedTuple):
    """Of one network; everything on pictures that it has never seen."""

    accuracy: float
    plain: float  # calibration error of the sigmoid of raw magnitudes
    uncalibrated: float  # of the sigmoid of log-odds
    calibrated: float  # of the scores
    unknown: dict[str, float]  # for each kind of pictures, the share called so
    both: float  # the mean of the lower of the first two scores of pairs


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
        aside = read(work / "aside", work)
        dice = np.random.default_rng(seed)
        shape = (200, *aside.images.shape[1:])
        kinds = {
            "put aside": aside.images,
            "both": side_by_side(aside),
            "one colour": np.broadcast_to(dice.integers(0, 256, (200, 1, 1, 3), np.uint8), shape),
            "noise": dice.integers(0, 256, shape, np.uint8),
        }
        if strange:
            kinds["strange"] = read(strange, work).images
        config = settings_in(work, work / "rest", loss=loss, seed=seed)
        trainer.main(config)
        classifier, _ = load_classifier(Path(config.model_save_name))
        answers = {kind: classifier.ask(images) for kind, images in kinds.items()}

        named, logits, scores, _ = answers["put aside"]
        right = named == aside.labels
        result = Result(
            accuracy=float(right.mean()),
            plain=calibration_error(expit(logits.max(axis=1)), right),
            uncalibrated=calibration_error(expit(log_odds(logits, loss=loss).max(axis=1)), right),
            calibrated=calibration_error(scores.max(axis=1), right),
            unknown={kind: float(answer.unknown.mean()) for kind, answer in answers.items()},
            both=float(answers["both"].scores[:, :2].min(axis=1).mean()),
        )
        print(f"{loss}, seed {seed}, {len(right)} pictures put aside: {result}")
        return result


def table(results: dict[str, list[Result]]) -> str:
    rows = {
        "accuracy": lambda run: run.accuracy,
        "calibration error of the sigmoid of raw magnitudes": lambda run: run.plain,
        "calibration error of the sigmoid of log-odds": lambda run: run.uncalibrated,
        "calibration error of the scores": lambda run: run.calibrated,
        "lower of two scores where both are shown": lambda run: run.both,
    }
    for kind in next(iter(results.values()))[0].unknown:
        rows[f"called unknown: {kind}"] = lambda run, kind=kind: run.unknown[kind]
    lines = [f"| | {' | '.join(results)} |", f"|---|{'---|' * len(results)}"]
    for name, value in rows.items():
        cells = [spread([value(run) for run in runs], 3) for runs in results.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(config: BenchmarkConfig) -> int:
    seeds = range(1, config.seeds + 1)
    results = {loss: [alone(measure, config.raw_data, config.strange, loss, seed) for seed in seeds] for loss in LOSSES}
    print(f"\n{config.raw_data}, seeds 1 to {config.seeds}, mean ± standard deviation")
    print(f"strange: {config.strange or 'none'}\n")
    print(table(results))
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
