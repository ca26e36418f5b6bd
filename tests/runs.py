"""Reading and stopping training runs, for the tests of the trainer."""

from pathlib import Path

import numpy as np

from callbacks import Keeper
from checkpoint import history_of, newest_run

# 18 training pictures and one step for each: an epoch is two executions of 9 steps, so it has a middle to stop in.
STEPS = 18
BY_STEPS = {"validation_split": 0.05, "batch_size": 1}

# Nothing is random, and nothing is learnt: every epoch is like the first.
FROZEN = {
    "batch_normalization": False,
    "dropout": 0,
    "random_mirror": False,
    "random_shift": 0,
    "random_rotation": 0,
    "random_zoom": 0,
    "random_contrast": 0,
    "learning_rate": 1e-8,
}


def stored(folder: str) -> dict[str, np.ndarray]:
    """All that the newest checkpoint holds: weights, their average, moments, step, history."""
    return newest_run(Path(folder)).tensors


def newest_step(folder: str) -> int:
    return newest_run(Path(folder)).step


def history(folder: str) -> list[dict[str, float]]:
    return history_of(newest_run(Path(folder)))


def files(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def stop_at(monkeypatch, step: int, act) -> None:
    """Does something when a run returns to Python after a step."""
    former = Keeper.on_train_batch_end

    def acting(self, batch, logs=None):
        if self.model.optimizer.iterations == step:
            act()
        former(self, batch, logs)

    monkeypatch.setattr(Keeper, "on_train_batch_end", acting)
