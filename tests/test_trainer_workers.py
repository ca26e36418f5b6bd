"""Two or three workers on this machine that train together: what they learn, how they end, and who writes what."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from config import TrainConfig
from system.cluster import Workers
from system.errors import EXIT_WORKER_LOST
from tests.helpers.pictures import write_classes
from tests.helpers.processes import free_addresses
from tests.helpers.runs import STEPS, history, latest_step, tensors
from tests.helpers.signals import finish, start
from tests.system.test_cluster import run_workers
from trainer import prepare_in_turn
from training.distribution import distribute

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
# An epoch is two executions of nine steps, so there is a middle to stop in; each is saved.
OPTIONS = {
    "height": 16,
    "width": 16,
    "epochs": 3,
    "batch_size": 2,
    "validation_split": 0.1,
    "save_seconds": 0,
    "precision": "float32",
}
LOST = "has ended or cannot be reached; its own output says why; run the same commands again to continue"


def start_workers(folder: Path, count: int = 2, **changes) -> list:
    """Returns processes that train together in a folder."""
    settings = {**OPTIONS, **changes, "workers": ",".join(free_addresses(count))}
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [start("trainer.py", *options, f"--worker={index}", cwd=folder) for index in range(count)]


def ends(processes: list) -> list[tuple[int, str, str]]:
    """Returns the exit codes and the output of processes; they wait for each other, so all are read."""
    return [finish(process) for process in processes]


@contextlib.contextmanager
def training_from(folder: Path, step: int) -> Iterator[list]:
    """Yields two workers that have trained beyond a step of their run, at least."""
    processes = start_workers(folder)
    try:
        while not (any(folder.glob("checkpoints/ckpt-*")) and latest_step(folder / "checkpoints") > step):
            assert all(process.poll() is None for process in processes), ends(processes)
            time.sleep(0.01)
        yield processes
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, list]:
    """Returns the folder of a run of two workers, and how they ended."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    write_classes(folder / "rawdata", 20, 20)
    return folder, ends(start_workers(folder))


def test_workers_say_who_they_are_and_the_chief_reports(uninterrupted):
    folder, ((code, chief, chief_errors), (other_code, other, other_errors)) = uninterrupted
    assert (code, other_code, chief_errors, other_errors) == (0, 0, "", "")
    assert "2 workers, 2 devices share each batch of 2 pictures; this is the chief\n" in chief
    assert "this is worker 1; the chief shows the progress\n" in other
    assert "validation pictures, after epoch 3" in chief
    assert "Finished after 3 epochs" in chief
    assert "Finished after 3 epochs" in other
    assert "accuracy" not in other
    assert {path.name for path in folder.iterdir()} == {"rawdata", "data", "checkpoints"}


def test_three_workers_learn_what_a_single_process_learns(tmp_path):
    """But for rounding, since there is no batch normalization; in each of two folds."""
    write_classes(tmp_path / "rawdata", 20, 20)
    changes = {"batch_normalization": False, "folds": 2, "epochs": 2, "batch_size": 3}
    assert [code for code, _, _ in ends(start_workers(tmp_path, 3, **changes))] == [0, 0, 0]
    (tmp_path / "checkpoints").rename(tmp_path / "together")
    options = [f"--{name}={value}" for name, value in {**OPTIONS, **changes}.items()]
    code, _, _ = finish(start("trainer.py", *options, cwd=tmp_path))
    assert code == 0
    for fold in ("fold-1", "fold-2"):
        together, alone = tmp_path / "together" / fold, tmp_path / "checkpoints" / fold
        for found, expected in zip(history(together), history(alone), strict=True):
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
        found, expected = (tensors(folder)["weights/conv_1/kernel"] for folder in (together, alone))
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_stopped_and_killed_workers_continue_to_the_same_result(uninterrupted, tmp_path):
    """Each is asked to end, and both save and end; then the chief is killed. All in the middle of an epoch."""
    write_classes(tmp_path / "rawdata", 20, 20)
    step = 0
    for index, number in ((1, signal.SIGTERM), (0, signal.SIGINT)):
        with training_from(tmp_path, step) as processes:
            processes[index].send_signal(number)
            (code, chief, _), (other_code, other, _) = ends(processes)
        assert (code, other_code) == (128 + number, 128 + number)
        step = latest_step(tmp_path / "checkpoints")
        assert step < 3 * STEPS
        for output in (chief, other):
            assert f"stopped and saved after step {step}; run the same command to continue\n" in output
    with training_from(tmp_path, step) as processes:
        processes[0].kill()
        start_time = time.monotonic()
        (code, _, _), (other_code, _, errors) = ends(processes)
    assert time.monotonic() - start_time < 60
    assert (code, other_code) == (-signal.SIGKILL, EXIT_WORKER_LOST)
    assert errors.startswith("trainer.py: the chief (localhost:")
    assert errors.endswith(f") {LOST}\n")
    assert errors.count("\n") == 1
    assert [code for code, _, _ in ends(start_workers(tmp_path))] == [0, 0]
    for name in (f"ckpt-{3 * STEPS}.safetensors", "report.txt", "model.json"):
        expected = uninterrupted[0] / "checkpoints" / name
        assert (tmp_path / "checkpoints" / name).read_bytes() == expected.read_bytes(), name


def in_threads(work: Callable[[int, Workers], object]) -> tuple[tuple[str, ...], list]:
    """Returns the addresses of two workers, each in a thread, and the errors that end them."""
    names = free_addresses(2)
    return names, run_workers(names, lambda workers: work(workers.index, workers))


def test_workers_with_other_settings_are_refused():
    names, errors = in_threads(lambda index, workers: distribute(TrainConfig(seed=1 + index), workers))
    message = f"--seed: worker 1 ({names[1]}) has 2, the chief has 1; give all workers the same and start them again"
    assert [str(error) for error in errors] == [message] * 2


def test_workers_with_other_pictures_are_refused(tmp_path, monkeypatch):
    """The chief prepares its pictures first; then the other one does, which has two less."""
    monkeypatch.chdir(tmp_path)

    def prepare(index: int, workers: Workers) -> None:
        folder = tmp_path / str(index)
        write_classes(folder / "rawdata", 10 - index, 10 - index)
        config = TrainConfig(raw_data=f"{index}/rawdata", data_path=f"{index}/data", height=16, width=16)
        prepare_in_turn(config, workers)

    names, errors = in_threads(prepare)
    message = f"number of pictures: worker 1 ({names[1]}) has 18, the chief has 20; give all workers the same"
    assert [str(error) for error in errors] == [f"{message} and start them again"] * 2


def test_a_worker_without_pictures_ends_the_chief(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "rawdata", 10, 10)

    def prepare(index: int, workers: Workers) -> None:
        raw_data = ("rawdata", "missing")[index]
        prepare_in_turn(TrainConfig(raw_data=raw_data, data_path=f"data-{index}", height=16, width=16), workers)

    names, (chief, other) = in_threads(prepare)
    assert str(other).startswith("missing: ")
    assert str(chief) == f"worker 1 ({names[1]}) {LOST}"
    assert chief.exit_code == EXIT_WORKER_LOST
