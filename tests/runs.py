"""Reading and stopping training runs, for the tests of the trainer."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from callbacks import Keeper

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


def stored(folder: str) -> dict[str, np.ndarray | bytes]:
    """All that the newest checkpoint holds: weights, their average, moments, step, history."""
    reader = tf.train.load_checkpoint(folder)
    names = reader.get_variable_to_shape_map()
    own = ("weights/", "average/", "optimizer/", "progress/")
    return {name: reader.get_tensor(name) for name in names if name.startswith(own)}


def history(folder: str) -> list[dict[str, float]]:
    (progress,) = (value for name, value in stored(folder).items() if name.startswith("progress/"))
    return json.loads(progress)["history"]


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
