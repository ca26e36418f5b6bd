"""Predicts the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

For each picture it prints one line: its path, its class and its score, from 0 to 1, which is about the probability that
the class is right; and the next best classes. A picture unlike the training pictures, or of no likely class, is called
unknown. `--evaluate FOLDER` measures the accuracy on a folder with one sub-folder per class instead, and `--html FILE`
writes a page about it. A picture that cannot be read is named on stderr, and the exit code is 1. Files are created
before the work and written after it. Links inside a folder are followed only to files of that folder; a link given by
name may lead anywhere.
"""

if __name__ == "__main__":  # before the imports, which take a moment
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - `python -P` leaves it out
    from system.startup import start_script

    start_script()

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from answers.asking import Batch, answer_pictures
from answers.engine import Engine, load_engine
from answers.output import STDOUT, Answer, CsvRows, JsonLines, to_row, write_csv, write_json
from answers.predictions import BATCH_SIZE
from answers.record import Record
from answers.table import Table, summary
from config import PredictConfig
from network.model_config import ModelConfig
from pictures.decoding import LoadedPicture
from pictures.folders import find_pictures, read_names, try_read_picture
from system.errors import EXIT_PARTIAL_FAILURE, EXIT_SUCCESS, EXIT_USER_ERROR, UserError, describe_os_error
from system.files import reserved
from system.pool import imap
from system.script import run_script
from system.terminal import is_terminal, output_closed, print_error, printable, wrapped

_STDIN = "-"  # in place of the name of a picture
_FILES = ("json", "csv", "html")
_NOT_FOUND = "no such file, no pictures in it, or no match; check the name"


class Question(NamedTuple):
    """Which pictures the network is asked about."""

    paths: dict[Path, Path | None]  # the files, each with the folder that a link must not leave, if any
    missing: Sequence[str]  # names for which there is no file
    true_classes: dict[Path, str]  # with --evaluate


class Output(Protocol):
    """What becomes of answers, a batch at a time."""

    def add(self, answers: Sequence[Answer], /) -> None: ...


class PictureOutput(Protocol):
    """What becomes of answers and images, a batch at a time, without pictures that could not be read."""

    def add(self, answers: Sequence[tuple[Answer, np.ndarray]], /) -> None: ...


def main(config: PredictConfig) -> int:
    start = time.monotonic()
    check_arguments(config)
    with contextlib.ExitStack() as stack:
        for path in files_to_write(config).values():
            stack.enter_context(reserved(path))
        engine = load_network(Path(config.model_save_name))
        question = find_question(config, engine.model_config.class_names)
        record = record_for(question, engine, config)
        outputs, picture_outputs = outputs_for(question, engine, config)
        pictures = read_in_background(question.paths, engine.model_config, max_pixels=config.max_pixels)
        stack.enter_context(contextlib.closing(pictures))
        for batch in itertools.chain(predict(engine, question.paths, pictures), [not_found(question.missing)]):
            hand_out(batch, [record, *outputs], picture_outputs)
            if output_closed() and not (config.evaluate or files_to_write(config) or picture_outputs):
                break  # nobody would see the others
        unwritten = finish(record, question, engine, config)
    if not config.evaluate:
        print_summary(record, time.monotonic() - start)
    return end(record, unwritten)


def check_arguments(config: PredictConfig) -> None:
    """Raises UserError for settings that contradict each other, and for output files that exist."""
    if bool(config.images) == bool(config.evaluate):
        raise UserError("name pictures, folders or patterns, or else --evaluate FOLDER: python predict.py picture.jpg")
    if config.raw and config.evaluate:
        raise UserError("--raw shows the magnitudes of each picture, --evaluate shows no single picture: leave one out")
    if config.html and not config.evaluate:
        raise UserError("--html is a report on pictures whose class is known: add --evaluate FOLDER, or leave it out")
    if config.html == STDOUT:
        raise UserError("--html -: the page is written to a file; name one, such as --html report.html")
    if config.json == config.csv == STDOUT:
        raise UserError("--json - and --csv - write to the same place; use a file for one of them")
    outputs = files_to_write(config)
    for (name, path), (other, other_path) in itertools.combinations(outputs.items(), 2):
        if path.resolve() == other_path.resolve():
            raise UserError(f"--{name} {printable(path)} and --{other} are the same file; use two")
    for name, path in outputs.items():
        if os.path.lexists(path):
            raise UserError(f"--{name} {printable(path)}: exists already and is not overwritten; use another file")


def files_to_write(config: PredictConfig) -> dict[str, Path]:
    """Returns the output files, by their setting."""
    names = {name: getattr(config, name) for name in _FILES}
    return {name: Path(path) for name, path in names.items() if path not in ("", STDOUT)}


def load_network(name: Path) -> Engine:
    """Returns the network of a folder of checkpoints or a model file. Tells if its scores are not calibrated."""
    engine = load_engine(name)
    if not engine.calibrated:
        line = "predict.py: the scores are not calibrated yet; run trainer.py to its end"
        print(wrapped(line, stream=sys.stderr), file=sys.stderr)
    return engine


def find_question(config: PredictConfig, class_names: Sequence[str]) -> Question:
    """Returns the pictures that are named, on the command line or on standard input; or those of --evaluate."""
    if config.evaluate:
        from reports.folder import find_true_classes  # here, because loading it takes 0.1 s

        paths, true_classes = find_true_classes(Path(config.evaluate), class_names)
        return Question(paths, [], true_classes)
    names = list(config.images)
    if _STDIN in names:
        place = names.index(_STDIN)
        names[place : place + 1] = read_names(sys.stdin.buffer)
        if not names:
            raise UserError("-: there are no names on the standard input; write one a line")
    return Question(*find_pictures(names), {})


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


def predict(engine: Engine, paths: Iterable[Path], pictures: Iterable[LoadedPicture | str]) -> Iterator[Batch]:
    """Yields an answer for each path, in order, a batch at a time; `pictures` are as from `read_in_background`."""
    pairs = zip(paths, pictures, strict=True)
    while some := list(itertools.islice(pairs, BATCH_SIZE)):
        yield answer_pictures(engine, some)


def not_found(names: Sequence[str]) -> Batch:
    """Returns answers for names that no file has."""
    return [(Answer(path=name, error=_NOT_FOUND), None) for name in names]


def record_for(question: Question, engine: Engine, config: PredictConfig) -> Record:
    """Returns the record of the answers, which keeps them if they are needed at the end."""
    keep = bool(config.evaluate or files_to_write(config))
    return Record(engine.model_config.class_names, limits=question.paths, keep=keep)


def outputs_for(question: Question, engine: Engine, config: PredictConfig) -> tuple[list[Output], list[PictureOutput]]:
    """Returns what is written as soon as answers are known: to standard output, and pictures."""
    class_names = engine.model_config.class_names
    outputs: list[Output] = []
    if config.json == STDOUT:
        outputs.append(JsonLines(class_names, question.true_classes))
    elif config.csv == STDOUT:
        outputs.append(CsvRows(class_names, question.true_classes))
    elif not config.evaluate:
        outputs.append(Table(class_names, names=question.paths, top=config.top, raw=config.raw))
    return outputs, []


def hand_out(batch: Batch, outputs: Iterable[Output], picture_outputs: Iterable[PictureOutput]) -> None:
    """Passes answers on to those who need them."""
    answers = [answer for answer, _ in batch]
    for output in outputs:
        output.add(answers)
    pairs = [(answer, image) for answer, image in batch if image is not None]
    for picture_output in picture_outputs:
        picture_output.add(pairs)


def finish(record: Record, question: Question, engine: Engine, config: PredictConfig) -> list[str]:
    """Prints the report of --evaluate, and writes the output files. Returns a line about each that it could not write.

    The report is printed on stderr if the answers are on standard output, which is then for another program.
    """
    class_names = engine.model_config.class_names
    report, writers = None, {}
    if config.evaluate:
        from answers.evaluation import evaluate  # here, because loading these takes 0.1 s
        from reports.folder import evaluation_of, write_page
        from reports.text import format_report

        if evaluation := evaluation_of(record.answers, question.true_classes, class_names):
            report = evaluate(evaluation)
            print(format_report(report), file=sys.stderr if STDOUT in (config.json, config.csv) else sys.stdout)
            writers["html"] = partial(
                write_page, evaluation=evaluation, engine=engine, found=question.paths, record=record, config=config
            )

    def rows() -> Iterator[dict]:
        return (to_row(answer, class_names, question.true_classes.get(Path(answer.path))) for answer in record.answers)

    writers["json"] = lambda path: write_json(path, rows(), report)
    writers["csv"] = lambda path: write_csv(path, rows(), class_names)
    return write_files({path: writers[name] for name, path in files_to_write(config).items() if name in writers})


def write_files(writers: Mapping[Path, Callable[[Path], None]]) -> list[str]:
    """Calls each function with its file. Returns a line about each file that could not be written."""
    problems = []
    for path, write in writers.items():
        try:
            write(path)
        except OSError as error:
            problems.append(describe_os_error(error))
    return problems


def print_summary(record: Record, seconds: float) -> None:
    """Counts the answers on a terminal: not in the log of another program, and not if they were cut short."""
    if is_terminal(sys.stderr) and record.counts.total() > 1 and not output_closed():
        print(wrapped(summary(record.counts, seconds), stream=sys.stderr), file=sys.stderr)


def end(record: Record, unwritten: Sequence[str]) -> int:
    """Prints what is to be said about single pictures and files; returns the exit code."""
    for line in record.remarks():
        print(wrapped(f"predict.py: {line}", stream=sys.stderr), file=sys.stderr)
    for line in record.failures() + list(unwritten):
        print_error(f"predict.py: {line}")
    if unwritten:
        return EXIT_USER_ERROR
    return EXIT_PARTIAL_FAILURE if record.unreadable else EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PredictConfig, __doc__)
