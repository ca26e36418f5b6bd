"""The answer of a network for one picture, what takes answers, and answers as JSON and CSV."""

import csv
import io
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from answers.messages import Message
from answers.predictions import short_float
from system.files import write_atomically
from system.terminal import is_terminal, printable

VERSION = 4  # of the JSON format
STDOUT = "-"  # in place of the name of a file


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the network says about one picture, or why it could not be read."""

    path: Path | str  # as it is shown
    predicted: int = 0  # index of the class
    logits: Sequence[float] = ()  # (classes,), the raw magnitudes
    scores: Sequence[float] = ()  # (classes,), 0..1
    unknown: bool = False  # unlike the training pictures
    agreement: float = 1.0  # the part of the networks of an ensemble that predict this class; 1 for a single network
    note: str = ""  # what the image does not show of the picture, if anything
    error: str = ""  # why it could not be read
    image: np.ndarray | None = field(default=None, repr=False, compare=False)  # that the network was given


class Output(ABC):
    """Receives answers, a batch at a time: a table, a file, a folder of pictures, and others."""

    only_shown = False  # whether nothing is left of it if nobody reads the output

    @abstractmethod
    def add(self, answers: Sequence[Answer]) -> None:
        """Takes the next answers. Their images must not be kept, or the memory would grow."""

    def finish(self) -> list[Message]:
        """Writes what needs all answers. Returns messages to print when all outputs are finished."""
        return []


def to_row(answer: Answer, class_names: Sequence[str], true_class: str | None) -> dict:
    """Returns an answer as it is written for other programs; what does not apply is None."""
    row = {"picture": os.fspath(answer.path), "true_class": true_class}
    if answer.error:
        nothing = dict.fromkeys(("predicted", "unknown", "agreement", "scores", "raw", "note"))
        return {**row, **nothing, "error": answer.error}
    scores, raw = (
        dict(zip(class_names, map(short_float, values), strict=True)) for values in (answer.scores, answer.logits)
    )
    prediction = {"predicted": class_names[answer.predicted], "unknown": answer.unknown, "agreement": answer.agreement}
    return {**row, **prediction, "scores": scores, "raw": raw, "note": answer.note or None, "error": None}


# ---- files ----


def write_json(path: Path, rows: Iterable[dict], report: dict | None) -> None:
    """Writes {"version", "report" (if there is one), "predictions"}."""
    content = {"version": VERSION, **({"report": report} if report else {}), "predictions": list(rows)}
    write_atomically(path, json.dumps(content, indent=1).encode())


def write_csv(path: Path, rows: Iterable[dict], class_names: Sequence[str]) -> None:
    """Writes one row per picture, with a column for the score and for the raw magnitude of each class."""
    cells = [csv_head(class_names), *(csv_cells(row, class_names) for row in rows)]
    write_atomically(path, _encoded(_csv_lines(cells, end="\r\n")))


def csv_head(class_names: Sequence[str]) -> list[str]:
    """Returns the titles of the columns."""
    values = [f"{kind} {name}" for kind in ("scores", "raw") for name in class_names]
    return ["picture", "true_class", "predicted", "unknown", "agreement", *values, "note", "error"]


def csv_cells(row: dict, class_names: Sequence[str]) -> list:
    """Returns a row from `to_row` as the cells of its columns."""
    values = [row[kind][name] if row[kind] else None for kind in ("scores", "raw") for name in class_names]
    first = (row[key] for key in ("picture", "true_class", "predicted", "unknown", "agreement"))
    return [*first, *values, row["note"], row["error"]]


def _csv_lines(rows: Iterable[Sequence], *, end: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")


# ---- standard output ----


class JsonLines(Output):
    """Writes an object a line (https://jsonlines.org) to standard output: the entries of the JSON file."""

    only_shown = True

    def __init__(self, class_names: Sequence[str], true_classes: Mapping[Path, str]) -> None:
        self._class_names, self._true_classes = class_names, true_classes

    def add(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            row = to_row(answer, self._class_names, self._true_classes.get(Path(answer.path)))
            sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()


class CsvRows(Output):
    """Writes the rows of the CSV file to standard output, in UTF-8; line ends are those of Unix."""

    only_shown = True

    def __init__(self, class_names: Sequence[str], true_classes: Mapping[Path, str]) -> None:
        self._class_names, self._true_classes = class_names, true_classes
        self._write([csv_head(class_names)])

    def add(self, answers: Sequence[Answer]) -> None:
        rows = (to_row(answer, self._class_names, self._true_classes.get(Path(answer.path))) for answer in answers)
        self._write([csv_cells(row, self._class_names) for row in rows])

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None or is_terminal(sys.stdout):  # where control characters of names would act
            shown = ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
            sys.stdout.write(_csv_lines(shown, end="\n"))
        else:
            binary.write(_encoded(_csv_lines(rows, end="\n")))
        sys.stdout.flush()
