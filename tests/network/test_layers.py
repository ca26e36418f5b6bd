"""Our layers compute what those of Keras do."""

import numpy as np
import pytest

from network.backend import keras, tf
from network.layers import AverageViews, ByteDropout, Dense, FusedBatchNormalization, MirrorViews, matmul


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_matmul_and_its_gradients_by_hand():
    values, weights = tf.constant([[1.0, 2.0]]), tf.Variable([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = matmul(values, weights)
        loss = tf.reduce_sum(result * tf.constant([[1.0, 10.0, 100.0]]))
    np.testing.assert_array_equal(result, [[15, 18, 21]])
    back, weights_back = tape.gradient(loss, [values, weights])
    np.testing.assert_array_equal(back, [[3 + 40 + 500, 6 + 70 + 800]])
    np.testing.assert_array_equal(weights_back, [[1, 10, 100], [2, 20, 200]])


def pair(ours: type, theirs: type, shape: tuple[int, ...], **arguments) -> list[keras.layers.Layer]:
    """Returns our layer and the one of Keras, with equal weights."""
    layers = [kind(**arguments) for kind in (ours, theirs)]
    for layer in layers:
        layer.build(shape)
    for weight, other in zip(layers[0].weights, layers[1].weights, strict=True):
        value = np.abs(draw(*weight.shape, seed=len(weight.shape)))
        weight.assign(value)
        other.assign(value)
    return layers


def outcome(layer: keras.layers.Layer, values: np.ndarray, *, training: bool) -> list[np.ndarray]:
    """Returns the outputs, the gradients of the inputs and of the weights, and the weights afterwards."""
    inputs = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = layer(inputs, training=training)
        loss = tf.reduce_sum(tf.cast(result, tf.float32) * draw(*result.shape, seed=7))
    gradients = tape.gradient(loss, [inputs, *(weight.value for weight in layer.trainable_weights)])
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(part, "float32")) for part in (result, *gradients, *layer.weights)
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03)])
@pytest.mark.parametrize("training", [False, True])
def test_dense_equals_keras(dtype, tolerance, training):
    layers = pair(Dense, keras.layers.Dense, (4, 30), units=20, dtype=dtype)
    assert [layer.compute_dtype for layer in layers] == [dtype.removeprefix("mixed_")] * 2
    for one, other in zip(*(outcome(layer, draw(4, 30), training=training) for layer in layers), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def test_dense_has_the_activation_and_bias_options_of_keras():
    layers = pair(Dense, keras.layers.Dense, (4, 30), units=20, activation="relu", use_bias=False)
    assert len(layers[0].weights) == 1
    ours, theirs = (outcome(layer, draw(4, 30), training=True) for layer in layers)
    assert (ours[0] == 0).any()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.03)])
@pytest.mark.parametrize("training", [False, True])
def test_fused_batch_normalization_equals_keras(dtype, tolerance, training):
    shape = (8, 5, 6, 3)
    layers = pair(FusedBatchNormalization, keras.layers.BatchNormalization, shape, momentum=0.9, dtype=dtype)
    *ours, our_mean, our_variance = outcome(layers[0], draw(*shape), training=training)
    *theirs, mean, variance = outcome(layers[1], draw(*shape), training=training)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())
    np.testing.assert_allclose(our_mean, mean, atol=1e-3)
    np.testing.assert_allclose(our_variance, variance, rtol=0.01)  # ours follows the unbiased variance


def test_fused_batch_normalization_updates_moving_averages_in_training():
    layer = FusedBatchNormalization(momentum=0.9)
    values = tf.constant([[[[1.0]]], [[[3.0]]]])  # mean 2, unbiased variance 2
    layer(values, training=False)
    np.testing.assert_allclose([layer.moving_mean[0], layer.moving_variance[0]], [0, 1])
    layer(values, training=True)
    np.testing.assert_allclose([layer.moving_mean[0], layer.moving_variance[0]], [0.2, 0.9 + 0.2], rtol=1e-6)


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.95])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_byte_dropout_drops_a_fraction_and_scales_up_the_rest(rate, dtype):
    values = np.ones((7, 3001), np.float32)  # not a multiple of 4 bytes
    keras.utils.set_random_seed(1)
    layer = ByteDropout(rate, dtype=dtype)
    dropped_out = keras.ops.convert_to_numpy(keras.ops.cast(layer(values, training=True), "float32"))
    assert dropped_out.shape == values.shape
    kept = 1 - round(256 * rate) / 256
    assert np.mean(dropped_out > 0) == pytest.approx(kept, abs=0.02)  # 6 standard deviations
    np.testing.assert_allclose(dropped_out[dropped_out > 0], 1 / kept, rtol=0.01 if dtype == "mixed_bfloat16" else 1e-6)
    assert not np.array_equal(dropped_out, layer(values, training=True))
    np.testing.assert_array_equal(layer(values, training=False), values)
    np.testing.assert_array_equal(ByteDropout(0.001)(values, training=True), values)  # less than half a 256th


def test_byte_dropout_keeps_the_limit_and_drops_smaller_bytes(monkeypatch):
    words = np.frombuffer(bytes([0, 63, 64, 65, 128, 255, 62, 64]), np.uint32)
    monkeypatch.setattr(tf.random, "stateless_uniform", lambda *_, **__: tf.constant(words))
    result = ByteDropout(0.25)(np.ones((2, 4), np.float32), training=True)
    np.testing.assert_allclose(result, np.array([[0, 0, 1, 1], [1, 1, 0, 1]]) / 0.75, rtol=1e-6)


def test_byte_dropout_gradient_is_that_of_the_kept_values():
    keras.utils.set_random_seed(1)
    values = tf.ones((4, 50))
    with tf.GradientTape() as tape:
        tape.watch(values)
        dropped_out = ByteDropout(0.5)(values, training=True)
    np.testing.assert_array_equal(tape.gradient(dropped_out, values), dropped_out)


def test_mirror_views_and_average_views_act_outside_training_only():
    images = np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3)
    views = MirrorViews()(images).numpy()
    np.testing.assert_array_equal(views, np.concatenate([images, images[:, :, ::-1]]))
    np.testing.assert_array_equal(AverageViews()(np.float32([[1, 2], [3, 4], [5, 6], [7, 10]])), [[3, 4], [5, 7]])
    np.testing.assert_array_equal(MirrorViews()(images, training=True), images)
    np.testing.assert_array_equal(AverageViews()(np.float32([[1, 2]]), training=True), [[1, 2]])


@pytest.mark.parametrize(("strength", "dropped"), [(1, 0.5), (0.5, 0.25), (0, 0)])
def test_byte_dropout_drops_less_with_less_strength(strength, dropped):
    layer = ByteDropout(0.5)
    values = np.ones((100, 1000), np.float32)
    layer.set_strength(strength)
    found = np.asarray(layer(values, training=True))
    assert np.mean(found == 0) == pytest.approx(dropped, abs=0.01)
    assert np.unique(found[found > 0]).tolist() == [pytest.approx(1 / (1 - dropped))]
    layer.set_strength(1)
    assert np.mean(np.asarray(layer(values, training=True)) == 0) == pytest.approx(0.5, abs=0.01)
