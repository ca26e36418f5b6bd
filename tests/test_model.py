"""The network: its layers, their dimensions, and what it computes."""

import numpy as np
import pytest

from model import (
    activation_layer,
    conv_layer,
    count_statistics,
    flattening_layer,
    fully_connected_layer,
    generate_model,
    pooling_layer,
    with_features,
)
from network.backend import keras, tf
from tests.helpers.checkpoints import model_config

ORIGINAL = [
    ("conv_1", "Conv2D", (100, 100, 16)),
    ("pooling_1", "MaxPooling2D", (50, 50, 16)),
    ("activation_1", "ReLU", (50, 50, 16)),
    ("conv_2", "Conv2D", (50, 50, 32)),
    ("pooling_2", "MaxPooling2D", (25, 25, 32)),
    ("activation_2", "ReLU", (25, 25, 32)),
    ("conv_3", "Conv2D", (25, 25, 64)),
    ("pooling_3", "MaxPooling2D", (13, 13, 64)),
    ("activation_3", "ReLU", (13, 13, 64)),
    ("flattening", "Flatten", (10816,)),
    ("fully_connected_1", "Dense", (1024,)),
    ("activation_4", "ReLU", (1024,)),
    ("logits", "Dense", (2,)),
]
ADDITIONS = ("InputLayer", "Rescaling", "FusedBatchNormalization", "ByteDropout", "MirrorViews", "AverageViews")
PLAIN = {"scale_input": False, "batch_normalization": False, "dropout": 0.0, "random_mirror": False}
FULL = {"scale_input": True, "batch_normalization": True, "dropout": 0.5, "random_mirror": True}


def build(*, classes: int = 2, **changes) -> keras.Model:
    names = [f"{number:04d}" for number in range(classes)]
    return generate_model(model_config(**{"class_names": names, **PLAIN, **changes}))


def layers(model: keras.Model) -> list[tuple]:
    """Returns name, type and dimensions of the original's layers."""
    kinds = [(layer.name, type(layer).__name__, layer) for layer in model.layers]
    return [(name, kind, layer.output.shape[1:]) for name, kind, layer in kinds if kind not in ADDITIONS]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def run(model: keras.Model, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=training))


def test_network_is_the_original_layer_by_layer():
    model = build(height=100, width=100)
    assert layers(model) == ORIGINAL
    assert model.count_params() == 11_106_594
    assert model.input_shape == (None, 100, 100, 3)


def test_windows_and_strides_are_those_of_the_original():
    model = build(height=100, width=100)
    windows = {
        layer.name: getattr(layer, "kernel_size", None) or (layer.pool_size, layer.strides)
        for layer in model.layers
        if layer.name.startswith(("conv", "pooling"))
    }
    assert windows == {
        "conv_1": (5, 5),
        "pooling_1": ((5, 5), (2, 2)),
        "conv_2": (4, 4),
        "pooling_2": ((4, 4), (2, 2)),
        "conv_3": (3, 3),
        "pooling_3": ((3, 3), (2, 2)),
    }


def test_additions_keep_the_layers_and_add_four_weights_per_filter():
    model = build(height=100, width=100, **FULL)
    assert layers(model) == ORIGINAL
    assert model.count_params() == 11_106_594 + 4 * (16 + 32 + 64)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert (kinds.count("FusedBatchNormalization"), kinds.count("ByteDropout")) == (3, 2)


def test_variables_of_training_are_of_types_that_a_gpu_keeps():
    model = build(height=16, width=16, **FULL)
    train = tf.function(lambda images: model(images, training=True)).get_concrete_function(tf.zeros((2, 16, 16, 3)))
    types = {variable.dtype for variable in train.variables}
    assert types == {tf.float32, tf.int64}  # TensorFlow would keep an int32 on the processor


def test_additions_that_are_switched_off_have_no_layers():
    kinds = {type(layer).__name__ for layer in build().layers}
    assert not kinds & {"FusedBatchNormalization", "ByteDropout", "MirrorViews", "AverageViews"}


@pytest.mark.parametrize(
    ("height", "width", "channels", "flat"),
    [(16, 16, 3, 2 * 2 * 64), (16, 16, 1, 2 * 2 * 64), (17, 31, 3, 3 * 4 * 64), (31, 17, 1, 4 * 3 * 64)],
)
def test_small_odd_and_gray_images_fit(height, width, channels, flat):
    model = build(height=height, width=width, color_channels=channels, **FULL)
    assert model.get_layer("flattening").output.shape == (None, flat)
    assert model.input_shape == (None, height, width, channels)
    assert run(model, noise(3, height, width, channels)).shape == (3, 2)


@pytest.mark.parametrize("classes", [2, 1000])
def test_every_class_has_a_logit(classes):
    logits = run(build(classes=classes), noise(1, 16, 16, 3))
    assert logits.shape == (1, classes)
    assert logits.dtype == np.float32


@pytest.mark.parametrize(("scale_input", "black", "gray", "white"), [(True, -1, 0.2, 1), (False, 0, 153, 255)])
def test_scaling_layer_maps_pixels_to_the_range_of_the_network(scale_input, black, gray, white):
    model = build(scale_input=scale_input)
    inside = keras.Model(model.input, model.get_layer("scaling").output)
    images = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (0, 153, 255)])
    assert run(inside, images)[:, 0, 0, 0].tolist() == pytest.approx([black, gray, white], abs=1e-6)


def test_outputs_are_logits():
    model = build()
    kernel, bias = model.get_layer("logits").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign([-3, 5])
    assert run(model, noise(1, 16, 16, 3)).tolist() == [[-3, 5]]


def test_random_mirror_averages_an_image_and_its_mirror_image():
    averaged, single = build(random_mirror=True), build()
    single.set_weights(averaged.get_weights())
    images = noise(3, 16, 16, 3)
    mirrored = images[:, :, ::-1]
    expected = (run(single, images) + run(single, mirrored)) / 2
    np.testing.assert_allclose(run(averaged, images), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(averaged, mirrored), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(averaged, images, training=True), run(single, images), rtol=1e-5, atol=1e-5)
    assert not np.allclose(run(single, images), run(single, mirrored))


@pytest.mark.parametrize("random_mirror", [False, True])
def test_with_features_returns_statistics_and_the_input_of_the_last_layer(random_mirror):
    model = build(random_mirror=random_mirror)
    images = noise(3, 16, 16, 3)
    logits, features = (
        keras.ops.convert_to_numpy(part) for part in with_features(model, random_mirror=random_mirror)(images)
    )
    np.testing.assert_allclose(logits, run(model, images), rtol=1e-5)
    names = "activation_1", "activation_2", "activation_3"
    maps = [run(keras.Model(model.input, model.get_layer(name).output), images) for name in names]
    values = [statistic(own, axis=(1, 2)) for own in maps for statistic in (np.mean, np.std)]
    values = np.hstack([*values, run(keras.Model(model.input, model.get_layer("activation_4").output), images)])
    expected = (values[:3] + values[3:]) / 2 if random_mirror else values
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    assert features.shape == (3, 2 * (16 + 32 + 64) + 1024)
    assert count_statistics(model) == 2 * (16 + 32 + 64)


def test_with_features_of_a_convolution_at_the_end_returns_means():
    images = keras.Input((4, 6, 3))
    maps = keras.layers.Conv2D(2, 3, padding="same")(images)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    values = noise(2, 4, 6, 3).astype(np.float32)
    _, features = with_features(model, random_mirror=False)(values)
    np.testing.assert_allclose(features, values.mean(axis=(1, 2)), rtol=1e-5)


def test_new_network_gives_all_classes_nearly_equal_logits():
    assert np.abs(run(build(height=100, width=100, **FULL), noise(10, 100, 100, 3))).max() < 1


def test_dropout_acts_only_in_training():
    images = noise(2, 16, 16, 3)
    dropping, plain = build(dropout=0.5), build()
    plain.set_weights([variable.numpy() for variable in dropping.trainable_variables])
    np.testing.assert_array_equal(run(dropping, images), run(plain, images))
    assert not np.allclose(run(dropping, images, training=True), run(dropping, images, training=True))
    np.testing.assert_array_equal(run(plain, images, training=True), run(plain, images))


def test_batch_normalization_uses_the_batch_only_in_training():
    model = build(batch_normalization=True)
    images = noise(4, 16, 16, 3)
    before = run(model, images)
    layer = keras.Model(model.input, model.get_layer("normalization_1").output)
    normalized = run(layer, images, training=True)
    np.testing.assert_allclose(normalized.mean(axis=(0, 1, 2)), np.zeros(16), atol=1e-2)
    np.testing.assert_allclose(normalized.std(axis=(0, 1, 2)), np.ones(16), atol=1e-2)
    assert not np.allclose(run(model, images), before)


def test_batch_normalization_follows_new_batches_within_about_10_steps():
    layers = [layer for layer in build(**FULL).layers if type(layer).__name__ == "FusedBatchNormalization"]
    assert [layer.momentum for layer in layers] == [0.9] * 3


def drawn(seed: int) -> dict[str, np.ndarray]:
    """Returns what is random in a new network: weights, and the states of the generators of dropout."""
    keras.utils.set_random_seed(seed)
    variables = {variable.path: variable.numpy() for variable in build(dropout=0.5).variables}
    return {path: value for path, value in variables.items() if path.endswith(("kernel", "seed_generator_state"))}


def test_initial_weights_and_dropout_follow_from_the_seed():
    one, same, other = drawn(1), drawn(1), drawn(2)
    assert len(one) == 5 + 2
    for name, value in one.items():
        np.testing.assert_array_equal(value, same[name])
        assert not np.array_equal(value, other[name]), name
    assert len({value.tobytes() for value in one.values()}) == 7  # no two layers draw the same


def test_building_blocks_compute_what_their_names_say():
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    np.testing.assert_array_equal(
        pooling_layer(x, size=2, stride=2, name="p").numpy()[0, ..., 0],
        [[5, 7], [9, 11]],  # the last row is padded
    )
    np.testing.assert_array_equal(flattening_layer(x, name="f").numpy(), [range(12)])
    np.testing.assert_array_equal(activation_layer(x - 6, name="a").numpy(), np.maximum(x - 6, 0))
    assert conv_layer(x, size=3, filters=7, name="c").shape == (1, 3, 4, 7)
    assert fully_connected_layer(x.reshape(1, 12), units=5, name="d").shape == (1, 5)
