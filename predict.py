"""Names the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

Per picture one line: its name, its class, and the score of every class from 0 to 1, which is about the probability that
it is right. A picture unlike all that the network was trained on is called unknown. `--evaluate FOLDER` says how often
the network is right on the pictures of a folder with one sub-folder a class. What cannot be read, or crashes its
decoder, is named on stderr, and then the exit code is 1. Links inside a folder are followed to files of that folder
alone; a link that is named itself may lead anywhere.
"""

import csv
import glob
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from files import printable, quiet_import, write_atomically

with quiet_import():
    from checkpoint import load_classifier
    from classifier import Classifier
    from description import Description, read_description
    from device import set_up

import numpy as np
from tqdm import tqdm

import config as settings
from config import PredictConfig, UserError
from evaluation import as_text, evaluate
from listing import class_folders, read_picture, visible_files
from workers import in_processes, portion

_BATCH = 64  # pictures predicted at a time, which bounds the memory


def find_pictures(names: Iterable[str]) -> tuple[dict[Path, Path | None], list[str]]:
    """Files as they are, folders as the files below them, patterns as what they match.

    Returns:
        the files, in the order of the names, each once, with the folder that links must not lead out of, if any; and
        the names that stand for nothing.
    """
    found: dict[Path, Path | None] = {}
    missing = []
    for name in names:
        matches = [name]
        # As a name before as a pattern, since a file may be called photo[1].jpg.
        if not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that no file can have
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
        own = {path: within for match in matches for path, within in _files(Path(match)).items()}
        if not own:
            missing.append(name)
        found.update((path, within) for path, within in own.items() if path not in found or within is None)
    return found, missing


def _files(path: Path) -> dict[Path, Path | None]:
    return dict.fromkeys(visible_files(path), path) if path.is_dir() else {path: None}


def begin_reading(
    paths: dict[Path, Path | None], description: Description, *, max_megapixels: float
) -> Iterator[np.ndarray | str]:
    """Begins to read pictures in processes of their own, as in training, and yields them in order.

    Args:
        paths: with the folder that a link must not lead out of, if any.
        description: of the network that is to be asked.
        max_megapixels: larger pictures are not decoded.

    Yields:
        uint8 (height, width, color_channels), or the reason why there are no pixels.
    """
    size = {name: getattr(description, name) for name in ("height", "width", "color_channels")}
    return in_processes(
        partial(read_picture, **size, max_megapixels=max_megapixels),
        list(paths.items()),
        failed=lambda _, reason: reason,
        description="predicting",
        leave=False,
        together=portion(description.height, description.width),
    )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the network says of one picture, or why it says nothing."""

    path: Path
    named: int = 0  # the place of the class
    logits: np.ndarray | None = None  # (classes,), the raw magnitudes
    scores: np.ndarray | None = None  # (classes,), 0..1
    unknown: bool = False
    failure: str = ""


def predict(
    classifier: Classifier, paths: Iterable[Path], pictures: Iterable[np.ndarray | str]
) -> Iterator[Prediction]:
    """Yields a prediction for each path, in order, whose pictures are as from `begin_reading`."""
    read = zip(paths, pictures, strict=True)
    while chunk := list(itertools.islice(read, _BATCH)):
        readable = [picture for _, picture in chunk if not isinstance(picture, str)]
        answers = zip(*classifier.ask(np.stack(readable)), strict=True) if readable else iter(())
        for path, picture in chunk:
            if isinstance(picture, str):
                yield Prediction(path=path, failure=picture)
            else:
                named, logits, scores, unknown = next(answers)
                yield Prediction(path=path, named=int(named), logits=logits, scores=scores, unknown=bool(unknown))


def line(prediction: Prediction, class_names: Sequence[str], *, raw: bool) -> str:
    """Name, class and values of one picture: `bat.png  batman  batman 0.981  superman 0.034`."""
    values = prediction.logits if raw else prediction.scores
    pairs = (f"{printable(name)} {value:.3f}" for name, value in zip(class_names, values, strict=True))
    verdict = "unknown" if prediction.unknown else class_names[prediction.named]
    return "  ".join([printable(prediction.path), printable(verdict), *pairs])


def true_classes(folder: Path, class_names: Sequence[str]) -> dict[Path, str]:
    """The pictures of a folder with one sub-folder a class, and their classes.

    Raises:
        UserError: there is no such folder, there are no pictures, or a sub-folder is no class of the network.
    """
    if not folder.is_dir():
        raise UserError(f"--evaluate {printable(folder)}: no such folder")
    folders = class_folders(folder)
    expected = ", ".join(map(printable, class_names))
    if strangers := sorted(folders.keys() - set(class_names)):
        raise UserError(
            f"--evaluate {printable(folder)}: {', '.join(map(printable, strangers))}: no class of this network, "
            f"which knows {expected}; rename or remove the folder"
        )
    found = {path: name for name, place in folders.items() for path in visible_files(place)}
    if not found:
        raise UserError(f"--evaluate {printable(folder)}: no pictures in its sub-folders; put some into {expected}")
    return found


def report(predictions: Sequence[Prediction], classes: dict[Path, str], class_names: Sequence[str]) -> dict:
    """How right the predictions are, as `evaluation.evaluate` has it."""
    return evaluate(
        pictures=[os.fspath(prediction.path) for prediction in predictions],
        labels=np.array([class_names.index(classes[prediction.path]) for prediction in predictions]),
        named=np.array([prediction.named for prediction in predictions]),
        scores=np.array([prediction.scores[prediction.named] for prediction in predictions]),
        unknown=np.array([prediction.unknown for prediction in predictions]),
        class_names=class_names,
    )


def as_row(prediction: Prediction, class_names: Sequence[str], classes: dict[Path, str]) -> dict:
    """A prediction as it is written to files; what does not apply is None."""
    row = {"picture": os.fspath(prediction.path), "class": classes.get(prediction.path)}
    if prediction.failure:
        return {**row, "named": None, "unknown": None, "scores": None, "raw": None, "failure": prediction.failure}
    scores, raw = (
        {name: float(value) for name, value in zip(class_names, values, strict=True)}
        for values in (prediction.scores, prediction.logits)
    )
    named = class_names[prediction.named]
    return {**row, "named": named, "unknown": prediction.unknown, "scores": scores, "raw": raw, "failure": None}


def write_json(path: Path, rows: Sequence[dict], figures: dict | None) -> None:
    content = {"predictions": rows} if figures is None else {"report": figures, "predictions": rows}
    write_atomically(path, json.dumps(content, indent=1).encode())


def write_csv(path: Path, rows: Sequence[dict], class_names: Sequence[str]) -> None:
    """One row a picture; the scores and raw magnitudes have a column for each class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    values = [(kind, name) for kind in ("scores", "raw") for name in class_names]
    writer.writerow(["picture", "class", "named", "unknown", *(f"{kind} {name}" for kind, name in values), "failure"])
    for row in rows:
        numbers = [row[kind][name] if row[kind] else None for kind, name in values]
        writer.writerow([row["picture"], row["class"], row["named"], row["unknown"], *numbers, row["failure"]])
    write_atomically(path, text.getvalue().encode("utf-8", errors="surrogateescape"))


def main(config: PredictConfig) -> int:
    if bool(config.images) == bool(config.evaluate):
        raise UserError("name pictures, folders or patterns, or else --evaluate FOLDER: python predict.py picture.jpg")
    if config.json and config.csv and Path(config.json).resolve() == Path(config.csv).resolve():
        raise UserError(f"--json {printable(config.json)} and --csv name one file; name two")
    for name, path in (("json", config.json), ("csv", config.csv)):
        if path and os.path.lexists(path):
            raise UserError(
                f"--{name} {printable(path)}: exists already, and nothing is overwritten; name another file"
            )
    description = read_description(Path(config.model_save_name))
    class_names = description.class_names
    classes = true_classes(Path(config.evaluate), class_names) if config.evaluate else {}
    within = Path(config.evaluate)
    paths, missing = find_pictures(config.images) if config.images else (dict.fromkeys(classes, within), [])
    pictures = begin_reading(paths, description, max_megapixels=config.max_megapixels)  # while the network is restored
    set_up(config.precision)
    classifier, _ = load_classifier(Path(config.model_save_name))
    if not classifier.is_calibrated:
        print("predict.py: the scores are not calibrated yet; run trainer.py to its end", file=sys.stderr)
    failures = [f"{printable(name)}: no such file, no pictures in it, or no match; check the name" for name in missing]

    rows, answered = [], []
    for prediction in predict(classifier, paths, pictures):
        if config.json or config.csv:
            rows.append(as_row(prediction, class_names, classes))
        if prediction.failure:
            failures.append(f"{printable(prediction.path)}: {printable(prediction.failure)}")
        elif config.evaluate:
            answered.append(prediction)
        else:
            tqdm.write(line(prediction, class_names, raw=config.raw))

    figures = report(answered, classes, class_names) if answered else None
    if figures:
        print(as_text(figures))
    if config.json:
        write_json(Path(config.json), rows, figures)
    if config.csv:
        write_csv(Path(config.csv), rows, class_names)
    for failure in failures:
        print(f"predict.py: {failure}", file=sys.stderr)
    return settings.SOME_PICTURES_FAILED if failures else settings.DONE


if __name__ == "__main__":
    settings.run(main, PredictConfig, __doc__)
