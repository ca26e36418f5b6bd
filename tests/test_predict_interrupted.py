"""Predictions that are interrupted, that nobody reads, or that cannot be written."""

import csv
import errno
import json
import os
import signal
from pathlib import Path

import pytest

import predict
from answers import output
from answers.engine import Engine
from config import PredictConfig
from reports import report_files
from system.files import write_atomically
from tests.helpers.pictures import write_picture
from tests.helpers.predictions import picture
from tests.helpers.processes import wait_until
from tests.helpers.runs import run_here
from tests.helpers.signals import interrupt, start

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@not_on_windows
def test_files_are_written_though_nobody_reads_the_output(trained, tmp_path):
    for number in range(300):
        write_picture(tmp_path / "in" / f"{number}.png", label=number % 2, seed=number)
    with start("predict.py", "in", "--csv", "all.csv", "--model_save_name", trained, cwd=tmp_path) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "predict.py: the output was closed before its end\n")
    assert len(rows_of(tmp_path / "all.csv")) == 300


def test_predicting_stops_early_if_nobody_sees_the_answers(ask, monkeypatch):
    names = [picture(f"{number}.png") for number in range(3)]
    seen = iter([False, True])
    monkeypatch.setattr(predict, "BATCH_SIZE", 1)
    monkeypatch.setattr(predict, "output_closed", lambda: next(seen))
    code, out, err = ask(*names)
    assert (code, len(out), err) == (0, 2, [])  # run_script makes it 141
    monkeypatch.setattr(predict, "output_closed", lambda: True)
    assert len(ask(*names)[1]) == 1
    assert len(ask(*names, csv="all.csv")[1]) == 3
    assert len(rows_of(Path("all.csv"))) == 3
    assert len(ask(*names, sort="sorted")[1]) == 3


def test_page_is_written_though_nobody_reads_the_output(ask, monkeypatch):
    picture("in/ant/1.png")
    monkeypatch.setattr(predict, "output_closed", lambda: True)
    assert ask(evaluate="in", html="report.html")[0] == 0
    assert Path("report.html").stat().st_size > 1000


def test_full_disk_for_the_page_does_not_take_the_figures(ask, monkeypatch):
    def no_room(path, _):
        raise OSError(errno.ENOSPC, "No space left on device", path.name)

    picture("in/ant/1.png")
    monkeypatch.setattr(report_files, "write_atomically", no_room)
    code, out, err = ask(evaluate="in", html="report.html", json="all.json")
    assert code == 2
    assert out[0].startswith("accuracy ")
    (line,) = err
    assert line.startswith("predict.py: 'report.html': No space left on device; free some space on that disk")
    assert sorted(path.name for path in Path().iterdir()) == ["all.json", "in"]


def test_interrupted_work_leaves_no_file(ask, monkeypatch):
    name = picture("one.png")
    seen = []

    def interrupted(_engine, _images):
        seen.extend(path for path in ("deep/all.json", "all.csv") if Path(path).stat().st_size == 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(name, json="deep/all.json", csv="all.csv")
    assert seen == ["deep/all.json", "all.csv"]
    assert [path.name for path in Path().iterdir()] == ["one.png"]


@not_on_windows
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_script_stopped_while_it_loads_the_network_leaves_no_file(name, trained, tmp_path):
    write_picture(tmp_path / "one.png", label=0, seed=500)
    process = start("predict.py", "one.png", "--csv", "all.csv", "--model_save_name", trained, cwd=tmp_path)
    wait_until((tmp_path / "all.csv").exists, process)
    line = {"SIGINT": "interrupted", "SIGTERM": "ended by SIGTERM"}[name]
    number = getattr(signal, name)
    assert interrupt(process, number) == (128 + number, "", f"predict.py: {line}\n")
    assert not (tmp_path / "all.csv").exists()


@pytest.mark.parametrize("option", ["json", "csv"])
def test_file_that_cannot_be_written_is_noticed_before_the_work(option, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = picture("one.png")
    Path("file").touch()

    def too_early(_folder):
        raise AssertionError("the network was loaded")

    monkeypatch.setattr(predict, "load_engine", too_early)
    arguments = {"json": "all.json", "csv": "all.csv", option: "file/all"}
    options = [f"--{key}={value}" for key, value in arguments.items()]
    code = run_here("predict.py", predict.main, PredictConfig, name, "--model_save_name", trained, *options)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("predict.py: 'file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "one.png"]


@pytest.mark.parametrize(("full", "other"), [("all.json", "all.csv"), ("all.csv", "all.json")])
def test_full_disk_for_one_file_does_not_take_the_other(full, other, ask, monkeypatch):
    names = [picture("one.png"), picture("two.png", label=1)]

    def write(path, data):
        if path.name == full:
            raise OSError(errno.ENOSPC, "No space left on device", path.name)
        write_atomically(path, data)

    monkeypatch.setattr(output, "write_atomically", write)
    code, out, err = ask(*names, "none.png", json="all.json", csv="all.csv")
    assert (code, len(out), len(err)) == (2, 2, 2)
    assert err[1].startswith(f"predict.py: '{full}': No space left on device; free some space")
    assert not Path(full).exists()
    rows = rows_of(Path(other)) if other == "all.csv" else json.loads(Path(other).read_text())["predictions"]
    assert [row["picture"] for row in rows] == [*names, "none.png"]
