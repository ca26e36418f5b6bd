"""Timing training steps: from pictures in `data/` to new weights, without validation and without saving."""

import contextlib
import io
import time
from collections.abc import Callable

import numpy as np

import trainer
from benchmarks.harness.timing import Measurement
from config import TrainConfig
from model import generate_model
from network.backend import keras, tf
from pictures.manifest import TRAIN, kept
from reports.run import model_config_of
from system.cluster import Workers
from training.batches import epoch_steps, load, training_batches
from training.callbacks import WeightAveraging
from training.compiling import compile_model
from training.distribution import Distribution, distribute


class StepTimer(keras.callbacks.Callback):
    """Times steps, after a third as many to warm up, and then ends the training.

    The times are taken between batches, because TensorFlow may take long to close an endless data set.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._marks: list[tuple[int, float]] = []  # the number of steps so far, and the time

    def on_train_batch_end(self, batch, logs=None):
        done = int(self.model.optimizer.iterations.numpy())
        if done >= (self._marks[0][0] + self._steps if self._marks else self._steps // 3):
            self._marks.append((done, time.perf_counter()))
        self.model.stop_training = len(self._marks) == 2

    def measurement(self, batch_size: int) -> Measurement:
        (first_step, start), (last_step, end) = self._marks
        return Measurement(end - start, (last_step - first_step) * batch_size, work_of(self.model, batch_size))


def work_of(model: keras.Model, batch_size: int) -> tuple:
    """Returns what must be equal for all ways of training: the shape of a batch, the classes, the weights."""
    return (batch_size, *model.input_shape[1:]), model.output_shape[1], model.count_params()


def time_steps(step: Callable[[np.ndarray], None], count: int, batch_size: int, steps: int) -> float:
    """Calls a step with the indices of its pictures, which are used in order, after a third as many to warm up.

    Returns:
        the seconds that `steps` steps take.
    """
    warm_up = steps // 3
    start = time.perf_counter()
    for number in range(warm_up + steps):
        if number == warm_up:
            start = time.perf_counter()
        step((number * batch_size + np.arange(batch_size)) % count)
    return time.perf_counter() - start


def time_ours(config: TrainConfig, steps: int, distribution: Distribution | None = None) -> Measurement:
    """Makes the same calls as trainer.py, by default for one replica."""
    with contextlib.redirect_stdout(io.StringIO()):
        distribution = distribution or distribute(config, Workers())
        pictures = kept(trainer.prepare_in_turn(config, distribution.workers))
    train = load([picture for picture in pictures if picture.split == TRAIN], config)
    count = len(train.labels)
    keras.utils.set_random_seed(config.seed)
    with distribution.scope():
        model = generate_model(model_config_of(pictures, config, distribution))
    model = compile_model(model, config, distribution, count=count)
    steps_per_epoch, steps_per_execution = epoch_steps(count, config.batch_size)
    with distribution.scope():
        average = [tf.Variable(weight.value) for weight in model.weights]
    averaging = WeightAveraging(average, steps_per_execution=steps_per_execution, enabled=config.average_weights)
    timer = StepTimer(steps)
    model.fit(
        training_batches(train, config, distribution, first_step=0),
        steps_per_epoch=steps_per_epoch,
        epochs=10**6,
        callbacks=[averaging, timer],
        shuffle=False,
        verbose=0,
    )
    return timer.measurement(config.batch_size)
