"""Answers as JSON and CSV, in files and on standard output."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from answers.output import Answer, CsvRows, JsonLines, to_row, write_csv, write_json
from tests.helpers.screens import show_terminal

NAMES = ["ant", "bee", "wasp"]
GOOD = Answer(
    path=Path("a.png"),
    predicted=2,
    logits=np.array([-2.0, 0.0, 1.0], np.float32),
    scores=np.array([0.1, 0.5, 0.73106], np.float32),
    note="12-bit levels",
)
UNKNOWN = Answer(path=Path("u.png"), logits=(4.0, 1.0, 2.0), scores=(0.9, 0.1, 0.25), unknown=True)
FAILED = Answer(path=Path("bad.png"), error="the file is empty")
NOTHING = {"predicted": None, "unknown": None, "agreement": None, "scores": None, "raw": None, "note": None}
HEAD = ["picture", "true_class", "predicted", "unknown", "agreement"]
HEAD += ["scores ant", "scores bee", "scores wasp", "raw ant", "raw bee", "raw wasp", "note", "error"]
CELLS = ["a.png", "bee", "wasp", "False", "1.0", "0.1", "0.5", "0.73106", "-2.0", "0.0", "1.0", "12-bit levels", ""]


def test_to_row_has_every_value_of_an_answer():
    assert to_row(GOOD, NAMES, "bee") == {
        "picture": "a.png",
        "true_class": "bee",
        "predicted": "wasp",
        "unknown": False,
        "agreement": 1.0,
        "scores": {"ant": 0.1, "bee": 0.5, "wasp": 0.73106},  # not 0.10000000149
        "raw": {"ant": -2, "bee": 0, "wasp": 1},
        "note": "12-bit levels",
        "error": None,
    }
    assert to_row(UNKNOWN, NAMES, None)["note"] is None
    assert (to_row(UNKNOWN, NAMES, None)["predicted"], to_row(UNKNOWN, NAMES, None)["unknown"]) == ("ant", True)
    failed = {"picture": "bad.png", "true_class": "ant", **NOTHING, "error": "the file is empty"}
    assert to_row(FAILED, NAMES, "ant") == failed


def test_to_row_has_the_predicted_class_even_if_scores_are_equal():
    equal = Answer(path=Path("a.png"), predicted=1, logits=(80.0, 90.0), scores=(1.0, 1.0))
    assert to_row(equal, ["ant", "bee"], None)["predicted"] == "bee"


@pytest.mark.parametrize("count", [1, 3])
def test_to_row_needs_one_value_for_each_class(count):
    answer = Answer(path=Path("a.png"), logits=(0.5,) * count, scores=(0.5,) * count)
    with pytest.raises(ValueError, match="argument 2"):
        to_row(answer, ["ant", "bee"], None)


def test_numbers_are_short_and_exact():
    values = np.random.default_rng(1).normal(size=50).astype(np.float32)
    answer = Answer(path="a", logits=values, scores=values)
    written = json.loads(json.dumps(to_row(answer, [str(number) for number in range(50)], None)))["raw"].values()
    np.testing.assert_array_equal(np.array([*written], np.float32), values)
    assert max(len(str(value)) for value in written) <= len("-0.123456789")


def test_write_json_writes_version_report_and_predictions(tmp_path):
    rows = [to_row(answer, NAMES, None) for answer in (GOOD, FAILED)]
    write_json(tmp_path / "deep" / "all.json", rows, {"pictures": 1})
    content = json.loads((tmp_path / "deep" / "all.json").read_text())
    assert content == {"version": 4, "report": {"pictures": 1}, "predictions": rows}
    assert list(content) == ["version", "report", "predictions"]
    write_json(tmp_path / "all.json", iter(rows), None)
    assert json.loads((tmp_path / "all.json").read_text()) == {"version": 4, "predictions": rows}
    assert (tmp_path / "all.json").read_text().startswith('{\n "version": 4,\n "predictions": [\n')


def test_write_csv_has_a_column_for_each_value(tmp_path):
    write_csv(tmp_path / "all.csv", [to_row(GOOD, NAMES, "bee"), to_row(FAILED, NAMES, None)], NAMES)
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [HEAD, CELLS, ["bad.png", *[""] * 11, "the file is empty"]]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_files_keep_names_with_commas_line_ends_and_other_bytes(tmp_path):
    names = ["a,b.png", "a\nb.png", "a\rb.png", "a\r\nb.png", 'a"b.png', os.fsdecode(b"a\xffb.png")]
    rows = [to_row(Answer(path=Path(name), error="bad"), NAMES, None) for name in names]
    write_json(tmp_path / "all.json", rows, None)
    write_csv(tmp_path / "all.csv", rows, NAMES)
    predictions = json.loads((tmp_path / "all.json").read_text())["predictions"]
    assert [row["picture"] for row in predictions] == names
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["picture"] for row in csv.DictReader(file)] == names


# ---- standard output ----


def test_json_lines_are_the_entries_of_the_file(capsys):
    lines = JsonLines(NAMES, {Path("a.png"): "bee"})
    lines.add([GOOD, FAILED])
    lines.add([])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        to_row(GOOD, NAMES, "bee"),
        to_row(FAILED, NAMES, None),
    ]


def test_csv_rows_are_those_of_the_file_with_line_ends_of_unix(capsys):
    rows = CsvRows(NAMES, {Path("a.png"): "bee"})
    assert capsys.readouterr().out == ",".join(HEAD) + "\n"  # before the first answer
    rows.add([GOOD])
    assert capsys.readouterr().out == ",".join(CELLS) + "\n"


class Pipe(io.StringIO):
    """A text stream that cannot encode all letters, over one of bytes."""

    encoding = "ascii"

    def __init__(self) -> None:
        super().__init__()
        self.buffer = io.BytesIO()


def test_csv_rows_are_utf8_and_keep_bytes_of_names(monkeypatch):
    monkeypatch.setattr(sys, "stdout", pipe := Pipe())
    CsvRows(["café", "bee"], {}).add([Answer(path="a\udcffb.png", error="bad")])
    head, row = pipe.buffer.getvalue().splitlines()
    assert b"scores caf\xc3\xa9" in head
    assert row.startswith(b"a\xffb.png,")


def test_csv_rows_on_a_terminal_have_no_control_characters(monkeypatch):
    screen = show_terminal(monkeypatch, "stdout")
    CsvRows(NAMES, {}).add([Answer(path="a\x1b[2J.png", error="bad")])
    assert r"a\x1b[2J.png," in screen.getvalue() and "\x1b" not in screen.getvalue()
