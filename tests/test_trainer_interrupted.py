"""Training that is stopped by a signal or by closed output, or whose report cannot be written."""

import dataclasses
import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

import trainer
from answers.trained_network import TrainedNetwork, load_trained_network
from config import TrainConfig
from reports import finished, report_files
from tests.helpers.pictures import write_classes
from tests.helpers.processes import wait_until
from tests.helpers.runs import BY_STEPS, STEPS, history, latest_step, run_here, stop_at
from tests.helpers.signals import finish, interrupt, start
from training import callbacks
from training.callbacks import EarlyStopping, SaveCheckpoints

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
REPORTS = ["report.txt", "report.html", "report.json"]
STOPPED = "stopped and saved after step {}; run the same command to continue\n"


# ---- signals ----


@not_on_windows
@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_to_handles_the_first_signal_only_and_restores_handlers(first):
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    received = []
    usual = {number: signal.signal(number, lambda number, _: received.append(number)) for number in numbers}
    try:
        before = [signal.getsignal(number) for number in numbers]
        saving = SimpleNamespace(stop_signal=0)
        with trainer.signals_to(saving):
            signal.raise_signal(getattr(signal, first))
            assert (saving.stop_signal, received) == (getattr(signal, first), [])
            for number in numbers:
                signal.raise_signal(number)
            assert received == numbers
        assert [signal.getsignal(number) for number in numbers] == before
        with trainer.signals_to(saving):
            assert [signal.getsignal(number) for number in numbers] != before
        assert [signal.getsignal(number) for number in numbers] == before
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@not_on_windows
def test_signals_to_leaves_ignored_signals_ignored():
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        saving = SimpleNamespace(stop_signal=0)
        with trainer.signals_to(saving):
            signal.raise_signal(signal.SIGHUP)
        assert saving.stop_signal == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


@pytest.fixture
def config(rawdata, settings_for) -> TrainConfig:
    return settings_for(TrainConfig, epochs=2, **BY_STEPS)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory) -> TrainConfig:
    """Returns the config of a run that has ended; its command trains no more, but calibrates and reports again."""
    folder = tmp_path_factory.mktemp("trained_once")
    write_classes(folder / "raw", 10, 10)
    names = ("augmented", "data_path", "model_save_name")
    folders = {name: str(folder / name) for name in names}
    config = TrainConfig(raw_data=str(folder / "raw"), height=16, width=16, epochs=2, **folders, **BY_STEPS)
    assert trainer.main(config) == 0
    return config


@pytest.fixture
def at_its_end(trained_once, tmp_path) -> TrainConfig:
    """Returns the config of a copy of this run."""
    shutil.copytree(trained_once.model_save_name, tmp_path / "copy")
    for name in REPORTS:
        (tmp_path / "copy" / name).unlink()
    return dataclasses.replace(trained_once, model_save_name=str(tmp_path / "copy"))


def finishes(config: TrainConfig, capsys) -> bool:
    """Returns whether the same command completes the run, with its report."""
    capsys.readouterr()
    assert trainer.main(config) == 0
    assert "Finished after 2 epochs" in capsys.readouterr().out
    return len(history(config.model_save_name)) == config.epochs


def raise_signal_in(monkeypatch, owner, name: str) -> None:
    """Sends Ctrl-C each time a function begins."""
    function = getattr(owner, name)

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(("name", "step"), [("on_train_begin", 0), ("on_test_begin", STEPS), ("on_epoch_end", STEPS)])
def test_ctrl_c_in_any_phase_of_an_epoch_saves(name, step, config, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        raise_signal_in(patch, SaveCheckpoints, name)
        assert trainer.main(config) == 130
    assert capsys.readouterr().out.endswith(STOPPED.format(step))
    assert latest_step(config.model_save_name) == step
    assert finishes(config, capsys)


def test_ctrl_c_after_the_last_step_saves(config, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        on_epoch_end = EarlyStopping.on_epoch_end

        def interrupted(self, epoch, logs=None):
            on_epoch_end(self, epoch, logs)
            if epoch == config.epochs - 1:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(EarlyStopping, "on_epoch_end", interrupted)
        assert trainer.main(config) == 130
    assert capsys.readouterr().out.endswith(STOPPED.format(2 * STEPS))
    assert finishes(config, capsys)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (finished, "calibrate"),
        (TrainedNetwork, "calibrate"),
        (TrainedNetwork, "save"),
        (trainer, "report_run"),
        (finished, "evaluate"),
        (finished, "write_run_report"),
    ],
)
def test_ctrl_c_after_the_training_loses_nothing(owner, name, at_its_end, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        raise_signal_in(patch, owner, name)
        with pytest.raises(KeyboardInterrupt):
            trainer.main(at_its_end)
    assert latest_step(at_its_end.model_save_name) == 2 * STEPS
    assert load_trained_network(Path(at_its_end.model_save_name)).step in (STEPS, 2 * STEPS)
    assert finishes(at_its_end, capsys)


def test_second_ctrl_c_while_calibrating_acts_at_once(config, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS + 9, lambda: signal.raise_signal(signal.SIGINT))
        raise_signal_in(patch, TrainedNetwork, "calibrate")
        with pytest.raises(KeyboardInterrupt):
            trainer.main(config)
    assert capsys.readouterr().out.endswith(STOPPED.format(STEPS + 9))
    assert finishes(config, capsys)


def arguments(config: TrainConfig, **changes) -> list[str]:
    settings = {"height": 16, "width": 16, "raw_data": config.raw_data, **changes}
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


ENDLESS = {"epochs": 1_000_000, "patience": 1_000_000}


def read_first_row(process: subprocess.Popen) -> None:
    """Reads what a process prints until the row of its first epoch."""
    while not (line := process.stdout.readline()).startswith("     1 "):
        assert line, process.communicate()


@not_on_windows
def test_closed_terminal_saves(config, tmp_path):
    process = start("trainer.py", *arguments(config, **ENDLESS), cwd=tmp_path)
    read_first_row(process)
    code, out, err = interrupt(process, signal.SIGHUP)
    assert (code, err) == (129, "")
    assert out.endswith(STOPPED.format(latest_step(str(tmp_path / "checkpoints"))))
    assert latest_step(str(tmp_path / "checkpoints")) > 0


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@not_on_windows
def test_training_with_nohup_goes_on_without_its_terminal(config, tmp_path):
    controller, terminal = os.openpty()
    options = arguments(config, **ENDLESS, save_seconds=0)
    process = start("trainer.py", *options, cwd=tmp_path, stdout=terminal, preexec_fn=ignore_hangup)
    for descriptor in (terminal, controller):
        os.close(descriptor)
    folder = tmp_path / "checkpoints"
    wait_until(lambda: (folder / "best").exists(), process)
    process.send_signal(signal.SIGHUP)
    seen = {path.name for path in folder.glob("ckpt-*.safetensors")}
    wait_until(lambda: seen.isdisjoint(path.name for path in folder.glob("ckpt-*.safetensors")), process)
    code, _, err = interrupt(process, signal.SIGTERM)
    assert (code, err) == (143, "")
    assert latest_step(str(folder)) > 0


# ---- output ----


@not_on_windows
def test_output_that_nobody_reads_ends_the_run_which_is_saved(config, tmp_path):
    process = start("trainer.py", *arguments(config, **ENDLESS), cwd=tmp_path)
    read_first_row(process)
    process.stdout.close()
    process.stdout = None
    code, _, err = finish(process)
    step = latest_step(str(tmp_path / "checkpoints"))
    assert (code, err) == (141, f"trainer.py: the output was closed: {STOPPED.format(step)}")
    assert step > 0


def test_output_closed_in_the_last_epoch_saves(config, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 2 * STEPS, lambda: patch.setattr(callbacks, "output_closed", lambda: True))
        assert trainer.main(config) == 141
    assert capsys.readouterr().err == f"trainer.py: the output was closed: {STOPPED.format(2 * STEPS)}"
    assert finishes(config, capsys)


@pytest.mark.parametrize("full", ["report.txt", "report.html", "ckpt"])
def test_full_disk_at_the_report_does_not_take_the_figures(full, at_its_end, monkeypatch, capsys):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device", full)

    with monkeypatch.context() as patch:
        if full == "ckpt":
            patch.setattr(TrainedNetwork, "save", no_room)
        else:
            patch.setattr(finished if full == "report.txt" else report_files, "write_atomically", no_room)
        options = {
            "data_path": at_its_end.data_path,
            "model_save_name": at_its_end.model_save_name,
            "epochs": 2,
            **BY_STEPS,
        }
        code = run_here("trainer.py", trainer.main, TrainConfig, *arguments(at_its_end, **options))
    out, err = capsys.readouterr()
    assert code == 2
    assert "Finished after 2 epochs" in out
    assert "report.html" not in out
    remedy = "free some space on that disk and run the same command again"
    assert err == f"trainer.py: '{full}': No space left on device; {remedy}\n"
    written = [name for name in REPORTS if Path(at_its_end.model_save_name, name).exists()]
    assert written == ["report.txt"] * (full == "report.html")
    assert finishes(at_its_end, capsys)
    assert all(Path(at_its_end.model_save_name, name).exists() for name in REPORTS)


def test_report_says_which_folder_predict_takes(at_its_end, capsys):
    trainer.main(at_its_end)
    out = capsys.readouterr().out
    assert f"\nnetwork    {at_its_end.model_save_name}/\n" in out
