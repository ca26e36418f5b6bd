"""Names the class of pictures with a trained network: `python predict.py IMAGE [more images, folders or patterns]`.

Per picture one line: its name, its class, and the score of every class from 0 to 1. Every class is judged by itself, so
the scores need not sum to 1. The exit code is 1 if a picture could not be read.
"""

import glob
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from files import printable, quiet_import

with quiet_import():
    import keras

import numpy as np
from tqdm import tqdm

import config as settings
from checkpoint import Description, load_classifier
from config import PredictConfig, UserError
from preprocessing import standard_image, visible_files

_BATCH = 64  # pictures decoded and predicted at a time, which bounds the memory


def find_pictures(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Files as they are, folders as the files below them, patterns as what they match.

    Returns:
        the files, in the order of the names, each once; and the names that stand for nothing.
    """
    found: dict[Path, None] = {}
    missing = []
    for name in names:
        matches = [name]
        # As a name before as a pattern, since a file may be called photo[1].jpg.
        if not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that no file can have
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
        paths = [path for match in matches for path in _files(Path(match))]
        if not paths:
            missing.append(name)
        found.update(dict.fromkeys(paths))
    return list(found), missing


def _files(path: Path) -> list[Path]:
    return list(visible_files(path)) if path.is_dir() else [path]


def read_picture(path: Path, description: Description) -> np.ndarray | str:
    """The pixels as in training, uint8 (height, width, color_channels), or the reason why there are none."""
    try:
        if not path.is_file():
            raise ValueError("not a regular file")
        return standard_image(
            path.read_bytes(),
            height=description.height,
            width=description.width,
            color_channels=description.color_channels,
        )
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)), written so that no exponential overflows."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def predict(
    model: keras.Model, description: Description, paths: Iterable[Path]
) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Yields for each path, in order, its logits, float32 (classes,), or the reason why there are none."""
    paths = iter(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(itertools.islice(paths, _BATCH)):
            pictures = list(pool.map(partial(read_picture, description=description), chunk))
            readable = [picture for picture in pictures if not isinstance(picture, str)]
            logits = iter(model.predict_on_batch(np.stack(readable)) if readable else ())
            for path, picture in zip(chunk, pictures, strict=True):
                yield path, picture if isinstance(picture, str) else next(logits)


def line(path: Path, logits: np.ndarray, class_names: list[str], *, raw: bool) -> str:
    """Name, class and values of one picture: `bat.png  batman  batman 0.981  superman 0.034`."""
    values = logits if raw else sigmoid(logits)
    scores = (f"{printable(name)} {value:.3f}" for name, value in zip(class_names, values, strict=True))
    return "  ".join([printable(path), printable(class_names[int(np.argmax(logits))]), *scores])


def main(config: PredictConfig) -> int:
    if not config.images:
        raise UserError("name at least one picture, folder or pattern: python predict.py picture.jpg")
    model, description = load_classifier(Path(config.model_save_name))
    paths, missing = find_pictures(config.images)
    failures = [f"{printable(name)}: no such file, no pictures in it, or no match; check the name" for name in missing]
    bar = tqdm(predict(model, description, paths), total=len(paths), unit="img", leave=False, disable=_bar_off(paths))
    for path, answer in bar:
        if isinstance(answer, str):
            failures.append(f"{printable(path)}: {printable(answer)}")
        else:
            tqdm.write(line(path, answer, description.class_names, raw=config.raw))
    for failure in failures:
        print(f"predict.py: {failure}", file=sys.stderr)
    return settings.SOME_PICTURES_FAILED if failures else settings.DONE


def _bar_off(paths: list[Path]) -> bool | None:
    return True if len(paths) <= _BATCH else None  # None: off where stderr is no terminal


if __name__ == "__main__":
    settings.run(main, PredictConfig, __doc__)
