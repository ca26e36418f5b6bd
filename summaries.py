"""What TensorBoard shows of a run: its curves, and the graph of the network."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from files import printable

CURVES = {  # run → tag → figure of an epoch; runs that share a tag are drawn over each other
    "train": {"cost": "cost", "accuracy": "accuracy", "learning_rate": "learning_rate"},
    "validation": {"cost": "val_cost", "accuracy": "val_accuracy"},
}


class Summaries(keras.callbacks.Callback):
    """Writes the figures of every epoch, from `checkpoints/train` and `checkpoints/validation`.

    The history of the run is the truth, and these files are a view of it: they are written anew when a run goes on, so
    that no epoch is missing or shown twice.
    """

    def __init__(self, folder: Path, history: Sequence[dict[str, float]]) -> None:
        super().__init__()
        self._folder = folder
        self._history = history
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._failed = False

    def on_train_begin(self, logs=None):
        if not self._writers:
            self._attempt(self._begin)

    def on_epoch_end(self, epoch, logs=None):
        self._attempt(self._add, epoch, logs)

    def close(self) -> None:
        for writer in self._writers.values():
            self._attempt(writer.close)

    def _attempt(self, act: Callable[..., None], *arguments: Any) -> None:
        """A full disk for what can be written again from the history must not end the training."""
        if self._failed:
            return
        try:
            act(*arguments)
        except (OSError, tf.errors.OpError) as error:
            self._failed = True
            # TensorFlow puts the name of the operation before what happened, and how it came to it on further lines.
            reason = printable(str(error).splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0])
            print(f"no more figures for TensorBoard until the next start: {reason}", file=sys.stderr)

    def _begin(self) -> None:
        for run in CURVES:
            for former in (self._folder / run).glob("events.out.tfevents.*"):
                former.unlink()
            self._writers[run] = tf.summary.create_file_writer(str(self._folder / run))
        with self._writers["train"].as_default():
            tf.summary.graph(graph_of(self.model))
        for epoch, figures in enumerate(self._history):
            self._add(epoch, figures)

    def _add(self, epoch: int, figures: dict[str, float]) -> None:
        for run, curves in CURVES.items():
            with self._writers[run].as_default(step=epoch + 1):
                for tag, name in curves.items():
                    tf.summary.scalar(tag, figures[name])
            self._writers[run].flush()


def graph_of(model: keras.Model) -> tf.compat.v1.GraphDef:
    """The operations of one prediction, under the names of their layers and with their dimensions."""
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(images).graph
    # The scope of the whole model says nothing; and Keras opens that of a layer twice, first to build it, so TensorFlow
    # numbers the one that holds its operations.
    layers = "|".join(re.escape(layer.name) for layer in model.layers)
    whole, numbered = re.compile(rf"^{model.name}(_\d+)?/"), re.compile(rf"^({layers})_\d+(?=/)")

    def layer_name(path: str) -> str:
        return numbered.sub(r"\1", whole.sub("", path))

    definition = tf.compat.v1.GraphDef()
    for node in graph.as_graph_def(add_shapes=True).node:
        if node.op != "NoOp":  # it only holds the order of side effects, of which there are none
            copy = definition.node.add()
            copy.CopyFrom(node)
            copy.name = layer_name(node.name)
            copy.input[:] = [layer_name(source) for source in node.input if not source.startswith("^")]
    return definition
