"""Predicts the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

For each picture it prints one line: its path, its class, and a score from 0 to 1 for every class, which is about the
probability that the class is right. A picture unlike the training pictures, or of no likely class, is called unknown.
`--evaluate FOLDER` measures the accuracy on a folder with one sub-folder per class instead, and `--html FILE` writes a
page about it. A picture that cannot be read is named on stderr, and the exit code is 1. The files of `--json`, `--csv`
and `--html` are created before the work and written after it. Links inside a folder are followed only to files of that
folder; a link given by name may lead anywhere.
"""

if __name__ == "__main__":  # before the imports, which take seconds
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - `python -P` leaves it out
    from system.startup import start_script

    start_script()
    from system.pool import start_worker

    start_worker("pictures.folders")

import contextlib
import itertools
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from answers.engine import DEVICE, Engine, load_engine
from answers.evaluation import Evaluation, evaluate
from answers.output import Answer, format_answer, to_row, write_csv, write_json
from answers.predictions import BATCH_SIZE, Predictions
from config import PredictConfig
from network.model_config import ModelConfig
from pictures.decoding import LoadedPicture
from pictures.folders import find_classes, find_pictures, limit_of_links, picture_files, try_read_picture
from pictures.listing import describe_loose_files, is_other_file
from pictures.manifest import normalized
from pictures.report import note_lines, other_files_lines
from reports.run_info import command_of
from reports.text import format_report
from system.errors import EXIT_PARTIAL_FAILURE, EXIT_SUCCESS, EXIT_USER_ERROR, UserError, describe_os_error
from system.files import reserved
from system.pool import imap
from system.script import run_script
from system.terminal import output_closed, printable

_OUTPUTS = ("json", "csv", "html")
_NOT_FOUND = "no such file, no pictures in it, or no match; check the name"


def check_arguments(config: PredictConfig) -> None:
    """Raises UserError for settings that contradict each other, and for output files that exist."""
    if bool(config.images) == bool(config.evaluate):
        raise UserError("name pictures, folders or patterns, or else --evaluate FOLDER: python predict.py picture.jpg")
    if config.raw and config.evaluate:
        raise UserError("--raw shows the magnitudes of each picture, --evaluate shows no single picture: leave one out")
    if config.html and not config.evaluate:
        raise UserError("--html is a report on pictures whose class is known: add --evaluate FOLDER, or leave it out")
    outputs = {name: path for name in _OUTPUTS if (path := getattr(config, name))}
    for (name, path), (other, other_path) in itertools.combinations(outputs.items(), 2):
        if Path(path).resolve() == Path(other_path).resolve():
            raise UserError(f"--{name} {printable(path)} and --{other} are the same file; use two")
    for name, path in outputs.items():
        if os.path.lexists(path):
            raise UserError(f"--{name} {printable(path)}: exists already and is not overwritten; use another file")


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
        print(f"predict.py: {loose}", file=sys.stderr)
    return paths, classes


def read_in_background(
    paths: dict[Path, Path | None], model_config: ModelConfig, *, max_pixels: int
) -> Iterator[LoadedPicture | str]:
    """Starts to read pictures in worker processes, exactly as for training, and returns an iterator over them.

    Args:
        paths: the files to read, each with the folder that a link must not leave, if any.
        model_config: of the network that will predict.
        max_pixels: larger pictures are not decoded.

    Yields:
        in the order of the paths: a picture as from `load_picture`, or the reason why it cannot be read.
    """
    return imap(
        partial(try_read_picture, config=model_config, max_pixels=max_pixels),
        list(paths.items()),
        on_failure=lambda _, reason: reason,
        description="predicting",
        chunksize=model_config.images_per_chunk,
    )


def load_network(name: Path) -> Engine:
    """Returns the network of a folder of checkpoints or a model file. Tells if its scores are not calibrated."""
    engine = load_engine(name)
    if not engine.calibrated:
        print("predict.py: the scores are not calibrated yet; run trainer.py to its end", file=sys.stderr)
    return engine


def predict(engine: Engine, paths: Iterable[Path], pictures: Iterable[LoadedPicture | str]) -> Iterator[Answer]:
    """Yields an answer for each path, in order; `pictures` are as from `read_in_background`."""
    pairs = zip(paths, pictures, strict=True)
    while batch := list(itertools.islice(pairs, BATCH_SIZE)):
        readable = [picture.image for _, picture in batch if not isinstance(picture, str)]
        predictions = zip(*engine.predict(np.stack(readable)), strict=True) if readable else iter(())
        for path, picture in batch:
            if isinstance(picture, str):
                yield Answer(path=path, error=picture)
                continue
            predicted, logits, scores, unknown = next(predictions)
            yield Answer(
                path=path,
                predicted=int(predicted),
                logits=logits,
                scores=scores,
                unknown=bool(unknown),
                note=picture.note,
            )


def evaluation_of(answers: Sequence[Answer], classes: dict[Path, str], class_names: Sequence[str]) -> Evaluation:
    """Returns the answers together with the true classes."""
    values = [(answer.predicted, answer.logits, answer.scores, answer.unknown) for answer in answers]
    return Evaluation(
        class_names=class_names,
        paths=[os.fspath(answer.path) for answer in answers],
        labels=np.array([class_names.index(classes[answer.path]) for answer in answers]),
        predictions=Predictions(*map(np.array, zip(*values, strict=True))),
    )


def write_page(
    file: Path,
    *,
    evaluation: Evaluation,
    engine: Engine,
    found: dict[Path, Path | None],
    unreadable: Sequence[tuple[str, str]],
    notes: dict[str, list[str]],
    config: PredictConfig,
    device: str,
) -> None:
    """Writes the report of `--html`. The pictures that it shows are read again; `found` are all, as for reading."""
    from reports.contents import folder_contents  # here, because loading it takes as long as predicting many pictures
    from reports.report_files import write_folder_report

    def image_of(index: int) -> np.ndarray | None:
        path = Path(evaluation.paths[index])
        picture = try_read_picture((path, found[path]), config=engine.model_config, max_pixels=config.max_pixels)
        return None if isinstance(picture, str) else picture.image

    command = command_of(replace(config, **dict.fromkeys(_OUTPUTS, "")), "predict.py")
    contents = folder_contents(
        evaluation, engine.model_config, command=command, device=device, unreadable=unreadable, notes=notes
    )
    write_folder_report(file, contents, evaluation, heat_maps=engine.heat_maps, image_of=image_of)


def write_files(writers: Mapping[str, Callable[[Path], None]]) -> list[str]:
    """Calls each function with its file, unless it has no name. Returns a line about each that could not be written."""
    problems = []
    for name, write in writers.items():
        try:
            if name:
                write(Path(name))
        except OSError as error:
            problems.append(describe_os_error(error))
    return problems


def main(config: PredictConfig) -> int:
    check_arguments(config)
    engine = load_network(Path(config.model_save_name))
    class_names = engine.model_config.class_names
    true_classes, missing = {}, []
    if config.evaluate:
        paths, true_classes = find_true_classes(Path(config.evaluate), class_names)
    else:
        paths, missing = find_pictures(config.images)
    not_found = (Answer(path=name, error=_NOT_FOUND) for name in missing)

    with contextlib.ExitStack() as stack:
        for name in filter(None, (getattr(config, name) for name in _OUTPUTS)):
            stack.enter_context(reserved(Path(name)))
        pictures = read_in_background(paths, engine.model_config, max_pixels=config.max_pixels)
        stack.enter_context(contextlib.closing(pictures))
        unreadable, rows, answers, others, notes = [], [], [], [], defaultdict(list)
        for answer in itertools.chain(predict(engine, paths, pictures), not_found):
            if config.json or config.csv:
                rows.append(to_row(answer, class_names, true_classes.get(answer.path)))
            elif output_closed() and not config.html:
                break  # nobody would see the others
            if answer.note:
                notes[answer.note].append(os.fspath(answer.path))
            if paths.get(answer.path) and is_other_file(os.fspath(answer.path), answer.error):
                others.append(os.fspath(answer.path))  # found in a folder, and not named
            elif answer.error:
                unreadable.append((os.fspath(answer.path), answer.error))
            elif config.evaluate:
                answers.append(answer)
            else:
                print(format_answer(answer, class_names, raw=config.raw))

        evaluation = evaluation_of(answers, true_classes, class_names) if answers else None
        report = evaluate(evaluation) if evaluation else None
        if report:
            print(format_report(report))
        writers = {
            config.json: partial(write_json, rows=rows, report=report),
            config.csv: partial(write_csv, rows=rows, class_names=class_names),
        }
        if evaluation:
            writers[config.html] = partial(
                write_page,
                evaluation=evaluation,
                engine=engine,
                found=paths,
                unreadable=unreadable,
                notes=notes,
                config=config,
                device=DEVICE,
            )
        unwritten = write_files(writers)
    failures = [f"{printable(path)}: {printable(reason)}" for path, reason in unreadable]
    for line in note_lines(notes) + other_files_lines(others) + failures + unwritten:
        print(f"predict.py: {line}", file=sys.stderr)
    if unwritten:
        return EXIT_USER_ERROR
    return EXIT_PARTIAL_FAILURE if failures else EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PredictConfig, __doc__)
