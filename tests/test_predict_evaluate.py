"""Evaluating a trained network on a folder, and writing its predictions to files."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predict
from answers.loading import load_engine
from config import PredictConfig
from reports import folder
from reports.text import format_report
from system.errors import UserError
from tests.helpers.pages import Page
from tests.helpers.predictions import picture, pixels_of, with_max_distance
from tests.helpers.processes import with_modules
from tests.helpers.runs import run_here

# ---- evaluating ----


@pytest.fixture
def labeled(tmp_path) -> Path:
    """Makes a folder to evaluate: 6 ants, one of them in a sub-folder, and 4 bees; and a bee among the ants."""
    for number in range(5):
        picture(tmp_path / "labeled" / "ant" / f"{number}.png", seed=700 + number)
    picture(tmp_path / "labeled" / "ant" / "deep" / "5.jpg", seed=705)
    for number in range(4):
        picture(tmp_path / "labeled" / "bee" / f"{number}.png", label=1, seed=700 + number)
    picture(tmp_path / "labeled" / "ant" / "wrong.png", label=1, seed=800)
    return tmp_path / "labeled"


def test_evaluate_counts_what_predict_says_about_each_picture(ask, labeled):
    _, answers, _ = ask("labeled")
    predicted = {Path(line.split()[0]): line.split()[1] for line in answers}
    assert len(predicted) == 11
    counts = {(true, name): 0 for true in ("ant", "bee") for name in ("ant", "bee")}
    for path, name in predicted.items():
        counts[path.parts[1], name] += 1
    code, out, err = ask(evaluate="labeled")
    assert (code, err) == (0, [])
    correct = counts["ant", "ant"] + counts["bee", "bee"]
    assert correct < 11
    assert out[0].startswith(f"accuracy            {100 * correct / 11:.1f} %  {correct} of 11 pictures; ")
    start = next(number for number, text in enumerate(out) if text.startswith("true ↓"))
    assert out[start + 1].split() == ["ant", str(counts["ant", "ant"]), str(counts["ant", "bee"])]
    assert out[start + 2].split() == ["bee", str(counts["bee", "ant"]), str(counts["bee", "bee"])]
    mistakes = out[out.index("mistakes, highest score first:") + 1 :]
    assert {Path(text.split("  ")[0]) for text in mistakes} == {
        path for path, name in predicted.items() if name != path.parts[1]
    }
    assert Path("labeled/ant/wrong.png") in {Path(text.split("  ")[0]) for text in mistakes}


def test_evaluate_without_a_page_loads_nothing_that_takes_long(trained, labeled):
    code = (
        "import sys, predict; from config import PredictConfig; "
        f"code = predict.main(PredictConfig(evaluate={str(labeled)!r}, model_save_name={str(trained)!r})); "
        "assert not {'tensorflow', 'scipy', 'jinja2', 'rich', 'watchfiles', 'training'} & set(sys.modules); "
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=with_modules(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_printed_report_is_the_one_in_the_json_file(ask, labeled):
    _, out, _ = ask(evaluate="labeled", json="all.json")
    assert out == format_report(json.loads(Path("all.json").read_text())["report"]).splitlines()


def test_unknown_pictures_are_counted_and_evaluated_like_the_others(trained, ask, labeled, tmp_path):
    _, known, _ = ask(evaluate="labeled")
    assert "called unknown       0.0 %  0 of 11 pictures" in known
    strict = with_max_distance(trained, tmp_path / "strict", 0)
    count = sum(line.split()[1] == "unknown" for line in ask("labeled", network=strict)[1])
    _, out, _ = ask(evaluate="labeled", network=strict)
    assert count and f"called unknown {100 * count / 11:>9.1f} %  {count} of 11 pictures" in out
    assert [line for line in out if "unknown" not in line] == [line for line in known if "unknown" not in line]


def test_classes_without_pictures_have_no_recall(ask):
    picture("labeled/bee/1.png", label=1)
    code, out, err = ask(evaluate="labeled")
    assert (code, err) == (0, [])
    assert out[0].startswith("accuracy ") and "1 picture; " in out[0]
    (ant,) = (line.split() for line in out if line.startswith("ant ") and "-" in line)
    assert (ant[2], ant[4]) == ("-", "0")  # its recall and its support


def test_hidden_files_and_files_beside_the_class_folders_are_ignored(ask, labeled):
    before = ask(evaluate="labeled")
    picture("labeled/.trash/1.png")
    picture("labeled/ant/.hidden.png", label=1)
    picture("labeled/.loose.png", label=1)
    assert ask(evaluate="labeled") == before
    for number, ignored in ((1, "1 file that is"), (2, "2 files that are")):
        picture(f"labeled/loose{number}.png", label=1)
        line = f"predict.py: labeled: ignoring {ignored} not in a class folder"
        assert ask(evaluate="labeled") == (*before[:2], [line])


@pytest.mark.skipif(os.name == "nt", reason="links need permissions there")
def test_links_are_followed_as_for_training(ask, labeled, tmp_path):
    _, before, _ = ask(evaluate="labeled")
    picture(tmp_path / "outside.png")
    (labeled / "ant" / "out.png").symlink_to(tmp_path / "outside.png")
    code, out, err = ask(evaluate="labeled")
    assert (code, out, err) == (1, before, ["predict.py: labeled/ant/out.png: is a link to a place outside the folder"])
    (labeled / "bee").rename(tmp_path / "bee")
    (labeled / "bee").symlink_to(tmp_path / "bee")  # a linked class folder, as for training
    (tmp_path / "bee" / "0.png").rename(tmp_path / "bee" / ".hidden.png")
    (tmp_path / "bee" / "0.png").symlink_to(".hidden.png")  # a link that stays in the folder
    assert ask(evaluate="labeled") == (1, before, err)


def test_unreadable_pictures_are_named_and_not_counted(ask, labeled):
    _, before, _ = ask(evaluate="labeled")
    Path("labeled/ant/empty.png").touch()
    Path("labeled/bee/notes.txt").write_text("not a picture")
    code, out, err = ask(evaluate="labeled", json="all.json")
    assert (code, out) == (1, before)
    assert [line.split(": ")[:2] for line in err] == [
        ["predict.py", "passed over 1 file that is no picture"],
        ["predict.py", str(Path("labeled/ant/empty.png"))],
    ]
    rows = json.loads(Path("all.json").read_text())["predictions"]
    assert len(rows) == 13
    assert {(row["true_class"], row["error"]) for row in rows if row["error"]} == {
        ("ant", "the file is empty"),
        ("bee", "is text, not a picture"),
    }


def test_folder_of_unreadable_pictures_has_no_report(ask):
    Path("labeled/ant").mkdir(parents=True)
    Path("labeled/ant/empty.png").touch()
    code, out, err = ask(evaluate="labeled", json="all.json")
    assert (code, out, len(err)) == (1, [], 1)
    assert list(json.loads(Path("all.json").read_text())) == ["version", "predictions"]


def refusal(ask, **options) -> str:
    """Returns the one line with which it is refused."""
    with pytest.raises(UserError) as refused:
        ask(**options)
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_folders_that_are_not_classes_are_refused_by_name(ask, labeled, capsys):
    picture("labeled/wasp/1.png")
    picture("labeled/Ant/1.png")
    message = refusal(ask, evaluate="labeled", json="all.json")
    assert message.startswith("--evaluate labeled: Ant, wasp: not a class of this network, which has ant, bee; ")
    assert capsys.readouterr().out == ""
    assert not Path("all.json").exists()


def test_raw_and_evaluate_exclude_each_other(ask, labeled, capsys):
    assert "leave one out" in refusal(ask, evaluate="labeled", raw=True, json="all.json")
    assert capsys.readouterr().out == ""
    assert not Path("all.json").exists()


def test_missing_folder_is_refused(ask):
    assert refusal(ask, evaluate="nowhere") == "--evaluate nowhere: no such folder"
    picture("one.png")
    assert refusal(ask, evaluate="one.png") == "--evaluate one.png: no such folder"


@pytest.mark.parametrize("content", [[], ["ant/", "bee/"], ["ant/.hidden.png"], ["loose.png"]])
def test_folder_without_pictures_in_class_folders_is_refused(ask, content):
    Path("labeled").mkdir()
    for name in content:
        if name.endswith("/"):
            Path("labeled", name).mkdir()
        else:
            picture(Path("labeled", name))
    assert (
        refusal(ask, evaluate="labeled") == "--evaluate labeled: no pictures in its sub-folders; put some into ant, bee"
    )


def test_script_refuses_an_unknown_class_folder_with_exit_code_2(trained, labeled, tmp_path, monkeypatch, capsys):
    picture(labeled / "wasp" / "1.png")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    arguments = ["--evaluate", "labeled", "--model_save_name", trained]
    assert run_here("predict.py", predict.main, PredictConfig, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("predict.py: --evaluate labeled: wasp: not a class of this network")


# ---- JSON and CSV files ----


def test_evaluate_passes_over_empty_folders_and_files_that_are_no_pictures(ask):
    for number in range(2):
        picture(f"pictures/ant/{number}.png", seed=number)
        picture(f"pictures/bee/{number}.png", label=1, seed=number)
        Path(f"pictures/ant/{number}.txt").write_text("0 0.5 0.5 0.1 0.1")
    Path("pictures/cow").mkdir()
    code, out, err = ask(evaluate="pictures")
    assert (code, err) == (
        0,
        ["predict.py: passed over 2 files that are no pictures: pictures/ant/0.txt, pictures/ant/1.txt"],
    )
    code, out, err = ask("pictures/ant/0.txt")  # it is named, so it is missed
    assert code == 1 and "text, not a picture" in err[0]


def test_json_has_every_prediction_with_scores_and_raw_magnitudes(trained, ask):
    good, other, bad = picture("good.png"), picture("other.jpg", label=1), "bad.png"
    Path(bad).touch()
    code, out, _ = ask(good, bad, other, "missing.png", json="deep/all.json")
    assert code == 1
    content = json.loads(Path("deep/all.json").read_text())
    assert list(content) == ["version", "predictions"]
    assert content["version"] == 4
    engine = load_engine(trained)
    predictions = engine.predict(np.stack([pixels_of(name, engine.model_config) for name in (good, other)]))
    first, failed, second, missing = content["predictions"]
    for row, name, line, logits, scores in zip(
        (first, second), (good, other), out, predictions.logits.tolist(), predictions.scores.tolist(), strict=True
    ):
        assert row == {
            "picture": name,
            "true_class": None,
            "predicted": line.split()[1],
            "unknown": False,
            "agreement": 1.0,
            "scores": pytest.approx(dict(zip(["ant", "bee"], scores, strict=True))),
            "raw": pytest.approx(dict(zip(["ant", "bee"], logits, strict=True))),
            "note": None,
            "error": None,
        }
    nothing = dict.fromkeys(("true_class", "predicted", "unknown", "agreement", "scores", "raw", "note"))
    assert failed == {"picture": bad, **nothing, "error": "the file is empty"}
    reason = "no such file, no pictures in it, or no match; check the name"
    assert missing == {"picture": "missing.png", **nothing, "error": reason}


def test_names_without_pictures_alone_are_written_too(ask):
    code, out, err = ask("*.gif", "none.png", csv="all.csv")
    assert (code, out, len(err)) == (1, [], 2)
    with Path("all.csv").open(newline="", encoding="utf-8") as file:
        assert [(row["picture"], bool(row["error"])) for row in csv.DictReader(file)] == [
            ("*.gif", True),
            ("none.png", True),
        ]


def test_csv_has_the_same_content_as_json(ask, labeled):
    Path("labeled/bee/bad.png").touch()
    ask(evaluate="labeled", json="all.json", csv="all.csv")
    with Path("all.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    columns = ["picture", "true_class", "predicted", "unknown", "agreement"]
    columns += ["scores ant", "scores bee", "raw ant", "raw bee", "note", "error"]
    assert list(table[0]) == columns
    rows = json.loads(Path("all.json").read_text())["predictions"]
    assert len(rows) == len(table) == 12
    for row, line in zip(rows, table, strict=True):
        values = [row[kind][name] if row[kind] else None for kind in ("scores", "raw") for name in ("ant", "bee")]
        expected = [
            row["picture"],
            row["true_class"],
            row["predicted"],
            row["unknown"],
            row["agreement"],
            *values,
            row["note"],
            row["error"],
        ]
        assert list(line.values()) == ["" if value is None else str(value) for value in expected]


def test_json_has_true_classes_when_evaluating(ask, labeled):
    ask(evaluate="labeled", json="all.json")
    content = json.loads(Path("all.json").read_text())
    assert list(content) == ["version", "report", "predictions"]
    rows = {Path(row["picture"]): row for row in content["predictions"]}
    assert len(rows) == 11
    assert all(row["true_class"] == path.parts[1] for path, row in rows.items())
    assert sum(row["true_class"] == row["predicted"] for row in rows.values()) == content["report"]["correct"]
    assert content["report"]["pictures"] == 11


def test_json_marks_unknown_pictures_beside_the_predicted_class(trained, ask, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)  # so its distance is above 0
    Image.fromarray(noise).save(name := "one.png")
    ask(name, json="known.json")
    ask(name, json="unknown.json", network=with_max_distance(trained, tmp_path / "strict", 0))
    known, unknown = (json.loads(Path(f"{file}.json").read_text())["predictions"][0] for file in ("known", "unknown"))
    assert (known.pop("unknown"), unknown.pop("unknown")) == (False, True)
    assert known == unknown
    assert known["predicted"] in ("ant", "bee")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_with_line_ends_and_bytes_that_are_not_utf8_are_predicted(ask):
    names = ["a,b.png", "a\nb.png", 'a"b.png', os.fsdecode(b"a\xffb.png")]
    content = Path(picture("one.png")).read_bytes()
    for name in names:
        Path(name).write_bytes(content)
    code, out, err = ask(*names, json="all.json", csv="all.csv")
    assert (code, len(out), err) == (0, 4, [])
    assert [row["picture"] for row in json.loads(Path("all.json").read_text())["predictions"]] == names
    with Path("all.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["picture"] for row in csv.DictReader(file)] == names


@pytest.mark.parametrize("option", ["json", "csv"])
@pytest.mark.parametrize("existing", ["file", "folder", "broken link"])
def test_existing_files_are_not_overwritten(ask, option, existing, capsys):
    name, there = picture("one.png"), Path("there")
    if existing == "file":
        there.write_text("mine")
    elif existing == "folder":
        there.mkdir()
    else:
        there.symlink_to("nowhere")
    with pytest.raises(UserError, match=f"^--{option} there: exists already"):
        ask(name, **{"json": "new.json", "csv": "new.csv", option: "there"})
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["one.png", "there"]
    assert existing != "file" or there.read_text() == "mine"


def test_json_and_csv_cannot_be_the_same_file(ask):
    name = picture("one.png")
    for other in ("all", "./all"):
        with pytest.raises(UserError, match="--json"):
            ask(name, json="all", csv=other)
    assert not Path("all").exists()


# ---- the page ----


def test_html_is_a_report_with_pictures(ask, labeled):
    Path("labeled/ant/empty.png").touch()
    code, out, err = ask(evaluate="labeled", html="deep/report.html")
    assert (code, len(err)) == (1, 1)
    page = Page(Path("deep/report.html").read_text(encoding="utf-8"))
    correct = out[0].split("%  ")[1].partition(" pictures")[0]  # 8 of 11
    assert f"{correct} correct; 95 % interval" in page.text
    assert "python predict.py --model_save_name" in page.text and "--evaluate labeled" in page.text
    assert "--html deep" not in page.text  # it would be refused the second time
    assert "skipped: the file is empty labeled/ant/empty.png" in page.text
    assert "labeled/ant/wrong.png" in page.text
    assert len(page.images()) >= 3  # a mistake with two heat maps
    assert "training" not in [attributes["id"] for attributes in page.all("section")]


def test_html_is_the_same_if_it_is_written_again(ask, labeled):
    for name in ("1.html", "2.html"):
        assert ask(evaluate="labeled", html=name)[0] == 0
    assert Path("1.html").read_bytes() == Path("2.html").read_bytes()


def test_html_reads_only_the_pictures_again_that_it_shows(ask, labeled, monkeypatch):
    read = []

    def count(item, **_):
        read.append(item[0].as_posix())
        return "is not needed"

    monkeypatch.setattr(folder, "try_read_picture", count)  # that of the page
    assert ask(evaluate="labeled", html="report.html", json="all.json")[0] == 0
    rows = json.loads(Path("all.json").read_text())["predictions"]
    assert set(read) == {row["picture"] for row in rows if row["predicted"] != row["true_class"]}
    assert "cannot be read any more" in Page(Path("report.html").read_text(encoding="utf-8")).text


def test_html_needs_a_folder_to_evaluate(ask):
    name = picture("one.png")
    with pytest.raises(UserError, match=r"^--html is a report on pictures whose class is known: add --evaluate FOLDER"):
        ask(name, html="report.html")
    assert not Path("report.html").exists()


def test_html_of_an_existing_name_is_refused(ask, labeled):
    Path("there").write_text("mine")
    assert refusal(ask, evaluate="labeled", html="there").startswith("--html there: exists already")
    assert Path("there").read_text() == "mine"


@pytest.mark.parametrize("other", ["json", "csv"])
def test_html_cannot_be_the_same_file_as_another_output(ask, labeled, other):
    assert refusal(ask, evaluate="labeled", html="./all", **{other: "all"}).startswith(f"--{other} all and --html are")
    assert not Path("all").exists()


def test_html_of_unreadable_pictures_is_not_left_empty(ask):
    Path("labeled/ant").mkdir(parents=True)
    Path("labeled/ant/empty.png").touch()
    assert ask(evaluate="labeled", html="report.html")[0] == 1
    assert not Path("report.html").exists()
