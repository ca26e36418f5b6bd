"""Reading and stopping training runs, for the tests of the trainer."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from config import TrainConfig
from network.backend import tf
from system.script import run_script
from training.callbacks import SaveCheckpoints
from training.checkpoints import latest_checkpoint
from training.history import history_of

# 18 training pictures and one step for each: an epoch is two executions of 9 steps, so it has a middle to stop in.
STEPS = 18
BY_STEPS = {"validation_split": 0.05, "batch_size": 1}

# Nothing is random and nothing is learned: every epoch is like the first.
FROZEN = {
    "batch_normalization": False,
    "dropout": 0,
    "random_mirror": False,
    "random_shift": 0,
    "random_rotation": 0,
    "random_zoom": 0,
    "random_contrast": 0,
    "mixup": 0,
    "learning_rate": 1e-8,
    "learning_rate_decay": 0,
}


def tensors(folder: str) -> dict[str, np.ndarray]:
    """Returns all that the latest checkpoint holds: weights, their average, moments, history."""
    return latest_checkpoint(Path(folder)).tensors


def latest_step(folder: str) -> int:
    return latest_checkpoint(Path(folder)).step


def history(folder: str) -> list[dict[str, float]]:
    return history_of(latest_checkpoint(Path(folder)))


def files(folder: str) -> dict[Path, bytes]:
    """Returns the files below a folder. Fails if there are none: two empty folders are equal."""
    found = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    assert found, f"nothing was made in {folder}"
    return found


def run_here(script: str, main, config_class, *arguments: object) -> int:
    """Runs a script in this process, which is faster than in a new one; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        run_script(main, config_class, "")
    return ended.value.code


def run_in(folder: Path, config: TrainConfig, **changes) -> TrainConfig:
    """Returns the config of the same run with its checkpoints in another folder; without TensorBoard, to be faster."""
    return dataclasses.replace(config, model_save_name=str(folder), **{"tensorboard": False, **changes})


def arguments(config: TrainConfig, **changes) -> list[str]:
    """Returns the folders of a config, and settings, as a command line."""
    settings = {"height": 16, "width": 16, **changes}
    for name in ("raw_data", "augmented", "data_path", "model_save_name"):
        settings[name] = getattr(config, name)
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def assert_same_to_the_bit(folder: str, other: str) -> None:
    found, expected = tensors(folder), tensors(other)
    assert found.keys() == expected.keys()
    for part in ("weights", "average", "optimizer"):
        assert len([name for name in found if name.startswith(f"{part}/")]) > 20
    for name, value in expected.items():
        assert np.array_equal(found[name], value), name


def read_events(folder: Path) -> EventAccumulator:
    """Returns the content of the only event file in a folder of TensorBoard logs."""
    (path,) = folder.glob("events.out.tfevents.*")
    return EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Returns the steps and values of a curve."""
    return [(event.step, tf.make_ndarray(event.tensor_proto).item()) for event in read_events(folder).Tensors(tag)]


def stop_at(monkeypatch, step: int, act) -> None:
    """Calls `act` when a run returns to Python after a step."""
    on_train_batch_end = SaveCheckpoints.on_train_batch_end

    def act_first(self, batch, logs=None):
        if self.model.optimizer.iterations == step:
            act()
        on_train_batch_end(self, batch, logs)

    monkeypatch.setattr(SaveCheckpoints, "on_train_batch_end", act_first)
