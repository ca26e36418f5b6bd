"""The checkpoints of a training run, and the metrics of its epochs. A folder of checkpoints contains:

checkpoints/model.json               what rebuilds the network; with it and best/, predict.py needs nothing else
checkpoints/ckpt-<step>.safetensors  the newest states of the run: weights, their average, optimizer, history
checkpoints/best/ckpt-<step>…        the weights of the best epoch, and their calibration
checkpoints/model.tflite             the same network for LiteRT, which predict.py uses
checkpoints/train, validation        the TensorBoard logs
checkpoints/report.txt, .html, .json the accuracy of the best epoch on the validation pictures
"""

import contextlib
import math
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from network.backend import keras, tf
from network.checkpoint_file import (
    BEST,
    Checkpoint,
    checkpoint_path,
    checkpoint_paths,
    parse_checkpoint,
    read_intact,
    step_of,
    write_checkpoint,
)
from network.model_config import MODEL_CONFIG, ModelConfig
from network.state import by_path, load_state, state_of
from system.cluster import Workers
from system.errors import UserError
from system.files import write_atomically
from system.progress import status
from system.terminal import printable
from training.distribution import Distribution
from training.history import METRICS, best_epoch, history_of


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Returns the newest intact checkpoint of the run in a folder, or None if no run has started there.

    Raises:
        UserError: there was a run, but none of its checkpoints is intact, or another version has saved it.
    """
    if (path := folder / MODEL_CONFIG).is_file():
        with contextlib.suppress(ValueError):  # if it is damaged, it is written again from a checkpoint
            ModelConfig.from_json(path.read_bytes(), path=path)
    paths = checkpoint_paths(folder)
    if checkpoint := next(iter(read_intact(paths)), None):
        return checkpoint
    remedy = "restore them from a backup, or train to a new folder with --model_save_name"
    if paths:
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; {remedy}")
    if traces := [name for name in (MODEL_CONFIG, BEST) if (folder / name).exists()]:
        raise UserError(f"{printable(folder)}: has {' and '.join(traces)}, but its checkpoints are gone; {remedy}")
    return None


def latest_of_chief(folder: Path, workers: Workers) -> Checkpoint | None:
    """Returns the newest intact checkpoint of the run in a folder of the chief, which sends it to all workers.

    Raises:
        UserError: see `latest_checkpoint`.
    """
    latest = latest_checkpoint(folder) if workers.is_chief else None
    if workers.count == 1:
        return latest
    name = workers.broadcast(latest.path.name.encode() if latest else b"").decode()
    content = workers.broadcast(latest.path.read_bytes() if latest else b"")
    return latest if workers.is_chief or not name else parse_checkpoint(content, folder / name)


def delete_all_but_newest(folder: Path) -> None:
    """Deletes the checkpoints of a finished run that are needed neither to predict nor to train longer."""
    if paths := checkpoint_paths(folder):
        _delete_old(folder, last_step=step_of(paths[0]), max_to_keep=1)


def _delete_old(folder: Path, *, last_step: int, max_to_keep: int) -> None:
    """Deletes all but the newest checkpoints and, of the best ones, the newest before each of them.

    Checkpoints with a higher step than the last one of a run are damaged: it continued from an older one.
    """
    paths, best_paths = checkpoint_paths(folder), checkpoint_paths(folder / BEST)
    kept = [path for path in paths if step_of(path) <= last_step][:max_to_keep]
    needed = {next((best for best in best_paths if step_of(best) <= step_of(path)), None) for path in kept}
    for path in {*paths, *best_paths} - {*kept, *needed}:
        path.unlink()


class _Best(NamedTuple):
    """The best epoch so far."""

    step: int
    weights: dict[str, np.ndarray]


class CheckpointManager:
    """The checkpoints of one run: the newest `max_to_keep`, and the weights of the best epoch before each of them.

    The best weights wait in memory and are written with the next checkpoint. If the run is killed in between, it
    continues from the older checkpoint and reaches the same best epoch again.

    Files are written by a thread, from copies of the values, so that training can go on meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        model_config: ModelConfig,
        *,
        max_to_keep: int,
        distribution: Distribution | None = None,
    ) -> None:
        self.folder = folder
        self.distribution = distribution or Distribution()
        self.history: list[dict[str, float]] = []
        # Keras's running sums in the middle of an epoch, a row for each replica; else there are no rows.
        self._metric_sums = np.zeros((0, 0))
        # The average of the weights over the last epochs, used for validation and prediction.
        with self.distribution.scope():
            self.average = [tf.Variable(weight.value) for weight in model.weights]
        self.model = model
        self._model_config = model_config
        self._max_to_keep = max_to_keep
        self._parts = {
            "weights": by_path(model.variables),  # with the state of the random generators
            "average": {weight.path: average for weight, average in zip(model.weights, self.average, strict=True)},
            "optimizer": by_path(model.optimizer.variables),
        }
        self._new_best: _Best | None = None  # that is not yet written
        self.saved_step = -1  # the step of the newest checkpoint
        self._started_step = -1  # that of the newest one that was started, which may not be complete
        self._copies: dict[str, np.ndarray] = {}
        self._thread = ThreadPoolExecutor(1)
        self._writing: tuple[Future[None], _Best | None] | None = None  # what the thread does, and for which best

    @property
    def step(self) -> int:
        """The number of training steps so far."""
        return int(self.model.optimizer.iterations.numpy())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restores weights, optimizer and history; the best weights stay in their file.

        Raises:
            UserError: it does not fit this network.
        """
        try:
            for part, variables in self._parts.items():
                load_state(part, variables, checkpoint)
            self.history = history_of(checkpoint)
            self._metric_sums = self._metric_sums_of(checkpoint)
        except ValueError as error:
            remedy = "train to a new folder with --model_save_name"
            raise UserError(f"{printable(checkpoint.path)}: cannot continue from it: {error}; {remedy}") from None
        if self.distribution.is_chief:
            self._restore_folder(checkpoint)

    def _restore_folder(self, checkpoint: Checkpoint) -> None:
        """Lets the folder be as it was when a checkpoint was saved."""
        # An epoch after this step, of a run that was killed or damaged, may not be the best this time.
        best_paths = checkpoint_paths(self.folder / BEST)
        for path in best_paths:
            if step_of(path) > checkpoint.step:
                path.unlink()
        if self.history and not best_paths:
            print(
                f"{printable(self.folder / BEST)}: the weights of the best epoch are gone; "
                "the newest ones are used until a better epoch",
                file=sys.stderr,
            )
        # With other settings it is saved again, even if no step follows, so that they are remembered.
        changed = self._model_config.to_json() != checkpoint.model_config.to_json()
        self.saved_step = self._started_step = -1 if changed else checkpoint.step
        self._write_model_config(checkpoint.model_config)

    def _metric_sums_of(self, checkpoint: Checkpoint) -> np.ndarray:
        sums = checkpoint.tensors.get("metric_sums", np.zeros(0))
        size = sum(math.prod(variable.shape) for variable in self.model.metrics_variables)
        if sums.ndim != 2 or (len(sums) and sums.shape[1] != size) or not np.isfinite(sums).all():
            raise ValueError("it has no valid metrics")
        return sums

    def keep_metric_sums(self) -> None:
        """Keeps the sums of the metrics, to save them in the middle of an epoch. All workers must call it."""
        self._metric_sums = self.distribution.read_replicas(self.model.metrics_variables)

    def restore_metric_sums(self) -> None:
        """Continues with the sums of the epoch in whose middle the checkpoint was saved, if it was."""
        if len(self._metric_sums):
            self.distribution.write_replicas(self.model.metrics_variables, self._metric_sums)

    def is_finite(self) -> bool:
        """Returns whether the weights and their average are all finite, so that a run can continue from them."""
        variables = [*self._parts["weights"].values(), *self._parts["average"].values()]
        return all(np.isfinite(_values(variable)).all() for variable in variables)

    def save(self) -> None:
        """Saves the run, and returns once that is done. See `start_saving`."""
        self.start_saving()
        self.wait()

    def start_saving(self) -> None:
        """Starts to write the best weights, if they are new, and the run; then to delete what is no longer needed.

        Raises:
            OSError: what was started before has failed.
        """
        if self._started_step != self.step and self.distribution.is_chief:
            self.wait()
            tensors = self._copied_state()
            history = [[metrics[name] for name in METRICS] for metrics in self.history]
            tensors["history"] = np.array(history).reshape(-1, len(METRICS))
            tensors["metric_sums"] = self._metric_sums
            best, self._new_best = self._new_best, None
            self._writing = self._thread.submit(self._write, self.step, tensors, best), best
        self._started_step = self.step

    def _copied_state(self) -> dict[str, np.ndarray]:
        """Returns copies of the values of all variables, in arrays that are used again: new memory takes far longer."""
        for part, variables in self._parts.items():
            for name, variable in variables.items():
                value = _values(variable)
                if (key := f"{part}/{name}") not in self._copies:
                    self._copies[key] = np.empty_like(value)
                np.copyto(self._copies[key], value)
        return dict(self._copies)

    def wait(self) -> None:
        """Returns once everything is written that was started to be saved.

        Raises:
            OSError: that has failed.
        """
        if self._writing:
            (writing, best), self._writing = self._writing, None
            try:
                with status("saving ..."):
                    writing.result()
            except BaseException:  # the next save writes all of it
                self._new_best, self._started_step = self._new_best or best, -1
                raise

    def raise_if_failed(self) -> None:
        """Raises OSError if saving has failed meanwhile. Does not wait for it."""
        if self._writing and self._writing[0].done():
            self.wait()

    def _write(self, step: int, tensors: dict[str, np.ndarray], best: _Best | None) -> None:
        if best:
            write_checkpoint(checkpoint_path(self.folder / BEST, best.step), best.weights, self._model_config)
        write_checkpoint(checkpoint_path(self.folder, step), tensors, self._model_config)
        self._write_model_config(self._model_config)
        self.saved_step = step
        _delete_old(self.folder, last_step=step, max_to_keep=self._max_to_keep)

    def _write_model_config(self, model_config: ModelConfig) -> None:
        """Writes model.json. It comes after the first checkpoint, so where it exists there is a run to continue."""
        path = self.folder / MODEL_CONFIG
        text = model_config.to_json()
        if not path.exists() or path.read_bytes() != text:
            write_atomically(path, text)

    def add_epoch(self, metrics: dict[str, float]) -> None:
        """Records the metrics of a finished epoch, and its weights if it is the best so far. All workers must call it.

        The metrics are those of the chief, so that all workers decide alike, however their processors round.
        """
        values = self.distribution.workers.broadcast(np.float64([metrics[name] for name in METRICS]).tobytes())
        self.history.append(dict(zip(METRICS, np.frombuffer(values).tolist(), strict=True)))
        self._metric_sums = np.zeros((0, 0))
        if self.distribution.is_chief and best_epoch(self.history) == len(self.history) - 1:
            self._new_best = _Best(self.step, state_of("average", self._parts["average"]))


def _values(variable: tf.Variable) -> np.ndarray:
    """Returns the values of a variable, to be used before it changes: `numpy()` would copy them to new memory."""
    return np.asarray(variable.read_value())
