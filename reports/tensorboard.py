"""What TensorBoard shows of a run, and when it is written. How each part looks: summaries.py."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from answers.evaluation import Evaluation
from answers.trained_network import TrainedNetwork
from network.backend import keras, tf
from pictures.manifest import TRAIN, VALIDATION
from reports import snapshots, summaries
from reports.graph import graph_of
from reports.projector import write_projector
from reports.run import Run
from system.progress import status
from system.terminal import printable
from training.callbacks import SPEED, WeightAveraging
from training.history import History, best_epoch

_SNAPSHOT_FRACTION = 0.01  # of the time, which snapshots of best epochs may take
_TYPICAL_IMAGES = 100  # training images with which a snapshot is calibrated


class TensorBoard(keras.callbacks.Callback):
    """Writes the metrics of each epoch, and snapshots of the network: pictures, heat maps, histograms.

    The files are a view of the run, in `checkpoints/train` and `checkpoints/validation`. They are written again when a
    run is resumed: what follows from the history is computed again, and the rest is copied from the old files, up to
    the epoch from which the run continues. So no epoch is missing or appears twice. That is why Keras's class of this
    name is not used.

    A snapshot is taken after the first epoch, after best epochs as long as this takes little time, and at the end.
    """

    def __init__(self, run: Run, history: History, averaging: WeightAveraging) -> None:
        super().__init__()
        self._run = run
        self._history = history
        self._averaging = averaging
        self._folder = Path(run.config.model_save_name)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._active = run.config.tensorboard and run.distribution.is_chief
        self._network: TrainedNetwork | None = None  # of the model that is trained
        self._start_time = time.perf_counter()
        self._snapshot_seconds = 0.0
        self._snapshot_step = self._final_step = 0  # of the newest that are in the files

    # ---- when ----

    def on_train_begin(self, logs=None):
        if self._active and not self._writers:
            with status("preparing TensorBoard ..."):
                self._best_effort(self._start)

    def on_epoch_end(self, epoch, logs=None):
        self._best_effort(self._start_again_if_deleted)
        self._best_effort(self._add_epoch, epoch, logs)
        if self._active and self._wants_snapshot(logs):
            start = time.perf_counter()
            with status("drawing for TensorBoard ..."):
                self._best_effort(self._add_snapshot, epoch + 1)
            self._snapshot_seconds += time.perf_counter() - start

    def finish(self, network: TrainedNetwork, evaluation: Evaluation) -> None:
        """Adds what is known at the end of the run, of the network of the best epoch, and closes the files."""
        self._best_effort(self._finish, network, evaluation)
        self.close()

    def close(self) -> None:
        for writer in self._writers.values():
            self._best_effort(writer.close)

    def _wants_snapshot(self, metrics: dict[str, float]) -> bool:
        """Returns whether to show the network after an epoch that is not yet in the history."""
        if not math.isfinite(metrics["val_loss"]):  # its weights are broken, and `SaveCheckpoints` will end the run
            return False
        if not self._history:
            return True
        is_best = best_epoch([*self._history, metrics]) == len(self._history)
        elapsed = time.perf_counter() - self._start_time
        return is_best and self._snapshot_seconds <= _SNAPSHOT_FRACTION * elapsed

    def _best_effort(self, function: Callable[..., None], *arguments: Any) -> None:
        """Calls a function. Whatever fails in it must not end the training, since nothing depends on its files.

        It may be a full disk, or a network that was edited in `model.py` and cannot be drawn, for example.
        """
        if not self._active:
            return
        try:
            function(*arguments)
        except Exception as error:
            self._active = False
            print(f"TensorBoard's files cannot be written, but training continues: {_reason(error)}", file=sys.stderr)

    # ---- what ----

    def _start(self) -> None:
        old = {log: self._event_files(log) for log in (TRAIN, VALIDATION)}
        self._open_files()
        for log, paths in old.items():
            with self._writers[log].as_default():
                for (step, _), value in self._measured(paths).items():
                    summary = tf.compat.v1.Summary(value=[value])
                    tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=step)
        for epoch, metrics in enumerate(self._history):
            self._add_metrics(epoch, metrics)
        self._flush()
        for path in (path for paths in old.values() for path in paths):
            with contextlib.suppress(PermissionError):  # on Windows, while TensorBoard has it open
                path.unlink(missing_ok=True)

    def _open_files(self) -> None:
        for log in (TRAIN, VALIDATION):
            self._writers[log] = tf.summary.create_file_writer(str(self._folder / log))
        with self._writers[TRAIN].as_default(step=0):
            tf.summary.graph(graph_of(self.model))
            summaries.write_texts(self._run)
            snapshots.write_data_sheets(self._run)
        with self._writers[VALIDATION].as_default(step=0):
            summaries.write_layout()
            summaries.write_hyperparameters(self._run)

    def _event_files(self, log: str) -> list[Path]:
        return sorted((self._folder / log).glob("events.out.tfevents.*"))

    def _measured(self, paths: Sequence[Path]) -> dict[tuple[int, str], tf.compat.v1.Summary.Value]:
        """Returns what does not follow from the history and is in event files: the values, by step and tag.

        Each is there once, even if a kill has left the files of two starts.
        """
        found = {}
        for path in paths:
            with contextlib.suppress(tf.errors.DataLossError):  # a kill may leave half of the last event
                for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                    event = tf.compat.v1.Event.FromString(record)
                    if 0 < event.step <= len(self._history):
                        found |= {
                            (event.step, value.tag): value
                            for value in event.summary.value
                            if value.tag not in summaries.CURVES
                        }
        self._snapshot_step = max(
            (step for step, tag in found if tag == snapshots.CONFUSION), default=self._snapshot_step
        )
        self._final_step = max((step for step, tag in found if snapshots.is_final(tag)), default=self._final_step)
        return dict(sorted(found.items()))

    def _start_again_if_deleted(self) -> None:
        if not all(map(self._event_files, (TRAIN, VALIDATION))):
            self.close()
            self._snapshot_step = self._final_step = 0
            self._start()

    def _add_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        self._add_metrics(epoch, metrics)
        with self._writers[TRAIN].as_default():
            summaries.write_scalars([(SPEED, metrics[SPEED], epoch + 1)])
        self._flush()

    def _add_metrics(self, epoch: int, metrics: dict[str, float]) -> None:
        history = [*self._history[:epoch], metrics]
        for log, scalars in summaries.scalars(history).items():
            with self._writers[log].as_default():
                summaries.write_scalars(scalars)

    def _add_snapshot(self, step: int) -> None:
        run = self._run
        self._network = self._network or TrainedNetwork(self.model, run.model_config)
        with self._averaging.averaged():
            if self._history:
                predictions = self._network.calibrate(
                    training=run.typical_images(_TYPICAL_IMAGES),
                    validation=run.validation.images,
                    labels=run.validation.labels,
                    unknown_rate=run.config.unknown_rate,
                )
            else:  # too early to say which pictures are unknown, and it would take half of the time
                predictions = self._network.predict(run.validation.images)
            self._write_snapshot(self._network, run.evaluation(predictions), step)

    def _write_snapshot(self, network: TrainedNetwork, evaluation: Evaluation, step: int) -> None:
        with self._writers[VALIDATION].as_default(step=step):
            snapshots.write_snapshot(self._run, network, evaluation)
        self._snapshot_step = step
        self._flush()

    def _finish(self, network: TrainedNetwork, evaluation: Evaluation) -> None:
        self._start_again_if_deleted()
        step = len(self._history)
        if step > self._snapshot_step:
            self._write_snapshot(network, evaluation, step)
        if step == self._final_step:  # of a run that was finished before
            return
        # First what is not in the event files, in which the curves say that the end is complete.
        write_projector(self._folder / VALIDATION, self._run, network, evaluation)
        with self._writers[VALIDATION].as_default(step=step):
            snapshots.write_final(evaluation)
        self._flush()

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()


def _reason(error: Exception) -> str:
    """Returns one line about an error, with its kind if it is not one of the disk."""
    # TensorFlow writes the name of the operation before the reason, and a traceback on further lines.
    text = printable(str(error).partition("\n")[0].rpartition("}} ")[2].partition(" [Op:")[0])
    return text if text and isinstance(error, OSError | tf.errors.OpError) else f"{type(error).__name__}: {text}"
