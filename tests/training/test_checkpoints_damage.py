"""Checkpoints of a run that are damaged, lost or of another network are named and never replaced by a new run."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from answers.trained_network import load_trained_network
from network.checkpoint_file import write_checkpoint
from network.model_config import VERSION, read_model_config
from system.errors import UserError
from tests.helpers.checkpoints import (
    MODEL_CONFIG,
    calibrate_best,
    checkpoint_file,
    epoch_of,
    flip_a_bit,
    new_run,
    resumed,
    save_epochs,
    truncate,
)
from training.checkpoints import latest_checkpoint
from training.history import METRICS


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink], ids=["truncated", "flipped bit", "missing"])
def test_restore_skips_a_damaged_checkpoint_and_names_it(tmp_path, capsys, damage):
    save_epochs(*new_run(tmp_path), 0.1, 0.2, 0.3)
    damage(checkpoint_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path)
    assert (epoch_of(model), checkpoints.step, len(checkpoints.history)) == (2, 20, 2)
    lines = capsys.readouterr().err.splitlines()
    if damage is Path.unlink:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{tmp_path / 'ckpt-30.safetensors'}: damaged (")


def test_restore_of_intact_checkpoints_prints_nothing(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    model, _ = resumed(tmp_path)
    assert epoch_of(model) == 2
    assert capsys.readouterr() == ("", "")


def test_latest_checkpoint_refuses_a_folder_of_damaged_ones(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    for step in (10, 20):
        truncate(checkpoint_file(tmp_path, step))
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("lost", "left"),
    [(["best"], "model.json"), (["model.json"], "best"), ([], "model.json and best")],
    ids=["best", "model config", "nothing else"],
)
def test_latest_checkpoint_refuses_a_folder_whose_checkpoints_are_gone(tmp_path, lost, left):
    save_epochs(*new_run(tmp_path), 0.1)
    for path in tmp_path.glob("ckpt-*"):
        path.unlink()
    for name in lost:
        shutil.rmtree(tmp_path / name) if name == "best" else (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"has {left}, but its checkpoints are gone; restore them"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", [truncate, Path.unlink], ids=["truncated", "missing"])
def test_restore_writes_a_lost_or_damaged_model_config_again(tmp_path, damage):
    save_epochs(*new_run(tmp_path), 0.1)
    damage(tmp_path / "model.json")
    resumed(tmp_path)
    assert read_model_config(tmp_path) == MODEL_CONFIG


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("average/conv_1/kernel", None, "its weights do not fit this network"),
        ("average/conv_1/kernel", np.zeros(3, np.float32), "its weights do not fit this network"),
        ("average/conv_1/kernel", np.zeros((5, 5, 3, 16)), "its weights do not fit this network"),  # float64
        ("average/conv_9/kernel", np.zeros(3, np.float32), "its weights do not fit this network"),
        ("history", None, "it has no valid history"),
        ("history", np.zeros((1, 4)), "it has no valid history"),
        ("history", np.zeros(5), "it has no valid history"),
        ("history", np.full((1, len(METRICS)), math.nan), "it has no valid history"),
        ("metric_sums", None, "it has no valid metrics"),
        ("metric_sums", np.zeros(99), "it has no valid metrics"),
        ("metric_sums", np.zeros((1, 1)), "it has no valid metrics"),
        ("metric_sums", np.full((1, 2), math.inf), "it has no valid metrics"),
    ],
)
def test_restore_refuses_what_does_not_fit_in_one_line(tmp_path, name, value, reason):
    save_epochs(*new_run(tmp_path), 0.1)
    saved = latest_checkpoint(tmp_path)
    saved.tensors[name] = value
    tensors = {name: value for name, value in saved.tensors.items() if value is not None}
    write_checkpoint(saved.path, tensors, MODEL_CONFIG)
    with pytest.raises(UserError) as refused:
        resumed(tmp_path)
    remedy = "train to a new folder with --model_save_name"
    assert str(refused.value) == f"{saved.path}: cannot continue from it: {reason}; {remedy}"


def test_latest_checkpoint_says_that_another_version_has_saved_a_folder(tmp_path, capsys):
    """Its checkpoints cannot be read by this version, so they look damaged."""
    save_epochs(*new_run(tmp_path), 0.1)
    for content in ({"version": VERSION + 1}, {"version": "4.0"}, {"classes": 2}):
        (tmp_path / "model.json").write_text(json.dumps(content))
        truncate(checkpoint_file(tmp_path, 10))
        with pytest.raises(UserError, match=r"model\.json: was saved by another version of this toolkit"):
            latest_checkpoint(tmp_path)
    assert capsys.readouterr().err == ""


def test_restore_without_best_weights_says_that_the_newest_are_used(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    shutil.rmtree(tmp_path / "best")
    resumed(tmp_path)
    assert "best: the weights of the best epoch are gone; the newest ones are used" in capsys.readouterr().err
    assert epoch_of(load_trained_network(tmp_path)) == 2


def test_folder_contains_nothing_that_could_be_executed(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5)
    calibrate_best(tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["best/ckpt-10.safetensors", "ckpt-10.safetensors", "model.json"]
    for path in tmp_path.rglob("ckpt-*"):
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert len(header) > 20
        assert {tensor["dtype"] for tensor in header.values()} <= {"F32", "F64", "I64", "U8", "U32", "I32"}
