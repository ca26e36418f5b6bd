"""Saving, verifying and restoring: a training run and its `checkpoints/`.

    checkpoints/model.json       what the network was made for; with it and best/, predict.py needs nothing else
    checkpoints/ckpt-<step>.*    the newest runs: weights, their average, optimizer, position, figures of every epoch
    checkpoints/best/            the weights of the best epoch, and their calibration
    checkpoints/train, validation  what TensorBoard shows
    checkpoints/report.txt       how right the best epoch is on the validation pictures

Files of weights are TensorFlow's, which carry checksums; nothing in them is ever executed.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import tensorflow as tf

from classifier import Classifier
from config import LOSSES, UserError
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
    loss: str  # "softmax" or "sigmoid"
    random_mirror: bool
    balance_classes: bool
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
            random_mirror=self.random_mirror,
        )

    def classifier(self) -> Classifier:
        """The same, as it is asked; not calibrated yet."""
        return Classifier(self.network(), loss=self.loss, random_mirror=self.random_mirror)


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
    if description.loss not in LOSSES:
        raise ValueError(f"loss is {description.loss}")


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


def read_history(folder: Path) -> list[dict[str, float]]:
    """The figures of every finished epoch of a run, read from its newest checkpoint."""
    reader = tf.train.load_checkpoint(str(folder))
    (name,) = (name for name in reader.get_variable_to_shape_map() if name.startswith("progress/"))
    return json.loads(reader.get_tensor(name))["history"]


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
        self.folder = folder
        self.progress = Progress()
        # The average of the weights over the last epochs, which is what validates and predicts.
        self.average = [tf.Variable(weight.value) for weight in model.weights]
        self._iterations = model.optimizer.iterations
        run = tf.train.Checkpoint(
            weights=[v.value for v in model.variables],  # the state of the random generators too
            average=self.average,
            optimizer=[v.value for v in model.optimizer.variables],
            progress=self.progress,
        )
        with tf.device("CPU"):
            self._best_weights = [tf.Variable(weight.value) for weight in model.weights]
        self._new_best = 0  # the epoch, from 1, whose weights are the best and not yet written
        self._newest = tf.train.CheckpointManager(run, str(folder), max_to_keep)
        best = tf.train.Checkpoint(weights=self._best_weights)
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
            for kept, average in zip(self._best_weights, self.average, strict=True):
                kept.assign(average)


def load_classifier(folder: Path) -> tuple[Classifier, Description]:
    """The trained network of the best epoch, or of the newest checkpoint where no epoch is over yet.

    It is calibrated if the run came to its end or was stopped, not if it was killed.

    Raises:
        UserError: there is no checkpoint, or it is damaged.
    """
    description = read_description(folder)
    classifier = description.classifier()
    best = tf.train.Checkpoint(weights=classifier.weights)
    newest = tf.train.Checkpoint(average=classifier.weights)
    managers = [
        tf.train.CheckpointManager(what, str(place), max_to_keep=None)
        for what, place in ((best, folder / "best"), (newest, folder))
    ]
    if restored := _restore_newest(managers[0]):
        calibrations = _calibrations(folder, classifier)
        if _number(calibrations.latest_checkpoint) == _number(restored):  # else it is of other weights
            _restore_newest(calibrations)
        return classifier, description
    if _restore_newest(managers[1]):
        return classifier, description
    if any(manager.checkpoints for manager in managers):
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; train to another folder")
    raise UserError(f"{printable(folder)}: training has not saved any weights yet; run trainer.py to its end")


def save_calibration(folder: Path, classifier: Classifier) -> None:
    """Writes the calibration of the network of the best epoch beside its weights."""
    best = tf.train.CheckpointManager(tf.train.Checkpoint(), str(folder / "best"), max_to_keep=None)
    if number := _number(best.latest_checkpoint):
        _calibrations(folder, classifier).save(checkpoint_number=number)


def _calibrations(folder: Path, classifier: Classifier) -> tf.train.CheckpointManager:
    calibration = tf.train.Checkpoint(**classifier.calibration._asdict())
    return tf.train.CheckpointManager(calibration, str(folder / "best" / "calibration"), max_to_keep=1)


def _number(path: str | None) -> int:
    """The number in the name of a checkpoint; 0 where there is none."""
    return int(path.rpartition("-")[2]) if path else 0


def _restore_newest(manager: tf.train.CheckpointManager) -> str | None:
    """Restores the newest checkpoint that is whole and returns its path, and names those that are not whole."""
    for path in reversed(manager.checkpoints):
        try:
            manager.checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
            return path
        except (tf.errors.OpError, LookupError, ValueError, AssertionError) as error:  # whatever TensorFlow makes of it
            print(f"{printable(path)}: damaged ({type(error).__name__}) and passed over", file=sys.stderr)
    return None
