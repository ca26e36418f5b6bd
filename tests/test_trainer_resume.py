"""Going on with a run: as if it had never stopped, only with what it began with, and never from broken weights."""

import dataclasses
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write_picture
from runs import BY_STEPS, STEPS, files, history, newest_step, stop_at, stored
from test_summaries import curve

import files as files_module
import trainer
from callbacks import Keeper, Vocabulary
from checkpoint import load_classifier
from config import TrainConfig, UserError
from dataset import places_of
from files import locked
from preprocessing import prepare


def assert_same_to_the_bit(folder: str, other: str) -> None:
    found, wanted = stored(folder), stored(other)
    assert found.keys() == wanted.keys()
    for part in ("weights", "average", "optimizer"):
        assert len([name for name in found if name.startswith(f"{part}/")]) > 20
    for name, value in wanted.items():
        assert np.array_equal(found[name], value), name


def run_in(folder: Path, config: TrainConfig, **changes) -> TrainConfig:
    """The same run, with its checkpoints elsewhere."""
    return dataclasses.replace(config, model_save_name=str(folder), **changes)


def best(config: TrainConfig) -> list[np.ndarray]:
    """The weights of the best epoch, and their calibration."""
    classifier, _ = load_classifier(Path(config.model_save_name))
    assert classifier.is_calibrated
    return [variable.numpy() for variable in [*classifier.weights, *classifier.calibration]]


def crash() -> None:
    raise RuntimeError("power cut")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> TrainConfig:
    """An uninterrupted run of 4 epochs over pictures that every test may read."""
    folder = tmp_path_factory.mktemp("whole")
    for number in range(12):
        write_picture(folder / "rawdata" / "ant" / f"{number}.jpg", label=0, seed=number)
    for number in range(8):
        write_picture(folder / "rawdata" / "bee" / f"{number}.png", label=1, seed=number)
    config = TrainConfig(
        raw_data=str(folder / "rawdata"),
        augmented=str(folder / "augmented"),
        data_path=str(folder / "data"),
        model_save_name=str(folder / "checkpoints"),
        height=16,
        width=16,
        epochs=4,
        **BY_STEPS,
    )
    assert trainer.main(config) == 0
    return config


def test_a_run_that_streams_its_pictures_equals_one_that_keeps_them_to_the_bit(whole_run, tmp_path, capsys):
    config = run_in(tmp_path, whole_run, memory_gib=0)
    assert trainer.main(config) == 0
    assert "more than 0 GiB, so each is read from" in capsys.readouterr().out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    for value, other in zip(best(config), best(whole_run), strict=True):
        np.testing.assert_array_equal(value, other)


def test_a_picture_damaged_before_its_turn_ends_a_streamed_run_in_one_line(whole_run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(whole_run.data_path, data)
    config = run_in(tmp_path / "checkpoints", whole_run, memory_gib=0, data_path=str(data))
    damaged = next(data.glob("ant/*.png"))
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"^cannot read \S+ \(cannot be decoded: .+\); delete") as refused:
        trainer.main(config)
    assert str(damaged) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_epochs_and_two_more_equal_four_to_the_bit(whole_run, tmp_path):
    config = run_in(tmp_path, whole_run)
    assert trainer.main(run_in(tmp_path, whole_run, epochs=2)) == 0
    assert len(history(config.model_save_name)) == 2
    assert trainer.main(config) == 0
    assert len(history(config.model_save_name)) == 4
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    assert all(np.array_equal(one, other) for one, other in zip(best(config), best(whole_run), strict=True))
    report, wanted = (Path(c.model_save_name, "report.txt").read_text(encoding="utf-8") for c in (config, whole_run))
    assert report == wanted


@pytest.mark.parametrize("step", [9, STEPS + 9, 2 * STEPS], ids=["first epoch", "second epoch", "end of an epoch"])
def test_a_run_stopped_by_a_signal_and_resumed_equals_an_uninterrupted_one(
    whole_run, tmp_path, monkeypatch, capsys, step
):
    config = run_in(tmp_path, whole_run)
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    assert f"stopped and saved after step {step}" in capsys.readouterr().out
    assert newest_step(config.model_save_name) == step
    stopped, _ = load_classifier(Path(config.model_save_name))
    assert stopped.is_calibrated == (step > STEPS)  # it can be asked already, if an epoch is over
    assert trainer.main(config) == 0
    assert f"going on after epoch {step // STEPS}, step {step}" in capsys.readouterr().out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_a_run_stopped_at_its_very_end_still_shows_every_epoch_on_tensorboard(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run)
    with monkeypatch.context() as patch:
        stop_at(patch, 4 * STEPS, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    assert [step for step, _ in curve(tmp_path / "validation", "cost")] == [1, 2, 3, 4]
    for path in tmp_path.glob("*/events*"):
        path.unlink()  # as if the disk had been full
    assert trainer.main(config) == 0
    for run in ("train", "validation"):
        assert curve(tmp_path / run, "cost") == curve(Path(whole_run.model_save_name, run), "cost")


def test_the_figures_of_a_resumed_epoch_cover_all_of_its_steps(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run, epochs=1)
    with monkeypatch.context() as patch:
        stop_at(patch, 9, lambda: signal.raise_signal(signal.SIGTERM))
        assert trainer.main(config) == 143
    counts = []

    def count(self, logs=None):
        counts.append([float(variable) for variable in self.model.metrics_variables if variable.name == "count"])

    monkeypatch.setattr(Keeper, "on_test_begin", count)
    assert trainer.main(config) == 0
    assert counts == [pytest.approx([STEPS, STEPS])]  # of the cost and of the accuracy


def test_a_run_that_is_cut_off_without_warning_goes_on_from_its_last_save_as_if_nothing_had_been(
    whole_run, tmp_path, monkeypatch
):
    config = run_in(tmp_path, whole_run, save_seconds=0)
    with monkeypatch.context() as patch:
        stop_at(patch, 2 * STEPS + 18, crash)
        with pytest.raises(RuntimeError, match="power cut"):
            trainer.main(config)
    assert newest_step(config.model_save_name) == 2 * STEPS + 9
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def arguments(config: TrainConfig, **changes) -> list[str]:
    """A config as a command line."""
    given = {"height": 16, "width": 16, **changes}
    for name in ("raw_data", "augmented", "data_path", "model_save_name"):
        given[name] = getattr(config, name)
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def test_ctrl_c_saves_and_ends_and_the_same_command_goes_on(rawdata, settings_for, tmp_path, capsys):
    config = settings_for(TrainConfig)
    options = arguments(config, epochs=1_000_000, patience=1_000_000, save_seconds=0)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "trainer.py"), *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        deadline = time.monotonic() + 120
        while len(list(Path(config.model_save_name).glob("ckpt-*"))) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped and saved after step" in out
    assert err == ""
    done = len(history(config.model_save_name))
    assert trainer.main(dataclasses.replace(config, epochs=done + 1, patience=1_000_000)) == 0
    assert f"going on after epoch {done}, " in capsys.readouterr().out
    assert len(history(config.model_save_name)) == done + 1


def test_a_second_ctrl_c_while_saving_leaves_the_older_checkpoints_whole(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run, save_seconds=0)
    flush, flushed = files_module._flush, []

    def interrupted(path):
        if flushed:
            signal.raise_signal(signal.SIGINT)
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(files_module, "_flush", interrupted)
        stop_at(patch, STEPS + 9, lambda: (signal.raise_signal(signal.SIGINT), flushed.append(True)))
        with pytest.raises(KeyboardInterrupt):
            trainer.main(config)
    assert newest_step(config.model_save_name) == STEPS
    assert not list(tmp_path.rglob("*.part"))
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_a_killed_run_goes_on_to_the_same_end(whole_run, tmp_path):
    config = run_in(tmp_path / "checkpoints", whole_run, save_seconds=0)
    options = arguments(config, epochs=4, save_seconds=0, **BY_STEPS)
    process = subprocess.Popen([sys.executable, str(ROOT / "trainer.py"), *options], stdout=subprocess.DEVNULL)
    with process:
        deadline = time.monotonic() + 120
        while len(list(Path(config.model_save_name).glob("ckpt-*"))) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert 9 <= newest_step(config.model_save_name) < 4 * STEPS
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)
    assert not list(tmp_path.rglob("*.part"))
    assert all(np.array_equal(one, other) for one, other in zip(best(config), best(whole_run), strict=True))


def test_a_second_trainer_on_one_folder_is_refused(whole_run):
    before = files(whole_run.model_save_name)
    refused = pytest.raises(UserError, match="another run is at work here; wait for its end or end it")
    with locked(Path(whole_run.model_save_name)), refused:
        trainer.main(whole_run)
    assert files(whole_run.model_save_name) == before


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_disk_that_takes_no_checkpoint_ends_a_run_at_once_in_one_line(whole_run, tmp_path):
    folder = tmp_path / "checkpoints"
    options = arguments(run_in(folder, whole_run), epochs=4, **BY_STEPS)
    limited = ["bash", "-c", 'ulimit -f 2000; exec "$@"', "bash", sys.executable, str(ROOT / "trainer.py"), *options]
    ended = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(r"trainer\.py: '.*ckpt-0\.safetensors.*': File too large.*", line)
    assert "Epoch" not in ended.stdout
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_disk_that_takes_nothing_for_tensorboard_does_not_end_a_run(whole_run, tmp_path, capsys):
    (tmp_path / "train").write_bytes(b"no folder")
    config = run_in(tmp_path, whole_run)
    assert trainer.main(config) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no more figures for TensorBoard until the next start: ")
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(whole_run, tmp_path, capsys):
    config = run_in(tmp_path, whole_run, save_seconds=0)
    assert trainer.main(dataclasses.replace(config, epochs=3)) == 0
    newest = tmp_path / f"ckpt-{3 * STEPS}.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    capsys.readouterr()
    assert trainer.main(config) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"{newest}: damaged (")
    assert f"going on after epoch 2, step {2 * STEPS + 9}" in out
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_after_a_run_signals_do_again_what_they_did_before(whole_run, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert trainer.main(run_in(tmp_path, whole_run, epochs=1)) == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_without_a_due_save_only_the_beginning_and_the_end_are_stored(whole_run):
    names = sorted(path.name for path in Path(whole_run.model_save_name).glob("ckpt-*"))
    assert names == ["ckpt-0.safetensors", f"ckpt-{4 * STEPS}.safetensors"]


def test_a_finished_run_says_so_and_how_to_go_on_and_changes_nothing(whole_run, capsys):
    def content() -> dict[Path, bytes]:
        """All but what TensorBoard shows, which is written anew."""
        return {path: data for path, data in files(whole_run.model_save_name).items() if "events" not in path.name}

    before = content()
    assert trainer.main(whole_run) == 0
    out = capsys.readouterr().out
    assert "this run is finished" in out
    assert "--epochs 8" in out
    assert "--model_save_name" in out
    assert "best validation accuracy" in out
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
    ],
    ids=["seed", "height", "dropout", "loss", "mirror", "balance"],
)
def test_going_on_with_other_settings_is_refused_and_touches_no_checkpoint(whole_run, tmp_path, change, both):
    before = files(whole_run.model_save_name)
    # data/ is made for these settings elsewhere, since other tests read the shared one
    config = dataclasses.replace(whole_run, data_path=str(tmp_path / "data"), **change)
    with pytest.raises(UserError, match=both):
        trainer.main(config)
    assert files(whole_run.model_save_name) == before


def test_settings_that_do_not_decide_the_result_so_far_may_change(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", whole_run, epochs=5, learning_rate=0.0005, patience=50, save_seconds=1)
    assert trainer.main(config) == 0
    rates = [figures["learning_rate"] for figures in history(config.model_save_name)]
    assert rates[:4] == [figures["learning_rate"] for figures in history(whole_run.model_save_name)]
    assert len(rates) == 5
    assert rates[4] < rates[0]


@pytest.mark.parametrize(("execution", "step"), [(0, 0), (1, 9)], ids=["first step", "tenth step"])
def test_a_cost_that_is_not_finite_ends_the_run_in_one_line_that_names_the_batch_and_leaves_the_checkpoints(
    whole_run, tmp_path, monkeypatch, execution, step
):
    folder = tmp_path / "copy"
    shutil.copytree(whole_run.model_save_name, folder)
    former = Keeper.on_train_batch_begin

    def poison(self, batch, logs=None):
        former(self, batch, logs)
        if batch == 9 * execution:
            self.model.get_layer("logits").bias.assign(np.full(2, math.nan))

    monkeypatch.setattr(Keeper, "on_train_batch_begin", poison)
    before = {path: content for path, content in files(folder).items() if "events" not in path.name}
    with pytest.raises(UserError, match=r"the cost became nan with the pictures (\S+), so.*--learning_rate") as ended:
        trainer.main(run_in(folder, whole_run, epochs=6, save_seconds=1000))
    assert "\n" not in str(ended.value)
    assert {path: content for path, content in files(folder).items() if "events" not in path.name} == before
    (place,) = places_of(4 * STEPS + step, count=18, batch_size=1, seed=1)
    training = [picture for picture in prepare(whole_run) if picture.split == "train"]
    assert f"the pictures {Path(whole_run.data_path, training[place].file)}, so" in str(ended.value)


def test_weights_that_are_not_finite_are_not_saved_in_the_middle_of_an_epoch(whole_run, tmp_path, monkeypatch):
    config = run_in(tmp_path, whole_run, save_seconds=0)

    def poison(model):
        model.get_layer("logits").bias.assign(np.full(2, math.nan))

    with monkeypatch.context() as patch:
        former = Vocabulary.on_train_batch_end

        def poisoned(self, batch, logs=None):
            former(self, batch, logs)
            if self.model.optimizer.iterations == STEPS + 9:  # whose cost, of before, is finite still
                poison(self.model)

        patch.setattr(Vocabulary, "on_train_batch_end", poisoned)
        with pytest.raises(UserError, match="the cost became nan with the pictures .*ant|bee"):
            trainer.main(config)
    assert newest_step(config.model_save_name) == STEPS
    assert trainer.main(config) == 0
    assert_same_to_the_bit(config.model_save_name, whole_run.model_save_name)


def test_lost_best_weights_are_told_of_and_the_report_is_about_those_that_stand_in(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run.model_save_name, tmp_path / "copy")
    config = run_in(tmp_path / "copy", whole_run)
    shutil.rmtree(tmp_path / "copy" / "best")
    assert trainer.main(config) == 0
    out, err = capsys.readouterr()
    assert "best: the weights of the best epoch are gone" in err
    assert "validation pictures, after epoch 4:" in out
    best_of = re.search(r"after epoch (\d) of 4(; its weights are lost, and those of epoch 4 kept)?\n", out)
    assert (best_of[1] == "4") != bool(best_of[2])
    assert load_classifier(tmp_path / "copy")[0].is_calibrated


def test_weights_that_stop_being_finite_at_the_end_of_an_epoch_are_not_saved(whole_run, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(whole_run.model_save_name, folder)
    former = Vocabulary.on_train_batch_end

    def poison(self, batch, logs=None):
        if self.model.optimizer.iterations == 5 * STEPS:  # the cost of this step, which was before it, is finite still
            self.model.get_layer("logits").bias.assign(np.full(2, math.nan))
        former(self, batch, logs)

    monkeypatch.setattr(Vocabulary, "on_train_batch_end", poison)
    with pytest.raises(UserError, match="nan"):
        trainer.main(run_in(folder, whole_run, epochs=5, save_seconds=0))
    monkeypatch.undo()
    assert newest_step(str(folder)) == 4 * STEPS + 9
    trainer.main(run_in(folder, whole_run, epochs=5))
    assert all(np.isfinite(weights).all() for weights in load_classifier(folder)[0].model.get_weights())
