"""Asking a trained network: what is found, what is said, and what is done about bad pictures."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import working
from asking import picture, pixels_of, with_limits
from conftest import write_picture

import predict
from checkpoint import load_classifier, read_tensors, write_tensors
from config import PredictConfig, TrainConfig, UserError
from dataset import load
from description import Description, read_description
from predict import Prediction, begin_reading
from preprocessing import prepare

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links, pipes and signals of POSIX")


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


def prediction(logits, scores, **changes) -> Prediction:
    return Prediction(
        path=Path("a.png"), logits=np.array(logits), scores=np.array(scores), named=int(np.argmax(logits)), **changes
    )


def test_a_line_shows_either_the_scores_or_the_raw_magnitudes():
    names = ["ant", "bee", "wasp"]
    answer = prediction([-2.0, 0.0, 1.0], [0.1192, 0.5, 0.73106])
    assert predict.line(answer, names, raw=False) == "a.png  wasp  ant 0.119  bee 0.500  wasp 0.731"
    assert predict.line(answer, names, raw=True) == "a.png  wasp  ant -2.000  bee 0.000  wasp 1.000"


def test_an_unknown_picture_is_called_so_beside_its_scores_and_magnitudes():
    answer = prediction([-2.0, 1.0], [0.1192, 0.73106], unknown=True)
    assert predict.line(answer, ["ant", "bee"], raw=False) == "a.png  unknown  ant 0.119  bee 0.731"
    assert predict.line(answer, ["ant", "bee"], raw=True) == "a.png  unknown  ant -2.000  bee 1.000"


def test_the_highest_magnitude_names_the_class_even_where_all_are_low_or_scores_are_alike():
    names = ["ant", "bee"]
    low = prediction([-30.0, -20.0], [1e-13, 2e-9])
    assert predict.line(low, names, raw=False) == "a.png  bee  ant 0.000  bee 0.000"
    alike = prediction([80.0, 90.0], [1.0, 1.0])  # trained class by class, both may be as good as certain
    assert predict.line(alike, names, raw=False) == "a.png  bee  ant 1.000  bee 1.000"
    assert predict.as_row(alike, names, {})["named"] == "bee"


def test_raw_magnitudes_are_those_of_the_network_and_scores_the_calibrated_sigmoid_of_their_difference(trained, ask):
    """Two classes under a softmax: the log-odds of each are its magnitude less the other one."""
    name = picture("one.png")
    classifier, description = load_classifier(trained)
    (ant, bee), *_ = classifier.model.predict_on_batch(pixels_of(name, description)[None])
    scale, offset = (
        float(variable.numpy()) for variable in (classifier.calibration.scale, classifier.calibration.offset)
    )
    assert scale != 1
    scores = [1 / (1 + np.exp(-(scale * odds + offset))) for odds in (ant - bee, bee - ant)]
    _, (raw,), _ = ask(name, raw=True, precision="float32")
    assert raw.split("  ")[2:] == [f"ant {ant:.3f}", f"bee {bee:.3f}"]
    _, (scored,), _ = ask(name, precision="float32")
    assert scored.split("  ")[2:] == [f"ant {scores[0]:.3f}", f"bee {scores[1]:.3f}"]
    assert raw.split("  ")[:2] == scored.split("  ")[:2]


def test_what_the_network_does_not_know_is_called_unknown(trained, ask, tmp_path):
    name = picture("one.png")
    _, (known,), _ = ask(name)
    strict, lenient = (with_limits(trained, tmp_path / str(limit), farthest=limit) for limit in (-1, 1e9))
    code, (said,), err = ask(name, network=strict)
    assert (code, err) == (0, [])
    assert said.split("  ")[1] == "unknown"
    assert said.split("  ")[2:] == known.split("  ")[2:]
    assert ask(name, network=lenient)[1] == [known]


def test_scores_of_a_network_that_is_not_calibrated_are_said_to_be_so_and_are_those_of_the_softmax(
    trained, ask, tmp_path
):
    name = picture("one.png")
    shutil.copytree(trained, tmp_path / "copy")
    (best,) = (tmp_path / "copy" / "best").glob("ckpt-*")
    saved = read_tensors(best)
    weights = {name: tensor for name, tensor in saved.tensors.items() if not name.startswith("calibration/")}
    write_tensors(best, weights, saved.description)
    code, (said,), (warning,) = ask(name, network=tmp_path / "copy")
    assert code == 0
    assert warning == "predict.py: the scores are not calibrated yet; run trainer.py to its end"
    (raw,) = ask(name, raw=True)[1]
    assert raw.split("  ")[:2] == said.split("  ")[:2]
    ant, bee = (float(value.split(" ")[1]) for value in raw.split("  ")[2:])
    scores = [float(value.split(" ")[1]) for value in said.split("  ")[2:]]
    assert scores == pytest.approx([1 / (1 + np.exp(bee - ant)), 1 / (1 + np.exp(ant - bee))], abs=0.002)


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
            np.testing.assert_array_equal(pixels_of(one.origin, description), image)


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
    classifier, description = load_classifier(trained)
    pictures = begin_reading(dict.fromkeys(paths), description, max_megapixels=200)
    answers = list(predict.predict(classifier, paths, pictures))
    assert [answer.path for answer in answers] == paths
    assert [answer.failure for answer in answers] == [""] * 64 + ["the file is empty"] + [""] * 65
    for number in (0, 63, 65, 128, 129):
        alone = classifier.ask(pixels_of(paths[number], description)[None])
        np.testing.assert_allclose(answers[number].logits, alone.logits[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(answers[number].scores, alone.scores[0], rtol=1e-4, atol=1e-4)
    assert len({answer.logits.tobytes() for answer in answers if not answer.failure}) == 129


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


@not_on_windows
def test_links_in_a_folder_are_followed_inside_it_and_nowhere_else(ask):
    outside, inside = picture("outside.png"), picture("in/inside.png")
    for name, target in (("out", "../outside.png"), ("same", "inside.png"), ("self", "self"), ("folder", ".")):
        Path("in", name).symlink_to(target)
    code, out, err = ask("in")
    assert (code, names_of(out)) == (1, [inside, "in/same"])
    assert err == [
        "predict.py: in/folder: a link to a folder, which is not followed",
        "predict.py: in/out: a link that leads out of the folder",
        "predict.py: in/self: a link that leads to itself",
    ]
    Path("named").symlink_to(outside)
    assert names_of(ask("named", "in/out")[1]) == ["named", "in/out"]
    assert names_of(ask("in", "in/out")[1]) == [inside, "in/out", "in/same"]
    Path("link").symlink_to("in", target_is_directory=True)
    assert names_of(ask("link")[1]) == ["link/inside.png", "link/same"]


@not_on_windows
def test_pictures_with_too_many_pixels_and_pipes_are_named(ask):
    good = picture("good.png")
    os.mkfifo("pipe.png")
    code, out, err = ask(good, "pipe.png", max_megapixels=0.002)
    assert (code, names_of(out), err) == (1, [good], ["predict.py: pipe.png: not a regular file"])
    code, out, (complaint,) = ask(good, max_megapixels=0.001)
    assert (code, out) == (1, [])
    assert "good.png: " in complaint and "--max_megapixels 0.001" in complaint


@not_on_windows
def test_a_picture_that_crashes_its_decoder_is_named_and_the_others_are_answered(ask, monkeypatch):
    good, bad, late = picture("good.png"), picture("bad.png"), picture("late.png")
    with monkeypatch.context() as patch:
        patch.setattr(predict, "read_picture", working.crash_on_bad)
        code, out, err = ask(good, bad, late)
    assert (code, names_of(out)) == (1, [good, late])
    assert err == ["predict.py: bad.png: makes the decoder crash (signal 11)"]


def test_control_characters_in_names_reach_no_terminal(ask):
    code, (answer,), _ = ask(picture("a\x1b[31m\n.png"))
    assert code == 0
    assert answer.startswith(r"a\x1b[31m\n.png  ")
    said = predict.line(prediction([1.0, 2.0], [0.4, 0.6]), ["ant", "b\x1b[2J\nee"], raw=False)
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
    best, newest = (load_classifier(folder)[0].model for folder in (trained, tmp_path / "copy"))
    kept = [path.name for path in (trained / "best").glob("ckpt-*")]
    assert len(kept) == 1
    same = all(np.array_equal(one, two) for one, two in zip(best.get_weights(), newest.get_weights(), strict=True))
    assert same == (kept == ["ckpt-20.safetensors"])


@pytest.mark.parametrize("given", [{}, {"images": ("one.png",), "evaluate": "seen"}], ids=["neither", "both"])
def test_either_pictures_or_a_folder_to_evaluate_must_be_named(trained, given):
    with pytest.raises(UserError, match=r"--evaluate FOLDER: python predict\.py picture\.jpg"):
        predict.main(PredictConfig(model_save_name=str(trained), **given))


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
