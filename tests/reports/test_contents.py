"""What a report says, as a dict."""

import json
import re

import pytest

from answers.evaluation import evaluate
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, Picture
from reports.contents import evaluation_contents, folder_contents
from tests.helpers.checkpoints import MODEL_CONFIG
from tests.helpers.evaluations import evaluation_of
from tests.helpers.pictures import ROOT
from tests.helpers.reports import contents_of

ANSWERS = [
    ("1.png", "ant", (0.875, 0.125)),
    ("2.png", "ant", (0.25, 0.75)),
    ("3.png", "bee", (0.125, 0.75)),
    ("4.png", "bee", (0.25, 0.5)),
]


def row(path: str, *, status: str = KEPT, photo: str = "", reason: str = "", note: str = "") -> Picture:
    name = path.split("/")[0]
    return Picture(
        class_name=name,
        source=path,
        photo=photo or path,
        path=f"rawdata/{path}",
        status=status,
        split=TRAIN if status == KEPT else "",
        reason=reason,
        note=note,
    )


def test_evaluation_contents_have_reliability_average_precision_and_label_errors():
    contents = evaluation_contents(evaluation_of(ANSWERS))
    assert contents["report"] == evaluate(evaluation_of(ANSWERS))
    assert contents["reliability"] == [
        {"mean_score": 0.5, "accuracy": 1, "count": 1},
        {"mean_score": 0.75, "accuracy": 0.5, "count": 2},
        {"mean_score": 0.875, "accuracy": 1, "count": 1},
    ]
    # ant: correct at 0.875, then both at 0.25; bee: one of two at 0.75, then 2 of 3 at 0.5
    assert contents["average_precision"] == pytest.approx({"ant": 0.5 + 0.5 * 2 / 3, "bee": 0.5 * 0.5 + 0.5 * 2 / 3})
    assert contents["probable_label_errors"] == [
        {"picture": "2.png", "label": "ant", "score_of_label": 0.25, "predicted": "bee", "score": 0.75}
    ]


def test_evaluation_contents_have_no_average_precision_of_a_class_without_pictures():
    answers = [(path, true, (*scores, 0.1)) for path, true, scores in ANSWERS]
    contents = evaluation_contents(evaluation_of(answers, ("ant", "bee", "wasp")))
    assert contents["average_precision"]["wasp"] is None
    assert contents["report"]["classes"]["wasp"]["recall"] is None


def test_run_contents_say_what_it_was_trained_on():
    pictures = [
        *(row(f"ant/{number}.png", note="only the first frame") for number in range(11)),
        row("ant/12.png", status=SKIPPED, reason="the file is empty"),
        row("bee/1.png", photo="bee/1.png"),
        row("bee/2.png", photo="bee/1.png"),
        row("bee/3.png", photo="ant/1.png"),
        row("bee/4.png", status=EXCLUDED, reason="shows the same"),
    ]
    data = contents_of(evaluation_of(ANSWERS), extra=pictures)["data"]
    assert data["classes"]["ant"] == {
        "used": 13,
        "train": 11,
        "validation": 2,
        "copies": 0,
        "skipped": 1,
        "excluded": 0,
    }
    assert data["classes"]["bee"] == {"used": 5, "train": 3, "validation": 2, "copies": 0, "skipped": 0, "excluded": 1}
    assert data["kept"] == 18
    assert data["unused"] == [
        {"status": SKIPPED, "reason": "the file is empty", "count": 1, "paths": ["rawdata/ant/12.png"]},
        {"status": EXCLUDED, "reason": "shows the same", "count": 1, "paths": ["rawdata/bee/4.png"]},
    ]
    assert data["notes"] == [
        {
            "note": "only the first frame",
            "count": 11,
            "paths": [f"rawdata/ant/{number}.png" for number in range(10)],
        }
    ]
    assert data["repeated_photos"] == 1
    assert data["in_several_classes"] == [["rawdata/ant/1.png", "rawdata/bee/3.png"]]


def test_run_contents_have_history_settings_and_command():
    contents = contents_of(evaluation_of(ANSWERS), epochs=2, learning_rate=0.01)
    assert contents["version"] == 1
    assert (contents["epoch"], contents["best_epoch"]) == (2, 2)
    assert [metrics["val_accuracy"] for metrics in contents["history"]] == [0.5, 0.75]
    assert contents["settings"]["learning_rate"] == {"value": 0.01, "default": 0.001}
    assert contents["settings"]["seed"] == {"value": 1, "default": 1}
    assert contents["command"] == "python trainer.py --learning_rate 0.01"
    assert contents["device"] == "CPU with 2 cores; float32"
    assert {"python", "tensorflow", "numpy"} <= contents["versions"].keys()


def test_folder_contents_have_the_settings_of_the_network_and_what_is_unreadable():
    unreadable = [("a.png", "the file is empty"), ("b.png", "is text"), ("c.png", "the file is empty")]
    contents = folder_contents(
        evaluation_of(ANSWERS),
        MODEL_CONFIG,
        command="python predict.py --evaluate new",
        device="CPU",
        unreadable=unreadable,
        notes={"only the first frame": ["1.png"]},
    )
    assert contents["data"] == {
        "unused": [
            {"status": SKIPPED, "reason": "the file is empty", "count": 2, "paths": ["a.png", "c.png"]},
            {"status": SKIPPED, "reason": "is text", "count": 1, "paths": ["b.png"]},
        ],
        "notes": [{"note": "only the first frame", "count": 1, "paths": ["1.png"]}],
    }
    assert contents["settings"]["height"] == {"value": 16, "default": 100}
    assert "raw_data" not in contents["settings"]  # a network does not remember it
    assert "history" not in contents


def test_contents_are_plain_json():
    answers = [(path, true, (*scores, 0.1)) for path, true, scores in ANSWERS]
    evaluation = evaluation_of(answers, ("ant", "bee", "wasp"), unknown={"1.png"})
    contents = contents_of(evaluation)
    assert json.loads(json.dumps(contents, allow_nan=False)) == contents


def test_entries_of_the_json_file_are_those_in_the_docs():
    text = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    evaluation = evaluation_of(ANSWERS)
    assert documented == list(contents_of(evaluation))
