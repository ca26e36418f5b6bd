"""Answers as lines of a terminal, and as JSON and CSV files."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from answers.output import Answer, format_answer, to_row, write_csv, write_json

NAMES = ["ant", "bee", "wasp"]
GOOD = Answer(
    path=Path("a.png"),
    predicted=2,
    logits=np.array([-2.0, 0.0, 1.0]),
    scores=np.array([0.1192, 0.5, 0.73106]),
    note="12-bit levels",
)
UNKNOWN = Answer(path=Path("u.png"), logits=(4.0, 1.0, 2.0), scores=(0.9, 0.1, 0.25), unknown=True)
FAILED = Answer(path=Path("bad.png"), error="the file is empty")
NOTHING = {"predicted": None, "unknown": None, "scores": None, "raw": None, "note": None}


def test_format_answer_shows_scores_or_raw_magnitudes():
    assert format_answer(GOOD, NAMES, raw=False) == "a.png  wasp  ant 0.119  bee 0.500  wasp 0.731"
    assert format_answer(GOOD, NAMES, raw=True) == "a.png  wasp  ant -2.000  bee 0.000  wasp 1.000"


def test_format_answer_shows_the_values_of_an_unknown_picture():
    assert format_answer(UNKNOWN, NAMES, raw=False) == "u.png  unknown  ant 0.900  bee 0.100  wasp 0.250"
    assert format_answer(UNKNOWN, NAMES, raw=True) == "u.png  unknown  ant 4.000  bee 1.000  wasp 2.000"


def test_format_answer_names_the_predicted_class_even_if_scores_are_equal():
    low = Answer(path=Path("a.png"), predicted=1, logits=(-30.0, -20.0), scores=(1e-13, 2e-9))
    assert format_answer(low, ["ant", "bee"], raw=False) == "a.png  bee  ant 0.000  bee 0.000"
    equal = Answer(path=Path("a.png"), predicted=1, logits=(80.0, 90.0), scores=(1.0, 1.0))
    assert format_answer(equal, ["ant", "bee"], raw=False) == "a.png  bee  ant 1.000  bee 1.000"
    assert to_row(equal, ["ant", "bee"], None)["predicted"] == "bee"


def test_format_answer_escapes_control_characters():
    answer = Answer(path=Path("a\x1b[31m\n.png"), predicted=1, logits=(1.0, 2.0), scores=(0.4, 0.6))
    line = format_answer(answer, ["ant", "b\x1b[2J\nee"], raw=False)
    assert line == r"a\x1b[31m\n.png  b\x1b[2J\nee  ant 0.400  b\x1b[2J\nee 0.600"


def test_to_row_has_every_value_of_an_answer():
    assert to_row(GOOD, NAMES, "bee") == {
        "picture": "a.png",
        "true_class": "bee",
        "predicted": "wasp",
        "unknown": False,
        "scores": {"ant": 0.1192, "bee": 0.5, "wasp": 0.73106},
        "raw": {"ant": -2, "bee": 0, "wasp": 1},
        "note": "12-bit levels",
        "error": None,
    }
    assert to_row(UNKNOWN, NAMES, None)["note"] is None
    assert (to_row(UNKNOWN, NAMES, None)["predicted"], to_row(UNKNOWN, NAMES, None)["unknown"]) == ("ant", True)
    failed = {"picture": "bad.png", "true_class": "ant", **NOTHING, "error": "the file is empty"}
    assert to_row(FAILED, NAMES, "ant") == failed


@pytest.mark.parametrize("count", [1, 3])
def test_answers_need_one_value_for_each_class(count):
    answer = Answer(path=Path("a.png"), logits=(0.5,) * count, scores=(0.5,) * count)
    with pytest.raises(ValueError, match="argument 2"):
        format_answer(answer, ["ant", "bee"], raw=False)
    with pytest.raises(ValueError, match="argument 2"):
        to_row(answer, ["ant", "bee"], None)


def test_write_json_writes_version_report_and_predictions(tmp_path):
    rows = [to_row(answer, NAMES, None) for answer in (GOOD, FAILED)]
    write_json(tmp_path / "deep" / "all.json", rows, {"pictures": 1})
    content = json.loads((tmp_path / "deep" / "all.json").read_text())
    assert content == {"version": 3, "report": {"pictures": 1}, "predictions": rows}
    assert list(content) == ["version", "report", "predictions"]
    write_json(tmp_path / "all.json", rows, None)
    assert json.loads((tmp_path / "all.json").read_text()) == {"version": 3, "predictions": rows}
    assert (tmp_path / "all.json").read_text().startswith('{\n "version": 3,\n "predictions": [\n')


def test_write_csv_has_a_column_for_each_value(tmp_path):
    write_csv(tmp_path / "all.csv", [to_row(GOOD, NAMES, "bee"), to_row(FAILED, NAMES, None)], NAMES)
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["picture", "true_class", "predicted", "unknown"]
            + ["scores ant", "scores bee", "scores wasp", "raw ant", "raw bee", "raw wasp", "note", "error"],
            ["a.png", "bee", "wasp", "False", "0.1192", "0.5", "0.73106", "-2.0", "0.0", "1.0", "12-bit levels", ""],
            ["bad.png", *[""] * 10, "the file is empty"],
        ]


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
