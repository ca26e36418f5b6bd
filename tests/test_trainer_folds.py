"""Training with several folds: each picture is judged by a network that never saw it, and all answer together."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import predict
import trainer
from answers.ensemble import load_network
from answers.loading import load_engine
from config import PredictConfig, TrainConfig
from network.checkpoint_file import member_folder
from network.model_file import read_model_file
from pictures.manifest import TRAIN, VALIDATION, kept, read_manifest
from pictures.split import pictures_of_fold
from system.errors import UserError
from tests.helpers.files import contents
from tests.helpers.pages import Page
from tests.helpers.pictures import write_classes
from tests.helpers.runs import stop_at, tensors
from training.batches import load


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[TrainConfig, str]:
    """Returns the config of a run of 2 folds and 2 epochs with 20 pictures, and what it printed."""
    folder = tmp_path_factory.mktemp("folds")
    write_classes(folder / "rawdata", 12, 8)
    config = TrainConfig(
        raw_data=str(folder / "rawdata"),
        augmented=str(folder / "augmented"),
        data_path=str(folder / "data"),
        model_save_name=str(folder / "networks"),
        height=16,
        width=16,
        batch_size=1,
        epochs=2,
        folds=2,
        tensorboard=False,
        save_seconds=1000,
    )
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert trainer.main(config) == 0
    return config, out.getvalue()


def images_of(config: TrainConfig) -> np.ndarray:
    return load(kept(read_manifest(Path(config.data_path, "manifest.csv"))), config).images


def test_folds_are_shown_and_reported(finished):
    config, out = finished
    assert "20 to train, 20 to validate in 2 folds, 0 copies, 0 skipped" in out
    assert re.findall(r"^fold \d of \d$", out, re.MULTILINE) == ["fold 1 of 2", "fold 2 of 2"]
    assert "Each of 20 pictures was judged by the network that was not trained on it:" in out
    assert re.search(r"^Accuracy of each of the 2 networks: \S+, \S+; mean and deviation \S+ ± \S+ %\.$", out, re.M)
    folder = Path(config.model_save_name)
    assert set((folder / "report.txt").read_text(encoding="utf-8").splitlines()[:6]) <= set(out.splitlines())
    report = json.loads((folder / "report.json").read_text())
    assert [(fold["fold"], fold["epochs"], fold["pictures"]) for fold in report["folds"]] == [(1, 2, 10), (2, 2, 10)]
    assert sum(fold["correct"] for fold in report["folds"]) == report["report"]["correct"]
    assert report["source"] == read_model_file(folder / "model.tflite").source
    assert report["data"]["classes"]["ant"] == {
        "used": 12,
        "train": 12,
        "validation": 12,
        "copies": 0,
        "skipped": 0,
        "excluded": 0,
    }
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "Each of 20 pictures was judged by the network that was not trained on it." in page.text


def test_fold_keeps_what_is_needed_to_predict_and_to_train_longer(finished):
    folder = Path(finished[0].model_save_name)
    for fold in (1, 2):
        names = sorted(re.sub(r"\d+", "N", name) for name in contents(member_folder(folder, fold)))
        assert names == ["best/ckpt-N.safetensors", "ckpt-N.safetensors", "model.json", "model.tflite"]


def test_each_picture_is_judged_by_the_network_that_never_saw_it(finished):
    config, _ = finished
    manifest = read_manifest(Path(config.data_path, "manifest.csv"))
    judged = []
    for fold in (1, 2):
        rows = kept(pictures_of_fold(manifest, fold))
        groups = {part: {picture.group for picture in rows if picture.split == part} for part in (TRAIN, VALIDATION)}
        assert not groups[TRAIN] & groups[VALIDATION]
        judged += [picture for picture in rows if picture.split == VALIDATION]
        engine = load_engine(member_folder(Path(config.model_save_name), fold))
        validating = [picture for picture in rows if picture.split == VALIDATION]
        predicted = engine.predict(load(validating, config).images).predicted
        labels = np.array([picture.class_name == "bee" for picture in validating])
        report = json.loads(Path(config.model_save_name, "report.json").read_text())
        assert report["folds"][fold - 1]["correct"] == (predicted == labels).sum()
    assert sorted(picture.path for picture in judged) == sorted(picture.path for picture in kept(manifest))


def test_ensemble_answers_with_the_mean_of_its_members(finished):
    config, _ = finished
    folder, images = Path(config.model_save_name), images_of(config)
    members = [load_engine(member_folder(folder, fold)).outputs(images) for fold in (1, 2)]
    engine = load_engine(folder)
    logits, scores, distances, agreement = engine.outputs(images)
    mean = (members[0].logits + members[1].logits) / 2
    np.testing.assert_allclose(logits, mean, atol=1e-5)
    np.testing.assert_allclose(distances, (members[0].distances + members[1].distances) / 2, rtol=1e-3)
    own = [member.logits.argmax(axis=1) == mean.argmax(axis=1) for member in members]
    np.testing.assert_array_equal(agreement, np.mean(own, axis=0))
    calibration = json.loads((folder / "ensemble.json").read_text())
    odds = mean[:, 0] - mean[:, 1]  # of two classes
    expected = 1 / (1 + np.exp(-calibration["slope"] * odds - calibration["intercept"]))
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-5)
    assert engine.calibrated and engine.max_distance == calibration["max_distance"]


def test_ensemble_has_heat_maps_of_all_members(finished):
    config, _ = finished
    folder, images, classes = Path(config.model_save_name), images_of(config)[:3], np.array([0, 1, 1])
    maps = sum(load_engine(member_folder(folder, fold)).heat_maps(images, classes) for fold in (1, 2))
    expected = maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-30)
    np.testing.assert_allclose(load_engine(folder).heat_maps(images, classes), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["", "model.tflite", "model.json", "fold-2"])
def test_predict_finds_the_networks_by_each_name(finished, name, capsys):
    config, _ = finished
    picture = str(Path(config.raw_data, "ant", "00.png"))
    assert predict.main(PredictConfig(images=(picture,), model_save_name=str(Path(config.model_save_name, name)))) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{picture}  ") and err == ""


def test_ensemble_is_exported_in_all_formats(finished, tmp_path, capsys):
    config, _ = finished
    picture = str(Path(config.raw_data, "ant", "00.png"))
    export = str(tmp_path / "exported")
    assert predict.main(PredictConfig(images=(picture,), model_save_name=config.model_save_name, export=export)) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(?:model|saved)\S+", out, re.MULTILINE)[:3] == [
        *("model.tflite", "model_float16.tflite", "saved_model")
    ]
    card = Path(export, "README.md").read_text(encoding="utf-8")
    assert card.split("\n\n")[1].startswith("2 convolutional networks that answer together")
    assert "| `agreement` | float32 (count,) |" in card
    assert "Measured on 20 pictures, each of which was judged by the network that was not trained on it." in card


def test_finished_folds_are_not_trained_again(finished, capsys):
    config, _ = finished
    before = contents(config.model_save_name)
    assert trainer.main(config) == 0
    out = capsys.readouterr().out
    assert out.count("was finished before, after 2 epochs") == 2
    assert "train longer with --epochs 5," in out
    assert contents(config.model_save_name) == before


def test_run_stopped_in_fold_2_continues_to_the_same_bits(finished, tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(finished[0], model_save_name=str(tmp_path / "networks"))
    folder = Path(config.model_save_name)
    shutil.copytree(member_folder(Path(finished[0].model_save_name), 1), member_folder(folder, 1))
    with monkeypatch.context() as patch:
        stop_at(patch, 10, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    assert "stopped and saved after step 10; run the same command to continue" in capsys.readouterr().out
    assert not load_engine(folder).calibrated  # although each of the two networks is
    assert trainer.main(config) == 0
    for fold in (1, 2):
        own, other = (tensors(str(member_folder(Path(c.model_save_name), fold))) for c in (config, finished[0]))
        assert own.keys() == other.keys()
        assert all(np.array_equal(own[name], other[name]) for name in own)
    assert (folder / "model.tflite").read_bytes() == Path(finished[0].model_save_name, "model.tflite").read_bytes()


def test_missing_or_old_file_of_an_ensemble_is_built_again(finished, tmp_path, capsys):
    original, folder = Path(finished[0].model_save_name), tmp_path / "networks"
    shutil.copytree(original, folder)
    (folder / "model.tflite").unlink()
    engine = load_engine(folder)
    assert "is built from the best weights once" in capsys.readouterr().err
    assert engine.calibrated and engine.model.content == (original / "model.tflite").read_bytes()
    network = load_network(member_folder(folder, 2))
    network.model.get_layer("logits").bias.assign([3, -3])
    network.save(member_folder(folder, 2))
    engine = load_engine(folder)
    assert "is built from the best weights once" in capsys.readouterr().err
    assert not engine.calibrated  # since its calibration is that of other weights
    load_engine(folder)
    assert capsys.readouterr().err == ""


def test_ensemble_needs_all_its_members(finished, tmp_path):
    original, folder = Path(finished[0].model_save_name), tmp_path / "networks"
    shutil.copytree(member_folder(original, 1), member_folder(folder, 1))
    shutil.copy(original / "model.json", folder)
    with pytest.raises(UserError) as refused:
        load_engine(folder)
    assert str(refused.value) == (
        f"{folder}: 1 of its 2 networks have been trained so far, and they answer together; run trainer.py to its end, "
        f"or use one of them alone: --model_save_name {member_folder(folder, 1)}"
    )


@pytest.mark.parametrize(("folds", "others", "message"), [(2, 1, "2, not 1"), (2, 3, "2, not 3"), (1, 2, "1, not 2")])
def test_folds_must_not_change(finished, tmp_path, folds, others, message):
    config = dataclasses.replace(finished[0], folds=folds, model_save_name=str(tmp_path / "networks"))
    folder = Path(config.model_save_name)
    source = Path(finished[0].model_save_name)
    shutil.copytree(source if folds > 1 else member_folder(source, 1), folder)
    with pytest.raises(UserError, match=f"was trained with --folds {message}; train to a new folder"):
        trainer.main(dataclasses.replace(config, folds=others))


def test_member_of_an_ensemble_is_not_trained_alone(finished):
    folder = member_folder(Path(finished[0].model_save_name), 1)
    with pytest.raises(UserError, match="is a part of"):
        trainer.main(dataclasses.replace(finished[0], folds=1, model_save_name=str(folder)))
