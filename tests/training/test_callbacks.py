"""Averaging the weights, with a network of one weight whose values are known beforehand; stopping early."""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pytest

from config import TrainConfig
from network.backend import keras, tf
from network.layers import ByteDropout
from tests.helpers.checkpoints import metrics
from training import callbacks
from training.callbacks import (
    EarlyStopping,
    SaveCheckpoints,
    Schedule,
    Throughput,
    TrainingStopped,
    WeightAveraging,
    WeightDecay,
)
from training.distribution import Distribution


def one_weight(*, steps_per_execution: int = 1) -> keras.Model:
    """Returns a network of a single weight, which is 0 and falls by 1 in each step, and whose loss is that weight."""
    images = keras.Input((1,))
    model = keras.Model(images, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(images))
    model.compile(
        keras.optimizers.SGD(1.0), loss=lambda labels, outputs: outputs, steps_per_execution=steps_per_execution
    )
    model.optimizer.build(model.trainable_variables)
    return model


def averaging(
    model: keras.Model, *, steps_per_execution: int = 1, enabled: bool = True
) -> tuple[WeightAveraging, list[tf.Variable]]:
    """Returns the callback of a model, and the average that it updates."""
    average = [tf.Variable(weight.value) for weight in model.weights]
    callback = WeightAveraging(average, steps_per_execution=steps_per_execution, enabled=enabled)
    callback.set_model(model)
    return callback, average


def update(callback: WeightAveraging, number: int, *weights: np.ndarray) -> None:
    """Does what an execution of one step does: sets new weights, and counts the step."""
    for variable, weight in zip(callback.model.weights, weights, strict=True):
        variable.assign(weight)
    callback.model.optimizer.iterations.assign(number)
    callback.on_train_batch_end(number)


def averages(values: Iterable[float]) -> list[float]:
    """Returns the average after each of the values that a single weight takes."""
    callback, (average,) = averaging(one_weight())
    found = []
    for number, value in enumerate(values, 1):
        update(callback, number, [[value]])
        found.append(average.numpy().item())
    return found


@pytest.mark.parametrize(
    ("weight_decay", "steps_per_execution", "kernel"),
    [
        (0.5, 1, 8 * 0.95),  # the learning rate is 0.1
        (0.5, 3, 8 * 0.95**3),
        (0, 3, 8),
        (20, 3, 0),  # not less than nothing, which would change the sign
    ],
)
def test_weight_decay_shrinks_kernels_and_leaves_all_others(weight_decay, steps_per_execution, kernel):
    images = keras.Input((2,))
    outputs = keras.layers.BatchNormalization()(keras.layers.Dense(3)(images))
    model = keras.Model(images, outputs)
    model.compile(keras.optimizers.SGD(0.1))
    model.set_weights([np.full(weight.shape, 8) for weight in model.weights])
    callback = WeightDecay(weight_decay, steps_per_execution=steps_per_execution)
    callback.set_model(model)
    callback.on_train_batch_end(0)
    for weight in model.weights:
        wanted = kernel if weight.path.endswith("/kernel") else 8
        np.testing.assert_allclose(weight, np.full(weight.shape, wanted), rtol=1e-6)


def test_weight_decay_is_that_of_keras():
    """Without a gradient, 6 steps of Keras's Adam with weight decay shrink a kernel as two executions of three do."""
    images = keras.Input((2,))
    model = keras.Model(images, keras.layers.Dense(3, use_bias=False)(images))
    optimizer = keras.optimizers.Adam(0.1, weight_decay=0.5)
    kept = keras.Variable(model.weights[0].value)
    optimizer.build([kept])
    for _ in range(6):
        optimizer.apply_gradients([(tf.zeros((2, 3)), kept)])
    model.compile(keras.optimizers.Adam(0.1))
    callback = WeightDecay(0.5, steps_per_execution=3)
    callback.set_model(model)
    callback.on_train_batch_end(2)
    callback.on_train_batch_end(5)
    np.testing.assert_allclose(model.weights[0], kept, rtol=1e-6)


def test_newest_of_n_weights_has_a_share_of_9_of_n_plus_8():
    # All of 1; 1 and 9 of 10 shares of 1 and 11; 2 and 9 of 11 shares of 10 and 21; 3 and 9 of 12 shares of 19 and 7.
    assert averages([1, 11, 21, 7]) == pytest.approx([1, 10, 19, 10])


def test_average_is_over_about_the_last_tenth_of_a_run():
    rising = averages(range(1, 1001))
    assert rising[-1] == pytest.approx(900.1, abs=0.1)
    forgotten = averages([1e6] * 500 + [0] * 500)  # weights of half a run ago have a share of 1/2⁹
    assert forgotten[-1] == pytest.approx(1e6 / 2**9, rel=0.1)


def test_average_continues_when_a_run_is_resumed():
    callback, (average,) = averaging(one_weight())
    average.assign([[10]])
    update(callback, 3, [[21]])
    assert average.numpy().item() == pytest.approx(19)


def test_disabled_average_equals_the_newest_weights_to_the_bit():
    images = keras.Input((100,))
    model = keras.Model(images, keras.layers.Dense(100)(images))
    model.compile(keras.optimizers.SGD())
    callback, average = averaging(model, enabled=False)
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        newest = [rng.normal(size=weight.shape).astype(np.float32) for weight in model.weights]
        update(callback, number, *newest)
        for found, wanted in zip(average, newest, strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("enabled", "steps_per_execution", "val_losses"),
    [
        # The weights are -1, -2, -3 and -4, and so on: after n updates the average is -(0.9 n + 0.1).
        (True, 1, [-3.7, -7.3]),
        (True, 2, [-3.8, -7.4]),  # of -2 and -4, and so on
        (True, 4, [-4, -7.6]),
        (False, 1, [-4, -8]),
        (False, 2, [-4, -8]),
    ],
)
def test_validation_uses_the_average_and_training_its_own_weights(enabled, steps_per_execution, val_losses):
    model = one_weight(steps_per_execution=steps_per_execution)
    callback, (average,) = averaging(model, steps_per_execution=steps_per_execution, enabled=enabled)
    ones = tf.data.Dataset.from_tensors((np.ones((1, 1)), np.ones((1, 1))))
    done = model.fit(
        ones.repeat(),
        steps_per_epoch=4,
        epochs=2,
        validation_data=ones,
        callbacks=[callback],
        shuffle=False,
        verbose=0,
    )
    assert done.history["val_loss"] == pytest.approx(val_losses)
    assert model.weights[0].numpy().item() == -8
    assert average.numpy().item() == pytest.approx(val_losses[-1])


def test_weights_are_swapped_for_validation_and_back_to_the_bit():
    model = one_weight()
    callback, (average,) = averaging(model)
    for number, value in enumerate((0.1, 0.7, 0.3), 1):
        update(callback, number, [[value]])
    before = model.weights[0].numpy().item(), average.numpy().item()
    assert before[0] != before[1]
    callback.on_test_begin()
    assert (average.numpy().item(), model.weights[0].numpy().item()) == before
    callback.on_test_end()
    assert (model.weights[0].numpy().item(), average.numpy().item()) == before


def test_moving_averages_of_batch_normalization_are_averaged_too():
    images = keras.Input((3,))
    model = keras.Model(images, keras.layers.BatchNormalization()(images))
    model.compile(keras.optimizers.SGD())
    callback, average = averaging(model)
    assert len(average) == 4  # gamma and beta, moving mean and variance
    for number, value in enumerate((1, 11), 1):
        update(callback, number, *[np.full(3, value)] * 4)
    assert [variable.numpy().tolist() for variable in average] == [pytest.approx([10, 10, 10])] * 4


@pytest.mark.parametrize(("limits", "last"), [({"patience": 3}, 4), ({"patience": 9, "epochs": 3}, 3), ({}, 5)])
def test_early_stopping_counts_the_epochs_of_the_whole_history(limits, last):
    model = one_weight()
    history = [metrics(0.9), metrics(0.5)]
    callback = EarlyStopping(history, TrainConfig(learning_rate_decay=0, **limits), steps_per_epoch=2)
    callback.set_model(model)
    callback.set_params({"steps": 2})
    for accuracy in (0.9, 0.8, 0.7):
        history.append(metrics(accuracy))
        model.stop_training = None
        callback.on_epoch_end(len(history) - 1)
        assert model.stop_training is (len(history) >= last if limits else False)


@pytest.mark.parametrize(("steps", "ends"), [(1, True), (3, True), (4, False)])
def test_early_stopping_ends_fit_after_the_rest_of_an_epoch(steps, ends):
    model = one_weight()
    callback = EarlyStopping([metrics(0.5)], TrainConfig(), steps_per_epoch=4)
    callback.set_model(model)
    callback.set_params({"steps": steps})
    callback.on_epoch_end(0)
    assert model.stop_training is ends


class Clock:
    """Replaces the time in callbacks.py, and counts the checkpoints that are saved."""

    def __init__(self) -> None:
        self.now = 100.0
        self.saves = 0
        self.distribution = Distribution()
        self.history: list[dict[str, float]] = []

    def add_epoch(self, metrics: dict[str, float]) -> None:
        self.history.append(metrics)

    def monotonic(self) -> float:
        return self.now

    def save(self) -> None:
        self.saves += 1

    start_saving = save

    def raise_if_failed(self) -> None:
        pass

    def is_finite(self) -> bool:
        return True

    def keep_metric_sums(self) -> None:
        pass

    def restore_metric_sums(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


def saving(clock: Clock, *, save_seconds: float = 30, steps: int = 1000) -> SaveCheckpoints:
    callback = SaveCheckpoints(clock, save_seconds=save_seconds, files_of_step=lambda step: [f"{step}.png"])
    callback.set_model(one_weight())
    callback.set_params({"steps": steps})
    return callback


def finite() -> dict[str, float]:
    return {"loss": 0.5, "finite_steps": 1.0}


def test_save_checkpoints_saves_once_in_each_period(clock):
    callback = saving(clock)
    saves = []
    for batch, seconds in enumerate((0, 29, 30, 31, 59.5, 60, 61, 89, 95, 120, 126)):
        clock.now = 100 + seconds
        callback.on_train_batch_end(batch, finite())
        saves.append(clock.saves)
    assert saves == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4]  # the clock starts anew with each: 30, 60, 95, 126


def test_save_checkpoints_does_not_save_after_the_last_step_of_an_epoch(clock):
    """Its metrics are not complete before the validation; a run could not continue in the middle of that."""
    callback = saving(clock, save_seconds=0, steps=4)
    for batch, saves in ((0, 1), (1, 2), (2, 3), (3, 3)):
        callback.on_train_batch_end(batch, finite())
        assert clock.saves == saves


def test_save_checkpoints_stops_after_it_has_saved(clock):
    callback = saving(clock)
    callback.stop_signal = 15
    with pytest.raises(TrainingStopped) as stopped:
        callback.on_train_batch_end(0, finite())
    assert (stopped.value.signal_number, clock.saves) == (15, 1)


def test_save_checkpoints_lets_an_epoch_end_that_was_stopped_in_its_validation(clock):
    """The callbacks after it show the epoch; then the run stops, and has been saved once."""
    callback = saving(clock)
    callback.stop_signal = 15
    logs = metrics(0.5) | {"finite_steps": 9.0, "val_finite_steps": 1.0}
    callback.on_epoch_end(0, logs)
    assert (clock.saves, len(clock.history)) == (1, 1)
    with pytest.raises(TrainingStopped) as stopped:
        callback.on_epoch_begin(1)
    assert stopped.value.signal_number == 15


def test_throughput_adds_images_per_second_to_the_logs():
    callback, logs = Throughput(batch_size=8), {}
    callback.set_model(one_weight())
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(3, logs)
    assert logs.keys() == {"images_per_second"}
    assert logs["images_per_second"] > 0
    before = dict(logs)
    callback.on_epoch_end(0, logs)
    assert logs == before


def test_throughput_leaves_out_the_first_steps_of_a_run(monkeypatch):
    now = 100.0
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(perf_counter=lambda: now))
    callback, rates = Throughput(batch_size=10), []
    callback.set_model(one_weight())
    for epoch, seconds in enumerate(((40, 2), (2, 2))):  # of two times four steps, the first of which are prepared
        callback.on_epoch_begin(epoch)
        for batch, passed in zip((3, 7), seconds, strict=True):
            now += passed
            callback.on_train_batch_end(batch, logs := {})
            rates.append(logs["images_per_second"])
    assert rates == [1, 20, 20, 20]


def test_schedule_sets_the_learning_rate_of_each_epoch():
    model, history = one_weight(), []
    callback = Schedule(history, TrainConfig(patience=2, learning_rate=0.1, learning_rate_decay=0.5))
    callback.set_model(model)
    for epoch in range(5):
        callback.on_epoch_begin(epoch)
        logs = metrics(0.5)
        callback.on_epoch_end(epoch, logs)
        history.append(logs)
    assert [logs["learning_rate"] for logs in history] == pytest.approx([0.1, 0.1, 0.1, 0.2 / 3, 0.1 / 3])


def test_schedule_sets_the_strength_of_dropout():
    images = keras.Input((1000,))
    model = keras.Model(images, ByteDropout(0.5)(images))
    model.compile(keras.optimizers.SGD())
    lagging = metrics(0.9) | {"accuracy": 0.1}
    callback = Schedule([lagging] * 2, TrainConfig(patience=1))  # the learning rate falls in one epoch
    callback.set_model(model)
    for epoch, strength in ((0, 1), (3, 0.5)):
        callback.on_epoch_begin(epoch)
        dropped = np.mean(np.asarray(model(np.ones((100, 1000)), training=True)) == 0)
        assert dropped == pytest.approx(0.5 * strength, abs=0.01)
