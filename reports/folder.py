"""The page about a folder of pictures whose class is known."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from answers.engine import DEVICE, Engine
from answers.evaluation import Evaluation
from answers.output import Answer
from config import PredictConfig
from pictures.folders import try_read_picture
from pictures.listing import is_other_file
from reports.contents import folder_contents
from reports.report_files import write_folder_report
from reports.run_info import command_of

_OUTPUTS = ("json", "csv", "html")  # not part of the command in the page, since they would be refused the second time


def write_page(
    file: Path,
    *,
    answers: Sequence[Answer],
    evaluation: Evaluation,
    engine: Engine,
    found: dict[Path, Path | None],
    config: PredictConfig,
) -> None:
    """Writes the report of `--html`. The pictures that it shows are read again.

    Args:
        file: the page.
        answers: about all pictures.
        evaluation: of the answers.
        engine: the network.
        found: all pictures, each with the folder that a link must not leave, if any.
        config: of predict.py.
    """

    def image_of(index: int) -> np.ndarray | None:
        path = Path(evaluation.paths[index])
        picture = try_read_picture((path, found[path]), config=engine.model_config, max_pixels=config.max_pixels)
        return None if isinstance(picture, str) else picture.image

    notes: dict[str, list[str]] = defaultdict(list)
    for answer in answers:
        if answer.note:
            notes[answer.note].append(os.fspath(answer.path))
    failures = [(os.fspath(answer.path), answer.error) for answer in answers if answer.error]
    contents = folder_contents(
        evaluation,
        engine.model_config,
        command=command_of(replace(config, **dict.fromkeys(_OUTPUTS, "")), "predict.py"),
        device=DEVICE,
        unreadable=[(path, reason) for path, reason in failures if not is_other_file(path, reason)],
        notes=notes,
    )
    write_folder_report(file, contents, evaluation, heat_maps=engine.heat_maps, image_of=image_of)
