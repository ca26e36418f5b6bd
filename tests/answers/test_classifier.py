"""The trained network as a Python object."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from answers import classifier as classifier_module
from answers.classifier import Classifier, Prediction
from pictures.decoding import ImageTooLarge, NotAPicture, UnreadableImage
from system.errors import UserError
from tests.helpers.pictures import ROOT, write_picture
from tests.helpers.processes import with_modules
from tests.test_docs import blocks


@pytest.fixture(scope="module")
def classifier(trained) -> Classifier:
    return Classifier(trained)


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    """Returns the paths of ten pictures, whose classes take turns."""
    return [write_picture(tmp_path / f"{seed}.png", label=seed % 2, seed=500 + seed) for seed in range(10)]


def pixels_of(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_classifier_returns_one_prediction_for_a_picture(classifier, pictures):
    prediction = classifier(str(pictures[1]))
    assert (prediction.predicted, prediction.unknown, prediction.note) == ("bee", False, "")
    assert list(prediction.scores) == list(prediction.raw) == ["ant", "bee"] == list(classifier.class_names)
    assert prediction.score == prediction.scores["bee"] > prediction.scores["ant"]
    assert prediction.raw["bee"] > prediction.raw["ant"]
    assert classifier(pictures[1]) == prediction


def test_classifier_returns_a_list_for_several_pictures(classifier, pictures, monkeypatch):
    monkeypatch.setattr(classifier_module, "BATCH_SIZE", 4)  # so that there are several batches
    predictions = classifier(pictures)
    assert [prediction.predicted for prediction in predictions] == ["ant", "bee"] * 5
    mixed = (pixels_of(path) if index % 3 else str(path) for index, path in enumerate(pictures))
    assert classifier(mixed) == predictions
    assert classifier([pictures[0]]) == [classifier(pictures[0])]
    assert classifier([]) == []


def test_classifier_says_the_same_as_predict(classifier, pictures, ask):
    code, _, _ = ask(*pictures, json="all.json")
    assert code == 0
    rows = json.loads(Path("all.json").read_text())["predictions"]
    for row, prediction in zip(rows, classifier(pictures), strict=True):
        assert (row["predicted"], row["unknown"]) == (prediction.predicted, prediction.unknown)
        assert row["scores"] == pytest.approx(prediction.scores, abs=1e-6)
        assert row["raw"] == pytest.approx(prediction.raw, abs=1e-5)


def test_classifier_takes_the_pixels_of_a_picture_for_the_picture(classifier, pictures):
    pixels = pixels_of(pictures[0])
    assert classifier(pixels) == classifier(pictures[0])
    gray = pixels[..., 1]
    cv2.imwrite(str(pictures[0].parent / "gray.png"), gray)
    assert classifier(gray) == classifier(gray[..., None]) == classifier(pictures[0].parent / "gray.png")


def test_classifier_may_be_called_from_several_threads(classifier, pictures):
    expected = [classifier(path) for path in pictures]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(classifier, pictures * 5)) == expected * 5


def test_classifier_reads_few_pictures_at_a_time(classifier, pictures, monkeypatch):
    monkeypatch.setattr(classifier_module, "BATCH_SIZE", 3)
    taken: list[Path] = []
    counts: list[int] = []
    outputs = classifier._engine.outputs

    def count(images):
        counts.append(len(images))
        assert len(taken) == sum(counts)
        return outputs(images)

    monkeypatch.setattr(classifier._engine, "outputs", count)
    classifier(taken.append(path) or path for path in pictures)
    assert counts == [3, 3, 3, 1]


def test_classifier_names_a_file_that_cannot_be_read(classifier, pictures, tmp_path):
    (tmp_path / "text\n.png").write_text("some text")
    pictures[2].write_bytes(pictures[2].read_bytes()[:200])
    for path, kind, reason in (
        (pictures[2], UnreadableImage, f"{pictures[2]}: cannot be decoded"),
        (tmp_path / "text\n.png", NotAPicture, rf"{tmp_path}/text\\n.png: is text, not a picture"),
        (tmp_path / "missing.png", UnreadableImage, f"{tmp_path}/missing.png: No such file"),
        (tmp_path, UnreadableImage, f"{tmp_path}: is a folder: pass its pictures"),
        ("", UnreadableImage, "'': no file can have this name"),
        ("a\0b", UnreadableImage, r"a\\x00b: no file can have this name"),
    ):
        for argument in (path, [pictures[0], path]):
            with pytest.raises(kind, match=reason) as error:
                classifier(argument)
            assert str(error.value).isprintable()


def test_classifier_says_which_item_it_cannot_use(classifier, pictures):
    floats = np.zeros((4, 5, 3), np.float32)
    with pytest.raises(ValueError, match=r"^expected a uint8 array .*, received float32 \(4, 5, 3\)$"):
        classifier(floats)
    with pytest.raises(ValueError, match=r"^item 1: expected a uint8 array .*, received float32 \(4, 5, 3\)$"):
        classifier([pictures[0], floats])
    with pytest.raises(TypeError, match="^item 2: expected a path or an array, received int$"):
        classifier([*pictures[:2], 7])
    for wrong in (7, None, b"picture.png"):
        with pytest.raises(TypeError, match=f"^expected a path, an array, or .*, received {type(wrong).__name__}$"):
            classifier(wrong)


def test_classifier_refuses_large_pictures(trained, tmp_path):
    path = write_picture(tmp_path / "a.png", label=0, seed=1, size=(40, 30))
    assert Classifier(trained, max_megapixels=0.0012)(path).predicted == "ant"
    with pytest.raises(ImageTooLarge, match="a.png: has 40 × 30 pixels, more than --max_megapixels 0.0011"):
        Classifier(trained, max_megapixels=0.0011)(path)


def test_classifier_needs_a_trained_network(tmp_path):
    with pytest.raises(UserError, match="nothing: no trained network here; run trainer.py first, or name a folder$"):
        Classifier(tmp_path / "nothing")


def test_classifier_says_how_to_use_videos(classifier, tmp_path):
    (tmp_path / "clip").write_bytes(b"\x1a\x45\xdf\xa3")
    with pytest.raises(UnreadableImage, match=r"clip: is a video \(MKV or WebM\): pass its frames as arrays$"):
        classifier(tmp_path / "clip")


def test_prediction_is_short_as_text():
    values = {"scores": {"ant": 0.25, "bee": 0.8125}, "raw": {"ant": -1.0, "bee": 1.0}}
    known = Prediction(predicted="bee", score=0.8125, unknown=False, **values)
    assert str(known) == "bee 0.812"
    assert repr(known) == "Prediction(predicted='bee', score=0.8125, unknown=False, agreement=1.0, note='')"
    assert str(Prediction(predicted="bee", score=0.8125, unknown=True, **values)) == "unknown (bee 0.812)"


def test_importing_the_classifier_changes_nothing(tmp_path):
    heavy = {"tensorflow", "keras", "scipy", "jinja2", "rich", "watchfiles", "filelock", "reports", "training"}
    code = f"import sys; from predict import Classifier; assert not {heavy} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=with_modules(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_lines_of_the_documentation_run_in_any_folder(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").symlink_to(trained, target_is_directory=True)
    (tmp_path / "samples").symlink_to(ROOT / "samples", target_is_directory=True)
    (lines,) = blocks(ROOT / "docs/predict.md", "python")
    exec("\n".join(lines), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(list((ROOT / "samples/unseen").iterdir()))
    assert printed[0].startswith("samples/unseen/batman_1000.png ")
