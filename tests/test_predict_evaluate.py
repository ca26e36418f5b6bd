"""Evaluating a trained network on a folder, and writing its predictions to files."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from asking import picture, pixels_of, with_limits

import predict
from checkpoint import load_classifier
from config import UserError
from evaluation import as_text

# ---- evaluating ----


@pytest.fixture
def seen(tmp_path) -> Path:
    """A folder to evaluate: 6 ants, one of them deeper down, and 4 bees; and a bee among the ants."""
    for number in range(5):
        picture(tmp_path / "seen" / "ant" / f"{number}.png", seed=700 + number)
    picture(tmp_path / "seen" / "ant" / "deep" / "5.jpg", seed=705)
    for number in range(4):
        picture(tmp_path / "seen" / "bee" / f"{number}.png", label=1, seed=700 + number)
    picture(tmp_path / "seen" / "ant" / "wrong.png", label=1, seed=800)
    return tmp_path / "seen"


def test_evaluating_a_folder_counts_what_asking_about_each_of_its_pictures_says(ask, seen):
    _, answers, _ = ask("seen")
    named = {Path(line.split("  ")[0]): line.split("  ")[1] for line in answers}
    assert len(named) == 11
    counts = {(true, name): 0 for true in ("ant", "bee") for name in ("ant", "bee")}
    for path, name in named.items():
        counts[path.parts[1], name] += 1
    code, out, err = ask(evaluate="seen")
    assert (code, err) == (0, [])
    right = counts["ant", "ant"] + counts["bee", "bee"]
    assert right < 11
    assert out[0].startswith(f"accuracy {right / 11:.4f}: {right} of 11 right, ")
    place = next(number for number, text in enumerate(out) if text.startswith("is ↓"))
    assert out[place + 1].split() == ["ant", str(counts["ant", "ant"]), str(counts["ant", "bee"])]
    assert out[place + 2].split() == ["bee", str(counts["bee", "ant"]), str(counts["bee", "bee"])]
    mistakes = out[out.index("worst mistakes, the surest first:") + 1 :]
    assert {Path(text.split("  ")[0]) for text in mistakes} == {
        path for path, name in named.items() if name != path.parts[1]
    }
    assert Path("seen/ant/wrong.png") in {Path(text.split("  ")[0]) for text in mistakes}


def test_the_printed_report_is_the_one_that_is_written(ask, seen):
    _, out, _ = ask(evaluate="seen", json="all.json")
    assert out == as_text(json.loads(Path("all.json").read_text())["report"]).splitlines()


def test_pictures_called_unknown_are_counted_and_judged_all_the_same(trained, ask, seen, tmp_path):
    _, known, _ = ask(evaluate="seen")
    assert "called unknown: 0 of 11 (0.0%)" in known
    _, out, _ = ask(evaluate="seen", network=with_limits(trained, tmp_path / "strict", farthest=-1))
    assert "called unknown: 11 of 11 (100.0%)" in out
    assert [line for line in out if "unknown" not in line] == [line for line in known if "unknown" not in line]


def test_classes_that_are_not_in_the_folder_have_no_figures(ask):
    picture("seen/bee/1.png", label=1)
    code, out, err = ask(evaluate="seen")
    assert (code, err) == (0, [])
    assert out[0].startswith("accuracy ") and "of 1 right" in out[0]
    (ant,) = (line.split() for line in out if line.startswith("ant ") and "-" in line)
    assert (ant[2], ant[4]) == ("-", "0")  # its recall and its count


def test_hidden_folders_and_files_outside_the_class_folders_are_not_evaluated(ask, seen):
    before = ask(evaluate="seen")
    picture("seen/.trash/1.png")
    picture("seen/loose.png", label=1)
    picture("seen/ant/.hidden.png", label=1)
    assert ask(evaluate="seen") == before


@pytest.mark.skipif(os.name == "nt", reason="needs rights there")
def test_links_out_of_the_folder_are_not_evaluated(ask, seen, tmp_path):
    _, before, _ = ask(evaluate="seen")
    picture(tmp_path / "outside.png")
    (seen / "ant" / "out.png").symlink_to(tmp_path / "outside.png")
    code, out, err = ask(evaluate="seen")
    assert (code, out, err) == (1, before, ["predict.py: seen/ant/out.png: a link that leads out of the folder"])
    (seen / "bee").rename(tmp_path / "bee")
    (seen / "bee").symlink_to(tmp_path / "bee")
    assert refusal(ask, evaluate="seen").startswith("seen/bee: a link that leads out of the folder; move that folder")


def test_unreadable_pictures_are_named_and_not_counted(ask, seen):
    _, before, _ = ask(evaluate="seen")
    Path("seen/ant/empty.png").touch()
    Path("seen/bee/notes.txt").write_text("no picture")
    code, out, err = ask(evaluate="seen", json="all.json")
    assert (code, out) == (1, before)
    assert [line.split(": ")[:2] for line in err] == [
        ["predict.py", str(Path("seen/ant/empty.png"))],
        ["predict.py", str(Path("seen/bee/notes.txt"))],
    ]
    rows = json.loads(Path("all.json").read_text())["predictions"]
    assert len(rows) == 13
    assert {(row["class"], row["failure"]) for row in rows if row["failure"]} == {
        ("ant", "the file is empty"),
        ("bee", "not a picture, or of an unknown format"),
    }


def test_a_folder_of_nothing_but_unreadable_pictures_has_no_report(ask):
    Path("seen/ant").mkdir(parents=True)
    Path("seen/ant/empty.png").touch()
    code, out, err = ask(evaluate="seen", json="all.json")
    assert (code, out, len(err)) == (1, [], 1)
    assert list(json.loads(Path("all.json").read_text())) == ["predictions"]


def refusal(ask, **options) -> str:
    """The one line that refuses; nothing else is said."""
    with pytest.raises(UserError) as refused:
        ask(**options)
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_folders_that_are_no_class_of_the_network_are_refused_by_name(ask, seen, capsys):
    picture("seen/wasp/1.png")
    picture("seen/Ant/1.png")
    said = refusal(ask, evaluate="seen", json="all.json")
    assert said.startswith("--evaluate seen: Ant, wasp: no class of this network, which knows ant, bee; ")
    assert capsys.readouterr().out == ""
    assert not Path("all.json").exists()


def test_a_missing_folder_is_refused(ask):
    assert refusal(ask, evaluate="nowhere") == "--evaluate nowhere: no such folder"
    picture("one.png")
    assert refusal(ask, evaluate="one.png") == "--evaluate one.png: no such folder"


@pytest.mark.parametrize("content", [[], ["ant/", "bee/"], ["ant/.hidden.png"], ["loose.png"]])
def test_a_folder_without_pictures_in_class_folders_is_refused_with_the_names_they_must_have(ask, content):
    Path("seen").mkdir()
    for name in content:
        if name.endswith("/"):
            Path("seen", name).mkdir()
        else:
            picture(Path("seen", name))
    assert refusal(ask, evaluate="seen") == "--evaluate seen: no pictures in its sub-folders; put some into ant, bee"


def test_refusals_of_a_folder_escape_the_names_of_classes(tmp_path):
    names = ["a\x1b[2J", "b\nee"]
    with pytest.raises(UserError) as empty:
        predict.true_classes(tmp_path, names)
    picture(tmp_path / "c\x1b" / "1.png")
    with pytest.raises(UserError) as strange:
        predict.true_classes(tmp_path, names)
    for refused in (strange, empty):
        assert str(refused.value).isprintable()
        assert r"a\x1b[2J, b\nee" in str(refused.value)


def test_the_script_refuses_a_strange_class_folder_in_one_line_with_exit_code_2(script, trained, seen):
    picture(seen / "wasp" / "1.png")
    ended = script("predict.py", "--evaluate", "seen", "--model_save_name", trained)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("predict.py: --evaluate seen: wasp: no class of this network")


# ---- files of predictions ----


def test_json_holds_every_prediction_with_its_scores_and_raw_magnitudes(trained, ask):
    good, other, bad = picture("good.png"), picture("other.jpg", label=1), "bad.png"
    Path(bad).touch()
    code, out, _ = ask(good, bad, other, "missing.png", json="deep/all.json")
    assert code == 1
    content = json.loads(Path("deep/all.json").read_text())
    assert list(content) == ["predictions"]
    classifier, description = load_classifier(trained)
    answers = classifier.ask(np.stack([pixels_of(name, description) for name in (good, other)]))
    first, failed, second = content["predictions"]
    for row, name, line, logits, scores in zip(
        (first, second), (good, other), out, answers.logits.tolist(), answers.scores.tolist(), strict=True
    ):
        assert row == {
            "picture": name,
            "class": None,
            "named": line.split("  ")[1],
            "unknown": False,
            "scores": pytest.approx(dict(zip(["ant", "bee"], scores, strict=True))),
            "raw": pytest.approx(dict(zip(["ant", "bee"], logits, strict=True))),
            "failure": None,
        }
    nothing = {"class": None, "named": None, "unknown": None, "scores": None, "raw": None}
    assert failed == {"picture": bad, **nothing, "failure": "the file is empty"}


def test_csv_holds_the_same_as_json(ask, seen):
    Path("seen/bee/bad.png").touch()
    ask(evaluate="seen", json="all.json", csv="all.csv")
    with Path("all.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    columns = ["picture", "class", "named", "unknown", "scores ant", "scores bee", "raw ant", "raw bee", "failure"]
    assert list(table[0]) == columns
    rows = json.loads(Path("all.json").read_text())["predictions"]
    assert len(rows) == len(table) == 12
    for row, line in zip(rows, table, strict=True):
        values = [row[kind][name] if row[kind] else None for kind in ("scores", "raw") for name in ("ant", "bee")]
        wanted = [row["picture"], row["class"], row["named"], row["unknown"], *values, row["failure"]]
        assert list(line.values()) == ["" if value is None else str(value) for value in wanted]


def test_the_true_class_stands_beside_the_named_one_when_evaluating(ask, seen):
    ask(evaluate="seen", json="all.json")
    content = json.loads(Path("all.json").read_text())
    assert list(content) == ["report", "predictions"]
    rows = {Path(row["picture"]): row for row in content["predictions"]}
    assert len(rows) == 11
    assert all(row["class"] == path.parts[1] for path, row in rows.items())
    assert sum(row["class"] == row["named"] for row in rows.values()) == content["report"]["right"]
    assert content["report"]["pictures"] == 11


def test_unknown_pictures_are_marked_beside_the_class_of_the_highest_score(trained, ask, tmp_path):
    name = picture("one.png")
    ask(name, json="known.json")
    ask(name, json="unknown.json", network=with_limits(trained, tmp_path / "strict", farthest=-1))
    known, unknown = (json.loads(Path(f"{file}.json").read_text())["predictions"][0] for file in ("known", "unknown"))
    assert (known.pop("unknown"), unknown.pop("unknown")) == (False, True)
    assert known == unknown
    assert known["named"] in ("ant", "bee")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_with_commas_line_ends_and_bytes_that_are_no_utf8_are_written_whole(ask):
    names = ["a,b.png", "a\nb.png", 'a"b.png', os.fsdecode(b"a\xffb.png")]
    content = Path(picture("one.png")).read_bytes()
    for name in names:
        Path(name).write_bytes(content)
    ask(*names, json="all.json", csv="all.csv")
    assert [row["picture"] for row in json.loads(Path("all.json").read_text())["predictions"]] == names
    with Path("all.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["picture"] for row in csv.DictReader(file)] == names


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("how", ["file", "folder", "broken link"])
def test_nothing_is_overwritten(ask, kind, how, capsys):
    name, there = picture("one.png"), Path("there")
    if how == "file":
        there.write_text("mine")
    elif how == "folder":
        there.mkdir()
    else:
        there.symlink_to("nowhere")
    with pytest.raises(UserError, match=f"^--{kind} there: exists already"):
        ask(name, **{"json": "new.json", "csv": "new.csv", kind: "there"})
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["one.png", "there"]
    assert how != "file" or there.read_text() == "mine"


def test_one_file_cannot_hold_both(ask):
    name = picture("one.png")
    for other in ("all", "./all"):
        with pytest.raises(UserError, match="--json"):
            ask(name, json="all", csv=other)
    assert not Path("all").exists()
