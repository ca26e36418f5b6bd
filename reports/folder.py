"""The evaluation of a network on a folder of pictures whose class is known: which they are, the report, the page."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from answers.engine import DEVICE, Engine
from answers.evaluation import Evaluation
from answers.output import Answer
from answers.predictions import Predictions
from answers.summary import Record
from config import PredictConfig
from pictures.folders import find_classes, limit_of_links, picture_files, try_read_picture
from pictures.listing import describe_loose_files
from pictures.manifest import normalized
from reports.contents import folder_contents
from reports.report_files import write_folder_report
from reports.run_info import command_of
from system.errors import UserError
from system.terminal import print_to_stderr, printable

_OUTPUTS = ("json", "csv", "html")  # not part of the command in the page, since they would be refused the second time


def find_true_classes(folder: Path, class_names: Sequence[str]) -> tuple[dict[Path, Path | None], dict[Path, str]]:
    """Returns the pictures of a folder with one sub-folder per class.

    Returns:
        the files, each with the folder that a link must not leave; and the class of each.

    Raises:
        UserError: there is no such folder, there are no pictures, or a sub-folder is not a class of the network.
    """
    own_names = {normalized(name): name for name in class_names}
    if not folder.is_dir():
        raise UserError(f"--evaluate {printable(folder)}: no such folder")
    class_folders = find_classes(folder)
    files = {name: list(picture_files(path)) for name, path in class_folders.items()}
    files = {name: found for name, found in files.items() if found}  # an empty folder is no class
    expected = ", ".join(map(printable, class_names))
    if others := sorted(files.keys() - own_names.keys()):
        raise UserError(
            f"--evaluate {printable(folder)}: {', '.join(map(printable, others))}: not a class of this network, which "
            f"has {expected}; rename or remove the folder"
        )
    paths: dict[Path, Path | None] = {}
    classes: dict[Path, str] = {}
    for name, found in files.items():
        paths |= dict.fromkeys(found, limit_of_links(class_folders[name]))
        classes |= dict.fromkeys(found, own_names[name])
    if not paths:
        raise UserError(f"--evaluate {printable(folder)}: no pictures in its sub-folders; put some into {expected}")
    if loose := describe_loose_files(folder):
        print_to_stderr(f"predict.py: {loose}")
    return paths, classes


def evaluation_of(
    answers: Sequence[Answer], classes: Mapping[Path, str], class_names: Sequence[str]
) -> Evaluation | None:
    """Returns the answers together with the true classes; None if no picture could be read."""
    read = [answer for answer in answers if not answer.error]
    if not read:
        return None
    values = [(answer.predicted, answer.logits, answer.scores, answer.unknown) for answer in read]
    return Evaluation(
        class_names=class_names,
        paths=[os.fspath(answer.path) for answer in read],
        labels=np.array([class_names.index(classes[Path(answer.path)]) for answer in read]),
        predictions=Predictions(*map(np.array, zip(*values, strict=True))),
    )


def write_page(
    file: Path,
    *,
    evaluation: Evaluation,
    engine: Engine,
    found: dict[Path, Path | None],
    record: Record,
    config: PredictConfig,
) -> None:
    """Writes the report of `--html`. The pictures that it shows are read again; `found` are all, as for reading."""

    def image_of(index: int) -> np.ndarray | None:
        path = Path(evaluation.paths[index])
        picture = try_read_picture((path, found[path]), config=engine.model_config, max_pixels=config.max_pixels)
        return None if isinstance(picture, str) else picture.image

    contents = folder_contents(
        evaluation,
        engine.model_config,
        command=command_of(replace(config, **dict.fromkeys(_OUTPUTS, "")), "predict.py"),
        device=DEVICE,
        unreadable=record.unreadable,
        notes=record.notes,
    )
    write_folder_report(file, contents, evaluation, heat_maps=engine.heat_maps, image_of=image_of)
