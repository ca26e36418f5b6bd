"""Predicts the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

For each picture it prints one line: its path, its class, and a score from 0 to 1 for every class, which is about the
probability that the class is right. A picture unlike the training pictures, or of no likely class, is called unknown.
`--evaluate FOLDER` measures the accuracy on a folder with one sub-folder per class instead. A picture that cannot be
read is named on stderr, and the exit code is 1. Links inside a folder are followed only to files of that folder; a link
given by name may lead anywhere.
"""

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from answers.classifier import BATCH_SIZE, Classifier, Predictions, load_classifier, memory_need
from answers.evaluation import evaluate, format_report
from answers.output import Answer, format_answer, to_row, write_csv, write_json
from config import PredictConfig
from network.device import configure_device, raises_memory_error
from network.model_config import ModelConfig, read_model_config
from pictures.folders import find_classes, find_pictures, picture_files, try_read_image
from system.command_line import run_script
from system.errors import EXIT_PARTIAL_FAILURE, EXIT_SUCCESS, UserError
from system.pool import imap
from system.resources import require_memory
from system.terminal import printable


def check_arguments(config: PredictConfig) -> None:
    """Raises UserError for settings that contradict each other, and for output files that exist."""
    if bool(config.images) == bool(config.evaluate):
        raise UserError("name pictures, folders or patterns, or else --evaluate FOLDER: python predict.py picture.jpg")
    if config.json and config.csv and Path(config.json).resolve() == Path(config.csv).resolve():
        raise UserError(f"--json {printable(config.json)} and --csv are the same file; use two")
    for name, path in (("json", config.json), ("csv", config.csv)):
        if path and os.path.lexists(path):
            raise UserError(f"--{name} {printable(path)}: exists already and is not overwritten; use another file")


def find_true_classes(folder: Path, class_names: Sequence[str]) -> dict[Path, str]:
    """Returns the pictures of a folder with one sub-folder per class, and their classes.

    Raises:
        UserError: there is no such folder, there are no pictures, or a sub-folder is not a class of the network.
    """
    if not folder.is_dir():
        raise UserError(f"--evaluate {printable(folder)}: no such folder")
    folders = find_classes(folder)
    expected = ", ".join(map(printable, class_names))
    if others := sorted(folders.keys() - set(class_names)):
        raise UserError(
            f"--evaluate {printable(folder)}: {', '.join(map(printable, others))}: not a class of this network, which "
            f"has {expected}; rename or remove the folder"
        )
    found = {path: name for name, class_folder in folders.items() for path in picture_files(class_folder)}
    if not found:
        raise UserError(f"--evaluate {printable(folder)}: no pictures in its sub-folders; put some into {expected}")
    return found


def read_in_background(
    paths: dict[Path, Path | None], model_config: ModelConfig, *, max_pixels: int
) -> Iterator[np.ndarray | str]:
    """Starts to read pictures in worker processes, exactly as for training, and returns an iterator over them.

    Args:
        paths: the files to read, each with the folder that a link must not leave, if any.
        model_config: of the network that will predict.
        max_pixels: larger pictures are not decoded.

    Yields:
        in the order of the paths: uint8 (height, width, color_channels), or the reason why a picture cannot be read.
    """
    return imap(
        partial(try_read_image, config=model_config, max_pixels=max_pixels),
        list(paths.items()),
        on_failure=lambda _, reason: reason,
        description="predicting",
        leave=False,
        chunksize=model_config.images_per_chunk,
    )


def predict(classifier: Classifier, paths: Iterable[Path], images: Iterable[np.ndarray | str]) -> Iterator[Answer]:
    """Yields an answer for each path, in order; `images` are as from `read_in_background`."""
    pairs = zip(paths, images, strict=True)
    while batch := list(itertools.islice(pairs, BATCH_SIZE)):
        readable = [image for _, image in batch if not isinstance(image, str)]
        predictions = zip(*classifier.predict(np.stack(readable)), strict=True) if readable else iter(())
        for path, image in batch:
            if isinstance(image, str):
                yield Answer(path=path, error=image)
            else:
                predicted, logits, scores, unknown = next(predictions)
                yield Answer(path=path, predicted=int(predicted), logits=logits, scores=scores, unknown=bool(unknown))


def evaluate_answers(answers: Sequence[Answer], classes: dict[Path, str], class_names: Sequence[str]) -> dict:
    """Returns the report of `evaluate`; `classes` are the true ones."""
    values = [(answer.predicted, answer.logits, answer.scores, answer.unknown) for answer in answers]
    return evaluate(
        Predictions(*map(np.array, zip(*values, strict=True))),
        labels=np.array([class_names.index(classes[answer.path]) for answer in answers]),
        paths=[os.fspath(answer.path) for answer in answers],
        class_names=class_names,
    )


@raises_memory_error()
def main(config: PredictConfig) -> int:
    check_arguments(config)
    folder = Path(config.model_save_name)
    model_config = read_model_config(folder)
    class_names = model_config.class_names
    if config.evaluate:
        true_classes = find_true_classes(Path(config.evaluate), class_names)
        paths, missing = dict.fromkeys(true_classes, Path(config.evaluate)), []
    else:
        true_classes = {}
        paths, missing = find_pictures(config.images)

    images = read_in_background(paths, model_config, max_pixels=config.max_pixels)  # while the network is loaded
    configure_device(config.precision)
    require_memory(memory_need(folder), "use a larger machine")
    classifier = load_classifier(folder)
    if classifier.calibration is None:
        print("predict.py: the scores are not calibrated yet; run trainer.py to its end", file=sys.stderr)

    failures = [f"{printable(name)}: no such file, no pictures in it, or no match; check the name" for name in missing]
    rows, answers = [], []
    for answer in predict(classifier, paths, images):
        if config.json or config.csv:
            rows.append(to_row(answer, class_names, true_classes.get(answer.path)))
        if answer.error:
            failures.append(f"{printable(answer.path)}: {printable(answer.error)}")
        elif config.evaluate:
            answers.append(answer)
        else:
            tqdm.write(format_answer(answer, class_names, raw=config.raw))

    report = evaluate_answers(answers, true_classes, class_names) if answers else None
    if report:
        print(format_report(report))
    if config.json:
        write_json(Path(config.json), rows, report)
    if config.csv:
        write_csv(Path(config.csv), rows, class_names)
    for failure in failures:
        print(f"predict.py: {failure}", file=sys.stderr)
    return EXIT_PARTIAL_FAILURE if failures else EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PredictConfig, __doc__)
