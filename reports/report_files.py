"""The files of a report: `report.html` and `report.json` of a training run, and the page of an evaluation."""

import json
from functools import partial
from pathlib import Path

from answers.classifier import Classifier
from answers.evaluation import Evaluation
from pictures.data_folder import read_pixels
from reports.contents import TrainingRun, run_contents
from reports.gallery import ImageOf, duplicates, in_several_classes
from reports.html import render
from system.files import write_atomically

HTML_REPORT, JSON_REPORT = "report.html", "report.json"


def write_run_report(
    folder: Path, run: TrainingRun, evaluation: Evaluation, *, classifier: Classifier, image_of: ImageOf
) -> None:
    """Writes `report.json` and `report.html` of a training run. Equal runs give equal files.

    Args:
        folder: of the checkpoints.
        run: what is known of the training.
        evaluation: the predictions for the validation pictures.
        classifier: the trained network.
        image_of: returns the image of a validation picture. It is called only for those that are shown.

    Raises:
        OSError: a file cannot be written.
        UserError: a picture of `data/` cannot be read.
    """
    contents = run_contents(run, evaluation)
    pixels_of = partial(read_pixels, config=run.config)
    page = render(
        contents,
        evaluation,
        classifier,
        image_of,
        duplicates=duplicates(run.pictures, pixels_of),
        mixed=in_several_classes(run.pictures, pixels_of),
    )
    write_atomically(folder / JSON_REPORT, json.dumps(contents, indent=1).encode())
    write_atomically(folder / HTML_REPORT, page.encode())


def write_folder_report(
    path: Path, contents: dict, evaluation: Evaluation, *, classifier: Classifier, image_of: ImageOf
) -> None:
    """Writes the page about a folder of pictures that a network was asked about. See `contents.folder_contents`."""
    write_atomically(path, render(contents, evaluation, classifier, image_of).encode())
