"""A training run: what it trains, what it says and when it ends."""

import dataclasses
import os
import shutil
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_picture
from runs import BY_STEPS, FROZEN, STEPS, files, history, stop_at

import trainer
from checkpoint import load_classifier, read_description
from config import TrainConfig, UserError
from dataset import load
from preprocessing import prepare


def test_a_run_says_what_it_found_does_and_made(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=2)
    assert trainer.main(config) == 0
    out, err = capsys.readouterr()
    assert "classes: ant, bee" in out
    assert "training on 16 pictures, validating on 4" in out
    assert "device: " in out
    for layer in ("conv_1", "pooling_2", "activation_3", "fully_connected_1", "logits"):
        assert layer in out
    assert "(None, 8, 8, 16)" in out
    for figure in ("cost: ", "accuracy: ", "val_accuracy: ", "images_per_second: "):
        assert f" {figure}" in out
    assert "loss: " not in out
    assert f"after epoch {1 + best(history(config.model_save_name))} of 2" in out
    assert f"python predict.py --model_save_name {config.model_save_name} picture.jpg" in out
    assert f"tensorboard --logdir {config.model_save_name}" in out
    assert "finished" not in out
    assert "Traceback" not in err


def best(figures: list[dict[str, float]]) -> int:
    return max(range(len(figures)), key=lambda epoch: (figures[epoch]["val_accuracy"], -figures[epoch]["val_cost"]))


def test_data_is_made_when_it_is_missing_and_refreshed_when_pictures_are_added(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    trainer.main(config)
    assert len(list(Path(config.data_path).rglob("*.png"))) == 20
    write_picture(rawdata / "ant" / "new.png", label=0, seed=99)
    with pytest.raises(UserError, match="other pictures than there are now"):
        trainer.main(config)
    assert len(list(Path(config.data_path).rglob("*.png"))) == 21
    assert trainer.main(dataclasses.replace(config, model_save_name=config.model_save_name + "2")) == 0
    assert "training on 16 pictures, validating on 5" in capsys.readouterr().out


def test_a_ready_made_data_folder_is_enough(rawdata, settings_for, capsys):
    config = settings_for(TrainConfig, epochs=1)
    rawdata.rename(config.data_path)
    before = files(config.data_path)
    assert trainer.main(config) == 0
    assert "training on 16 pictures, validating on 4" in capsys.readouterr().out
    assert files(config.data_path) == before


@pytest.mark.parametrize("patience", [1, 2])
def test_a_run_ends_after_so_many_epochs_without_a_better_validation_accuracy(rawdata, settings_for, capsys, patience):
    config = settings_for(TrainConfig, epochs=20, patience=patience, **FROZEN)
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 1 + patience
    capsys.readouterr()
    assert trainer.main(config) == 0
    assert f"train longer with --patience {2 * patience}" in capsys.readouterr().out


def test_patience_counts_the_epochs_before_a_run_was_resumed(rawdata, settings_for):
    config = settings_for(TrainConfig, epochs=3, patience=3, **FROZEN)
    trainer.main(config)
    assert len(history(config.model_save_name)) == 3
    trainer.main(dataclasses.replace(config, epochs=20))
    assert len(history(config.model_save_name)) == 4


def test_patience_counts_through_a_stop_in_the_middle_of_an_epoch(rawdata, settings_for, monkeypatch):
    config = settings_for(TrainConfig, epochs=20, patience=2, **FROZEN, **BY_STEPS)
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS + 9, lambda: signal.raise_signal(signal.SIGINT))
        assert trainer.main(config) == 130
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 3


@pytest.mark.parametrize("balance", [True, False])
def test_classes_count_alike_however_many_pictures_they_have_unless_switched_off(tmp_path, settings_for, balance):
    """All ants are one picture and all bees another, so the costs of these two give that of an epoch by hand."""
    config = settings_for(TrainConfig, epochs=1, batch_size=16, balance_classes=balance, **FROZEN)
    for name, label, count in (("ant", 0, 15), ("bee", 1, 5)):  # train 12 and 4, validate 3 and 1
        for number in range(count):
            write_picture(Path(config.raw_data, name, f"{number}.png"), label=label, seed=0)
    trainer.main(config)
    model, description = load_classifier(Path(config.model_save_name))
    samples = load(prepare(config), config)
    pair = samples.images[[samples.labels.tolist().index(label) for label in (0, 1)]]
    cost_ant, cost_bee = -np.diag(keras.ops.log_softmax(model.predict_on_batch(pair)))
    assert description.class_names == ["ant", "bee"]
    assert abs(cost_ant - cost_bee) > 0.01
    expected = (cost_ant + cost_bee) / 2 if balance else (3 * cost_ant + cost_bee) / 4
    (figures,) = history(config.model_save_name)
    assert figures["cost"] == pytest.approx(expected, rel=1e-3)
    assert figures["val_cost"] == pytest.approx((3 * cost_ant + cost_bee) / 4, rel=1e-3)


def test_easy_pictures_are_learnt_and_the_best_checkpoint_knows_unseen_ones(rawdata, settings_for, tmp_path):
    config = settings_for(TrainConfig, epochs=12, random_mirror=False)
    assert trainer.main(config) == 0
    model, description = load_classifier(Path(config.model_save_name))
    fresh = dataclasses.replace(config, raw_data=str(tmp_path / "fresh"), data_path=str(tmp_path / "fresh_data"))
    for label, name in enumerate(description.class_names):
        for number in range(20):
            write_picture(Path(fresh.raw_data, name, f"{number}.png"), label=label, seed=1000 + number)
    samples = load(prepare(fresh), fresh)
    named = model.predict_on_batch(samples.images).argmax(axis=1)
    assert len(named) == 40
    assert (named == samples.labels).mean() >= 0.9


def test_three_classes_of_grey_pictures_train(rawdata, settings_for, capsys):
    for number in range(5):
        write_picture(rawdata / "wasp" / f"{number}.png", label=2, seed=number)
    config = settings_for(TrainConfig, epochs=1, color_channels=1, height=17, width=23)
    assert trainer.main(config) == 0
    assert "classes: ant, bee, wasp" in capsys.readouterr().out
    assert read_description(Path(config.model_save_name)).class_names == ["ant", "bee", "wasp"]


def test_more_than_a_thousand_classes_are_refused_and_a_thousand_are_not(settings_for, tmp_path):
    config = settings_for(TrainConfig, epochs=1, batch_size=500, data_path=str(tmp_path / "many"))
    content = write_picture(tmp_path / "one.png", label=0, seed=0, size=(16, 16)).read_bytes()
    for number in range(1001):
        folder = Path(config.data_path, f"{number:04d}")
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(content)
        (folder / "2.png").write_bytes(content)
    with pytest.raises(UserError, match="1001 classes; at most 1,000"):
        trainer.main(config)
    assert not Path(config.model_save_name).exists()
    shutil.rmtree(Path(config.data_path, "1000"))
    assert trainer.main(config) == 0


no_gpu = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="TensorFlow can use a GPU here")


@no_gpu
@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot use NVIDIA GPUs")
def test_an_nvidia_gpu_that_cannot_be_used_is_told_with_the_command_that_mends_it(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trainer.set_up_device().endswith("-m pip install -r requirements-cuda.txt")


@no_gpu
@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="there is an NVIDIA GPU")
def test_without_an_nvidia_gpu_none_is_mentioned(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trainer.set_up_device() == f"CPU with {os.cpu_count()} cores"


def test_the_script_names_a_missing_folder_in_one_line(script):
    ended = script("trainer.py")
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line == "trainer.py: rawdata: no such folder; make it and put your pictures into one sub-folder a class"
