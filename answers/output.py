"""Answers about pictures, as lines of a terminal and as JSON and CSV files."""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from system.files import write_atomically
from system.terminal import printable

VERSION = 3  # of the JSON format


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the network says about one picture, or why it could not be read."""

    path: Path | str  # as it is shown
    predicted: int = 0  # index of the class
    logits: Sequence[float] = ()  # (classes,), the raw magnitudes
    scores: Sequence[float] = ()  # (classes,), 0..1
    unknown: bool = False
    note: str = ""  # what the image does not show of the picture, if anything
    error: str = ""


def format_answer(answer: Answer, class_names: Sequence[str], *, raw: bool) -> str:
    """Returns path, class and values of a picture on one line: `bat.png  batman  batman 0.981  superman 0.034`."""
    values = answer.logits if raw else answer.scores
    pairs = (f"{printable(name)} {value:.3f}" for name, value in zip(class_names, values, strict=True))
    predicted = "unknown" if answer.unknown else class_names[answer.predicted]
    return "  ".join([printable(answer.path), printable(predicted), *pairs])


def to_row(answer: Answer, class_names: Sequence[str], true_class: str | None) -> dict:
    """Returns an answer as it is written to files; what does not apply is None."""
    row = {"picture": os.fspath(answer.path), "true_class": true_class}
    if answer.error:
        nothing = dict.fromkeys(("predicted", "unknown", "scores", "raw", "note"))
        return {**row, **nothing, "error": answer.error}
    scores, raw = (
        {name: float(value) for name, value in zip(class_names, values, strict=True)}
        for values in (answer.scores, answer.logits)
    )
    said = {"predicted": class_names[answer.predicted], "unknown": answer.unknown, "scores": scores, "raw": raw}
    return {**row, **said, "note": answer.note or None, "error": None}


def write_json(path: Path, rows: Sequence[dict], report: dict | None) -> None:
    """Writes {"version", "report" (if there is one), "predictions"}."""
    content = {"version": VERSION, **({"report": report} if report else {}), "predictions": rows}
    write_atomically(path, json.dumps(content, indent=1).encode())


def write_csv(path: Path, rows: Sequence[dict], class_names: Sequence[str]) -> None:
    """Writes one row per picture, with a column for the score and for the raw magnitude of each class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    columns = [(kind, name) for kind in ("scores", "raw") for name in class_names]
    names = (f"{kind} {name}" for kind, name in columns)
    writer.writerow(["picture", "true_class", "predicted", "unknown", *names, "note", "error"])
    for row in rows:
        values = [row[kind][name] if row[kind] else None for kind, name in columns]
        texts = row["note"], row["error"]
        writer.writerow([row["picture"], row["true_class"], row["predicted"], row["unknown"], *values, *texts])
    write_atomically(path, text.getvalue().encode("utf-8", errors="surrogateescape"))
