"""Which settings of predict.py are refused together."""

import os
from pathlib import Path

import pytest

from answers.arguments import check_arguments, files_to_write
from config import PredictConfig
from system.errors import UserError

ONE = {"images": ("a.png",)}


@pytest.mark.parametrize(
    "settings",
    [
        ONE,
        {"images": ("-",), "json": "-", "csv": "new.csv", "explain": "maps", "sort": "sorted", "least_score": 0.5},
        {"evaluate": "in", "html": "new.html", "json": "new.json", "csv": "-"},
        {"watch": "in", "sort": "sorted", "explain": "in2", "raw": True},
        {"export": "new", "images": ("a.png",)},
        {"export": "new", "top": 5},
        {**ONE, "json": "new.json", "csv": "new.csv", "top": 3},
    ],
)
def test_settings_that_go_together_are_accepted(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    check_arguments(PredictConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {},
            "name pictures, folders or patterns, or else --evaluate FOLDER, --watch FOLDER or --export FOLDER: "
            "python predict.py picture.jpg",
        ),
        ({**ONE, "evaluate": "in"}, "name pictures, folders or patterns, or else --evaluate"),
        ({**ONE, "watch": "in"}, "name pictures, folders or patterns, or else --evaluate"),
        ({"evaluate": "in", "watch": "in"}, "--evaluate and --watch are two tasks: leave one out"),
        ({"export": "new", "watch": "in"}, "--watch and --export are two tasks: leave one out"),
        (
            {"export": "new", "raw": True, "csv": "-"},
            "--export writes the network and predicts nothing: leave out --raw and --csv",
        ),
        ({"export": "new", "top": 3}, "--export writes the network and predicts nothing: leave out --top"),
        ({"evaluate": "in", "top": 3}, "--top is about the table of pictures, which --evaluate does not print"),
        ({**ONE, "json": "-", "top": 3}, "--top is about the table of pictures, which --json - does not print"),
        ({**ONE, "csv": "-", "top": 3}, "--top is about the table of pictures, which --csv - does not print"),
        ({"evaluate": "in", "raw": True}, "--raw shows the magnitudes of each picture"),
        ({**ONE, "html": "new"}, "--html is a report on pictures whose class is known: add --evaluate FOLDER"),
        ({"evaluate": "in", "html": "-"}, "--html -: the page is written to a file"),
        ({**ONE, "json": "-", "csv": "-"}, "--json - and --csv - write to the same place"),
        ({**ONE, "least_score": 0.1}, "--least_score is a limit for --sort: add --sort FOLDER"),
        ({**ONE, "json": "all", "csv": "./all"}, "--json all and --csv are the same file; use two"),
        ({**ONE, "json": "all", "sort": "all"}, "--json all and --sort are the same file; use two"),
        ({**ONE, "explain": "a", "sort": "b/../a"}, "--explain a and --sort are the same folder; use two"),
        ({"watch": "in", "sort": "in/sorted"}, "--sort in/sorted: lies in in, which is read"),
        ({"evaluate": "in", "explain": "in"}, "--explain in: lies in in, which is read"),
        ({"images": ("none.png", "in"), "sort": "."}, "--sort .: in lies in it, which is read"),
        ({**ONE, "csv": "here"}, "--csv here: exists already and is not overwritten; use another file"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here").touch()
    Path("in").mkdir()
    with pytest.raises(UserError) as refused:
        check_arguments(PredictConfig(**settings))
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_file_that_is_no_ordinary_one_is_refused_with_what_to_use(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, path, end in (
        ("json", "/dev/stdout", "use a new file, or --json - for standard output"),
        ("csv", str(tmp_path / "pipe"), "use a new file, or --csv - for standard output"),
    ):
        with pytest.raises(UserError) as refused:
            check_arguments(PredictConfig(**ONE, **{name: path}))
        assert str(refused.value) == f"--{name} {path}: is not an ordinary file; {end}"


def test_files_to_write_are_neither_standard_output_nor_folders():
    config = PredictConfig(**ONE, json="-", csv="a.csv", explain="maps")
    assert files_to_write(config) == {"csv": Path("a.csv")}
