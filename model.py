"""The network, built from five functions, so that `generate_model` reads like the list of its layers.

Edit it to try another network. Keep a layer named `activation_3`, and let all layers after it depend on its output
alone: heat maps show how the answer depends on it. Unknown pictures are recognized by `activation_1` to `activation_3`,
as far as there are, and by the input of the last layer that has weights, which is `logits` here.
"""

from network.backend import keras
from network.layers import AverageViews, ByteDropout, Dense, FusedBatchNormalization, MirrorViews
from network.model_config import ModelConfig

_WITH_STATISTICS = "activation_1", "activation_2", "activation_3"


def conv_layer(x, *, size: int, filters: int, name: str):
    """Convolution with `filters` square filters of `size` pixels: (batch, h, w, c) → (batch, h, w, filters).

    The initial weights are those of He et al. for layers followed by relu (2015, https://arxiv.org/abs/1502.01852).
    """
    layer = keras.layers.Conv2D(filters, size, padding="same", kernel_initializer="he_normal", name=name)
    return layer(x)


def pooling_layer(x, *, size: int, stride: int, name: str):
    """Maximum of each window: (batch, h, w, c) → (batch, ceil(h / stride), ceil(w / stride), c)."""
    return keras.layers.MaxPooling2D(size, strides=stride, padding="same", name=name)(x)


def activation_layer(x, *, name: str):
    """Rectified linear unit: negative values become 0; the shape stays the same."""
    return keras.layers.ReLU(name=name)(x)


def flattening_layer(x, *, name: str):
    """All values of an image in one row: (batch, h, w, c) → (batch, h · w · c)."""
    return keras.layers.Flatten(name=name)(x)


def fully_connected_layer(x, *, units: int, name: str, **options):
    """Every output depends on every input: (batch, n) → (batch, units).

    It computes in float32, whatever the precision of the other layers: with few images at a time, reading the weights
    takes most of the time, and converting them to bfloat16 first would take longer.
    """
    return Dense(units, name=name, dtype="float32", **{"kernel_initializer": "he_normal", **options})(x)


def generate_model(config: ModelConfig) -> keras.Model:
    """Returns the network with new weights: three convolutions and two fully connected layers, as in the original.

    Four additions can be switched off in the config: scaling pixels from 0..255 to -1..1 (`scale_input`), batch
    normalization after each pooling (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167), dropout before each
    fully connected layer (Srivastava et al. 2014), and averaging the predictions for an image and its mirror image
    outside training (`random_mirror`).

    It maps uint8 images (batch, height, width, color_channels) to float32 logits (batch, classes), which users know as
    raw magnitudes.
    """

    def normalized(x, name):
        if not config.batch_normalization:
            return x
        # With this momentum the moving averages follow within about 10 steps; small data sets have few steps per epoch.
        return FusedBatchNormalization(momentum=0.9, name=name)(x)

    def dropped_out(x, name):
        return ByteDropout(config.dropout, name=name)(x) if config.dropout else x

    images = keras.Input(config.shape, dtype="uint8", name="images")
    scale, offset = (1 / 127.5, -1.0) if config.scale_input else (1.0, 0.0)
    x = MirrorViews(name="mirror_views")(images) if config.random_mirror else images
    x = keras.layers.Rescaling(scale, offset, name="scaling")(x)

    x = conv_layer(x, size=5, filters=16, name="conv_1")
    x = pooling_layer(x, size=5, stride=2, name="pooling_1")
    x = normalized(x, "normalization_1")
    x = activation_layer(x, name="activation_1")

    x = conv_layer(x, size=4, filters=32, name="conv_2")
    x = pooling_layer(x, size=4, stride=2, name="pooling_2")
    x = normalized(x, "normalization_2")
    x = activation_layer(x, name="activation_2")

    x = conv_layer(x, size=3, filters=64, name="conv_3")
    x = pooling_layer(x, size=3, stride=2, name="pooling_3")
    x = normalized(x, "normalization_3")
    x = activation_layer(x, name="activation_3")

    x = flattening_layer(x, name="flattening")
    x = dropped_out(x, "dropout_1")
    x = fully_connected_layer(x, units=1024, name="fully_connected_1")
    x = activation_layer(x, name="activation_4")

    x = dropped_out(x, "dropout_2")
    # Small weights make a new network rate all classes nearly alike; otherwise it would first have to unlearn a bias.
    small = keras.initializers.RandomNormal(stddev=0.001)
    logits = fully_connected_layer(x, units=len(config.class_names), name="logits", kernel_initializer=small)
    logits = AverageViews(dtype="float32", name="average_views")(logits) if config.random_mirror else logits
    return keras.Model(images, logits, name="classifier")


def with_features(model: keras.Model, *, random_mirror: bool) -> keras.Model:
    """Returns a model with the same weights and a second output: features by which unknown pictures are recognized.

    It maps uint8 images to float32 logits (batch, classes) and float32 features (batch, 224 + 1024). The first 224 are
    the statistics: mean and standard deviation of each channel of the three convolutions, which are 0 or more. The
    others are the input of the last layer with weights, or its means if that is a convolution.
    """
    outputs = [layer.output for layer in model.layers if layer.name in _WITH_STATISTICS]
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    features = []
    for maps in outputs:
        mean, variance = keras.ops.moments(_float32(maps), axes=(1, 2))
        features += [mean, keras.ops.sqrt(variance)]
    features.append(_mean_of_places(_float32(last.input)))
    values = keras.ops.concatenate(features, axis=1)
    if random_mirror:
        values = AverageViews(dtype="float32", name="average_features")(values)
    return keras.Model(model.input, [model.output, values], name="network")


def count_statistics(model: keras.Model) -> int:
    """Returns how many of the features are statistics."""
    return sum(2 * layer.output.shape[-1] for layer in model.layers if layer.name in _WITH_STATISTICS)


def _float32(values):
    return keras.ops.cast(values, "float32")


def _mean_of_places(values):
    """Returns the means over all axes but the first and the last."""
    places = tuple(range(1, len(values.shape) - 1))
    return keras.ops.mean(values, axis=places) if places else values
