"""Heat maps of the third convolution with TensorFlow: while a network is trained, and to be converted.

Libraries for Grad-CAM and Keras 3 are missing or dormant, and the method is ten lines.
"""

from collections.abc import Sequence
from itertools import takewhile

from answers.scores import NEVER
from network.backend import keras, tf
from network.layers import ByteDropout
from system.errors import UserError


class _ReLU(keras.layers.Layer):
    """Keras's ReLU with a gradient of plain operators, since LiteRT has none for it."""

    def call(self, inputs):
        @tf.custom_gradient
        def relu(values):
            return tf.nn.relu(values), lambda upstream: upstream * tf.cast(values > 0, upstream.dtype)

        return relu(inputs)


class GradCam:
    """Computes how much each part of an image speaks for a class.

    Algorithm: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391), with the log-odds of the class as
    its score, since with the softmax loss a logit means something only relative to the others.

    The network is cut in two, so that no gradient of any weight is computed: behind the first fully connected layer and
    its relu, or behind `activation_3` if `model.py` was edited so that others follow it.
    """

    def __init__(self, model: keras.Model, *, loss: str, random_mirror: bool) -> None:
        """Raises UserError if something behind `activation_3` does not depend on it alone."""
        self._loss, self._random_mirror = loss, random_mirror
        third = model.get_layer("activation_3").output
        self._dense, relu = _fully_connected_to_third(model)
        middle = relu.output if relu else third
        try:
            keras.Model(third, model.output)
            second = keras.Model(middle, model.output, name="second")
        except ValueError:
            raise UserError(
                "model.py: there is a way around activation_3, so there are no heat maps; remove it"
            ) from None
        self.first = keras.Model(model.input, [third, middle], name="first")  # images → features, middle
        self._second = keras.models.clone_model(
            second,
            clone_function=lambda layer: (
                _ReLU(name=layer.name, dtype=layer.dtype_policy) if isinstance(layer, keras.layers.ReLU) else layer
            ),
        )

    def __call__(self, features: tf.Tensor, middle: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Returns heat maps: float32 (batch, rows, columns), 0..1.

        They have the resolution of the third convolution, and a maximum of 1, or of 0 if nothing speaks for the class.
        They are averaged over the image and its mirror image if the network is.

        Args:
            features: output of `first`: (batch, rows, columns, channels), or (2 · batch, …) with mirror images.
            middle: the other output of `first`, for as many images.
            classes: int32 (batch,), the index of the class in question for each image.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(middle)
            logits = self._second(middle, training=False)
        slopes = tape.gradient(logits, middle, slopes_of_log_odds(logits, classes, loss=self._loss))
        if self._dense:  # the relu behind it
            slopes *= tf.cast(middle > 0, slopes.dtype)
        weights = self._mean_slopes(tf.cast(slopes, tf.float32), channels=features.shape[3])
        maps = tf.nn.relu(tf.reduce_sum(weights[:, None, None, :] * tf.cast(features, tf.float32), axis=3))
        if self._random_mirror:
            original, mirrored = tf.split(maps, 2)
            maps = (original + tf.reverse(mirrored, axis=[2])) / 2
        return _with_maximum_1(maps)

    def _mean_slopes(self, slopes: tf.Tensor, *, channels: int) -> tf.Tensor:
        """Returns the mean slope over the places of each feature of the third convolution: (batch, channels)."""
        if self._dense is None:
            return tf.reduce_mean(slopes, axis=(1, 2))
        # The mean of products is the product with the mean, which is small: no second copy of the weights is needed.
        with tf.init_scope():  # its value now, also in a graph
            kernel = tf.reshape(self._dense.kernel, (-1, channels, self._dense.units))
            mean = tf.reduce_mean(kernel, axis=0).numpy()
        return tf.matmul(slopes, tf.constant(mean), transpose_b=True)


def mean_of_maps(maps: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the mean of the heat maps of several networks for the same images; the maximum of each is 1 again."""
    return maps[0] if len(maps) == 1 else _with_maximum_1(tf.add_n(list(maps)))


def _with_maximum_1(maps: tf.Tensor) -> tf.Tensor:
    return maps / tf.maximum(tf.reduce_max(maps, axis=(1, 2), keepdims=True), 1e-30)


def _fully_connected_to_third(
    model: keras.Model,
) -> tuple[keras.layers.Dense, keras.layers.ReLU] | tuple[None, None]:
    """Returns the layer that is fully connected to `activation_3`, and its relu; None if `model.py` was edited."""
    layers = model.layers
    after = layers[layers.index(model.get_layer("activation_3")) + 1 :]
    passive = list(takewhile(lambda layer: isinstance(layer, keras.layers.Flatten | ByteDropout), after))
    dense, relu = [*after[len(passive) :], None, None][:2]
    is_flattened = any(isinstance(layer, keras.layers.Flatten) for layer in passive)
    is_linear = isinstance(dense, keras.layers.Dense) and dense.activation is keras.activations.linear
    is_usual = is_flattened and is_linear and isinstance(relu, keras.layers.ReLU)
    return (dense, relu) if is_usual else (None, None)


def slopes_of_log_odds(logits: tf.Tensor, classes: tf.Tensor, *, loss: str) -> tf.Tensor:
    """Returns the gradient of the log-odds of one class for each image: float32 (batch, classes).

    With the softmax loss they are its logit minus the logarithm of the sum of the exponentials of the others, as in
    `scores.log_odds`; the gradient of that logarithm is the softmax of the others.
    """
    is_class = classes[:, None] == tf.range(tf.shape(logits)[1])
    one_hot = tf.cast(is_class, tf.float32)
    return one_hot if loss == "sigmoid" else one_hot - tf.nn.softmax(tf.where(is_class, NEVER, logits))
