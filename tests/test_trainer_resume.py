"""Resuming a run: as if it had never stopped, only with the same settings, and never from damaged weights."""

import dataclasses
import gc
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import trainer
from answers.trained_network import load_trained_network
from config import TrainConfig
from network.checkpoint_file import Checkpoint, write_checkpoint
from network.model_config import read_model_config
from pictures.manifest import TRAIN
from preprocessing import training_pictures
from system import files as files_module
from system.errors import UserError
from system.files import locked
from tests.helpers.pictures import ROOT, write_picture
from tests.helpers.processes import kill_script, running, wait_until
from tests.helpers.runs import (
    BY_STEPS,
    STEPS,
    arguments,
    assert_same_to_the_bit,
    files,
    history,
    latest_step,
    run_in,
    scalars,
    stop_at,
)
from training.callbacks import Throughput
from training.checkpoints import latest_checkpoint
from training.history import best_epoch


def best(config: TrainConfig) -> list[np.ndarray]:
    """Returns the weights of the best epoch, and their calibration."""
    classifier = load_trained_network(Path(config.model_save_name))
    return [*classifier.model.get_weights(), *classifier.calibration]


def crash() -> None:
    raise RuntimeError("power cut")


def test_streamed_pictures_give_the_same_run_to_the_bit(whole_run, tmp_path, capsys):
    config = run_in(tmp_path, whole_run, memory_gib=1e-6)
    assert trainer.main(config) == 0
    assert "more than 1 kB, so each is read from" in capsys.readouterr().out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    assert all(np.array_equal(one, other) for one, other in zip(best(config), best(whole_run), strict=True))


def test_damaged_picture_ends_a_streamed_run_in_one_line(whole_run, tmp_path, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(whole_run.data_path, data)
    config = run_in(tmp_path / "checkpoints", whole_run, memory_gib=1e-6, data_path=str(data))
    damaged = next(data.glob("ant/*.png"))
    fit = trainer.fit

    def fit_damaged(*arguments):
        damaged.write_bytes(damaged.read_bytes()[:-40])
        fit(*arguments)

    monkeypatch.setattr(trainer, "fit", fit_damaged)
    with pytest.raises(UserError, match=r"cannot read \S+ \(has changed since this run began\); delete") as refused:
        trainer.main(config)
    assert str(refused.value).startswith(f"{data}: cannot read ant/{damaged.name} (")
    assert str(refused.value).isprintable()


def test_two_epochs_and_two_more_equal_four_to_the_bit(whole_run, tmp_path):
    config = run_in(tmp_path, whole_run, tensorboard=True)
    shorter = run_in(tmp_path, whole_run, epochs=2, learning_rate_decay=0, tensorboard=True)
    assert trainer.main(shorter) == 0
    assert len(history(config.model_save_name)) == 2
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 4
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    assert all(np.array_equal(one, other) for one, other in zip(best(config), best(whole_run), strict=True))
    for name in ("report.txt", "report.json", "report.html"):
        report, expected = (
            Path(c.model_save_name, name).read_text(encoding="utf-8").replace(c.model_save_name, "checkpoints")
            for c in (config, whole_run)
        )
        assert report == expected


@pytest.mark.parametrize("step", [9, STEPS + 9, 2 * STEPS], ids=["first epoch", "second epoch", "end of an epoch"])
def test_run_stopped_by_a_signal_equals_an_uninterrupted_one(whole_run, tmp_path, monkeypatch, capsys, step):
    config = run_in(tmp_path, whole_run)
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    assert f"stopped and saved after step {step}" in capsys.readouterr().out
    assert latest_step(config.model_save_name) == step
    stopped = load_trained_network(Path(config.model_save_name))
    assert (stopped.calibration is not None) == (step > STEPS)  # it is calibrated if an epoch has ended
    assert trainer.main(config) == 0
    out = capsys.readouterr().out
    assert f"continuing after epoch {step // STEPS}, step {step}" in out
    assert epochs_shown(out) == list(range(step // STEPS + 1, 5))
    assert "other settings" not in out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def epochs_shown(out: str) -> list[int]:
    """Returns the numbers of the epochs for which a row was printed."""
    return [int(number) for number in re.findall(r"^ *(\d+) +\d+\.\d{3} .* %", out, re.MULTILINE)]


def scripted_accuracies(monkeypatch, *accuracies: float) -> None:
    """Replaces the validation accuracy and cost of each epoch, but not what is trained."""
    on_epoch_end = Throughput.on_epoch_end

    def replaced(self, epoch, logs=None):
        logs["val_accuracy"], logs["val_loss"] = accuracies[epoch], 1 - accuracies[epoch]
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(Throughput, "on_epoch_end", replaced)


def test_patience_raised_and_lowered_gives_an_uninterrupted_run(whole_run, tmp_path, monkeypatch, capsys):
    scripted_accuracies(monkeypatch, 0.5, 0.5, 0.5, 0.5, 0.9, 0.8, 0.8, 0.8)
    config = run_in(tmp_path / "resumed", whole_run, learning_rate_decay=0)
    for patience, epochs, done in ((2, 300, 3), (4, 5, 5), (2, 9, 7), (2, 9, 7), (1, 5, 7)):
        capsys.readouterr()
        before = len(history(config.model_save_name)) if done > 3 else 0
        assert trainer.main(dataclasses.replace(config, patience=patience, epochs=epochs)) == 0
        out = capsys.readouterr().out
        assert epochs_shown(out) == list(range(before + 1, done + 1))
        assert ("this run is finished" in out) == (before == done)
        assert len(history(config.model_save_name)) == done
        assert latest_step(config.model_save_name) == done * STEPS  # each epoch was trained to its end
    assert "this run is finished: train longer with --patience 3 --epochs 12, or" in out
    whole = run_in(tmp_path / "whole", whole_run, patience=4, epochs=7, learning_rate_decay=0)
    assert trainer.main(whole) == 0
    assert_same_to_the_bit(config.model_save_name, str(tmp_path / "whole"))
    assert all(np.array_equal(one, other) for one, other in zip(best(config), best(whole), strict=True))


def test_run_with_fewer_epochs_than_it_has_keeps_the_part_of_an_epoch(whole_run, tmp_path, monkeypatch, capsys):
    config = run_in(tmp_path, whole_run)
    with monkeypatch.context() as patch:
        stop_at(patch, 2 * STEPS + 9, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    assert trainer.main(dataclasses.replace(config, epochs=2)) == 0
    assert "this run is finished: train longer with --epochs 5, or" in capsys.readouterr().out
    assert latest_step(config.model_save_name) == 2 * STEPS + 9
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def in_memory(folder: Path) -> list[Checkpoint]:
    """Returns the checkpoints of a folder that something still refers to."""
    gc.collect()
    found = [thing for thing in gc.get_objects() if type(thing) is Checkpoint]
    return [checkpoint for checkpoint in found if checkpoint.path.is_relative_to(folder)]


def test_checkpoint_is_freed_once_it_is_restored(whole_run, tmp_path, monkeypatch):
    shutil.copytree(whole_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", whole_run, epochs=5)
    fit, found = trainer.fit, []

    def watched(*arguments):
        found.append(in_memory(tmp_path))
        return fit(*arguments)

    monkeypatch.setattr(trainer, "fit", watched)
    assert trainer.main(config) == 0
    assert found == [[]]
    classifier = load_trained_network(tmp_path / "copy")
    assert in_memory(tmp_path) == []
    latest = latest_checkpoint(tmp_path / "copy")
    (kept,) = in_memory(tmp_path)  # so it would have been found
    assert kept is latest
    assert classifier.step > 0


def test_tensorboard_shows_every_epoch_of_a_run_stopped_at_its_end(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run, tensorboard=True)
    with monkeypatch.context() as patch:
        stop_at(patch, 4 * STEPS, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    assert [step for step, _ in scalars(tmp_path / "validation", "cost")] == [1, 2, 3, 4]
    for path in tmp_path.glob("*/events*"):
        path.unlink()  # as if the disk had been full
    assert trainer.main(config) == 0
    for run in ("train", "validation"):
        assert scalars(tmp_path / run, "cost") == scalars(Path(whole_run.model_save_name, run), "cost")


@pytest.fixture(scope="module")
def crashed_run(whole_run, tmp_path_factory) -> TrainConfig:
    """Returns the config of the same run, which saved every 9 steps and crashed in the middle of its third epoch."""
    config = run_in(tmp_path_factory.mktemp("crashed"), whole_run, save_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 2 * STEPS + 18, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            trainer.main(config)
    return config


def test_run_that_crashed_continues_from_its_last_checkpoint(whole_run, crashed_run, tmp_path):
    shutil.copytree(crashed_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", crashed_run)
    assert latest_step(config.model_save_name) == 2 * STEPS + 9
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_damaged_newest_checkpoint_loses_the_steps_since_the_one_before(whole_run, crashed_run, tmp_path, capsys):
    shutil.copytree(crashed_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", crashed_run)
    newest = tmp_path / "copy" / f"ckpt-{2 * STEPS + 9}.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert trainer.main(config) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"{newest}: damaged (")
    assert f"continuing after epoch 2, step {2 * STEPS}" in out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_ctrl_c_saves_and_ends_and_the_same_command_continues(rawdata, settings_for, tmp_path, capsys):
    config = settings_for(TrainConfig)
    options = arguments(config, epochs=1_000_000, patience=1_000_000, save_seconds=0)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(sys.executable, ROOT / "trainer.py", *options, cwd=tmp_path, **pipes) as process:
        wait_until(lambda: len(list(Path(config.model_save_name).glob("ckpt-*"))) >= 2, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert "stopped and saved after step" in out
    assert err == ""
    done = len(history(config.model_save_name))
    assert trainer.main(dataclasses.replace(config, epochs=done + 1, patience=1_000_000)) == 0
    assert f"continuing after epoch {done}, " in capsys.readouterr().out
    assert len(history(config.model_save_name)) == done + 1


def test_second_ctrl_c_while_saving_leaves_complete_checkpoints(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run, save_seconds=0)
    fsync, is_saving = files_module._fsync, []

    def interrupted(path):
        if is_saving:
            signal.raise_signal(signal.SIGINT)
        fsync(path)

    with monkeypatch.context() as patch:
        patch.setattr(files_module, "_fsync", interrupted)
        stop_at(patch, STEPS + 9, lambda: (signal.raise_signal(signal.SIGINT), is_saving.append(True)))
        with pytest.raises(KeyboardInterrupt):
            trainer.main(config)
    assert latest_step(config.model_save_name) in (STEPS, STEPS + 9)  # a thread may go on here; a script ends at once
    assert trainer.main(config) == 0
    assert not list(tmp_path.rglob("*.part"))
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_killed_run_continues_to_the_same_end(whole_run, tmp_path):
    config = run_in(tmp_path / "checkpoints", whole_run, save_seconds=0)
    options = arguments(config, epochs=4, save_seconds=0, **BY_STEPS)
    kill_script("trainer.py", *options, suffix=".safetensors", count=3, cwd=tmp_path)
    assert 9 <= latest_step(config.model_save_name) < 4 * STEPS
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    assert not list(tmp_path.rglob("*.part"))
    assert all(np.array_equal(one, other) for one, other in zip(best(config), best(whole_run), strict=True))


def test_second_run_in_the_same_folder_is_refused(whole_run):
    before = files(whole_run.model_save_name)
    refused = pytest.raises(UserError, match="another run is using this folder; wait or stop it")
    with locked(Path(whole_run.model_save_name)), refused:
        trainer.main(whole_run)
    assert files(whole_run.model_save_name) == before


def test_checkpoints_are_saved_at_the_start_and_at_the_end(whole_run):
    names = sorted(path.name for path in Path(whole_run.model_save_name).glob("ckpt-*"))
    assert names == ["ckpt-0.safetensors", f"ckpt-{4 * STEPS}.safetensors"]


def test_finished_run_says_how_to_train_longer_and_changes_nothing(whole_run, capsys):
    def content() -> dict[Path, bytes]:
        """Returns all files but those of TensorBoard, which are written again."""
        return {path: data for path, data in files(whole_run.model_save_name).items() if "events" not in path.name}

    before = content()
    assert trainer.main(whole_run) == 0
    out = capsys.readouterr().out
    assert "this run is finished" in out
    assert "--epochs 8" in out
    assert "--model_save_name" in out
    end = "Finished after 4 epochs: no more than --epochs 4, the last 1 with a falling learning rate. Kept: epoch 4."
    assert end in out.replace("\n", " ")
    assert content() == before


@pytest.mark.parametrize(
    ("change", "both"),
    [
        ({"seed": 2}, "--seed 1, not 2"),
        ({"height": 32}, "--height 16, not 32"),
        ({"dropout": 0}, "--dropout 0.5, not 0"),
        ({"loss": "sigmoid"}, "--loss softmax, not sigmoid"),
        ({"random_mirror": False}, "--random_mirror True, not False"),
        ({"balance_classes": False}, "--balance_classes True, not False"),
        ({"validation_split": 0.2}, "--validation_split 0.05, not 0.2"),
        ({"batch_size": 3000}, "--batch_size 1, not 3000"),
    ],
    ids=["seed", "height", "dropout", "loss", "mirror", "balance", "split", "batch"],
)
def test_resuming_with_different_settings_is_refused(whole_run, tmp_path, change, both):
    before = files(whole_run.model_save_name)
    config = dataclasses.replace(whole_run, data_path=str(tmp_path / "data"), **change)
    with pytest.raises(UserError, match=both):
        trainer.main(config)
    assert files(whole_run.model_save_name) == before
    assert not (tmp_path / "data").exists()  # it is refused before anything is done


def test_resuming_with_an_overwritten_training_picture_is_refused(rawdata, settings_for):
    config = settings_for(TrainConfig, epochs=1)
    trainer.main(config)
    before = files(config.model_save_name)
    training = [picture for picture in training_pictures(config) if picture.split == TRAIN]
    path = Path(training[0].path)
    write_picture(path, label=0, seed=1000)
    with pytest.raises(UserError, match="was trained with different pictures; train to a new folder"):
        trainer.main(config)
    assert [picture.stored for picture in training_pictures(config) if picture.split == TRAIN] == [
        picture.stored for picture in training
    ]  # neither names nor split have changed
    assert files(config.model_save_name) == before


def test_settings_that_affect_only_the_future_may_change(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", whole_run, epochs=5, learning_rate=0.0005, patience=50, save_seconds=1)
    assert trainer.main(config) == 0
    changes = "epochs 5 (was 4), patience 50 (was 30), learning_rate 0.0005 (was 0.001)"
    assert f"\n           with other settings than before: {changes}\n" in capsys.readouterr().out
    assert trainer.main(config) == 0
    assert "other settings" not in capsys.readouterr().out  # they are remembered
    rates = [metrics["learning_rate"] for metrics in history(config.model_save_name)]
    assert rates[:4] == [metrics["learning_rate"] for metrics in history(whole_run.model_save_name)]
    assert len(rates) == 5
    assert rates[4] < rates[0]


def test_another_number_of_replicas_is_said_with_its_consequences(whole_run, tmp_path, capsys):
    """The checkpoint of a run of two replicas, in the middle of its epoch: one continues with the sums of both."""
    folder = tmp_path / "copy"
    config = run_in(folder, whole_run, epochs=2, save_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, STEPS + 9, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    latest = latest_checkpoint(folder)
    (sums,) = latest.tensors["metric_sums"]
    latest.tensors["metric_sums"] = np.stack([0.25 * sums, 0.75 * sums])
    write_checkpoint(latest.path, latest.tensors, dataclasses.replace(latest.model_config, replicas=2))
    capsys.readouterr()
    assert trainer.main(config) == 0
    out = capsys.readouterr().out
    assert "\n           with other settings than before: replicas 1 (was 2)\n           so sums are rounded " in out
    assert history(str(folder))[1]["loss"] == pytest.approx(history(whole_run.model_save_name)[1]["loss"], rel=1e-5)
    assert latest_checkpoint(folder).model_config.replicas == 1


def test_settings_changed_after_the_end_of_a_run_are_remembered(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", whole_run, unknown_rate=0.5, memory_gib=1)
    for change in ("with other settings than before: unknown_rate 0.5 (was 0.05)\n", ""):
        assert trainer.main(config) == 0
        out = capsys.readouterr().out
        assert change in out if change else "other settings" not in out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    assert read_model_config(tmp_path / "copy").unknown_rate == 0.5


def test_report_after_lost_best_weights_is_about_the_newest_ones(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", whole_run)
    shutil.rmtree(tmp_path / "copy" / "best")
    assert trainer.main(config) == 0
    out, err = capsys.readouterr()
    assert "best: the weights of the best epoch are gone" in err
    assert "validation pictures, after epoch 4:" in out
    best = 1 + best_epoch(history(config.model_save_name))
    lost = "" if best == 4 else f", since the weights of epoch {best} are lost"
    assert f"Kept: epoch 4{lost}.\n" in out
    assert load_trained_network(tmp_path / "copy").calibration is not None
