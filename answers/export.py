"""A folder with a trained network in formats that other programs can run. Each is compared with the engine first.

TensorFlow is loaded only for the formats that need it: export_formats.py.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from answers.engine import Engine
from answers.loading import checkpoints_of
from answers.predictions import are_equal, largest_difference, outputs_of
from network.ensemble_folder import paths_to_predict_with
from network.model_file import FLOAT16_FILE, LABELS, MODEL_FILE, labels_of, read_model_file, write_model_file
from system.errors import UserError
from system.files import new_folder, write_atomically
from system.terminal import plural, printable

SAMPLES = Path(__file__).parent.parent / "samples" / "unseen"  # pictures to compare with if none are named
MODEL_CARD = "README.md"
_REPORT = "report.json"
_CLEAR = 0.02  # difference of the two highest scores from which on rounding to float16 must not change the class

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # from images to raw, scores and distance


class Exported(NamedTuple):
    """One format that was written and compared with the engine."""

    name: str  # of the file or folder
    size: int  # bytes
    raw_difference: float  # the largest one of raw magnitudes
    score_difference: float  # the largest one of scores


class Export(NamedTuple):
    """What was written, and what was not."""

    formats: list[Exported]
    refused: list[str]  # a line about each format that is not kept, since it gives other answers or cannot be made
    notes: list[str]  # lines about formats that were left out
    pictures: int  # on which they were compared


def export(engine: Engine, name: Path, folder: Path, images: Sequence[np.ndarray]) -> Export:
    """Writes a network to a new folder: in all formats from a folder of checkpoints, else as a copy of its model file.

    After an error there is no folder. A format whose answers differ from those of the engine is not kept.

    Args:
        engine: as from `load_engine(name)`.
        name: the folder of checkpoints, or the model file.
        folder: which must not exist.
        images: of pictures on which the formats are compared with the engine, uint8 (height, width, color_channels).

    Raises:
        UserError: the folder exists, there is no image, or the checkpoints have other weights by now.
        MemoryError: TensorFlow needs more memory than there is.
        OSError: the folder cannot be written.
    """
    if os.path.lexists(folder):
        raise UserError(f"--export {printable(folder)}: exists already and is not overwritten; use another folder")
    if not len(images):
        raise UserError("--export compares the formats on real pictures: name some that can be read")
    checkpoints = checkpoints_of(name)
    if checkpoints and not paths_to_predict_with(checkpoints):
        checkpoints = None
    with new_folder(folder) as part:
        comparison = Comparison(engine, np.stack(images))
        copy = part / (FLOAT16_FILE if engine.model.float16 else MODEL_FILE)
        write_model_file(copy, engine.model)
        found = Export([comparison.of_engine(copy)], [], [], len(images))
        layers: list[tuple[str, str, str]] = []
        if checkpoints:
            from answers.export_formats import Exporter  # here, because loading TensorFlow takes seconds

            exporter = Exporter(checkpoints, comparison)
            exporter.write_all(part, found)
            layers = exporter.layers
        else:
            found.notes.append("the other formats are made from checkpoints; to get them, name their folder")
        write_atomically(part / LABELS, labels_of(engine.model_config).encode())
        card = _model_card(engine, found, layers=layers, report=_read_report(checkpoints, engine))
        write_atomically(part / MODEL_CARD, card.encode())
    return found


def format_export(found: Export) -> list[str]:
    """Returns a table of the formats, as lines for a terminal."""
    width = max(len(row.name) for row in found.formats)
    lines = [
        f"{'':<{width}}  {'':>8}  largest difference of",
        f"{'format':<{width}}  {'size':>8}  raw magnitudes  scores",
    ]
    for row in found.formats:
        size = f"{row.size / 1e6:.1f} MB"
        lines.append(f"{row.name:<{width}}  {size:>8}  {row.raw_difference:>14.1g}  {row.score_difference:>6.1g}")
    pictures = plural(found.pictures, "picture")
    return [*lines, f"compared with predict.py on {pictures}; {MODEL_CARD} says how to use each format"]


class Comparison:
    """Compares the outputs of other formats with those of the engine, on the same images."""

    def __init__(self, engine: Engine, images: np.ndarray) -> None:
        self.engine = engine
        self._images = images
        self._logits, self._scores, *_ = engine.outputs(images)

    def of_engine(self, path: Path) -> Exported:
        """Returns the row of a copy of the model file."""
        return self._row(path, Engine(read_model_file(path)).outputs(self._images))

    def exact(self, path: Path, run: Run) -> Exported:
        """Returns the row of a format with the same weights.

        Raises:
            UserError: it gives other raw magnitudes.
        """
        found = outputs_of(run, self._images)
        if not are_equal(found[0], self._logits):
            difference = largest_difference(found[0], self._logits)
            raise UserError(
                f"gives other raw magnitudes than predict.py (difference {difference:.2g}), so it is not kept"
            )
        return self._row(path, found)

    def rounded(self, path: Path) -> Exported:
        """Returns the row of a model file with weights in float16.

        Raises:
            UserError: it gives numbers that are not finite, or clearly another class to an image.
        """
        found = Engine(read_model_file(path)).outputs(self._images)
        if not np.isfinite(found[0]).all():
            raise UserError("the weights of this network are too large for float16, so it is not kept")
        if others := clear_changes(found[0], self._logits, self._scores):
            count = plural(others, "picture")
            raise UserError(f"gives {count} clearly another class than predict.py, so it is not kept")
        return self._row(path, found)

    def _row(self, path: Path, found: tuple[np.ndarray, ...]) -> Exported:
        files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
        return Exported(
            name=path.name,
            size=sum(file.stat().st_size for file in files),
            raw_difference=largest_difference(found[0], self._logits),
            score_difference=largest_difference(found[1], self._scores),
        )


def clear_changes(logits: np.ndarray, expected: np.ndarray, scores: np.ndarray) -> int:
    """Returns how many images have another class than expected, although their two highest scores are not close.

    Args:
        logits: float32 (count, classes), with rounded weights.
        expected: the same with the weights as they are.
        scores: that belong to `expected`.
    """
    *_, second, highest = np.sort(scores, axis=1).T
    return int(((highest - second >= _CLEAR) & (logits.argmax(axis=1) != expected.argmax(axis=1))).sum())


def _read_report(checkpoints: Path | None, engine: Engine) -> dict[str, Any] | None:
    """Returns the report of the run if it is about these weights."""
    try:
        report = json.loads((checkpoints / _REPORT).read_bytes()) if checkpoints else None
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and report.get("source") == engine.model.source else None


def _model_card(engine: Engine, found: Export, **values: Any) -> str:
    from answers.model_card import model_card  # here, because loading Jinja2 takes 0.1 s

    return model_card(engine.model, formats=found.formats, count=found.pictures, **values)
