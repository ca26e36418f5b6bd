"""Networks of Keras's own layers."""

from collections.abc import Sequence

from network.backend import keras


def textbook_convnet(classes: int, shape: Sequence[int] = (100, 100, 3)) -> keras.Model:
    """Returns the convnet for small data sets of Chollet's "Deep Learning with Python": four 3 × 3 convolutions.

    They have no padding, except for images that are too small for that.
    """
    padding = "valid" if min(shape[:2]) >= 46 else "same"
    layers = [
        keras.Input(shape),
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(0.1),
        keras.layers.RandomZoom(0.2),
        keras.layers.Rescaling(1 / 255),
    ]
    for filters in (32, 64, 128, 256):
        layers += [keras.layers.Conv2D(filters, 3, padding=padding, activation="relu"), keras.layers.MaxPooling2D(2)]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential(layers)


def default_network(classes: int) -> keras.Model:
    """Returns the network of model.py with its default settings."""
    layers = [keras.Input((100, 100, 3)), keras.layers.Rescaling(1 / 127.5, -1.0)]
    for size, filters in ((5, 16), (4, 32), (3, 64)):
        layers += [
            keras.layers.Conv2D(filters, size, padding="same"),
            keras.layers.MaxPooling2D(size, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(1024, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dropout(0.5), keras.layers.Dense(classes)])
