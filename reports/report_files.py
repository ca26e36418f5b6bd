"""The files of a report: `report.html` and `report.json` of a training run, and the page of an evaluation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from answers.evaluation import Evaluation
from answers.explain import HeatMaps
from reports.contents import folds_contents, run_contents
from reports.gallery import ImageOf, duplicates, in_several_classes
from reports.html import render
from reports.suspects import SUSPECTS, SUSPECTS_SHEET
from system.files import write_atomically
from training.history import History

if TYPE_CHECKING:  # loading them would load TensorFlow, which the page about a folder does not need
    from answers.trained_network import TrainedNetwork
    from reports.run import Run

TEXT_REPORT, HTML_REPORT, JSON_REPORT = "report.txt", "report.html", "report.json"
REPORTS = TEXT_REPORT, HTML_REPORT, JSON_REPORT, SUSPECTS, SUSPECTS_SHEET


def write_run_report(
    folder: Path,
    run: "Run",
    evaluation: Evaluation,
    *,
    network: "TrainedNetwork",
    history: History,
    learning_curve: dict | None = None,
) -> None:
    """Writes `report.json` and `report.html` of a training run. Equal runs give equal files.

    Args:
        folder: of the checkpoints.
        run: its settings and its pictures; only the images of those that are shown are used.
        evaluation: the predictions for the validation pictures.
        network: the trained one.
        history: the metrics of its epochs.
        learning_curve: as from `learning_curve.curve_contents`, if there is one.

    Raises:
        OSError: a file cannot be written.
        UserError: a picture of `data/` cannot be read.
    """
    epoch = run.epochs_in(network.step)
    contents = run_contents(run, evaluation, history=history, epoch=epoch, source=network.source)
    if learning_curve:
        contents["learning_curve"] = learning_curve
    _write(folder, run, contents, evaluation, network.heat_maps)


def write_folds_report(
    folder: Path, run: "Run", evaluation: Evaluation, *, heat_maps: HeatMaps, folds: Sequence[dict], source: str
) -> None:
    """Writes `report.json` and `report.html` of a training run with several folds.

    The arguments are those of `contents.folds_contents`; `heat_maps` are by the networks that judged the pictures.

    Raises:
        OSError: a file cannot be written.
        UserError: a picture of `data/` cannot be read.
    """
    contents = folds_contents(run, evaluation, folds=folds, source=source)
    _write(folder, run, contents, evaluation, heat_maps)


def _write(folder: Path, run: "Run", contents: dict, evaluation: Evaluation, heat_maps: HeatMaps) -> None:
    page = render(
        contents,
        evaluation,
        heat_maps,
        image_of=run.validation_image,
        duplicates=duplicates(run.pictures, run.image_of),
        mixed=in_several_classes(run.pictures, run.image_of),
    )
    write_atomically(folder / JSON_REPORT, json.dumps(contents, indent=1).encode())
    write_atomically(folder / HTML_REPORT, page.encode())


def write_folder_report(
    path: Path, contents: dict, evaluation: Evaluation, *, heat_maps: HeatMaps, image_of: ImageOf
) -> None:
    """Writes the page about a folder of pictures that a network was asked about. See `contents.folder_contents`."""
    write_atomically(path, render(contents, evaluation, heat_maps, image_of).encode())
