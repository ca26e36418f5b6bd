"""What happens between the steps of a run: measuring its speed, averaging its weights, saving it, ending it."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from config import TrainConfig
from network.backend import keras, tf
from network.layers import ByteDropout
from system.errors import EXIT_OUTPUT_CLOSED, UserError
from system.terminal import output_closed
from training.checkpoints import CheckpointManager
from training.history import METRICS, History
from training.schedule import learning_rate, reached_limits, regularization

SPEED = "images_per_second"  # in the logs of an epoch, not in the history: the same run takes another time elsewhere
_SIGPIPE = EXIT_OUTPUT_CLOSED - 128
_MAX_NAMES = 50  # pictures of a batch that an error names


def _can_compile(model: keras.Model) -> bool:
    """Returns whether XLA can compute with the weights, which makes arithmetic one pass over the memory.

    TensorFlow for Windows may come without it, and it does not know variables with several replicas.
    """
    return sys.platform != "win32" and model.distribute_strategy.num_replicas_in_sync == 1


class Throughput(keras.callbacks.Callback):
    """Adds the images per second to the logs, for the callbacks after it.

    The first steps of a run are left out once there are others, since TensorFlow prepares them while they run.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._is_first = True  # no step has been run yet

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._skipped = time.perf_counter(), 0
        self._rate = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self._rate = (batch + 1 - self._skipped) * self._batch_size / (now - self._start)
        if self._is_first:
            self._is_first, self._start, self._skipped = False, now, batch + 1
        logs[SPEED] = round(self._rate)

    def on_epoch_end(self, epoch, logs=None):
        logs[SPEED] = round(self._rate)


class Schedule(keras.callbacks.Callback):
    """Sets the learning rate and the strength of dropout for each epoch, and adds the learning rate to the logs.

    Keras's LearningRateScheduler reads the learning rate before in a way of which NumPy 2 warns.
    """

    def __init__(self, history: History, config: TrainConfig) -> None:
        super().__init__()
        self._history = history
        self._config = config

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = learning_rate(self._history, self._config)
        strength = regularization(epoch, self._history, self._config)
        for layer in self.model.layers:
            if isinstance(layer, ByteDropout):
                layer.set_strength(strength)

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())


class WeightDecay(keras.callbacks.Callback):
    """Shrinks the kernels of all layers for each step, by the learning rate times `weight_decay`.

    Biases, and the scales of batch normalization, keep their size. Applied whenever the graph returns to Python: in
    each step, as Keras's optimizers do it, training would take a fifth longer. Algorithm: decoupled weight decay
    (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101).
    """

    def __init__(self, weight_decay: float, *, steps_per_execution: int) -> None:
        super().__init__()
        self._weight_decay = weight_decay
        self._steps_per_execution = steps_per_execution

    def set_model(self, model):
        super().set_model(model)
        kernels = [variable.value for variable in model.trainable_variables if variable.name.endswith("kernel")]

        def shrink(factor):
            for kernel in kernels:
                kernel.assign(factor * kernel)

        self._shrink = tf.function(shrink, jit_compile=_can_compile(model))

    def on_train_batch_end(self, batch, logs=None):
        if self._weight_decay:
            of_step = 1 - float(self.model.optimizer.learning_rate.numpy()) * self._weight_decay
            self._shrink(tf.constant(max(0.0, of_step) ** self._steps_per_execution, tf.float32))


class WeightAveraging(keras.callbacks.Callback):
    """Averages the weights over about the last tenth of the run, and validates with the average.

    With a constant learning rate the weights move around the optimum. Their average is closer to it, without a schedule
    that has to know where the run will end. Algorithm: polynomial-decay averaging (Shamir and Zhang 2013,
    https://arxiv.org/abs/1212.1824), in which the newest of n weights has a share of 9 / (n + 8); applied whenever the
    graph returns to Python.
    """

    def __init__(self, average: Sequence[tf.Variable], *, steps_per_execution: int, enabled: bool) -> None:
        """`average` is updated in place. Unless `enabled`, it is a copy of the newest weights."""
        super().__init__()
        self._average = average
        self._steps_per_execution = steps_per_execution
        self._eta = 8 if enabled else math.inf

    def set_model(self, model):
        super().set_model(model)
        weights = [weight.value for weight in model.weights]

        def update(share):
            for average, weight in zip(self._average, weights, strict=True):
                average.assign((1 - share) * average + share * weight)

        def swap():
            for average, weight in zip(self._average, weights, strict=True):
                newest = tf.identity(weight)
                weight.assign(average)
                average.assign(newest)

        self._update, self._swap = tf.function(update, jit_compile=_can_compile(model)), tf.function(swap)

    def on_train_batch_end(self, batch, logs=None):
        count = int(self.model.optimizer.iterations.numpy()) / self._steps_per_execution
        share = (self._eta + 1) / (self._eta + count) if self._eta < math.inf else 1.0
        self._update(tf.constant(share, tf.float32))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Lets the network have the averaged weights meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def on_test_begin(self, logs=None):
        self._swap()

    def on_test_end(self, logs=None):
        self._swap()


class EarlyStopping(keras.callbacks.Callback):
    """Ends `fit` once the run has reached a limit. Keras's class of this name forgets the epochs before it was resumed.

    `fit` also ends after the rest of an interrupted epoch, because it takes only one number of steps for all epochs.
    """

    def __init__(self, history: History, config: TrainConfig, *, steps_per_epoch: int) -> None:
        super().__init__()
        self._history = history
        self._config = config
        self._steps_per_epoch = steps_per_epoch

    def on_epoch_end(self, epoch, logs=None):
        is_rest = self.params["steps"] < self._steps_per_epoch
        self.model.stop_training = is_rest or bool(reached_limits(self._history, self._config))


class TrainingStopped(Exception):
    """Raised by `SaveCheckpoints` after it has saved the run because of a signal, or since nobody reads the output."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class SaveCheckpoints(keras.callbacks.Callback):
    """Records each epoch and saves the run: every `save_seconds`, also within an epoch, and when it has to stop.

    It has to stop after a signal, and when nobody reads the output any more.

    Raises:
        TrainingStopped: after such an end, when the run is saved.
        UserError: the loss or the weights became infinite or NaN.
    """

    def __init__(
        self, checkpoints: CheckpointManager, *, save_seconds: float, files_of_step: Callable[[int], Sequence[str]]
    ) -> None:
        """`files_of_step` returns the names of the pictures of a step of the current epoch, counted from 0."""
        super().__init__()
        self._checkpoints = checkpoints
        self._files_of_step = files_of_step
        self._save_seconds = save_seconds
        self._last_save = time.monotonic()
        self.stop_signal = 0  # the number of the signal that asks this worker for the end
        self._agreed_signal = 0  # … that asked any of the workers
        self._is_chief = checkpoints.distribution.is_chief

    def on_epoch_begin(self, epoch, logs=None):
        self.stop_if_asked()  # during the validation, or since
        self._checkpoints.restore_metric_sums()

    def on_train_batch_end(self, batch, logs=None):
        finite_steps = logs.pop("finite_steps")
        self._require_finite(logs["loss"], finite_steps)
        if batch + 1 < self.params["steps"] and self._is_due():
            if not self._checkpoints.is_finite():  # the last step may have broken them after its loss was computed
                self._require_finite(math.nan, finite_steps - 1)
            self._checkpoints.keep_metric_sums()
            self._save()
            self._raise_if_stopped()

    def on_epoch_end(self, epoch, logs=None):
        # Here too the last step may have broken the weights: the validation shows it.
        self._require_finite(logs["val_loss"], logs.pop("finite_steps") - 1)
        del logs["val_finite_steps"]
        self._checkpoints.add_epoch({name: float(logs[name]) for name in METRICS})
        if self._is_due():
            self._save()  # the run stops when the next epoch begins, after the callbacks that show this one

    def _require_finite(self, loss: float, step: float) -> None:
        if math.isfinite(loss):
            return
        files = self._files_of_step(int(step))
        more = f" and {len(files) - _MAX_NAMES} more" if len(files) > _MAX_NAMES else ""
        raise UserError(
            f"the cost became {loss} with the pictures {', '.join(files[:_MAX_NAMES])}{more}, so training cannot "
            "continue; earlier checkpoints are intact: check those pictures, or try a smaller --learning_rate"
        )

    def _is_due(self) -> bool:
        """Returns whether to save now, on which all workers agree: the chief looks at the time, each at its signals."""
        self._checkpoints.raise_if_failed()
        passed = time.monotonic() - self._last_save >= self._save_seconds
        signal = self.stop_signal or (_SIGPIPE if self._is_chief and output_closed() else 0)
        votes = self._checkpoints.distribution.workers.all_gather(bytes([passed and self._is_chief, signal]))
        self._agreed_signal = self._agreed_signal or next((vote[1] for vote in votes if vote[1]), 0)
        return bool(self._agreed_signal) or any(vote[0] for vote in votes)

    def _save(self) -> None:
        if self._agreed_signal:
            self._checkpoints.save()
        else:
            self._checkpoints.start_saving()
        self._last_save = time.monotonic()

    def stop_if_asked(self) -> None:
        """Saves the run and raises TrainingStopped if it has to stop. All workers must call it."""
        if self._is_due() and self._agreed_signal:
            self._save()
            self._raise_if_stopped()

    def _raise_if_stopped(self) -> None:
        if self._agreed_signal:
            raise TrainingStopped(self._agreed_signal)
