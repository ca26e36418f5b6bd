"""Measures what the scores are worth on pictures used neither for training nor for calibration, with either loss.

    python -m benchmarks.scores --raw_data rawdata --unrelated FOLDER --seeds 3
    python -m benchmarks.scores --seeds 1 --epochs 2     a quick try

For each seed a fifth of the photos of each class is held out before anything else happens, and the trainer sees only
the rest. Predicted are then: the pictures held out; the pictures of another folder, which show none of the classes;
pictures of a single color and of noise; and pairs of pictures of the first two classes, side by side in one picture.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.special import expit

import trainer
from answers.curves import expected_calibration_error
from answers.loading import load_engine
from answers.scores import log_odds
from benchmarks.harness.holdout import REST, TEST, hold_out, load_classes
from benchmarks.harness.processes import in_new_processes
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import config_in
from config import Count, TrainConfig
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Validated
from training.batches import Samples

_LOSSES = "softmax", "sigmoid"
_MADE = 200  # pictures of a single color, and of noise


@dataclass(frozen=True, kw_only=True)
class ScoresConfig(Validated):
    """What to measure on."""

    # What to measure on
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    unrelated: str = ""  # Folder of pictures that show none of its classes, in sub-folders.
    seeds: Count = 3  # Number of parts to hold out, and of networks to train with each loss.
    first_seed: Count = 1  # The others follow it.
    n_jobs: Count = 1  # Trainings that run at the same time, each with an equal part of the cores.
    epochs: Count = TrainConfig.epochs  # Maximum number of passes over the training pictures.


class Result(NamedTuple):
    """Of one network; everything on pictures that it has never seen."""

    accuracy: float
    error_of_logits: float  # expected calibration error of the sigmoid of the logits
    error_of_log_odds: float  # the same for the sigmoid of the log-odds
    error_of_scores: float  # the same for the scores
    unknown: dict[str, float]  # for each kind of pictures, the fraction called unknown
    lower_score: float  # the mean of the lower of the first two scores, of pictures that show both classes


def side_by_side(samples: Samples) -> np.ndarray:
    """Returns pictures of the first class, as the left half, next to pictures of the second one."""
    left, right = (samples.images[samples.labels == label] for label in (0, 1))
    count, height, width = min(len(left), len(right)), *samples.images.shape[1:3]

    def half(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (width // 2, height), interpolation=cv2.INTER_AREA)

    return np.stack([np.hstack([half(left[i]), half(right[i])]) for i in range(count)])


def measure(config: ScoresConfig, loss: str, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        hold_out(config.raw_data, work, seed)
        test = load_classes(work / TEST)
        rng = np.random.default_rng(seed)
        shape = (_MADE, *test.images.shape[1:])
        kinds = {
            "held out": test.images,
            "both classes": side_by_side(test),
            "a single color": np.broadcast_to(rng.integers(0, 256, (_MADE, 1, 1, 3), np.uint8), shape),
            "noise": rng.integers(0, 256, shape, np.uint8),
        }
        if config.unrelated:
            kinds["unrelated"] = load_classes(Path(config.unrelated)).images
        train_config = config_in(work, work / REST, loss=loss, seed=seed, epochs=config.epochs)
        trainer.main(train_config)
        engine = load_engine(Path(train_config.model_save_name))
        predictions = {kind: engine.predict(images) for kind, images in kinds.items()}

        held_out = predictions["held out"]
        odds = np.asarray(log_odds(held_out.logits, loss=loss))
        correct = held_out.predicted == test.labels
        result = Result(
            accuracy=float(correct.mean()),
            error_of_logits=expected_calibration_error(expit(held_out.logits.max(axis=1)), correct),
            error_of_log_odds=expected_calibration_error(expit(odds.max(axis=1)), correct),
            error_of_scores=expected_calibration_error(held_out.scores.max(axis=1), correct),
            unknown={kind: float(own.unknown.mean()) for kind, own in predictions.items()},
            lower_score=float(predictions["both classes"].scores[:, :2].min(axis=1).mean()),
        )
        print(f"{loss}, seed {seed}, {len(correct)} pictures held out: {result}")
        return result


def table(results: dict[str, list[Result]]) -> str:
    rows = {
        "accuracy": lambda result: result.accuracy,
        "calibration error of the sigmoid of raw magnitudes": lambda result: result.error_of_logits,
        "calibration error of the sigmoid of log-odds": lambda result: result.error_of_log_odds,
        "calibration error of the scores": lambda result: result.error_of_scores,
        "lower of the two scores of pictures that show both classes": lambda result: result.lower_score,
    }
    for kind in next(iter(results.values()))[0].unknown:
        rows[f"called unknown: {kind}"] = lambda result, kind=kind: result.unknown[kind]
    lines = [format_header("", *results)]
    for name, value in rows.items():
        cells = [mean_and_deviation([value(result) for result in own], 3) for own in results.values()]
        lines.append(format_row(name, *cells))
    return "\n".join(lines)


def main(config: ScoresConfig) -> int:
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    calls = [(config, loss, seed) for loss in _LOSSES for seed in seeds]
    found = in_new_processes(measure, calls, n_jobs=config.n_jobs)
    results = {loss: found[index * len(seeds) :][: len(seeds)] for index, loss in enumerate(_LOSSES)}
    print(f"\n{config.raw_data}, seeds {seeds[0]} to {seeds[-1]}, mean ± standard deviation")
    print(f"unrelated: {config.unrelated or 'none'}\n")
    print(table(results))
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, ScoresConfig, __doc__)
