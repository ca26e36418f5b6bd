"""Saving, verifying and restoring: a training run and its `checkpoints/`.

    checkpoints/model.json               what the network was made for; with it and best/, predict.py needs nothing else
    checkpoints/ckpt-<step>.safetensors  the newest runs: weights, their average, optimizer, figures of every epoch
    checkpoints/best/ckpt-<step>…        the weights of the best epoch, and their calibration
    checkpoints/train, validation        what TensorBoard shows
    checkpoints/report.txt               how right the best epoch is on the validation pictures

A checkpoint is one file, written whole or not at all, with a checksum over all that it holds. Its format has nothing
that could be executed (https://github.com/huggingface/safetensors).
"""

import errno
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf
from safetensors import SafetensorError

from classifier import Classifier
from config import UserError
from description import DESCRIPTION, Description, read_description
from files import printable, write_atomically
from model import flattened_size

BEST = "best"
FIGURES = ("cost", "accuracy", "val_cost", "val_accuracy", "learning_rate")  # what is kept of every epoch

_NAME = re.compile(r"ckpt-(\d+)\.safetensors")


# ---- one checkpoint: a file of tensors ----


class Saved(NamedTuple):
    """What a checkpoint holds, known to be as it was written."""

    path: Path
    step: int  # how many training steps the weights have seen
    description: Description
    tensors: dict[str, np.ndarray]


def write_tensors(path: Path, tensors: dict[str, np.ndarray], description: Description) -> None:
    """Writes a checkpoint, of which after a crash or a power cut all is there or nothing."""
    tensors = {**tensors, "step": np.array(_step(path)), "description": np.frombuffer(description.as_json(), np.uint8)}
    tensors["checksum"] = _checksum(tensors)
    # Not by its save_file, which has a temporary file of its own that a kill would leave behind.
    write_atomically(path, safetensors.numpy.save(tensors))


def read_tensors(path: Path) -> Saved:
    """Reads a checkpoint, and believes nothing of it before its checksum.

    Raises:
        ValueError: it is damaged, or not one of ours; the message says why.
        OSError: it may be whole, but cannot be read, for want of rights or of memory.
    """
    try:
        tensors = safetensors.numpy.load(path.read_bytes())
    except OSError as error:
        if error.errno == errno.EIO:
            raise ValueError(f"it cannot be read: {error.strerror}") from None
        raise
    except MemoryError:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), os.fspath(path)) from None
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"it is not whole: {error}") from None
    if not np.array_equal(tensors.pop("checksum", None), _checksum(tensors)):
        raise ValueError("its checksum does not fit what it holds")
    if not np.array_equal(tensors.pop("step", None), _step(path)):
        raise ValueError("it has another name than it was given")
    description = Description.from_json(tensors.pop("description", np.zeros(0, np.uint8)).tobytes())
    # By far the largest weights: nobody shall have more memory allocated than the file that says so is long.
    largest = (flattened_size(description.height, description.width), 1024)
    if all(tensor.shape != largest for tensor in tensors.values()):
        raise ValueError("its weights are not those of the network that it describes")
    return Saved(path, _step(path), description, tensors)


def _checksum(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """SHA-256 over names, types, shapes and values: uint8 (32,)."""
    names = sorted(tensors)
    digest = hashlib.sha256(repr([(name, tensors[name].dtype.str, tensors[name].shape) for name in names]).encode())
    for name in names:
        digest.update(np.ascontiguousarray(tensors[name]))
    return np.frombuffer(digest.digest(), np.uint8)


def is_ours(name: str) -> bool:
    """Whether a file of this name is written here."""
    return name == DESCRIPTION or bool(_NAME.fullmatch(name))


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    found = (path for path in folder.glob("ckpt-*") if _NAME.fullmatch(path.name) and path.is_file())
    return sorted(found, key=_step, reverse=True)


def _whole(paths: Iterable[Path]) -> Iterable[Saved]:
    """Those of some checkpoints that are whole, and names those that are not."""
    for path in paths:
        try:
            yield read_tensors(path)
        except ValueError as error:
            print(f"{printable(path)}: damaged ({printable(str(error))}) and passed over", file=sys.stderr)


def _named(part: str, variables: Iterable[tf.Variable]) -> dict[str, np.ndarray]:
    return {f"{part}/{number:03d}": np.asarray(variable) for number, variable in enumerate(variables)}


def _assign(part: str, variables: Sequence[tf.Variable], saved: Saved) -> None:
    """Gives variables the values that `_named` took from them; all of them or, with a ValueError, none."""
    found = {name: tensor for name, tensor in saved.tensors.items() if name.startswith(f"{part}/")}
    expected = {f"{part}/{number:03d}": variable for number, variable in enumerate(variables)}
    if found.keys() != expected.keys() or any(
        (found[name].shape, found[name].dtype) != (tuple(variable.shape), variable.dtype.as_numpy_dtype)
        for name, variable in expected.items()
    ):
        raise ValueError("its weights are not those of this network")
    for name, variable in expected.items():
        variable.assign(found[name])


# ---- a run and its checkpoints ----


def newest_run(folder: Path) -> Saved | None:
    """The newest whole checkpoint of the run in a folder, or None where no run has begun.

    Raises:
        UserError: there has been a run, but none of its checkpoints is whole.
    """
    files = _checkpoint_files(folder)
    if saved := next(iter(_whole(files)), None):
        return saved
    mend = "bring them back, or train to another folder with --model_save_name"
    if files:
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; {mend}")
    if traces := [name for name in (DESCRIPTION, BEST) if (folder / name).exists()]:
        raise UserError(f"{printable(folder)}: has {' and '.join(traces)}, but its checkpoints ckpt-* are gone; {mend}")
    return None


def history_of(saved: Saved) -> list[dict[str, float]]:
    """The figures of every epoch that a run has finished; raises ValueError where there are none of that kind."""
    rows = saved.tensors.get("history", np.zeros(0))
    if rows.ndim != 2 or rows.shape[1] != len(FIGURES) or not np.isfinite(rows).all():
        raise ValueError("its history is none")
    return [dict(zip(FIGURES, row, strict=True)) for row in rows.tolist()]


def merit(figures: dict[str, float]) -> tuple[float, float]:
    """What makes an epoch better than another: its validation accuracy; where equal, the smaller cost."""
    return figures["val_accuracy"], -figures["val_cost"]


def best_epoch(history: Sequence[dict[str, float]]) -> int:
    """The place of the best epoch, the first of equals."""
    return max(range(len(history)), key=lambda epoch: merit(history[epoch]))


class Checkpoints:
    """The checkpoints of one run: the newest `max_to_keep`, and the weights of the best epoch before each of those.

    The best weights wait in memory and are written when the run is; should it be cut off in between, it goes on from
    the older checkpoint and comes by the same best epoch again.
    """

    def __init__(self, folder: Path, model: keras.Model, description: Description, *, max_to_keep: int) -> None:
        self.folder = folder
        self.history: list[dict[str, float]] = []  # the figures of every finished epoch
        self.metrics: list[float] = []  # Keras's running sums in the middle of an epoch, else empty
        # The average of the weights over the last epochs, which is what validates and predicts.
        self.average = [tf.Variable(weight.value) for weight in model.weights]
        self._model = model
        self._description = description
        self._max_to_keep = max_to_keep
        self._parts = {
            "weights": [variable.value for variable in model.variables],  # the state of the random generators too
            "average": self.average,
            "optimizer": [variable.value for variable in model.optimizer.variables],
        }
        self._new_best: tuple[int, dict[str, np.ndarray]] | None = None  # its step and weights, while not yet written
        self._saved_step = -1

    @property
    def step(self) -> int:
        """How many training steps the weights have seen."""
        return int(self._model.optimizer.iterations.numpy())

    def restore(self, saved: Saved) -> None:
        """Puts weights, optimizer and figures back to a checkpoint; the best weights stay in their file.

        Raises:
            UserError: it was saved by another version of this code.
        """
        try:
            for part, variables in self._parts.items():
                _assign(part, variables, saved)
            self.history = history_of(saved)
            self.metrics = self._metrics_of(saved)
        except ValueError as error:
            mend = "train to another folder with --model_save_name"
            raise UserError(f"{printable(saved.path)}: cannot go on from it, as {error}; {mend}") from None
        # What was best after this step, in a run that was cut off or got damaged, may not be so this time.
        bests = _checkpoint_files(self.folder / BEST)
        for path in bests:
            if _step(path) > saved.step:
                path.unlink()
        if self.history and not bests:
            print(
                f"{printable(self.folder / BEST)}: the weights of the best epoch are gone; "
                "the newest stand in for them until an epoch is better",
                file=sys.stderr,
            )
        self._saved_step = saved.step
        self._describe()

    def _metrics_of(self, saved: Saved) -> list[float]:
        sums = saved.tensors.get("metrics", np.zeros((0, 0)))
        if sums.ndim != 1 or len(sums) not in (0, len(self._model.metrics_variables)) or not np.isfinite(sums).all():
            raise ValueError("its running sums are none")
        return sums.tolist()

    def is_finite(self) -> bool:
        """Whether the weights and their average are numbers that a run can go on from."""
        parts = (self._parts["weights"], self.average)
        return all(np.isfinite(np.asarray(variable)).all() for part in parts for variable in part)

    def save(self) -> None:
        """Writes the best weights, if they are new, then the run, and deletes what is then no longer needed."""
        if self._saved_step == self.step:
            return
        if self._new_best:
            step, weights = self._new_best
            write_tensors(self.folder / BEST / f"ckpt-{step}.safetensors", weights, self._description)
            self._new_best = None
        tensors = {name: tensor for part in self._parts for name, tensor in _named(part, self._parts[part]).items()}
        tensors["history"] = np.array([[row[name] for name in FIGURES] for row in self.history]).reshape(
            -1, len(FIGURES)
        )
        tensors["metrics"] = np.array(self.metrics)
        write_tensors(self.folder / f"ckpt-{self.step}.safetensors", tensors, self._description)
        self._saved_step = self.step
        self._describe()
        self._delete_old()

    def _describe(self) -> None:
        """Writes model.json, after the first checkpoint, so that where it stands there is a run to go on with."""
        path = self.folder / DESCRIPTION
        text = self._description.as_json()
        if not path.exists() or path.read_bytes() != text:
            write_atomically(path, text)

    def _delete_old(self) -> None:
        """Deletes all but the newest runs and, of the best, the newest before each of them.

        Those with a higher step than this run are damaged, and it went on from an older one.
        """
        files = _checkpoint_files(self.folder)
        kept = [path for path in files if _step(path) <= self.step][: self._max_to_keep]
        bests = _checkpoint_files(self.folder / BEST)
        needed = {next((best for best in bests if _step(best) <= _step(path)), None) for path in kept}
        for path in {*files, *bests} - {*kept, *needed}:
            path.unlink()

    def add_epoch(self, figures: dict[str, float]) -> None:
        """Notes the figures of a finished epoch, and its weights if it is the best so far."""
        self.history.append(figures)
        self.metrics = []
        if best_epoch(self.history) == len(self.history) - 1:
            self._new_best = (
                self.step,
                {name: tensor.copy() for name, tensor in _named("average", self.average).items()},
            )


# ---- a trained network ----


def load_classifier(folder: Path) -> tuple[Classifier, Description]:
    """As `load_best`, without its step."""
    classifier, description, _ = load_best(folder)
    return classifier, description


def load_best(folder: Path) -> tuple[Classifier, Description, int]:
    """The trained network of the best epoch, or of the newest checkpoint where no epoch is over yet; and its step.

    It is calibrated if the run came to its end or was stopped, not if it was killed.

    Raises:
        UserError: there is no checkpoint, or it is damaged.
    """
    description = read_description(folder)
    files = [*_checkpoint_files(folder / BEST), *_checkpoint_files(folder)]
    trained = [path for path in files if _step(path)]
    for saved in _whole(trained):
        if saved.description != description:
            path, other = printable(saved.path), printable(folder / DESCRIPTION)
            raise UserError(
                f"{path}: is not of the network that {other} describes; bring back the two that belong together"
            )
        classifier = description.classifier()
        try:
            _assign("average", classifier.weights, saved)
            if any(name.startswith("calibration/") for name in saved.tensors):
                _assign("calibration", classifier.calibration, saved)
        except ValueError as error:
            raise UserError(f"{printable(saved.path)}: {error}; train to another folder") from None
        return classifier, description, saved.step
    if trained:
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; train to another folder")
    raise UserError(f"{printable(folder)}: training has not saved any weights yet; run trainer.py to its end")


def save_calibration(folder: Path, classifier: Classifier, description: Description, step: int) -> None:
    """Writes a network as the best one, with its calibration beside its weights; `step` is that of `load_best`."""
    tensors = _named("average", classifier.weights) | _named("calibration", classifier.calibration)
    write_tensors(folder / BEST / f"ckpt-{step}.safetensors", tensors, description)
