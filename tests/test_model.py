"""The network: its layers, their dimensions and its weights; what it takes and what it gives."""

import keras
import numpy as np
import pytest

from model import (
    activation_layer,
    conv_layer,
    flattening_layer,
    fully_connected_layer,
    generate_model,
    pooling_layer,
    with_features,
)

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
    ("fully_connected_1", "FullyConnected", (1024,)),
    ("activation_4", "ReLU", (1024,)),
    ("logits", "FullyConnected", (2,)),
]
ADDITIONS = ("InputLayer", "Rescaling", "Normalization", "Thinning", "BothSides", "MeanOfSides")
PLAIN = {"scale_input": False, "batch_normalization": False, "dropout": 0.0, "random_mirror": False}
FULL = {"scale_input": True, "batch_normalization": True, "dropout": 0.5, "random_mirror": True}


def build(**changes) -> keras.Model:
    return generate_model(**{"height": 16, "width": 16, "color_channels": 3, "classes": 2, **PLAIN, **changes})


def layers(model: keras.Model) -> list[tuple]:
    """Names, kinds and dimensions of the original's layers."""
    kinds = [(layer.name, type(layer).__name__, layer) for layer in model.layers]
    return [(name, kind, layer.output.shape[1:]) for name, kind, layer in kinds if kind not in ADDITIONS]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def answers(model: keras.Model, pictures: np.ndarray, *, training: bool = False) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(pictures, training=training))


def test_the_network_is_the_originals_layer_by_layer():
    model = build(height=100, width=100)
    assert layers(model) == ORIGINAL
    assert model.count_params() == 11_106_594
    assert model.input_shape == (None, 100, 100, 3)


def test_windows_and_strides_are_the_originals():
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


def test_additions_leave_the_list_of_layers_and_add_only_four_values_a_normalised_filter():
    model = build(height=100, width=100, **FULL)
    assert layers(model) == ORIGINAL
    assert model.count_params() == 11_106_594 + 4 * (16 + 32 + 64)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert (kinds.count("Normalization"), kinds.count("Thinning")) == (3, 2)


def test_switched_off_additions_leave_no_layer_behind():
    kinds = {type(layer).__name__ for layer in build().layers}
    assert not kinds & {"Normalization", "Thinning", "BothSides", "MeanOfSides"}


@pytest.mark.parametrize(
    ("height", "width", "channels", "flat"),
    [(16, 16, 3, 2 * 2 * 64), (16, 16, 1, 2 * 2 * 64), (17, 31, 3, 3 * 4 * 64), (31, 17, 1, 4 * 3 * 64)],
)
def test_small_odd_and_grey_pictures_pass_through(height, width, channels, flat):
    model = build(height=height, width=width, color_channels=channels, **FULL)
    assert model.get_layer("flattening").output.shape == (None, flat)
    assert answers(model, noise(3, height, width, channels)).shape == (3, 2)


@pytest.mark.parametrize("classes", [2, 1000])
def test_two_to_a_thousand_classes_have_a_magnitude_each(classes):
    found = answers(build(classes=classes), noise(1, 16, 16, 3))
    assert found.shape == (1, classes)
    assert found.dtype == np.float32


@pytest.mark.parametrize("classes", [1, 1001])
def test_fewer_and_more_classes_are_refused_by_their_number(classes):
    with pytest.raises(ValueError, match=f"not {classes}$"):
        build(classes=classes)


@pytest.mark.parametrize(("scale_input", "black", "grey", "white"), [(True, -1, 0.2, 1), (False, 0, 153, 255)])
def test_pixels_are_scaled_inside_the_network(scale_input, black, grey, white):
    model = build(scale_input=scale_input)
    inside = keras.Model(model.input, model.get_layer("scaling").output)
    pictures = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (0, 153, 255)])
    assert answers(inside, pictures)[:, 0, 0, 0].tolist() == pytest.approx([black, grey, white], abs=1e-6)


def test_the_answer_is_raw_magnitudes():
    model = build()
    kernel, bias = model.get_layer("logits").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign([-3, 5])
    assert answers(model, noise(1, 16, 16, 3)).tolist() == [[-3, 5]]


def test_the_answer_is_the_mean_of_a_picture_and_its_mirror_image():
    both, one = build(random_mirror=True), build()
    one.set_weights(both.get_weights())
    pictures = noise(3, 16, 16, 3)
    mirrored = pictures[:, :, ::-1]
    expected = (answers(one, pictures) + answers(one, mirrored)) / 2
    np.testing.assert_allclose(answers(both, pictures), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answers(both, mirrored), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answers(both, pictures, training=True), answers(one, pictures), rtol=1e-5, atol=1e-5)
    assert not np.allclose(answers(one, pictures), answers(one, mirrored))


@pytest.mark.parametrize("random_mirror", [False, True])
def test_features_are_the_means_of_what_the_third_convolution_gives(random_mirror):
    model = build(random_mirror=random_mirror)
    pictures = noise(3, 16, 16, 3)
    logits, features = (
        keras.ops.convert_to_numpy(part) for part in with_features(model, random_mirror=random_mirror)(pictures)
    )
    np.testing.assert_allclose(logits, answers(model, pictures), rtol=1e-5)
    maps = answers(keras.Model(model.input, model.get_layer("activation_3").output), pictures)
    means = maps.mean(axis=(1, 2))
    expected = (means[:3] + means[3:]) / 2 if random_mirror else means
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    assert features.shape == (3, 64)


def test_a_fresh_network_finds_all_classes_nearly_alike():
    assert np.abs(answers(build(height=100, width=100, **FULL), noise(10, 100, 100, 3))).max() < 1


def test_dropout_acts_in_training_only():
    pictures = noise(2, 16, 16, 3)
    thin, plain = build(dropout=0.5), build()
    plain.set_weights([variable.numpy() for variable in thin.trainable_variables])
    np.testing.assert_array_equal(answers(thin, pictures), answers(plain, pictures))
    assert not np.allclose(answers(thin, pictures, training=True), answers(thin, pictures, training=True))
    np.testing.assert_array_equal(answers(plain, pictures, training=True), answers(plain, pictures))


def test_normalisation_uses_the_batch_in_training_and_its_memory_afterwards():
    model = build(batch_normalization=True)
    pictures = noise(4, 16, 16, 3)
    before = answers(model, pictures)
    layer = keras.Model(model.input, model.get_layer("normalization_1").output)
    seen = answers(layer, pictures, training=True)
    np.testing.assert_allclose(seen.mean(axis=(0, 1, 2)), np.zeros(16), atol=1e-2)
    np.testing.assert_allclose(seen.std(axis=(0, 1, 2)), np.ones(16), atol=1e-2)
    assert not np.allclose(answers(model, pictures), before)


def test_the_building_blocks_do_what_they_are_called():
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    np.testing.assert_array_equal(
        pooling_layer(x, size=2, stride=2, name="p").numpy()[0, ..., 0],
        [[5, 7], [9, 11]],  # the last row has no partner
    )
    np.testing.assert_array_equal(flattening_layer(x, name="f").numpy(), [range(12)])
    np.testing.assert_array_equal(activation_layer(x - 6, name="a").numpy(), np.maximum(x - 6, 0))
    assert conv_layer(x, size=3, filters=7, name="c").shape == (1, 3, 4, 7)
    assert fully_connected_layer(x.reshape(1, 12), units=5, name="d").shape == (1, 5)
