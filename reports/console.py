"""What the terminal shows of a training run: the network, a row for each epoch, a bar for the current one, the end."""

import contextlib
import math
import shlex
import sys
import time
from pathlib import Path

from config import TrainConfig
from network.backend import keras
from reports.report_files import HTML_REPORT
from system.progress import format_seconds, live_bar
from system.terminal import can_redraw, plural, print_entry, print_marked, printable, wrapped
from training.checkpoints import CheckpointManager
from training.distribution import Distribution
from training.history import History, best_epoch, epochs_without_progress, falling_epochs
from training.schedule import epochs_at_end, falling, reached_limits

_WORTHWHILE = 64  # pictures of a step for each device; with fewer, exchanging gradients can take longer than computing
_HEAD = (
    f"{'epoch':>6}{'training':>12}{'validation':>18}",
    f"{'':>6}{'cost':>7}{'accuracy':>9}{'cost':>8}{'accuracy':>9}{'img/s':>8}{'time':>8}",
)


def describe_network(model: keras.Model) -> str:
    """Returns one line about the layers of a network that have weights to learn, and their number."""
    convolutions = sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    connected = sum(isinstance(layer, keras.layers.Dense) for layer in model.layers)
    count = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    weights = f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count:,}"
    layers = f"{plural(convolutions, 'convolution')}, {plural(connected, 'fully connected layer')}"
    return f"{layers}, {weights} weights"


def describe_run(config: TrainConfig) -> str:
    """Returns one line about where a run is saved, and when it ends."""
    limits = f"up to {plural(config.epochs, 'epoch')}, {config.patience:,} without a lower cost"
    return f"{printable(config.model_save_name)}/: {limits}; Ctrl-C saves"


def describe_replicas(config: TrainConfig, distribution: Distribution) -> list[str]:
    """Returns lines about the devices and workers that train together, and whether their parts of a batch are small."""
    workers, replicas = distribution.workers, distribution.replicas
    if replicas == 1:
        return []
    lines = [f"{plural(replicas, 'device')} share each batch of {plural(config.batch_size, 'picture')}"]
    if workers.count > 1:
        role = "the chief" if workers.is_chief else f"worker {workers.index}; the chief shows the progress"
        lines = [f"{plural(workers.count, 'worker')}, {lines[0]}; this is {role}"]
    if config.batch_size < _WORTHWHILE * replicas:
        part = plural(config.batch_size // replicas, "picture")
        lines.append(f"with {part} per device, exchanging the gradients may take longer than")
        lines.append(f"computing them: use --batch_size {_WORTHWHILE * replicas} or more, or a single device")
    return lines


def format_end(history: History, config: TrainConfig, *, trained: int, seconds: float) -> str:
    """Returns one line about the end of a run, of which this process has trained so many epochs, in these seconds."""
    now = "" if trained == len(history) else f", {trained:,} of them now,"
    took = f"{now} in {format_seconds(seconds)}" if trained else ""
    constant = history[: len(history) - falling_epochs(history)]
    reasons = {
        "patience": f"{epochs_without_progress(constant):,} without a lower cost",
        "epochs": f"no more than --epochs {config.epochs}",
    }
    why = " and ".join(reasons[limit] for limit in reached_limits(history, config))
    _, count = falling(history, config)
    then = f", the last {count:,} with a falling learning rate" if count else ""
    return f"Finished after {plural(len(history), 'epoch')}{took}: {why}{then}."


def how_to_train_longer(history: History, config: TrainConfig) -> str:
    """Returns the settings with which a finished run would continue, or "" for a run that is not finished."""
    return " ".join(f"--{name} {value}" for name, value in reached_limits(history, config).items())


def print_next_commands(config: TrainConfig, advice: str) -> None:
    """Prints what a run has made, and the commands for it; for a run that was finished before, `advice`."""
    folder = printable(shlex.quote(config.model_save_name))
    option = "" if config.model_save_name == TrainConfig.model_save_name else f" --model_save_name {folder}"
    print_entry("network", f"{printable(config.model_save_name)}/")
    print_entry("report", printable(Path(config.model_save_name, HTML_REPORT)))
    print_entry("next", f"python predict.py{option} picture.jpg")
    if config.tensorboard:
        print_entry("", f"tensorboard --logdir {folder}   then open http://localhost:6006")
    if advice:
        print(wrapped(f"this run is finished: train longer with {advice}, or use another --model_save_name"))


class EpochTable(keras.callbacks.Callback):
    """Prints a row for each epoch. On a terminal there is a bar below, with the time left until the limit `epochs`.

    It follows `SaveCheckpoints` in the list of callbacks, since a row says what was saved. Keras's own output wraps on
    80 columns and does not know which epoch is the best one.
    """

    def __init__(self, checkpoints: CheckpointManager, config: TrainConfig, *, steps_per_epoch: int) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._saved_step = checkpoints.saved_step
        self._bar = None
        self._pace = "starting ..."
        self._bars = contextlib.ExitStack()
        self._start = 0.0  # of the first epoch of this process
        # Time and step from which the pace is measured: when the graph has returned for the first time, so it is
        # compiled; from the second epoch on, its beginning, since the first one also draws for TensorBoard.
        self._first = 0.0, 0
        self._epochs = 0  # of this process

    def on_epoch_begin(self, epoch, logs=None):
        if not self._start:
            self._start = time.monotonic()
            print("", *_HEAD, sep="\n", flush=True)
        self._epochs += 1
        if self._epochs == 2:
            self._first = time.monotonic(), self._checkpoints.step
        stream = sys.stdout if can_redraw(sys.stdout) else None
        self._bar = self._bars.enter_context(live_bar(stream, self._steps_per_epoch, f"{epoch + 1:6}", self._pace))

    def on_train_batch_end(self, batch, logs=None):
        step = self._checkpoints.step
        self._first = self._first if self._first[1] else (time.monotonic(), step)
        if self._bar:
            done = self._steps_per_epoch - self.params["steps"] + batch + 1
            self._pace = f"{logs['images_per_second']:,} img/s{self._time_left(step)}"
            self._bar.update(done, self._pace)

    def _time_left(self, step: int) -> str:
        """Returns the least time that the run will take at the pace of this process, and the most."""
        first_time, first_step = self._first
        if step == first_step:
            return ""
        pace = (time.monotonic() - first_time) / (step - first_step)
        least, most = (
            format_seconds((epochs * self._steps_per_epoch - step) * pace)
            for epochs in epochs_at_end(self._checkpoints.history, self._config)
        )
        return f"  {least} left" if least == most else f"  {least} to {most} left"

    def on_test_begin(self, logs=None):
        if self._bar:
            self._bar.show("validating ...")

    def on_epoch_end(self, epoch, logs=None):
        self.close()
        print_marked(f"{format_row(epoch + 1, logs, time.monotonic() - self._start)}  ", self._remark())
        self._saved_step = self._checkpoints.saved_step

    def _remark(self) -> str:
        """Returns whether the epoch is the best, how many there were without a lower cost, and whether it is saved."""
        history = self._checkpoints.history
        is_best = best_epoch(history) == len(history) - 1
        count = epochs_without_progress(history)
        # What was saved in the middle of the best epoch does not have it yet.
        saved_step = self._checkpoints.saved_step
        is_saved = saved_step == self._checkpoints.step or (saved_step != self._saved_step and not is_best)
        waited = f"{count} of {self._config.patience}" if count else ""
        fallen, falls = falling(history, self._config)
        remarks = [f"rate falls, {fallen} of {falls}"] if fallen else ["best" * is_best, waited]
        return ", ".join(filter(None, [*remarks, "saved" * is_saved]))

    def close(self) -> None:
        """Erases the bar."""
        self._bar = None
        self._bars.close()


def format_row(epoch: int, metrics: dict[str, float], seconds: float) -> str:
    """Returns the metrics of an epoch as columns below the head of the table."""
    cells = [f"{epoch:6}"]
    for prefix, width in (("", 7), ("val_", 8)):
        cost = metrics[f"{prefix}loss"]
        cells.append(f"{f'{cost:.3f}' if cost < 1000 else f'{cost:.0e}':>{width}}")
        cells.append(f"{metrics[f'{prefix}accuracy']:>9.1%}".replace("%", " %")[1:])
    cells.append(f"{metrics['images_per_second']:>8,.0f}{format_seconds(seconds):>8}")
    return "".join(cells)
