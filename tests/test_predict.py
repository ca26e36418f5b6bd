"""Asking a trained network: what is found, what is said, and what is done about bad pictures."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_picture

import predict
import trainer
from checkpoint import Description, load_classifier, read_description
from config import PredictConfig, TrainConfig, UserError
from dataset import load
from preprocessing import prepare


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The checkpoints of a short run, whose pictures are gone."""
    folder = tmp_path_factory.mktemp("trained")
    for label, name in enumerate(("ant", "bee")):
        for number in range(10):
            write_picture(folder / "rawdata" / name / f"{number}.png", label=label, seed=number)
    names = ("augmented", "data_path", "model_save_name")
    folders = {name: str(folder / name) for name in names}
    config = TrainConfig(
        raw_data=str(folder / "rawdata"), height=16, width=16, epochs=10, random_mirror=False, **folders
    )
    assert trainer.main(config) == 0
    shutil.rmtree(folder / "rawdata")
    shutil.rmtree(folder / "data_path")
    return Path(config.model_save_name)


@pytest.fixture
def ask(trained, tmp_path, monkeypatch, capsys):
    """Asks about pictures in an otherwise empty folder; returns the exit code and the lines of stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*images: str, raw: bool = False) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        code = predict.main(PredictConfig(images=tuple(map(str, images)), raw=raw, model_save_name=str(trained)))
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def picture(name: str, *, label: int = 0, seed: int = 500) -> str:
    return str(write_picture(Path(name), label=label, seed=seed))


def names_of(lines: list[str]) -> list[str]:
    return [line.split("  ")[0] for line in lines]


def test_a_line_gives_the_name_the_class_and_the_score_of_every_class(ask):
    ant, bee = picture("one.png"), picture("two.jpg", label=1)
    code, out, err = ask(ant, bee)
    assert (code, err) == (0, [])
    answers = [line.split("  ") for line in out]
    assert [answer[:2] for answer in answers] == [["one.png", "ant"], ["two.jpg", "bee"]]
    for answer in answers:
        assert [score.split(" ")[0] for score in answer[2:]] == ["ant", "bee"]
        scores = {name: float(score) for name, score in (part.split(" ") for part in answer[2:])}
        assert all(0 <= score <= 1 for score in scores.values())
        assert max(scores, key=scores.get) == answer[1]


def test_scores_are_sigmoids_of_the_raw_magnitudes_and_need_not_sum_to_one():
    names = ["ant", "bee", "wasp"]
    magnitudes = np.array([-2.0, 0.0, 1.0], np.float32)
    assert predict.line(Path("a.png"), magnitudes, names, raw=False) == "a.png  wasp  ant 0.119  bee 0.500  wasp 0.731"
    assert predict.line(Path("a.png"), magnitudes, names, raw=True) == "a.png  wasp  ant -2.000  bee 0.000  wasp 1.000"


def test_the_highest_magnitude_names_the_class_even_where_all_are_low_or_scores_look_alike():
    names = ["ant", "bee"]
    assert "  bee  ant 0.000  bee 0.000" in predict.line(Path("a"), np.array([-30.0, -20.0]), names, raw=False)
    assert "  ant  ant 1.000  bee 1.000" in predict.line(Path("a"), np.array([90.0, 80.0]), names, raw=False)


def test_raw_shows_the_magnitudes_behind_the_scores(ask):
    name = picture("one.png")
    _, (scores,), _ = ask(name)
    _, (raw,), _ = ask(name, raw=True)
    assert raw.split("  ")[:2] == scores.split("  ")[:2]
    for score, magnitude in zip(scores.split("  ")[2:], raw.split("  ")[2:], strict=True):
        expected = 1 / (1 + np.exp(-float(magnitude.split(" ")[1])))
        assert float(score.split(" ")[1]) == pytest.approx(expected, abs=0.001)


def test_sigmoid_takes_any_magnitude_without_a_warning():
    found = predict.sigmoid(np.array([-1000, -1, 0, 1, 1000], np.float32))
    assert found.tolist() == pytest.approx([0, 0.26894142, 0.5, 0.73105858, 1])


def test_a_picture_gives_the_very_pixels_that_training_saw(rawdata, settings_for):
    for changes in ({"height": 17, "width": 23}, {"color_channels": 1}):
        config = settings_for(TrainConfig, **changes)
        pictures = prepare(config)
        sizes = {name: getattr(config, name) for name in ("height", "width", "color_channels")}
        rest = {name: getattr(config, name) for name in Description.__annotations__ if hasattr(config, name)}
        description = Description(**{**rest, **sizes, "class_names": ["ant", "bee"], "pictures": ""})
        images = load(pictures, config).images
        assert {Path(one.origin).suffix for one in pictures} == {".jpg", ".png"}
        for one, image in zip(pictures, images, strict=True):
            np.testing.assert_array_equal(predict.read_picture(Path(one.origin), description), image)


def test_folders_are_searched_and_every_picture_answers_once_in_order(ask):
    first, deep, other = picture("in/b.png"), picture("in/deep/c.png"), picture("a.png")
    Path("in/.hidden.png").write_bytes(Path(first).read_bytes())
    code, out, err = ask("in", other, "in/b.png", other)
    assert (code, err) == (0, [])
    assert names_of(out) == [first, deep, other]


def test_patterns_stand_for_what_they_match(ask):
    for name in ("b2.png", "b1.png", "c.jpg", "in/b3.png"):
        picture(name)
    assert names_of(ask("b*.png")[1]) == ["b1.png", "b2.png"]
    assert names_of(ask("**/*.png")[1]) == ["b1.png", "b2.png", "in/b3.png"]
    assert names_of(ask(str(Path("*.jpg").absolute()))[1]) == [str(Path("c.jpg").absolute())]


def test_a_name_that_looks_like_a_pattern_is_a_name_where_there_is_such_a_file(ask):
    picture("photo1.png")
    assert names_of(ask("photo[1].png")[1]) == ["photo1.png"]
    picture("photo[1].png")
    assert names_of(ask("photo[1].png")[1]) == ["photo[1].png"]


def test_more_pictures_than_a_batch_are_answered_in_order_as_one_by_one(trained, tmp_path):
    paths = [Path(picture(tmp_path / f"{number}.png", label=number % 2, seed=number)) for number in range(130)]
    paths[64].write_bytes(b"")
    model, description = load_classifier(trained)
    answers = list(predict.predict(model, description, paths))
    assert [path for path, _ in answers] == paths
    assert answers[64][1] == "the file is empty"
    for number in (0, 63, 65, 128, 129):
        alone = model.predict_on_batch(predict.read_picture(paths[number], description)[None])[0]
        np.testing.assert_allclose(answers[number][1], alone, rtol=1e-4, atol=1e-4)
    assert len({answer.tobytes() for number, (_, answer) in enumerate(answers) if number != 64}) == 129


def test_bad_pictures_are_named_and_the_others_answered(ask):
    good, late = picture("good.png"), picture("late.png")
    cut = Path(picture("cut.jpg"))
    cut.write_bytes(cut.read_bytes()[:-200])
    Path("notes.txt").write_text("no picture")
    Path("empty.png").touch()
    Path("void").mkdir()
    code, out, err = ask("missing.png", good, cut, "notes.txt", "empty.png", "void", late, "*.gif")
    assert code == 1
    assert names_of(out) == [good, late]
    assert len(err) == 6
    for name in ("missing.png", "cut.jpg", "notes.txt", "empty.png", "void", "*.gif"):
        (line,) = (line for line in err if f" {name}: " in line)
        assert line.startswith("predict.py: ")


def test_a_name_that_no_file_can_have_does_not_keep_the_others_from_their_answer(ask):
    good = picture("good.png")
    code, out, err = ask("x" * 5000 + ".png", good)
    assert (code, names_of(out), len(err)) == (1, [good], 1)


def test_only_bad_pictures_give_no_answer_and_exit_code_1(ask):
    Path("empty.png").touch()
    code, out, err = ask("empty.png")
    assert (code, out) == (1, [])
    assert err == ["predict.py: empty.png: the file is empty"]


def test_control_characters_in_names_reach_no_terminal(ask):
    code, (answer,), _ = ask(picture("a\x1b[31m\n.png"))
    assert code == 0
    assert answer.startswith(r"a\x1b[31m\n.png  ")
    said = predict.line(Path("a.png"), np.array([1.0, 2.0]), ["ant", "b\x1b[2J\nee"], raw=False)
    assert said.startswith(r"a.png  b\x1b[2J\nee  ant ")
    assert said.isprintable()
    code, _, (complaint,) = ask("none\x1b[31m.png")
    assert code == 1
    assert complaint.isprintable()


def test_the_folder_of_checkpoints_is_all_that_is_needed(trained, ask, tmp_path, capsys):
    name = picture("one.png")
    _, expected, _ = ask(name)
    shutil.copytree(trained, tmp_path / "elsewhere")
    for run in ("train", "validation"):
        shutil.rmtree(tmp_path / "elsewhere" / run)
    assert predict.main(PredictConfig(images=(name,), model_save_name=str(tmp_path / "elsewhere"))) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_it_is_the_best_epoch_that_answers(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "best")
    best, newest = (load_classifier(folder)[0] for folder in (trained, tmp_path / "copy"))
    kept = [path.name for path in (trained / "best").glob("*.index")]
    assert len(kept) == 1
    same = all(np.array_equal(one, two) for one, two in zip(best.get_weights(), newest.get_weights(), strict=True))
    assert same == (kept == ["ckpt-10.index"])


def test_no_pictures_named_is_refused_with_an_example(trained):
    with pytest.raises(UserError, match=r"python predict\.py picture\.jpg"):
        predict.main(PredictConfig(model_save_name=str(trained)))


def test_the_description_of_a_run_tells_its_classes(trained):
    assert read_description(trained).class_names == ["ant", "bee"]


def test_the_script_without_a_checkpoint_says_in_one_line_what_to_do(script, tmp_path):
    write_picture(tmp_path / "one.png", label=0, seed=0)
    ended = script("predict.py", "one.png")
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("predict.py: checkpoints: no trained network here; run trainer.py")


def test_the_script_answers_on_stdout_and_complains_on_stderr(script, trained, tmp_path):
    write_picture(tmp_path / "one.png", label=0, seed=500)
    ended = script("predict.py", "one.png", "two.png", "--model_save_name", trained)
    assert ended.returncode == 1
    (answer,) = ended.stdout.splitlines()
    assert answer.startswith("one.png  ant  ant ")
    (complaint,) = ended.stderr.splitlines()
    assert complaint.startswith("predict.py: two.png: no such file")
