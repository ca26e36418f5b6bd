"""Keras layers of our own: two that compute what Keras's do in fewer passes over memory, and two for mirror images."""

import keras
import tensorflow as tf


@tf.custom_gradient
def product(values: tf.Tensor, weights: tf.Tensor):
    """values @ weights, with a gradient that suits few rows and many weights, where moving the weights is what costs.

    Args:
        values: float32 or bfloat16 (batch, n); the product is computed in their precision.
        weights: float32 (n, units).

    Returns:
        as values (batch, units). The gradient of the weights is float32: made directly, it needs no second pass to
        be converted for the optimizer, and loses nothing.
    """
    converted = tf.cast(weights, values.dtype)

    def gradient(upstream):
        if values.dtype == tf.float32:  # the same product, which reads the weights along their rows: twice as fast
            back = tf.transpose(tf.matmul(converted, upstream, transpose_b=True))
        else:
            back = tf.matmul(upstream, converted, transpose_b=True)
        return back, tf.matmul(tf.cast(values, tf.float32), tf.cast(upstream, tf.float32), transpose_a=True)

    return tf.matmul(values, converted), gradient


class FullyConnected(keras.layers.Dense):
    """Keras's Dense for (batch, n), with the gradient of `product`."""

    def __init__(self, units: int, **arguments) -> None:
        super().__init__(units, autocast=False, **arguments)  # the weights come as they are, float32

    def call(self, inputs, training=None):
        values = tf.cast(inputs, self.compute_dtype)
        return tf.nn.bias_add(product(values, self.kernel.value), tf.cast(self.bias.value, values.dtype))


class Normalization(keras.layers.BatchNormalization):
    """Keras's BatchNormalization for (batch, h, w, c), in training by one fused kernel.

    The kernel's variance, which the moving average follows, is the unbiased one (divided by n - 1 instead of n).
    """

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=False)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros(0),  # of this batch
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return normalised


class BothSides(keras.layers.Layer):
    """Outside training: the pictures, then their mirror images: (batch, h, w, c) → (2 · batch, h, w, c)."""

    def call(self, images, training=False):
        return images if training else keras.ops.concatenate([images, keras.ops.flip(images, axis=2)])


class MeanOfSides(keras.layers.Layer):
    """Outside training: the mean of the values of pictures and of their mirror images: (2 · batch, n) → (batch, n)."""

    def call(self, values, training=False):
        return values if training else keras.ops.mean(keras.ops.stack(keras.ops.split(values, 2)), axis=0)
