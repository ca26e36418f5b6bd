"""Predicting with a trained network: which pictures are found, what is printed, and what happens to bad pictures."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predict
from answers.loading import load_engine
from answers.trained_network import load_trained_network
from config import PredictConfig, TrainConfig
from network.checkpoint_file import read_checkpoint, write_checkpoint
from network.model_config import ModelConfig
from network.model_file import MODEL_FILE
from predict import read_in_background
from preprocessing import training_pictures
from system.errors import UserError
from tests.helpers import jobs
from tests.helpers.checkpoints import write_first_version
from tests.helpers.pictures import write_picture
from tests.helpers.predictions import picture, pixels_of, with_max_distance
from tests.helpers.runs import run_here
from training.batches import load

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links, pipes and signals of POSIX")


def names_of(lines: list[str]) -> list[str]:
    """Returns the pictures in lines of output."""
    return [line.split("  ")[0].rstrip() for line in lines]


def values_of(line: str) -> tuple[str, dict[str, float]]:
    """Returns the class and all values in the line of a picture whose name has no space."""
    _, name, value, *others = line.split()
    first = {} if value == "-" else {name: float(value)}
    return name, first | dict(zip(others[::2], map(float, others[1::2]), strict=True))


def test_output_has_path_class_and_scores_best_first(ask):
    ant, bee = picture("one.png"), picture("two.jpg", label=1)
    code, out, err = ask(ant, bee)
    assert (code, err) == (0, [])
    assert [line.split()[:2] for line in out] == [["one.png", "ant"], ["two.jpg", "bee"]]
    for line in out:
        scores = list(values_of(line)[1].values())
        assert all(0 <= score <= 1 for score in scores)
        assert scores == sorted(scores, reverse=True)


def test_output_has_the_raw_magnitudes_or_calibrated_scores(trained, ask):
    """With two classes and the softmax loss, the log-odds of each are its logit minus the other one."""
    name = picture("one.png")
    network = load_trained_network(trained)
    (ant, bee), *_ = network.model.predict_on_batch(pixels_of(name, network.model_config)[None])
    slope, intercept = network.calibration.slope, network.calibration.intercept
    assert slope != 1
    scores = [1 / (1 + np.exp(-(slope * odds + intercept))) for odds in (ant - bee, bee - ant)]
    _, (raw,), _ = ask(name, raw=True)
    assert values_of(raw) == ("ant", pytest.approx({"ant": ant, "bee": bee}, abs=0.0006))
    _, (scored,), _ = ask(name)
    assert values_of(scored) == ("ant", pytest.approx({"ant": scores[0], "bee": scores[1]}, abs=0.0006))


@pytest.mark.parametrize("raw", [False, True])
def test_top_limits_the_classes_of_a_line(ask, raw):
    name = picture("one.png")
    _, (line,), _ = ask(name, top=1, raw=raw)
    assert values_of(line)[1].keys() == {"ant"}
    assert len(values_of(ask(name, top=2, raw=True)[1][0])[1]) == 2


def test_unknown_picture_has_no_class(trained, ask, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)  # so its distance is above 0
    Image.fromarray(noise).save(name := "one.png")
    _, (known,), _ = ask(name)
    code, (line,), err = ask(name, network=with_max_distance(trained, tmp_path / "strict", 0))
    assert (code, err) == (0, [])
    assert line.startswith(f"one.png  unknown      -  {known.split()[1]} ") and line.endswith("  like nothing seen")
    assert values_of(line.removesuffix("like nothing seen")) == ("unknown", values_of(known)[1])
    assert ask(name, network=with_max_distance(trained, tmp_path / "lenient", 1e9))[1] == [known]


def test_scores_of_a_network_that_is_not_calibrated_come_with_a_warning(trained, ask, tmp_path):
    name = picture("one.png")
    (best,) = (trained / "best").glob("ckpt-*")
    saved = read_checkpoint(best)
    weights = {name: tensor for name, tensor in saved.tensors.items() if not name.startswith("calibration/")}
    shutil.copytree(trained, tmp_path / "copy")
    write_checkpoint(tmp_path / "copy" / "best" / best.name, weights, saved.model_config)
    code, (line,), (built, warning) = ask(name, network=tmp_path / "copy")
    assert code == 0
    assert built.endswith("model.tflite: is built from the best weights once, with TensorFlow ...")
    assert warning == "predict.py: the scores are not calibrated yet; run trainer.py to its end"
    raw = values_of(ask(name, raw=True)[1][0])[1]
    odds = raw["ant"] - raw["bee"]
    scores = {"ant": 1 / (1 + np.exp(-odds)), "bee": 1 / (1 + np.exp(odds))}
    assert values_of(line)[1] == pytest.approx(scores, abs=0.002)


def test_picture_gives_exactly_the_pixels_that_training_saw(rawdata, settings_for):
    for changes in ({"height": 17, "width": 23}, {"color_channels": 1}):
        config = settings_for(TrainConfig, **changes)
        pictures = training_pictures(config)
        model_config = ModelConfig.of_run(config, class_names=["ant", "bee"], pictures="")
        images = load(pictures, config).images
        assert {Path(one.path).suffix for one in pictures} == {".jpg", ".png"}
        read = read_in_background({Path(one.path): None for one in pictures}, model_config, max_pixels=10**6)
        for found, image in zip(read, images, strict=True):
            np.testing.assert_array_equal(found.image, image)


def test_what_images_do_not_show_is_said_in_a_line_each(ask):
    pages = [Image.fromarray(np.full((30, 40, 3), level, np.uint8)) for level in (0, 255)]
    for name in ("a.tif", "b.tif", "c.tif", "d.tif"):
        pages[0].save(name, save_all=True, append_images=pages[1:])
    code, out, err = ask("a.tif", "b.tif", "c.tif", "d.tif", picture("e.png"), csv="all.csv")
    assert (code, len(out)) == (0, 5)
    rows = csv.DictReader(Path("all.csv").read_text().splitlines())
    (note,) = {row["note"] for row in rows if row["note"]}
    assert note.startswith("only the first of its pages is used")
    names = "a.tif, b.tif, c.tif and 1 more"
    assert err == [f"predict.py: 4 pictures: {text}: {names}" for text in note.split("; ")]


def test_folders_are_searched_and_every_picture_appears_once_in_order(ask):
    first, deep, other = picture("in/b.png"), picture("in/deep/c.png"), picture("a.png")
    Path("in/.hidden.png").write_bytes(Path(first).read_bytes())
    code, out, err = ask("in", other, "in/b.png", other)
    assert (code, err) == (0, [])
    assert names_of(out) == [first, deep, other]


def test_patterns_stand_for_the_files_that_they_match(ask):
    for name in ("b2.png", "b1.png", "c.jpg", "in/b3.png"):
        picture(name)
    assert names_of(ask("b*.png")[1]) == ["b1.png", "b2.png"]
    assert names_of(ask("**/*.png")[1]) == ["b1.png", "b2.png", "in/b3.png"]
    assert names_of(ask(str(Path("*.jpg").absolute()))[1]) == [str(Path("c.jpg").absolute())]


def test_name_that_looks_like_a_pattern_is_a_name_if_the_file_exists(ask):
    picture("photo1.png")
    assert names_of(ask("photo[1].png")[1]) == ["photo1.png"]
    picture("photo[1].png")
    assert names_of(ask("photo[1].png")[1]) == ["photo[1].png"]


def test_predict_in_batches_equals_predicting_one_by_one(trained, tmp_path):
    paths = [Path(picture(tmp_path / f"{number}.png", label=number % 2, seed=number)) for number in range(130)]
    paths[64].write_bytes(b"")
    engine = load_engine(trained)
    images = read_in_background(dict.fromkeys(paths), engine.model_config, max_pixels=10**6)
    batches = list(predict.predict(engine, paths, images))
    assert [len(batch) for batch in batches] == [4, 8, 16, 32, 32, 32, 6]
    answers = [answer for batch in batches for answer in batch]
    assert [answer.path for answer in answers] == paths
    assert [answer.error for answer in answers] == [""] * 64 + ["the file is empty"] + [""] * 65
    for number in (0, 63, 65, 128, 129):
        alone = engine.predict(pixels_of(paths[number], engine.model_config)[None])
        np.testing.assert_allclose(answers[number].logits, alone.logits[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(answers[number].scores, alone.scores[0], rtol=1e-4, atol=1e-4)
    assert len({answer.logits.tobytes() for answer in answers if not answer.error}) == 129


def test_bad_pictures_are_named_and_the_others_predicted(ask):
    good, late = picture("good.png"), picture("late.png")
    cut = Path(picture("cut.jpg"))
    cut.write_bytes(cut.read_bytes()[:-200])
    Path("notes.txt").write_text("not a picture")
    Path("empty.png").touch()
    Path("void").mkdir()
    code, out, err = ask("missing.png", good, cut, "notes.txt", "empty.png", "void", late, "*.gif")
    assert code == 1
    assert names_of(out) == [good, late]
    assert len(err) == 6
    for name in ("missing.png", "cut.jpg", "notes.txt", "empty.png", "void", "*.gif"):
        (line,) = (line for line in err if f" {name}: " in line)
        assert line.startswith("predict.py: ")


def test_name_that_no_file_can_have_does_not_stop_the_others(ask):
    good = picture("good.png")
    code, out, err = ask("x" * 5000 + ".png", good)
    assert (code, names_of(out), len(err)) == (1, [good], 1)


def test_bad_pictures_alone_give_no_output_and_exit_code_1(ask):
    Path("empty.png").touch()
    code, out, err = ask("empty.png")
    assert (code, out) == (1, [])
    assert err == ["predict.py: empty.png: the file is empty"]


@not_on_windows
def test_links_in_a_folder_are_followed_only_inside_it(ask):
    outside, inside = picture("outside.png"), picture("in/inside.png")
    for name, target in (("out", "../outside.png"), ("same", "inside.png"), ("self", "self"), ("folder", ".")):
        Path("in", name).symlink_to(target)
    code, out, err = ask("in")
    assert (code, names_of(out)) == (1, [inside, "in/same"])
    assert err == [
        "predict.py: in/folder: is a link to a folder, which is not followed",
        "predict.py: in/out: is a link to a place outside the folder",
        "predict.py: in/self: is a link to itself",
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
    code, out, (message,) = ask(good, max_megapixels=0.001)
    assert (code, out) == (1, [])
    assert "good.png: " in message and "--max_megapixels 0.001" in message


@not_on_windows
def test_picture_that_crashes_the_decoder_is_named(ask, monkeypatch):
    good, bad, late = picture("good.png"), picture("bad.png"), picture("late.png")
    with monkeypatch.context() as patch:
        patch.setattr(predict, "try_read_picture", jobs.crash_on_bad)
        code, out, err = ask(good, bad, late)
    assert (code, names_of(out)) == (1, [good, late])
    assert err == ["predict.py: bad.png: crashed its process (signal 11)"]


def test_control_characters_in_names_are_escaped(ask):
    code, (answer,), _ = ask(picture("a\x1b[31m\n.png"))
    assert code == 0
    assert answer.startswith(r"a\x1b[31m\n.png  ")
    code, _, (message,) = ask("none\x1b[31m.png")
    assert code == 1
    assert message.isprintable()


def test_nothing_but_the_folder_of_checkpoints_is_needed(trained, ask, tmp_path, capsys):
    name = picture("one.png")
    _, expected, _ = ask(name)
    shutil.copytree(trained, tmp_path / "elsewhere")
    for run in ("train", "validation"):
        shutil.rmtree(tmp_path / "elsewhere" / run)
    assert predict.main(PredictConfig(images=(name,), model_save_name=str(tmp_path / "elsewhere"))) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_network_is_found_by_each_name_that_it_may_have(trained, ask, tmp_path):
    name = picture("one.png")
    _, expected, _ = ask(name)
    (best,) = (trained / "best").glob("ckpt-*")
    mailed = Path(shutil.copy(trained / MODEL_FILE, tmp_path / "ants [1].tflite"))
    names = [trained / "best", best, trained / "model.json", trained / MODEL_FILE, mailed]
    for network in names:
        assert ask(name, network=network) == (0, expected, [])


def test_picture_that_is_named_in_two_ways_is_shown_once(ask):
    picture("in/one.png")
    assert names_of(ask("in/one.png", "in/../in/one.png", "./in/one.png", "in")[1]) == ["in/one.png"]


def test_best_epoch_is_used(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "best")
    best, newest = (load_trained_network(folder).model for folder in (trained, tmp_path / "copy"))
    kept = [path.name for path in (trained / "best").glob("ckpt-*")]
    assert len(kept) == 1
    same = all(np.array_equal(one, two) for one, two in zip(best.get_weights(), newest.get_weights(), strict=True))
    assert same == (kept == ["ckpt-20.safetensors"])


@pytest.mark.parametrize("given", [{}, {"images": ("one.png",), "evaluate": "seen"}], ids=["neither", "both"])
def test_pictures_and_evaluate_exclude_each_other_and_one_is_needed(trained, given):
    with pytest.raises(UserError, match=r"--export FOLDER: python predict\.py picture\.jpg"):
        predict.main(PredictConfig(model_save_name=str(trained), **given))


def test_script_without_a_network_says_in_one_line_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture("one.png")
    assert run_here("predict.py", predict.main, PredictConfig, "one.png") == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("predict.py: checkpoints: no trained network here; run trainer.py")


def test_network_of_the_first_version_is_refused_with_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture("one.png")
    write_first_version(Path("old"))
    assert run_here("predict.py", predict.main, PredictConfig, "one.png", "--model_save_name", "old") == 2
    assert capsys.readouterr() == (
        "",
        f"predict.py: {Path('old', 'model.json')}: was saved by another version of this toolkit; "
        "train to a new folder with --model_save_name\n",
    )


def test_script_prints_answers_on_stdout_and_errors_on_stderr(script, trained, tmp_path):
    write_picture(tmp_path / "one.png", label=0, seed=500)
    process = script("predict.py", "one.png", "two.png", "--model_save_name", trained)
    assert process.returncode == 1
    (answer,) = process.stdout.splitlines()
    assert answer.startswith("one.png  ant      ")
    (message,) = process.stderr.splitlines()
    assert message.startswith("predict.py: two.png: no such file")
