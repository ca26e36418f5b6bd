"""What ends a run early: a full disk, and a cost or weights that are not finite. What is saved stays intact."""

import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import trainer
from answers.trained_network import load_trained_network
from config import TrainConfig
from preprocessing import training_pictures
from system.errors import UserError
from tests.helpers.runs import (
    BY_STEPS,
    STEPS,
    arguments,
    assert_same_to_the_bit,
    files,
    latest_step,
    run_here,
    run_in,
)
from training.batches import batch_indices
from training.callbacks import SaveCheckpoints, Throughput


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_disk_without_room_for_a_checkpoint_ends_a_run_at_once(whole_run, tmp_path, capsys):
    import resource  # not on Windows

    folder = tmp_path / "checkpoints"
    options = arguments(run_in(folder, whole_run), epochs=4, **BY_STEPS)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
        code = run_here("trainer.py", trainer.main, TrainConfig, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert code == 2
    assert re.fullmatch(r"trainer\.py: '.*ckpt-0\.safetensors.*': File too large.*", line)
    assert not re.search(r"\n +1 ", out)  # no epoch
    assert not [*folder.rglob("*.safetensors*"), *folder.glob("model.json")]  # the same command starts again


def test_disk_without_room_for_tensorboard_does_not_end_a_run(whole_run, tmp_path, capsys):
    (tmp_path / "train").write_bytes(b"not a folder")
    config = run_in(tmp_path, whole_run, tensorboard=True)
    assert trainer.main(config) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("TensorBoard's files cannot be written, but training continues: ")
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


@pytest.mark.parametrize(("execution", "step"), [(0, 0), (1, 9)], ids=["first step", "tenth step"])
def test_loss_that_is_not_finite_ends_the_run_and_names_the_batch(whole_run, tmp_path, monkeypatch, execution, step):
    folder = tmp_path / "copy"
    shutil.copytree(whole_run.model_save_name, folder)
    on_train_batch_begin = SaveCheckpoints.on_train_batch_begin

    def poison(self, batch, logs=None):
        on_train_batch_begin(self, batch, logs)
        if batch == 9 * execution:
            self.model.get_layer("logits").bias.assign(np.full(2, math.nan))

    monkeypatch.setattr(SaveCheckpoints, "on_train_batch_begin", poison)
    before = {path: content for path, content in files(folder).items() if "events" not in path.name}
    with pytest.raises(UserError, match=r"the cost became nan with the pictures (\S+), so.*--learning_rate") as error:
        trainer.main(run_in(folder, whole_run, epochs=6, save_seconds=1000))
    assert str(error.value).isprintable()
    assert {path: content for path, content in files(folder).items() if "events" not in path.name} == before
    (index,) = batch_indices(4 * STEPS + step, count=18, batch_size=1, seed=1)
    training = [picture for picture in training_pictures(whole_run) if picture.split == "train"]
    assert f"the pictures {Path(whole_run.data_path, training[index].stored)}, so" in str(error.value)


def test_weights_that_are_not_finite_are_not_saved_within_an_epoch(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run, save_seconds=0)

    def poison(model):
        model.get_layer("logits").bias.assign(np.full(2, math.nan))

    with monkeypatch.context() as patch:
        on_train_batch_end = Throughput.on_train_batch_end

        def poisoned(self, batch, logs=None):
            on_train_batch_end(self, batch, logs)
            if self.model.optimizer.iterations == STEPS + 9:  # its loss was computed before and is still finite
                poison(self.model)

        patch.setattr(Throughput, "on_train_batch_end", poisoned)
        with pytest.raises(UserError, match="the cost became nan with the pictures .*ant|bee"):
            trainer.main(config)
    assert latest_step(config.model_save_name) == STEPS
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_weights_not_finite_after_the_last_step_of_an_epoch_are_not_saved(whole_run, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(whole_run.model_save_name, folder)
    on_train_batch_end = Throughput.on_train_batch_end

    def poison(self, batch, logs=None):
        if self.model.optimizer.iterations == 5 * STEPS:  # its loss was computed before
            self.model.get_layer("logits").bias.assign(np.full(2, math.nan))
        on_train_batch_end(self, batch, logs)

    monkeypatch.setattr(Throughput, "on_train_batch_end", poison)
    with pytest.raises(UserError, match="nan"):
        trainer.main(run_in(folder, whole_run, epochs=5, save_seconds=0))
    monkeypatch.undo()
    assert latest_step(str(folder)) == 4 * STEPS + 9
    trainer.main(run_in(folder, whole_run, epochs=5))
    assert all(np.isfinite(weights).all() for weights in load_trained_network(folder).model.get_weights())
