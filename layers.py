"""Keras layers of our own: three that do what Keras's do with less work, and two for mirror images."""

import keras
import tensorflow as tf


@tf.custom_gradient
def product(values: tf.Tensor, weights: tf.Tensor):
    """values @ weights: (batch, n) @ (n, units) → (batch, units), whose gradient reads the weights in their order.

    TensorFlow's own takes twice as long where the weights are many and the rows few.
    """

    def gradient(upstream):
        back = tf.transpose(tf.matmul(weights, upstream, transpose_b=True))
        with tf.control_dependencies([back]):  # weights that are still to be read would be copied to be updated
            return back, tf.matmul(values, upstream, transpose_a=True)

    return tf.matmul(values, weights), gradient


class FullyConnected(keras.layers.Dense):
    """Keras's Dense for (batch, n), with the gradient of `product`."""

    def call(self, inputs, training=None):
        return tf.nn.bias_add(product(inputs, tf.convert_to_tensor(self.kernel)), self.bias)


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


class Thinning(keras.layers.Dropout):
    """Keras's Dropout, with one random byte for each value instead of four: its rate is rounded to a 256th."""

    def call(self, inputs, training=False):
        least = round(256 * self.rate)  # of bytes whose values are kept
        if not training or not least:
            return inputs
        count = tf.size(inputs)
        words = tf.random.stateless_uniform(
            [(count + 3) // 4], seed=self.seed_generator.next(), minval=None, maxval=None, dtype=tf.uint32
        )
        draws = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count], tf.shape(inputs))
        return tf.where(draws >= least, inputs * (256 / (256 - least)), tf.zeros([], inputs.dtype))


class BothSides(keras.layers.Layer):
    """Outside training: the pictures, then their mirror images: (batch, h, w, c) → (2 · batch, h, w, c)."""

    def call(self, images, training=False):
        return images if training else keras.ops.concatenate([images, keras.ops.flip(images, axis=2)])


class MeanOfSides(keras.layers.Layer):
    """Outside training: the mean of the values of pictures and of their mirror images: (2 · batch, n) → (batch, n)."""

    def call(self, values, training=False):
        return values if training else keras.ops.mean(keras.ops.stack(keras.ops.split(values, 2)), axis=0)
