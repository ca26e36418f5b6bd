"""Keras layers of our own: three that do the work of Keras's in less time, and two for mirror images."""

from network.backend import keras, tf


@tf.custom_gradient
def matmul(inputs: tf.Tensor, kernel: tf.Tensor):
    """Returns inputs @ kernel: (batch, n) @ (n, units) → (batch, units). Its gradient reads the kernel in memory order.

    TensorFlow's own gradient takes twice as long if the kernel is large and the batch small.
    """

    def gradient(upstream):
        inputs_gradient = tf.transpose(tf.matmul(kernel, upstream, transpose_b=True))
        with tf.control_dependencies([inputs_gradient]):  # else the kernel would be copied before it is updated
            return inputs_gradient, tf.matmul(inputs, upstream, transpose_a=True)

    return tf.matmul(inputs, kernel), gradient


class Dense(keras.layers.Dense):
    """Keras's Dense for inputs (batch, n), in training with the faster gradient of `matmul`."""

    def call(self, inputs, training=None):
        multiply = matmul if training else tf.matmul  # which computes no gradient of the kernel unless it is asked for
        outputs = multiply(inputs, tf.convert_to_tensor(self.kernel))
        return self.activation(tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs)


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's BatchNormalization for inputs (batch, h, w, c), computed by one fused kernel in training.

    The variance of the kernel, which the moving variance follows, is the unbiased one (divided by n - 1 instead of n).
    Each replica normalizes its part of a batch by itself; the moving averages follow the mean of all.
    """

    def add_weight(self, *args, **options):
        return super().add_weight(*args, **{**options, "aggregation": "mean"})

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=False)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros(0),  # computed from this batch
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs


class ByteDropout(keras.layers.Layer):
    """Dropout with one random byte per value, where Keras uses four; its rate is rounded to a multiple of 1/256.

    The rate can be reduced while a network is trained.
    """

    def __init__(self, rate: float, **options) -> None:
        super().__init__(**options)
        self._rate = rate
        # Values with smaller bytes are dropped. Not int32: TensorFlow would keep it on the processor, not on the GPU.
        self._threshold = tf.Variable(round(256 * rate), trainable=False, dtype=tf.int64)
        self._seeds = keras.random.SeedGenerator(name=self.name)
        self.batch_size = 0  # of all replicas together, if there are several

    def set_strength(self, strength: float) -> None:
        """Multiplies the rate by 0..1."""
        self._threshold.assign(round(256 * self._rate * strength))

    def call(self, inputs, training=False):
        if not training:
            return inputs
        kept = self._random_bytes(inputs) >= tf.cast(self._threshold, tf.uint8)
        scale = tf.cast(256 / (256 - self._threshold), inputs.dtype)
        return tf.where(kept, inputs * scale, tf.zeros([], inputs.dtype))

    def _random_bytes(self, inputs):
        """Returns a random byte for each value. Those of a replica are a part of what a single one would have."""
        shape, seed = tf.shape(inputs), self._seeds.next()
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return tf.reshape(_random_bytes(tf.size(inputs), seed), shape)
        start, end = part_of_batch(self.batch_size, replica.replica_id_in_sync_group, replica.num_replicas_in_sync)
        size = tf.reduce_prod(shape[1:])
        return tf.reshape(_random_bytes(self.batch_size * size, seed)[start * size : end * size], shape)


def _random_bytes(count, seed):
    words = tf.random.stateless_uniform([(count + 3) // 4], seed=seed, minval=None, maxval=None, dtype=tf.uint32)
    return tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count]


def part_of_batch(count, index, parts):
    """Returns where one of several nearly equal parts of a batch begins and ends. Takes numbers or tensors."""
    return count * index // parts, count * (index + 1) // parts


class MirrorViews(keras.layers.Layer):
    """Except in training, appends the mirror images: (batch, h, w, c) → (2 · batch, h, w, c)."""

    def call(self, images, training=False):
        return images if training else keras.ops.concatenate([images, keras.ops.flip(images, axis=2)])


class AverageViews(keras.layers.Layer):
    """Except in training, averages the values for images and their mirror images: (2 · batch, n) → (batch, n).

    Together with `MirrorViews` this is test-time augmentation.
    """

    def call(self, values, training=False):
        return values if training else keras.ops.mean(keras.ops.stack(keras.ops.split(values, 2)), axis=0)
