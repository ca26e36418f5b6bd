"""The fused Adam computes what the Adam of Keras does."""

import numpy as np
import pytest

from network.backend import keras, tf
from training.optimizer import FusedAdam

SETTINGS = [{}, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}]


def trained(optimizer: keras.optimizers.Optimizer, **fit_options) -> tuple[keras.Model, list[np.ndarray]]:
    """Returns a small network after 20 steps of fit, and its weights and both moments."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
    start = [variable.numpy() for variable in model.variables]
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False, **fit_options
    )
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 6)).astype(np.float32), random.integers(0, 3, 40)
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert all(not np.array_equal(before, after) for before, after in zip(start, model.variables, strict=True))
    return model, [variable.numpy() for variable in [*model.variables, *optimizer.variables]]


def assert_close(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    """Compares to 3e-5 of the largest value of each variable: in float32, 1 - 0.999 is off by 1.3e-5 of itself."""
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-5 * np.abs(other).max())


@pytest.mark.parametrize("settings", SETTINGS, ids=["defaults", "others"])
@pytest.mark.parametrize("steps_per_execution", [1, 5])
def test_fused_adam_equals_keras_after_20_steps_of_fit(settings, steps_per_execution):
    options = {"steps_per_execution": steps_per_execution}
    _, fused = trained(FusedAdam(0.01, **settings), **options)
    _, plain = trained(keras.optimizers.Adam(0.01, **settings), **options)
    assert len(fused) == 4 + 2 + 8  # weights; step and learning rate; two moments per weight
    assert_close(fused, plain)


@pytest.mark.parametrize("settings", SETTINGS, ids=["defaults", "others"])
def test_fused_adam_equals_keras_after_20_gradients(settings):
    ends = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        weights = keras.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))
        optimizer = kind(0.01, **settings)
        optimizer.build([weights])
        for step in range(20):
            gradient = np.random.default_rng(step).normal(size=(3, 4)).astype(np.float32)
            optimizer.learning_rate = 0.01 / (1 + step)  # as a schedule would
            optimizer.apply_gradients([(tf.constant(gradient), weights)])
        ends.append([variable.numpy() for variable in [weights, *optimizer.variables]])
    assert_close(*ends)
    assert ends[0][1] == 20


def test_fused_adam_moves_weights_by_the_learning_rate_at_first():
    weights = keras.Variable(np.zeros(3, np.float32))
    optimizer = FusedAdam(0.01)
    optimizer.build([weights])
    optimizer.apply_gradients([(tf.constant([2.0, -0.5, 0.0]), weights)])
    np.testing.assert_allclose(weights.numpy(), [-0.01, 0.01, 0], rtol=1e-5)
