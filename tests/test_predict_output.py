"""Where the answers of predict.py go: to terminals, pipes, files and folders; and the other places they come from."""

import csv
import errno
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import predict
from answers import frames, messages
from answers.output import Answer
from config import PredictConfig
from network.model_file import MODEL_FILE
from pictures import watching
from reports.text import format_report
from system.errors import UserError
from tests.helpers.pictures import write_picture
from tests.helpers.predictions import picture
from tests.helpers.screens import rendered, show_terminal
from tests.helpers.videos import block, write_video

# ---- standard output ----


def test_json_lines_are_the_entries_of_the_json_file(ask):
    names = [picture("one.png"), picture("two.jpg", label=1), "none.png"]
    assert ask(*names, json="all.json")[0] == 1
    code, out, err = ask(*names, json="-", csv="all.csv")
    assert [json.loads(line) for line in out] == json.loads(Path("all.json").read_text())["predictions"]
    assert (code, len(err)) == (1, 1)
    assert len(Path("all.csv").read_text().splitlines()) == 4


def test_csv_rows_are_those_of_the_csv_file(ask):
    names = [picture("one.png"), picture("two.jpg", label=1), "none.png"]
    ask(*names, csv="all.csv")
    code, out, err = ask(*names, csv="-")
    assert out == Path("all.csv").read_text().splitlines()
    assert (code, len(err)) == (1, 1)


@pytest.mark.parametrize("option", ["json", "csv"])
def test_report_is_on_stderr_if_answers_are_on_stdout(ask, option):
    picture("in/ant/1.png")
    picture("in/bee/1.png", label=1)
    code, out, err = ask(evaluate="in", **{option: "-", "html": "new.html"})
    assert (code, err[0].split()[0]) == (0, "accuracy")
    rows = [json.loads(line) for line in out] if option == "json" else list(csv.DictReader(out))
    assert [row["true_class"] for row in rows] == ["ant", "bee"]
    _, out, _ = ask(evaluate="in", json="new.json")
    assert out == err == format_report(json.loads(Path("new.json").read_text())["report"]).splitlines()


# ---- a terminal ----


def test_terminal_shows_a_table_a_summary_and_problems_in_color(trained, ask, monkeypatch):
    names = picture("one.png"), picture("deep/two.png", label=1)
    screen = show_terminal(monkeypatch, "stdout", "stderr", columns=100)
    config = PredictConfig(images=(*names, "none.png"), model_save_name=str(trained), top=1)
    assert predict.main(config) == 1
    one, two, counts, problem = rendered(screen.getvalue())
    assert (one[:21], two[:21]) == ("one.png       ant    ", "deep/two.png  bee    ")
    assert counts.startswith("2 pictures: 1 ant, 1 bee · ") and counts.endswith(" s")
    assert problem.startswith("predict.py: none.png: no such file")
    assert "  \x1b[32mant " in screen.getvalue() and "\x1b[31mpredict.py: none.png" in screen.getvalue()


def test_summary_is_left_out_for_one_picture_and_in_logs(ask, monkeypatch, trained):
    one, two = picture("one.png"), picture("two.png")
    assert ask(one, two)[2] == []
    screen = show_terminal(monkeypatch, "stderr")
    for names, shown in (((one,), False), ((one, two), True)):
        assert predict.main(PredictConfig(images=names, model_save_name=str(trained))) == 0
        assert ("pictures: " in screen.getvalue()) == shown


def test_summary_is_left_out_if_nobody_read_the_answers(ask, monkeypatch, trained):
    names = picture("one.png"), picture("two.png")
    screen = show_terminal(monkeypatch, "stderr")
    monkeypatch.setattr(messages, "output_closed", lambda: True)
    assert predict.main(PredictConfig(images=names, model_save_name=str(trained))) == 0
    assert "pictures: " not in screen.getvalue()


# ---- names from standard input ----


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_names_are_read_from_standard_input(ask, monkeypatch, separator):
    one, two, three = picture("one.png"), picture("a b.png"), picture("last.png")
    data = f"{two}{separator}{one}{separator}".encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    code, out, err = ask("-", three, "-")  # it is read once
    assert (code, err) == (0, [])
    assert [line.split("  ")[0].rstrip() for line in out] == [two, one, three]


def test_no_name_on_standard_input_is_refused(ask, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    with pytest.raises(UserError, match="^-: there are no names on the standard input; write one a line$"):
        ask("-")


# ---- folders ----


def test_explain_and_sort_add_a_file_for_each_picture(ask):
    names = [picture("in/1.png"), picture("in/2.png", label=1), "none.png"]
    Path("in/bad.png").touch()
    code, out, err = ask("in", "none.png", explain="maps", sort="sorted", least_score=0.5)
    assert (code, len(out), len(err)) == (1, 2, 2)
    assert sorted(path.name for path in Path("maps").iterdir()) == ["1.jpg", "2.jpg"]
    assert [path.as_posix() for path in sorted(Path("sorted").glob("*/*"))] == ["sorted/ant/1.png", "sorted/bee/2.png"]
    ask(*names[:2], sort="unsure", least_score=1.0)
    assert [path.name for path in sorted(Path("unsure", "unsure").iterdir())] == ["1.png", "2.png"]


def test_terminal_says_what_was_added_to_folders(trained, ask, monkeypatch):
    name = picture("one.png")
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    config = PredictConfig(images=(name,), model_save_name=str(trained), sort="sorted")
    assert (predict.main(config), predict.main(config)) == (0, 0)
    lines = rendered(screen.getvalue())
    assert [line for line in lines if line.startswith("sorted: ")] == [
        "sorted: 1 picture added",
        "sorted: 0 pictures added, 1 was there already",
    ]


def test_export_passes_over_other_files_of_folders(trained, ask, tmp_path):
    mailed = Path(shutil.copy(trained / MODEL_FILE, tmp_path / "mailed.tflite"))
    picture("in/one.png")
    Path("in/notes.txt").write_text("some text")
    code, _, err = ask("in", export="new", network=mailed)
    assert (code, err[-1]) == (0, "predict.py: passed over 1 file that is no picture: in/notes.txt")


def test_export_of_a_model_file_alone_needs_no_tensorflow(trained, ask, tmp_path):
    mailed = Path(shutil.copy(trained / MODEL_FILE, tmp_path / "mailed.tflite"))
    code, out, (note, missing) = ask(picture("one.png"), "none.png", export="new", network=mailed)
    assert code == 1 and any(line.startswith(f"{MODEL_FILE} ") for line in out)
    assert note.startswith("predict.py: the other formats are made from checkpoints")
    assert missing.startswith("predict.py: none.png: no such file")
    assert {path.name for path in Path("new").iterdir()} == {MODEL_FILE, "labels.txt", "README.md"}


# ---- what goes on until it is stopped ----


def test_watched_folder_is_answered_until_it_is_stopped(ask, monkeypatch):
    one, two = picture("in/one.png"), picture("in/two.png", label=1)

    def arrivals(folder, read):
        assert folder == Path("in")
        for name in (one, two):
            yield list(zip([Path(name)], read({Path(name): folder}), strict=True))
        yield [(Path("in/bad.png"), "the file is empty")]
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "watch_pictures", arrivals)
    screen = show_terminal(monkeypatch, "stderr")
    with pytest.raises(KeyboardInterrupt):
        ask(watch="in", json="all.json", sort="sorted")
    assert rendered(screen.getvalue())[0] == "watching in; Ctrl-C ends it"
    rows = json.loads(Path("all.json").read_text())["predictions"]
    assert [(row["picture"], row["error"]) for row in rows] == [
        (one, None),
        (two, None),
        ("in/bad.png", "the file is empty"),
    ]
    assert len(list(Path("sorted").glob("*/*.png"))) == 2


def test_frames_of_a_video_are_written_as_they_are_answered(ask, monkeypatch):
    def predicted(engine, source, *, max_pixels, print_changes):
        assert (source, print_changes) == (Path("clip.mp4"), "csv" in printed)
        yield Answer(path="clip.mp4#t=0.000", predicted=1, logits=(0.0, 1.0), scores=(0.1, 0.9))
        yield Answer(path="clip.mp4", error="has no more frames")

    Path("clip.mp4").write_bytes(b"\x1a\x45\xdf\xa3")
    monkeypatch.setattr(frames, "predict_frames", predicted)
    printed = "json"
    code, out, err = ask("clip.mp4", json="-")
    assert (code, err) == (1, ["predict.py: clip.mp4: has no more frames"])
    assert [json.loads(line)["predicted"] for line in out] == ["bee", None]
    printed = "csv"
    code, out, err = ask("clip.mp4", csv="all.csv")
    assert (code, out, len(Path("all.csv").read_text().splitlines())) == (1, [], 3)


@pytest.mark.parametrize("error", [UserError("camera 0: gone"), OSError(errno.EIO, "I/O error")])
def test_answers_before_an_error_are_written(ask, monkeypatch, error):
    def predicted(engine, source, *, max_pixels, print_changes):
        if source == 0:
            raise error
        yield Answer(path="clip.mp4#t=0.000", predicted=1, logits=(0.0, 1.0), scores=(0.1, 0.9))

    monkeypatch.setattr(frames, "predict_frames", predicted)
    Path("clip.mp4").write_bytes(b"\x1a\x45\xdf\xa3")
    with pytest.raises(type(error)):
        ask("0", "clip.mp4", json="all.json")
    assert [row["predicted"] for row in json.loads(Path("all.json").read_text())["predictions"]] == ["bee"]
    with pytest.raises(type(error)):
        ask("0", json="none.json")
    assert not Path("none.json").exists()


@pytest.mark.parametrize(
    ("options", "end"),
    [({}, ""), ({"sort": "sorted"}, ", without --sort"), ({"raw": True, "top": 3}, ", without --top and --raw")],
)
def test_videos_and_cameras_are_not_mixed_with_pictures(ask, options, end):
    names = ["0"] if options else ["0", picture("one.png")]
    with pytest.raises(UserError, match=f"^videos and cameras are not pictures: name them alone{end}$"):
        ask(*names, **options)


def test_videos_are_found_by_patterns_and_named_in_folders(ask):
    write_video(Path("clip.avi"), [np.tile(block(0), (1, 2, 1)) + np.arange(96, dtype=np.uint8)[:, None]] * 2)
    code, out, err = ask("*.avi")
    assert (code, len(out), err) == (0, 1, [])
    code, out, err = ask(".")
    assert (code, out, err) == (1, [], ["predict.py: clip.avi: is a video (AVI): name it alone to predict its frames"])


def test_python_class_is_offered_by_predict(trained, tmp_path):
    name = write_picture(tmp_path / "one.png", label=1, seed=500)
    prediction = predict.Classifier(trained)(name)
    assert prediction.predicted == "bee"
