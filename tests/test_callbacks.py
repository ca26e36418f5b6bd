"""Averaging the weights, with a network of one weight whose values are known beforehand."""

from collections.abc import Iterable

import keras
import numpy as np
import pytest
import tensorflow as tf

from callbacks import Averaging


def one_weight(*, steps_per_execution: int = 1) -> keras.Model:
    """A network of a single weight, which is 0 and falls by 1 in every step, and whose cost is that weight."""
    images = keras.Input((1,))
    model = keras.Model(images, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(images))
    model.compile(
        keras.optimizers.SGD(1.0), loss=lambda labels, outputs: outputs, steps_per_execution=steps_per_execution
    )
    model.optimizer.build(model.trainable_variables)
    return model


def averaging(
    model: keras.Model, *, steps_per_execution: int = 1, switched_on: bool = True
) -> tuple[Averaging, list[tf.Variable]]:
    """The callback of a model, and the average that it fills."""
    average = [tf.Variable(weight.value) for weight in model.weights]
    callback = Averaging(average, steps_per_execution=steps_per_execution, switched_on=switched_on)
    callback.set_model(model)
    return callback, average


def update(callback: Averaging, number: int, *weights: np.ndarray) -> None:
    """What an execution of one step does: new weights, and one more step counted."""
    for variable, weight in zip(callback.model.weights, weights, strict=True):
        variable.assign(weight)
    callback.model.optimizer.iterations.assign(number)
    callback.on_train_batch_end(number)


def averages(values: Iterable[float]) -> list[float]:
    """The average after each of the values that a single weight takes."""
    callback, (average,) = averaging(one_weight())
    found = []
    for number, value in enumerate(values, 1):
        update(callback, number, [[value]])
        found.append(average.numpy().item())
    return found


def test_the_newest_of_n_weights_has_nine_shares_of_n_and_eight():
    # All of 1; 1 and 9 of 10 shares of 1 and 11; 2 and 9 of 11 shares of 10 and 21; 3 and 9 of 12 shares of 19 and 7.
    assert averages([1, 11, 21, 7]) == pytest.approx([1, 10, 19, 10])


def test_the_average_is_of_about_the_last_tenth_of_a_run():
    rising = averages(range(1, 1001))
    assert rising[-1] == pytest.approx(900.1, abs=0.1)
    forgotten = averages([1e6] * 500 + [0] * 500)  # what was half a run ago has 1/2⁹ of all shares
    assert forgotten[-1] == pytest.approx(1e6 / 2**9, rel=0.1)


def test_an_average_goes_on_where_it_was_when_a_run_is_resumed():
    callback, (average,) = averaging(one_weight())
    average.assign([[10]])
    update(callback, 3, [[21]])
    assert average.numpy().item() == pytest.approx(19)


def test_switched_off_the_average_is_the_newest_weights_to_the_bit():
    images = keras.Input((100,))
    model = keras.Model(images, keras.layers.Dense(100)(images))
    model.compile(keras.optimizers.SGD())
    callback, average = averaging(model, switched_on=False)
    random = np.random.default_rng(0)
    for number in (1, 2, 3):
        newest = [random.normal(size=weight.shape).astype(np.float32) for weight in model.weights]
        update(callback, number, *newest)
        for found, wanted in zip(average, newest, strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("switched_on", "steps_per_execution", "val_costs"),
    [
        # The weights are -1, -2, -3 and -4, and so on: after n updates the average is -(0.9 n + 0.1).
        (True, 1, [-3.7, -7.3]),
        (True, 2, [-3.8, -7.4]),  # of -2 and -4, and so on
        (True, 4, [-4, -7.6]),
        (False, 1, [-4, -8]),
        (False, 2, [-4, -8]),
    ],
)
def test_validation_sees_the_average_and_training_goes_on_from_its_own_weights(
    switched_on, steps_per_execution, val_costs
):
    model = one_weight(steps_per_execution=steps_per_execution)
    callback, (average,) = averaging(model, steps_per_execution=steps_per_execution, switched_on=switched_on)
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
    assert done.history["val_loss"] == pytest.approx(val_costs)
    assert model.weights[0].numpy().item() == -8
    assert average.numpy().item() == pytest.approx(val_costs[-1])


def test_the_weights_are_swapped_for_validation_and_swapped_back_to_the_bit():
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


def test_the_moving_averages_of_normalisation_are_averaged_too():
    images = keras.Input((3,))
    model = keras.Model(images, keras.layers.BatchNormalization()(images))
    model.compile(keras.optimizers.SGD())
    callback, average = averaging(model)
    assert len(average) == 4  # gamma and beta, moving mean and variance
    for number, value in enumerate((1, 11), 1):
        update(callback, number, *[np.full(3, value)] * 4)
    assert [variable.numpy().tolist() for variable in average] == [pytest.approx([10, 10, 10])] * 4
