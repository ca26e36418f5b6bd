"""Predicts the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

For each picture it prints one line: its path, its class and its score, from 0 to 1, which is about the probability that
the class is right; and the next best classes. A picture unlike the training pictures is called unknown. Videos and
cameras can be named too, and `--watch FOLDER` predicts every new picture in a folder. `--evaluate FOLDER` measures the
accuracy on a folder with one sub-folder per class instead, and `--html FILE` writes a page about it. A picture that
cannot be read is named on stderr, and the exit code is 1. Files are created before the work and written after it. Links
inside a folder are followed only to files of that folder; a link given by name may lead anywhere.
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

from answers.arguments import check_arguments, files_to_write, is_changed
from answers.classifier import Classifier  # noqa: F401 - for programs: `from predict import Classifier`
from answers.engine import Engine
from answers.loading import load_engine
from answers.messages import Message, print_messages, print_on_terminal
from answers.output import STDOUT, Answer, CsvRows, JsonLines, Output
from answers.predictions import BATCH_SIZE
from answers.sources import Source, predict_pictures
from answers.summary import Summary
from answers.table import Table
from config import PredictConfig
from network.model_config import ModelConfig
from pictures.decoding import LoadedPicture
from pictures.folders import find_pictures, read_names, try_read_picture
from pictures.listing import describe_loose_files, find_true_classes
from pictures.video import camera_number, is_video
from system.errors import EXIT_PARTIAL_FAILURE, UserError
from system.files import reserved
from system.pool import imap
from system.script import run_script
from system.terminal import output_closed, printable

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
        source = find_source(config, engine.model_config.class_names)
        outputs = make_outputs(source, engine, config, start)
        has_answers = False
        try:
            with contextlib.closing(predict_source(engine, source, config)) as batches:
                for answers in batches:
                    has_answers = has_answers or bool(answers)
                    for output in outputs:
                        output.add(answers)
                    if output_closed() and all(output.only_shown for output in outputs):
                        break  # nobody would see the others
        except KeyboardInterrupt:
            if source.is_endless:
                finish(outputs)
            raise
        except (UserError, OSError):  # a full disk, or a camera that was unplugged: the answers until then are kept
            if has_answers and not config.evaluate:  # the accuracy on a part would be another one
                finish(outputs)
            raise
        return finish(outputs)


def load_network(name: Path) -> Engine:
    """Returns the network of a folder or a model file. Prints a line if its scores are not calibrated."""
    engine = load_engine(name)
    if not engine.calibrated:
        print_messages([Message("the scores are not calibrated yet; run trainer.py to its end")])
    return engine


def find_source(config: PredictConfig, class_names: Sequence[str]) -> Source:
    """Returns which pictures to predict: those that are named, or those of --evaluate or --watch."""
    if config.evaluate:
        folder = Path(config.evaluate)
        paths, true_classes = find_true_classes(folder, class_names)
        if loose := describe_loose_files(folder):
            print_messages([Message(loose)])
        return Source(paths, true_classes=true_classes)
    if config.watch:
        return Source({}, watched=Path(config.watch))
    paths, missing = find_pictures(named_pictures(config))
    videos = [path for path, within in paths.items() if within is None and is_video(path)]
    cameras = [number for name in missing if (number := camera_number(name)) is not None]
    if not (videos or cameras):
        return Source(paths, missing)
    settings = [name for name in ("explain", "sort", "top", "raw") if is_changed(config, name)]
    if len(videos) < len(paths) or len(cameras) < len(missing) or settings:
        without = f", without --{' and --'.join(settings)}" if settings else ""
        raise UserError(f"videos and cameras are not pictures: name them alone{without}")
    return Source({}, videos=[*videos, *cameras])  # a camera does not end


def named_pictures(config: PredictConfig) -> list[str]:
    """Returns the names on the command line, with those on standard input in place of the first `-`."""
    names = list(config.images)
    if _STDIN in names:
        index = names.index(_STDIN)  # it is read once
        later = [name for name in names[index + 1 :] if name != _STDIN]
        names = [*names[:index], *read_names(sys.stdin.buffer), *later]
        if not names:
            raise UserError("-: there are no names on the standard input; write one a line")
    return names


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
    source = Source(dict(itertools.islice(paths.items(), BATCH_SIZE)), missing)
    answers = list(itertools.chain.from_iterable(predict_source(engine, source, config)))
    images = np.array([answer.image for answer in answers if answer.image is not None])
    found = export(engine, Path(config.model_save_name), Path(config.export), images)
    print("\n".join(format_export(found)))
    summary = Summary(engine.model_config.class_names, named=source.named, start=None)
    summary.add(answers)
    refused = [Message(line, EXIT_PARTIAL_FAILURE) for line in found.refused]
    return print_messages([*map(Message, found.notes), *summary.finish(), *refused])


def predict_source(engine: Engine, source: Source, config: PredictConfig) -> Iterator[list[Answer]]:
    """Yields the answers about pictures, new pictures of a watched folder, or frames, a batch at a time, in order."""

    def read(paths: dict[Path, Path | None]) -> Iterator[LoadedPicture | str]:
        return read_in_background(paths, engine.model_config, max_pixels=config.max_pixels)

    if source.watched:
        from pictures.watching import watch_pictures  # here, because few need it, and it loads more

        arrivals = watch_pictures(source.watched, read)
        print_on_terminal(f"watching {printable(source.watched)}; Ctrl-C ends it")
        for arrived in arrivals:
            yield predict_pictures(engine, arrived)
    for video in source.videos:
        from answers.frames import predict_frames  # here, because few need it

        shows = STDOUT not in (config.json, config.csv)
        with contextlib.closing(
            predict_frames(engine, video, max_pixels=config.max_pixels, print_changes=shows)
        ) as answers:
            yield from ([answer] for answer in answers)
    if source.paths:
        with contextlib.closing(read(source.paths)) as pictures:
            yield from predict(engine, source.paths, pictures)
    yield [Answer(path=name, error=_NOT_FOUND) for name in source.missing]


def predict(engine: Engine, paths: Iterable[Path], pictures: Iterable[LoadedPicture | str]) -> Iterator[list[Answer]]:
    """Yields an answer for each path, in order, a batch at a time; `pictures` are as from `read_in_background`.

    The first batches are small, so that the first answers are there at once.
    """
    pairs, size = zip(paths, pictures, strict=True), min(_FIRST_BATCH, BATCH_SIZE)
    while some := list(itertools.islice(pairs, size)):
        yield predict_pictures(engine, some)
        size = min(2 * size, BATCH_SIZE)


def make_outputs(source: Source, engine: Engine, config: PredictConfig, start: float) -> list[Output]:
    """Returns the outputs for the answers: files, standard output, the summary, and folders, which are created.

    `start` is when the work began, by `time.monotonic`.
    """
    class_names = engine.model_config.class_names
    outputs: list[Output] = []
    if config.evaluate or files_to_write(config):
        from reports.results import Results  # here, because few need it

        outputs.append(Results(source, engine, config))
    if config.json == STDOUT:
        outputs.append(JsonLines(class_names, source.true_classes))
    elif config.csv == STDOUT:
        outputs.append(CsvRows(class_names, source.true_classes))
    elif not (config.evaluate or source.videos):
        networks = engine.model_config.folds
        outputs.append(Table(class_names, names=source.paths, top=config.top, raw=config.raw, networks=networks))
    counted_since = None if config.evaluate or source.videos else start  # these print counts of their own
    outputs.append(Summary(class_names, named=source.named, start=counted_since, at_once=bool(config.watch)))
    if config.explain:
        from reports.explanations import Explanations  # here, because few need it, and it loads more

        outputs.append(Explanations(Path(config.explain), engine))
    if config.sort:
        from answers.sorting import Sorter  # here, because few need it

        outputs.append(Sorter(Path(config.sort), class_names, config.least_score))
    return outputs


def finish(outputs: Sequence[Output]) -> int:
    """Writes what needs all answers, and prints the messages of all outputs. Returns the exit code."""
    return print_messages([message for output in outputs for message in output.finish()])


if __name__ == "__main__":
    run_script(main, PredictConfig, __doc__)
