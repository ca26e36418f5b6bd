"""What happens between the steps of a training run: naming its figures, saving it, ending it."""

import math
import sys
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from checkpoint import Checkpoints
from config import UserError

FIGURES = ("cost", "accuracy", "val_cost", "val_accuracy", "learning_rate")  # what is kept of every epoch


class Vocabulary(keras.callbacks.Callback):
    """Calls the loss the cost, as the original does, and adds the learning rate and the images per second.

    Keras hands one dict of figures from callback to callback, so what stands first speaks for all.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()
        self._rate = 0.0

    def on_train_batch_end(self, batch, logs=None):
        logs["cost"] = logs.pop("loss")
        self._rate = (batch + 1) * self._batch_size / (time.perf_counter() - self._began)
        logs["images_per_second"] = round(self._rate)

    def on_epoch_end(self, epoch, logs=None):
        logs["cost"] = logs.pop("loss")
        logs["val_cost"] = logs.pop("val_loss")
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["images_per_second"] = round(self._rate)


class Averaging(keras.callbacks.Callback):
    """Averages the weights over about the last tenth of the run, and validates the average instead of the last weights.

    Steps of a constant size keep the weights swinging around what they are looking for; their average lies nearer to
    it, without a schedule that has to know where the run will end. Algorithm: polynomial-decay averaging (Shamir and
    Zhang 2013, https://arxiv.org/abs/1212.1824), where the newest of n weights has a share of 9 / (n + 8); applied
    whenever the graph returns to Python.
    """

    def __init__(self, average: Sequence[tf.Variable], *, steps_per_execution: int, switched_on: bool) -> None:
        super().__init__()
        self._average = average
        self._steps_per_execution = steps_per_execution
        self._extra = 8 if switched_on else math.inf  # an infinite one makes the average the newest weights

    def set_model(self, model):
        super().set_model(model)
        weights = [weight.value for weight in model.weights]

        def blend(share):
            for average, weight in zip(self._average, weights, strict=True):
                average.assign((1 - share) * average + share * weight)

        def swap():
            for average, weight in zip(self._average, weights, strict=True):
                former = tf.identity(weight)
                weight.assign(average)
                average.assign(former)

        # Compiled, it is one pass over the memory instead of three. TensorFlow for Windows may come without a compiler.
        self._blend, self._swap = tf.function(blend, jit_compile=sys.platform != "win32"), tf.function(swap)

    def on_train_batch_end(self, batch, logs=None):
        count = int(self.model.optimizer.iterations) / self._steps_per_execution
        share = (self._extra + 1) / (self._extra + count) if self._extra < math.inf else 1.0
        self._blend(tf.constant(share, tf.float32))

    def on_test_begin(self, logs=None):
        self._swap()

    def on_test_end(self, logs=None):
        self._swap()


class Saturation(keras.callbacks.EarlyStopping):
    """Keras's early stopping, which also counts the epochs before the run was resumed."""

    def __init__(self, history: list[dict[str, float]], *, patience: int) -> None:
        super().__init__(monitor="val_accuracy", mode="max", patience=patience)
        self._history = history

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for epoch, figures in enumerate(self._history):
            self.on_epoch_end(epoch, figures)


class Stopped(Exception):  # noqa: N818 - no error
    """Ends a run at the next moment at which it can be saved, because of a signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class Keeper(keras.callbacks.Callback):
    """Notes every epoch and saves the run: every `save_seconds`, in mid-epoch too, and when it is told to stop."""

    def __init__(self, checkpoints: Checkpoints, *, save_seconds: float) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._save_seconds = save_seconds
        self._saved = time.monotonic()
        self.stop_signal = 0  # the number of the signal that asks for the end

    def on_epoch_begin(self, epoch, logs=None):
        if sums := self._checkpoints.progress.metrics:
            for variable, value in zip(self.model.metrics_variables, sums, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        self._refuse_if_not_finite(logs["cost"])
        if batch + 1 < self.params["steps"] and self._due():
            self._checkpoints.progress.metrics = [float(variable) for variable in self.model.metrics_variables]
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._refuse_if_not_finite(logs["val_cost"])  # the last step may have broken what its own cost did not show
        self._checkpoints.add_epoch({name: float(logs[name]) for name in FIGURES})
        if self._due():
            self._save()

    def _refuse_if_not_finite(self, cost: float) -> None:
        if not math.isfinite(cost):
            raise UserError(
                f"the cost is {cost} at step {self._checkpoints.step}, so training cannot go on; "
                "the checkpoints before are whole: try a smaller --learning_rate"
            )

    def _due(self) -> bool:
        return bool(self.stop_signal) or time.monotonic() - self._saved >= self._save_seconds

    def _save(self) -> None:
        self._checkpoints.save()
        self._saved = time.monotonic()
        if self.stop_signal:
            raise Stopped(self.stop_signal)
