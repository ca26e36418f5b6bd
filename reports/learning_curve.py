"""The learning curve: how accurate networks are that were trained on fewer pictures, and whether more would help."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from answers.evaluation import Evaluation, accuracy_interval, difference_interval
from answers.loading import load_engine
from answers.trained_network import TrainedNetwork
from config import TrainConfig
from pictures.manifest import TRAIN, Picture, kept
from reports.report_files import TEXT_REPORT, write_run_report
from reports.run import Run
from system.files import write_atomically
from system.terminal import plural
from training.history import History

PARTS = 0.25, 0.5  # of the training pictures, besides all of them
_SMALL = 0.02  # an accuracy that is of no use to most people, who collect pictures for it


class Point(NamedTuple):
    """A network that was trained on a part of the pictures."""

    pictures: int  # that it was trained on, without copies
    correct: np.ndarray  # bool (count,): which of the validation pictures it predicts correctly


def part_folder(folder: Path, fraction: float) -> Path:
    """Returns the folder of the network that is trained on a part of the pictures."""
    return folder / f"learning-curve-{100 * fraction:.0f}"


def config_of_part(config: TrainConfig, fraction: float, rows: Sequence[Picture]) -> TrainConfig:
    """Returns the config of the run on a part of the pictures; its batches are smaller if the part is."""
    count = sum(picture.split == TRAIN for picture in kept(rows))
    folder = part_folder(Path(config.model_save_name), fraction)
    batch_size = min(config.batch_size, max(count, TrainConfig.batch_size))
    return replace(config, batch_size=batch_size, model_save_name=str(folder))


def measure(folder: Path, rows: Sequence[Picture], run: Run) -> Point:
    """Returns how a network does on the validation pictures of a run, computed by LiteRT.

    Args:
        folder: of its checkpoints.
        rows: every picture, with its use by this network.
        run: that has the validation pictures.
    """
    predicted = load_engine(folder).predict(run.validation.images).predicted
    count = sum(picture.split == TRAIN and not picture.is_copy for picture in kept(rows))
    return Point(count, predicted == run.validation.labels)


def report_learning_curve(
    points: Sequence[Point], run: Run, evaluation: Evaluation, *, network: TrainedNetwork, history: History
) -> None:
    """Prints the learning curve, and adds it to the reports. The arguments are those of `write_run_report`."""
    folder, contents = Path(run.config.model_save_name), curve_contents(points)
    text = format_curve(contents)
    print(f"\n{text}")
    path = folder / TEXT_REPORT
    write_atomically(path, path.read_bytes() + f"\n{text}".encode())
    write_run_report(folder, run, evaluation, network=network, history=history, learning_curve=contents)


def curve_contents(points: Sequence[Point]) -> dict:
    """Returns the learning curve, ready for JSON: a row for each network, and what it says in one sentence.

    Args:
        points: for a quarter, half and all of the pictures.
    """
    rows = []
    for point in points:
        correct, count = int(point.correct.sum()), len(point.correct)
        interval = accuracy_interval(correct, count)
        rows.append(
            {
                "training_pictures": point.pictures,
                "validation_pictures": count,
                "accuracy": correct / count,
                "accuracy_interval_95": interval,
            }
        )
    return {"rows": rows, "conclusion": _conclusion(points)}


def format_curve(contents: dict) -> str:
    """Returns the learning curve as lines for a terminal of 80 columns and for report.txt."""
    rows = contents["rows"]
    lines = [f"{'training pictures':>17}  {'accuracy':>8}  95 % interval"]
    for row in rows:
        low, high = (100 * end for end in row["accuracy_interval_95"])
        lines.append(f"{row['training_pictures']:>17,}  {100 * row['accuracy']:>6.1f} %  {low:.1f} to {high:.1f} %")
    same = f"Learning curve, on the same {plural(rows[0]['validation_pictures'], 'validation picture')}:"
    return "\n".join([same, "", *lines, "", *contents["conclusion"].replace(": ", ":\n").split("\n")]) + "\n"


def _conclusion(points: Sequence[Point]) -> str:
    """Returns in one sentence whether more pictures would probably help."""
    quarter, half, whole = (point.correct for point in points)
    lowest, highest = difference_interval(half, whole)
    if lowest > 0:
        return "The second half of the pictures made it more accurate: more pictures would probably help."
    if highest < _SMALL:
        return "The second half of the pictures hardly made a difference: more like them would hardly help."
    if difference_interval(quarter, whole)[0] > 0:
        return (
            "All are better than a quarter, but the difference between half and all may be chance: more pictures "
            "would perhaps help."
        )
    return "All differences may be chance: this does not tell whether more pictures would help."
