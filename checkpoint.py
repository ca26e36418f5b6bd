"""Saving, verifying and restoring: a training run and its `checkpoints/`.

    checkpoints/model.json        what the network was made for; with it and the weights, predict.py needs nothing else
    checkpoints/ckpt-<step>.*     the newest runs: weights, optimizer, position, figures of every epoch
    checkpoints/best/ckpt-<step>.*  the weights of the best epoch
    checkpoints/train, validation   what TensorBoard shows

Files of weights are TensorFlow's, which carry checksums; nothing in them is ever executed.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import tensorflow as tf

from config import UserError
from files import printable, write_atomically
from model import generate_model

DESCRIPTION = "model.json"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a checkpoint was made for: all that rebuilds the network, and what a resumed run must agree on."""

    class_names: list[str]  # sorted; the order of the logits
    height: int
    width: int
    color_channels: int
    scale_input: bool
    batch_normalization: bool
    dropout: float
    batch_size: int
    seed: int
    validation_split: float
    pictures: str  # sha256 over the training and validation pictures and their labels

    def network(self) -> keras.Model:
        """The network, with fresh weights."""
        return generate_model(
            height=self.height,
            width=self.width,
            color_channels=self.color_channels,
            classes=len(self.class_names),
            scale_input=self.scale_input,
            batch_normalization=self.batch_normalization,
            dropout=self.dropout,
        )


def write_description(folder: Path, description: Description) -> None:
    write_atomically(folder / DESCRIPTION, json.dumps(asdict(description), indent=1).encode())


def read_description(folder: Path) -> Description:
    """Raises UserError where there is no checkpoint, or its description is damaged."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{printable(folder)}: no trained network here; run trainer.py, or name one: --model_save_name")
    try:
        description = Description(**json.loads(path.read_bytes()))
        _check(description)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{printable(path)}: damaged ({printable(str(error))}); train again to another folder"
        ) from None
    return description


def _check(description: Description) -> None:
    """Raises ValueError for what no run of ours could have written, before anything is built from it."""
    for name, kind in Description.__annotations__.items():
        value = getattr(description, name)
        if kind in (int, bool, float, str) and type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{name} is {value!r}")
    names = description.class_names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or names != sorted(set(names)):
        raise ValueError("class_names is no sorted list of names")
    limits = {"height": (16, 4096), "width": (16, 4096), "dropout": (0, 0.95)}
    for name, (low, high) in limits.items():
        if not low <= getattr(description, name) <= high:
            raise ValueError(f"{name} is {getattr(description, name)}")
    if not 2 <= len(names) <= 1000 or description.color_channels not in (1, 3):
        raise ValueError(f"{len(names)} classes, {description.color_channels} channels")


def refuse_others(folder: Path, saved: Description, wanted: Description) -> None:
    """Raises UserError where a run cannot go on from a checkpoint, with both values."""
    mend = "train to another folder with --model_save_name, or move this one away"
    for name, value in asdict(wanted).items():
        if getattr(saved, name) != value:
            what = f"--{name} {getattr(saved, name)}, not {value}"
            if name == "class_names":
                what = f"the classes {', '.join(saved.class_names)}, not {', '.join(value)}"
            if name == "pictures":
                what = "other pictures than there are now"
            raise UserError(f"{printable(folder)}: was trained with {printable(what)}; {mend}")


class Progress(tf.train.experimental.PythonState):
    """What a run has to remember besides its variables; stored in the checkpoint as JSON."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []  # the figures of every finished epoch
        self.metrics: list[float] = []  # Keras's running sums in the middle of an epoch, else empty

    def serialize(self) -> str:
        return json.dumps({"history": self.history, "metrics": self.metrics})

    def deserialize(self, text: str) -> None:
        values = json.loads(text)
        self.history, self.metrics = values["history"], values["metrics"]


def merit(figures: dict[str, float]) -> tuple[float, float]:
    """What makes an epoch better than another: its validation accuracy; where equal, the smaller cost."""
    return figures["val_accuracy"], -figures["val_cost"]


def best_epoch(history: Sequence[dict[str, float]]) -> int:
    """The place of the best epoch, the first of equals."""
    return max(range(len(history)), key=lambda epoch: merit(history[epoch]))


class Checkpoints:
    """The checkpoints of one run: the newest `max_to_keep`, and the weights of the best epoch.

    The best weights wait in memory and are written when the run is; should it be cut off in between, it goes on from
    the older checkpoint and comes by the same best epoch again.
    """

    def __init__(self, folder: Path, model: keras.Model, *, max_to_keep: int) -> None:
        weights = _variables(model)
        self.folder = folder
        self.progress = Progress()
        self._weights = weights
        self._iterations = model.optimizer.iterations
        with tf.device("CPU"):
            self._best_weights = [tf.Variable(variable) for variable in weights]
        run = tf.train.Checkpoint(
            weights=weights, optimizer=[v.value for v in model.optimizer.variables], progress=self.progress
        )
        best = tf.train.Checkpoint(weights=self._best_weights)
        self._new_best = 0  # the epoch, from 1, whose weights are the best and not yet written
        self._newest = tf.train.CheckpointManager(run, str(folder), max_to_keep)
        self._best = tf.train.CheckpointManager(best, str(folder / "best"), max_to_keep=1)

    @property
    def step(self) -> int:
        """How many training steps the weights have seen."""
        return int(self._iterations.numpy())

    def restore(self) -> bool:
        """Puts weights, optimizer and progress back to the newest whole checkpoint; False where there is none.

        The best weights stay in their file until an epoch surpasses them.

        Raises:
            UserError: there are checkpoints, but all are damaged.
        """
        if not self._newest.checkpoints:
            return False
        if not _restore_newest(self._newest):
            raise UserError(f"{printable(self.folder)}: every checkpoint is damaged; train to another folder")
        return True

    def save(self) -> None:
        """Writes the best weights, if they are new, and then the run."""
        if self._new_best:
            self._best.save(checkpoint_number=self._new_best)
            self._new_best = 0
        self._newest.save(checkpoint_number=self.step)

    def add_epoch(self, figures: dict[str, float]) -> None:
        """Notes the figures of a finished epoch, and its weights if it is the best so far."""
        self.progress.history.append(figures)
        self.progress.metrics = []
        if best_epoch(self.progress.history) == len(self.progress.history) - 1:
            self._new_best = len(self.progress.history)
            for kept, variable in zip(self._best_weights, self._weights, strict=True):
                kept.assign(variable)


def load_classifier(folder: Path) -> tuple[keras.Model, Description]:
    """The trained network with the weights of its best epoch, or of the newest checkpoint where none is over yet.

    Raises:
        UserError: there is no checkpoint, or it is damaged.
    """
    description = read_description(folder)
    model = description.network()
    weights = tf.train.Checkpoint(weights=_variables(model))
    managers = [
        tf.train.CheckpointManager(weights, str(place), max_to_keep=None) for place in (folder / "best", folder)
    ]
    if any(_restore_newest(manager) for manager in managers):
        return model, description
    if any(manager.checkpoints for manager in managers):
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; train to another folder")
    raise UserError(f"{printable(folder)}: training has not saved any weights yet; run trainer.py to its end")


def _variables(model: keras.Model) -> list[tf.Variable]:
    """Weights, moving averages and the state of the random generators, in the order of the layers."""
    return [variable.value for variable in model.variables]


def _restore_newest(manager: tf.train.CheckpointManager) -> bool:
    """Restores the newest checkpoint that is whole, and names those that are not; False where none is."""
    for path in reversed(manager.checkpoints):
        try:
            manager.checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
            return True
        except (tf.errors.OpError, LookupError, ValueError, AssertionError) as error:  # whatever TensorFlow makes of it
            print(f"{printable(path)}: damaged ({type(error).__name__}) and passed over", file=sys.stderr)
    return False
