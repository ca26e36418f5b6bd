"""What happens between the steps of a training run: naming its figures, saving it, ending it."""

import math
import sys
import time
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from checkpoint import FIGURES, Checkpoints
from config import UserError

_NAMED = 50  # pictures of a batch, at most, that an error names


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


class FiniteSteps(keras.metrics.Metric):
    """How many steps of an epoch came before the first one whose cost is not finite.

    The graph runs many steps before it returns to Python, which then could not tell which of them it was.
    """

    def __init__(self, cost: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> None:
        super().__init__(name="finite_steps")
        self._cost = cost
        self._steps = self.add_weight(name="steps", initializer="zeros")
        self._finite = self.add_weight(name="finite", initializer="zeros")

    def update_state(self, labels, logits, sample_weight=None):
        finite = tf.reduce_all(tf.math.is_finite(self._cost(labels, logits)))
        self._finite.assign_add(tf.cast(finite & (self._steps == self._finite), tf.float32))
        self._steps.assign_add(1.0)

    def result(self):
        return tf.identity(self._finite)


class Stopped(Exception):  # noqa: N818 - no error
    """Ends a run at the next moment at which it can be saved, because of a signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class Keeper(keras.callbacks.Callback):
    """Notes every epoch and saves the run: every `save_seconds`, in mid-epoch too, and when it is told to stop."""

    def __init__(
        self, checkpoints: Checkpoints, *, save_seconds: float, files_of: Callable[[int], Sequence[str]]
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._files_of = files_of  # the names of the pictures of a step of the epoch under way, counted from 0
        self._save_seconds = save_seconds
        self._saved = time.monotonic()
        self.stop_signal = 0  # the number of the signal that asks for the end

    def on_epoch_begin(self, epoch, logs=None):
        if sums := self._checkpoints.metrics:
            for variable, value in zip(self.model.metrics_variables, sums, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        finite_steps = logs.pop("finite_steps")
        self._refuse_if_not_finite(logs["cost"], finite_steps)
        if batch + 1 < self.params["steps"] and self._due():
            if not self._checkpoints.is_finite():  # the last step may have broken what its own cost did not show
                self._refuse_if_not_finite(math.nan, finite_steps - 1)
            self._checkpoints.metrics = [float(variable) for variable in self.model.metrics_variables]
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        # The same, as the average of the weights is what validates.
        self._refuse_if_not_finite(logs["val_cost"], logs.pop("finite_steps") - 1)
        del logs["val_finite_steps"]
        self._checkpoints.add_epoch({name: float(logs[name]) for name in FIGURES})
        if self._due():
            self._save()

    def _refuse_if_not_finite(self, cost: float, step: float) -> None:
        if math.isfinite(cost):
            return
        files = self._files_of(int(step))
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        raise UserError(
            f"the cost became {cost} with the pictures {', '.join(files[:_NAMED])}{more}, so training cannot go on; "
            "the checkpoints before are whole: look at those pictures, or try a smaller --learning_rate"
        )

    def _due(self) -> bool:
        return bool(self.stop_signal) or time.monotonic() - self._saved >= self._save_seconds

    def _save(self) -> None:
        self._checkpoints.save()
        self._saved = time.monotonic()
        if self.stop_signal:
            raise Stopped(self.stop_signal)
