"""Predicts the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

For each picture it prints one line: its path, its class and its score, from 0 to 1, which is about the probability that
the class is right; and the next best classes. A picture unlike the training pictures, or of no likely class, is called
unknown. It also answers about videos and cameras, and `--watch FOLDER` about every new picture in a folder.
`--evaluate FOLDER` measures the accuracy on a folder with one sub-folder per class instead, and `--html FILE`
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
    from system.pool import start_worker

    start_worker("pictures.folders")

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from answers.arguments import check_arguments, files_to_write
from answers.classifier import Classifier  # noqa: F401 - for programs: `from predict import Classifier`
from answers.engine import Engine, load_engine
from answers.output import STDOUT, Answer, CsvRows, JsonLines
from answers.predictions import BATCH_SIZE
from answers.sources import Batch, Output, PictureOutput, Question, predict_pictures
from answers.summary import Record
from answers.table import Table, summary
from config import PredictConfig
from network.model_config import ModelConfig
from pictures.decoding import LoadedPicture
from pictures.folders import find_pictures, read_names, try_read_picture
from pictures.video import live_source
from system.errors import EXIT_PARTIAL_FAILURE, EXIT_SUCCESS, EXIT_USER_ERROR, UserError
from system.files import reserved
from system.output_folder import OutputFolder
from system.pool import imap
from system.script import run_script
from system.terminal import is_terminal, output_closed, print_to_stderr, printable

_STDIN = "-"  # in place of the name of a picture
_FIRST_BATCH = 4  # pictures
_NOT_FOUND = "no such file, no pictures in it, or no match; check the name"


def main(config: PredictConfig) -> int:
    start = time.monotonic()
    check_arguments(config)
    with contextlib.ExitStack() as stack:
        for path in files_to_write(config).values():
            stack.enter_context(reserved(path))
        engine = load_network(Path(config.model_save_name))
        if config.export:
            return export_network(engine, config)
        question = find_source(config, engine.model_config.class_names)
        record = record_for(question, engine, config)
        outputs, picture_outputs = outputs_for(question, engine, config), picture_outputs_for(engine, config)
        stopped = None
        try:
            for batch in stack.enter_context(contextlib.closing(answer(question, engine, config))):
                hand_out(batch, [record, *outputs], picture_outputs)
                if config.watch:
                    tell(record)
                if output_closed() and not (record.keeps or picture_outputs):
                    break  # nobody would see the others
        except KeyboardInterrupt as stop:
            if not (config.watch or question.live):
                raise
            stopped = stop  # the usual end, before which everything is written
        unwritten = []
        if record.keeps:
            from reports.results import write_results  # here, because most need none

            unwritten = write_results(record, question, engine, config)
    added = [output.files for output in picture_outputs]
    if not (config.evaluate or question.live):
        print_summary(record, added, time.monotonic() - start)
    code = end(record, added, unwritten)
    if stopped:
        raise stopped
    return code


def load_network(name: Path) -> Engine:
    """Returns the network of a folder of checkpoints or a model file. Tells if its scores are not calibrated."""
    engine = load_engine(name)
    if not engine.calibrated:
        line = "predict.py: the scores are not calibrated yet; run trainer.py to its end"
        print_to_stderr(line)
    return engine


def find_source(config: PredictConfig, class_names: Sequence[str]) -> Question:
    """Returns the pictures that are named, on the command line or on standard input; or those of --evaluate."""
    if config.evaluate:
        from reports.folder import find_true_classes  # here, because loading it takes 0.1 s

        paths, true_classes = find_true_classes(Path(config.evaluate), class_names)
        return Question(paths, true_classes=true_classes)
    if config.watch:
        return Question({})
    names = list(config.images)
    if _STDIN in names:
        place = names.index(_STDIN)
        names[place : place + 1] = read_names(sys.stdin.buffer)
        if not names:
            raise UserError("-: there are no names on the standard input; write one a line")
    live = [source for name in names if (source := live_source(name)) is not None]
    if not live:
        paths, missing = find_pictures(names)
        return Question(paths, missing)
    if len(live) < len(names) or config.explain or config.sort:
        raise UserError("videos and cameras are not pictures: ask about them alone, without --explain and --sort")
    return Question({}, live=live)


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


def export_network(engine: Engine, config: PredictConfig) -> int:
    """Writes the network for other programs, compared with the engine on the pictures that are named, or on ours."""
    from answers.export import SAMPLES, export, format_export  # here, because few need it, and it loads more

    paths, missing = find_pictures(config.images or [os.fspath(SAMPLES)])
    some = dict(itertools.islice(paths.items(), BATCH_SIZE))
    with contextlib.closing(read_in_background(some, engine.model_config, max_pixels=config.max_pixels)) as pictures:
        batch = [*zip(some, pictures, strict=True), *((name, _NOT_FOUND) for name in missing)]
    images = [picture.image for _, picture in batch if not isinstance(picture, str)]
    found = export(engine, Path(config.model_save_name), Path(config.export), np.array(images))
    print("\n".join(format_export(found)))
    for line in found.notes:
        print_to_stderr(f"predict.py: {line}")
    unreadable = [f"{printable(path)}: {printable(picture)}" for path, picture in batch if isinstance(picture, str)]
    for line in unreadable + found.refused:
        print_to_stderr(f"predict.py: {line}", "red")
    return EXIT_PARTIAL_FAILURE if unreadable or found.refused else EXIT_SUCCESS


def answer(question: Question, engine: Engine, config: PredictConfig) -> Iterator[Batch]:
    """Yields the answers about pictures, the frames of videos and cameras, or what appears in a watched folder."""

    def read(paths: dict[Path, Path | None]) -> Iterator[LoadedPicture | str]:
        return read_in_background(paths, engine.model_config, max_pixels=config.max_pixels)

    if config.watch:
        from pictures.watching import watch_pictures  # here, because few need it, and it loads more

        for arrived in watch_pictures(Path(config.watch), read):
            yield predict_pictures(engine, arrived)
    for source in question.live:
        from answers.frames import predict_frames  # the same

        shows = STDOUT not in (config.json, config.csv)
        with contextlib.closing(
            predict_frames(engine, source, max_pixels=config.max_pixels, print_changes=shows)
        ) as answers:
            yield from ([(frame, None)] for frame in answers)
    if question.paths:
        with contextlib.closing(read(question.paths)) as pictures:
            yield from predict(engine, question.paths, pictures)
    yield [(Answer(path=name, error=_NOT_FOUND), None) for name in question.missing]


def predict(engine: Engine, paths: Iterable[Path], pictures: Iterable[LoadedPicture | str]) -> Iterator[Batch]:
    """Yields an answer for each path, in order, a batch at a time; `pictures` are as from `read_in_background`.

    The first batches are small, so that the first answers are there at once.
    """
    pairs, size = zip(paths, pictures, strict=True), min(_FIRST_BATCH, BATCH_SIZE)
    while some := list(itertools.islice(pairs, size)):
        yield predict_pictures(engine, some)
        size = min(2 * size, BATCH_SIZE)


def record_for(question: Question, engine: Engine, config: PredictConfig) -> Record:
    """Returns the record of the answers, which keeps them if they are needed at the end."""
    keep = bool(config.evaluate or files_to_write(config))
    named = {path for path, within in question.paths.items() if within is None}
    return Record(engine.model_config.class_names, named=named, keep=keep)


def outputs_for(question: Question, engine: Engine, config: PredictConfig) -> list[Output]:
    """Returns what is written to standard output as soon as answers are known."""
    class_names = engine.model_config.class_names
    if config.json == STDOUT:
        return [JsonLines(class_names, question.true_classes)]
    if config.csv == STDOUT:
        return [CsvRows(class_names, question.true_classes)]
    if config.evaluate or question.live:
        return []
    return [Table(class_names, names=question.paths, top=config.top, raw=config.raw)]


def picture_outputs_for(engine: Engine, config: PredictConfig) -> list[PictureOutput]:
    """Returns what makes pictures of the answers; their folders are created."""
    outputs: list[PictureOutput] = []
    if config.explain:
        from reports.explanations import Explanations  # here, because few need it, and it loads more

        outputs.append(Explanations(Path(config.explain), engine))
    if config.sort:
        from answers.sorting import Sorter  # the same

        outputs.append(Sorter(Path(config.sort), engine.model_config.class_names, config.least_score))
    return outputs


def hand_out(batch: Batch, outputs: Iterable[Output], picture_outputs: Iterable[PictureOutput]) -> None:
    """Passes answers on to those who need them."""
    answers = [answer for answer, _ in batch]
    for output in outputs:
        output.add(answers)
    pairs = [(answer, image) for answer, image in batch if image is not None]
    for picture_output in picture_outputs:
        picture_output.add(pairs)


def print_summary(record: Record, added: Sequence[OutputFolder], seconds: float) -> None:
    """Counts what was done on a terminal: not in the log of another program, and not if it was cut short."""
    if not is_terminal(sys.stderr) or output_closed():
        return
    lines = [summary(record.counts, seconds)] if record.counts.total() > 1 else []
    for line in [*lines, *(files.describe("picture") for files in added)]:
        print_to_stderr(line)


def tell(record: Record) -> None:
    """Prints what is to be said about single pictures, once."""
    remarks, failures = record.pop_messages()
    for line in remarks:
        print_to_stderr(f"predict.py: {line}")
    for line in failures:
        print_to_stderr(f"predict.py: {line}", "red")


def end(record: Record, added: Sequence[OutputFolder], unwritten: Sequence[str]) -> int:
    """Prints what is to be said about pictures and files; returns the exit code."""
    tell(record)
    problems = [problem for files in added for problem in files.problems]
    for line in [*problems, *unwritten]:
        print_to_stderr(f"predict.py: {line}", "red")
    if unwritten:
        return EXIT_USER_ERROR
    return EXIT_PARTIAL_FAILURE if record.failed or problems else EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PredictConfig, __doc__)
