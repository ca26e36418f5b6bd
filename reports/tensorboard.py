"""What TensorBoard shows of a run: its curves and the graph of the network."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from network.backend import keras, tf
from reports.graph import graph_of
from system.terminal import printable
from training.checkpoints import History

# Log folder → tag → metric of an epoch. Curves with the same tag are drawn in one chart.
SCALARS = {
    "train": {"cost": "loss", "accuracy": "accuracy", "learning_rate": "learning_rate"},
    "validation": {"cost": "val_loss", "accuracy": "val_accuracy"},
}


class TensorBoard(keras.callbacks.Callback):
    """Writes the metrics of each epoch to `checkpoints/train` and `checkpoints/validation`.

    These files are a view of the history of the run: they are written again when a run is resumed, so that no epoch is
    missing or appears twice. That is why Keras's class of this name is not used.
    """

    def __init__(self, folder: Path, history: History) -> None:
        super().__init__()
        self._folder = folder
        self._history = history
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._failed = False

    def on_train_begin(self, logs=None):
        if not self._writers:
            self._best_effort(self._start)

    def on_epoch_end(self, epoch, logs=None):
        self._best_effort(self._add, epoch, logs)

    def close(self) -> None:
        for writer in self._writers.values():
            self._best_effort(writer.close)

    def _best_effort(self, function: Callable[..., None], *arguments: Any) -> None:
        """Calls a function; a full disk must not end the training because of files that can be written again."""
        if self._failed:
            return
        try:
            function(*arguments)
        except (OSError, tf.errors.OpError) as error:
            self._failed = True
            # TensorFlow writes the name of the operation before the reason, and a traceback on further lines.
            reason = printable(str(error).splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0])
            print(f"TensorBoard's files cannot be written, but training continues: {reason}", file=sys.stderr)

    def _start(self) -> None:
        for log in SCALARS:
            for old in (self._folder / log).glob("events.out.tfevents.*"):
                old.unlink()
            self._writers[log] = tf.summary.create_file_writer(str(self._folder / log))
        with self._writers["train"].as_default():
            tf.summary.graph(graph_of(self.model))
        for epoch, metrics in enumerate(self._history):
            self._add(epoch, metrics)

    def _add(self, epoch: int, metrics: dict[str, float]) -> None:
        for log, scalars in SCALARS.items():
            with self._writers[log].as_default(step=epoch + 1):
                for tag, name in scalars.items():
                    tf.summary.scalar(tag, metrics[name])
            self._writers[log].flush()
