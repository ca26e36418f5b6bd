"""The network, from five building blocks, so that `generate_model` reads like the list of its layers."""

import keras

from layers import BothSides, FullyConnected, MeanOfSides, Normalization, Thinning


def conv_layer(x, *, size: int, filters: int, name: str):
    """Convolution with `filters` square filters of `size` pixels: (batch, h, w, c) → (batch, h, w, filters).

    Weights start as He et al. propose for layers followed by relu (2015, https://arxiv.org/abs/1502.01852).
    """
    layer = keras.layers.Conv2D(filters, size, padding="same", kernel_initializer="he_normal", name=name)
    return layer(x)


def pooling_layer(x, *, size: int, stride: int, name: str):
    """Largest value of each window: (batch, h, w, c) → (batch, ceil(h / stride), ceil(w / stride), c)."""
    return keras.layers.MaxPooling2D(size, strides=stride, padding="same", name=name)(x)


def activation_layer(x, *, name: str):
    """Rectified linear unit: negative values become 0; the shape stays."""
    return keras.layers.ReLU(name=name)(x)


def flattening_layer(x, *, name: str):
    """All values of a picture in one row: (batch, h, w, c) → (batch, h · w · c)."""
    return keras.layers.Flatten(name=name)(x)


def fully_connected_layer(x, *, units: int, name: str, **options):
    """Every output sees every input: (batch, n) → (batch, units).

    It is computed in float32, whatever the precision of the others: with a few pictures at a time, fetching the weights
    is what takes time, and converting them would take more.
    """
    return FullyConnected(units, name=name, dtype="float32", **{"kernel_initializer": "he_normal", **options})(x)


def flattened_size(height: int, width: int) -> int:
    """Values of a picture that the first fully connected layer sees: three poolings halve its sides, rounding up."""
    return -(-height // 8) * -(-width // 8) * 64


def generate_model(
    *,
    height: int,
    width: int,
    color_channels: int,
    classes: int,
    scale_input: bool,
    batch_normalization: bool,
    dropout: float,
    random_mirror: bool,
) -> keras.Model:
    """The original's three convolutions and two fully connected layers; the last four arguments are additions.

    Args:
        height: of a picture, at least 16.
        width: of a picture, at least 16.
        color_channels: 1 or 3.
        classes: 2 to 1,000.
        scale_input: whether pixels are brought from 0..255 to -1..1 first.
        batch_normalization: whether each pooled convolution is normalised over the batch (Ioffe and Szegedy 2015,
            https://arxiv.org/abs/1502.03167).
        dropout: share of the values dropped in training before each fully connected layer (Srivastava et al. 2014); 0
            for none.
        random_mirror: whether a mirror image means the same, so that outside training the network looks at both and
            gives the mean of what it makes of them.

    Returns:
        a model from uint8 pictures (batch, height, width, color_channels) to float32 logits (batch, classes): the raw
        magnitudes.

    Raises:
        ValueError: fewer than 2 or more than 1,000 classes.
    """
    if not 2 <= classes <= 1000:
        raise ValueError(f"a network tells 2 to 1,000 classes apart, not {classes}")

    def normalised(x, name):
        if not batch_normalization:
            return x
        # The moving averages follow within some 10 steps, since small data sets have few steps an epoch.
        return Normalization(momentum=0.9, name=name)(x)

    def thinned(x, name):
        return Thinning(dropout, name=name)(x) if dropout else x

    images = keras.Input((height, width, color_channels), dtype="uint8", name="images")
    scale, offset = (1 / 127.5, -1.0) if scale_input else (1.0, 0.0)
    x = BothSides(name="both_sides")(images) if random_mirror else images
    x = keras.layers.Rescaling(scale, offset, name="scaling")(x)

    x = conv_layer(x, size=5, filters=16, name="conv_1")
    x = pooling_layer(x, size=5, stride=2, name="pooling_1")
    x = normalised(x, "normalization_1")
    x = activation_layer(x, name="activation_1")

    x = conv_layer(x, size=4, filters=32, name="conv_2")
    x = pooling_layer(x, size=4, stride=2, name="pooling_2")
    x = normalised(x, "normalization_2")
    x = activation_layer(x, name="activation_2")

    x = conv_layer(x, size=3, filters=64, name="conv_3")
    x = pooling_layer(x, size=3, stride=2, name="pooling_3")
    x = normalised(x, "normalization_3")
    x = activation_layer(x, name="activation_3")

    x = flattening_layer(x, name="flattening")
    x = thinned(x, "dropout_1")
    x = fully_connected_layer(x, units=1024, name="fully_connected_1")
    x = activation_layer(x, name="activation_4")

    x = thinned(x, "dropout_2")
    # A fresh network finds all classes nearly alike; with larger weights it would first have to unlearn prejudices.
    nearly_nothing = keras.initializers.RandomNormal(stddev=0.001)
    logits = fully_connected_layer(x, units=classes, name="logits", kernel_initializer=nearly_nothing)
    logits = MeanOfSides(dtype="float32", name="mean_of_sides")(logits) if random_mirror else logits
    return keras.Model(images, logits, name="classifier")


def with_features(model: keras.Model, *, random_mirror: bool) -> keras.Model:
    """The same network and weights, giving a second output: how strong each feature of the third convolution is.

    Returns:
        a model from uint8 pictures to float32 logits (batch, classes) and float32 features (batch, 64), at least 0.
    """
    features = keras.ops.mean(keras.ops.cast(model.get_layer("activation_3").output, "float32"), axis=(1, 2))
    if random_mirror:
        features = MeanOfSides(dtype="float32", name="mean_of_features")(features)
    return keras.Model(model.input, [model.output, features])
