"""Heat maps: what speaks for a class, at the place where it is."""

import numpy as np
import pytest

from answers.explain import overlay
from answers.grad_cam import slopes_of_log_odds
from answers.trained_network import TrainedNetwork
from model import generate_model
from network.backend import keras
from system.errors import UserError
from tests.helpers.checkpoints import model_config

SIDE = 32  # pixels; the third convolution has 4×4 values


def classifier(**changes) -> TrainedNetwork:
    """Returns a network that rates class 1 by the mean of the first feature, and class 0 always as 0."""
    config = model_config(height=SIDE, width=SIDE, batch_normalization=False, dropout=0, random_mirror=False, **changes)
    model = generate_model(config)
    size = model.get_layer("flattening").output.shape[1]
    first = np.zeros((size, 1024), np.float32)
    first[::64, 0] = 1  # the values of a place are its 64 features
    last = np.zeros((1024, len(config.class_names)), np.float32)
    last[0, 1] = 1
    model.get_layer("fully_connected_1").set_weights([first, np.zeros(1024, np.float32)])
    model.get_layer("logits").set_weights([last, np.zeros(len(config.class_names), np.float32)])
    # Means, so that what is bright in an image is large in the feature.
    for name in ("conv_1", "conv_2", "conv_3"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([np.full_like(kernel, 1 / kernel[..., 0].size), bias])
    return TrainedNetwork(model, config)


def bright(row: int, column: int) -> np.ndarray:
    """Returns an image that is bright in one of its quarters, in the corner."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[row * 28 : row * 28 + 4, column * 28 : column * 28 + 4] = 255
    return image


def brightest_quarter(heat_map: np.ndarray) -> tuple[int, int]:
    sums = heat_map.reshape(2, 2, 2, 2).sum(axis=(1, 3))
    return divmod(int(sums.argmax()), 2)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_grad_cam_is_highest_where_the_feature_is(loss):
    network = classifier(loss=loss, scale_input=False)
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    maps = network.heat_maps(np.stack([bright(*place) for place in places]), np.ones(4, int))
    assert maps.shape == (4, 4, 4)
    assert maps.dtype == np.float32
    assert [brightest_quarter(found) for found in maps] == places
    assert maps.max(axis=(1, 2)).tolist() == pytest.approx([1] * 4)
    assert maps.min() >= 0


def test_grad_cam_of_an_image_without_any_evidence_is_zero():
    network = classifier(loss="sigmoid", scale_input=False)
    assert not network.heat_maps(np.zeros((1, SIDE, SIDE, 3), np.uint8), np.array([1])).any()


def test_grad_cam_averages_both_mirror_views():
    """A network that averages the answers for an image and its mirror image explains both alike."""
    config = model_config(
        height=SIDE, width=SIDE, batch_normalization=False, dropout=0, random_mirror=True, scale_input=False
    )
    network = TrainedNetwork(generate_model(config), config)
    images = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    classes = np.array([0, 1, 0])
    maps, mirrored = network.heat_maps(images, classes), network.heat_maps(images[:, :, ::-1], classes)
    np.testing.assert_allclose(maps, mirrored[:, :, ::-1], rtol=1e-3, atol=1e-4)
    assert maps.any()


def test_grad_cam_of_many_images_equals_that_of_each():
    network = classifier(scale_input=False)
    images = np.random.default_rng(1).integers(0, 256, (65, SIDE, SIDE, 3), np.uint8)  # more than a batch
    classes = np.arange(65) % 2
    maps = network.heat_maps(images, classes)
    np.testing.assert_allclose(maps[64:], network.heat_maps(images[64:], classes[64:]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay_is_red_where_the_map_is_one_and_blue_where_it_is_zero(channels):
    image = np.full((20, 30, channels), 100, np.uint8)
    shown = overlay(image, np.array([[0.0, 1.0]]))
    assert shown.shape == (20, 30, 3)
    left, right = shown[10, 2].astype(int), shown[10, 27].astype(int)
    assert right[0] > right[2] + 30
    assert left[2] > left[0]


def test_grad_cam_refuses_a_way_around_the_third_convolution():
    images = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    third = keras.layers.ReLU(name="activation_3")(keras.layers.Conv2D(4, 3)(x))
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(third), keras.layers.Flatten()(x)])
    config = model_config(height=SIDE, width=SIDE, random_mirror=False)
    network = TrainedNetwork(keras.Model(images, keras.layers.Dense(2)(joined)), config)
    with pytest.raises(UserError, match=r"^model\.py: there is a way around activation_3, so there are no heat maps"):
        network.heat_maps(np.zeros((1, SIDE, SIDE, 3), np.uint8), np.array([1]))


def test_slopes_of_log_odds_are_one_and_minus_the_softmax_of_the_others():
    logits = np.log(np.array([[1, 2, 3], [1, 2, 3]], np.float32))
    found = slopes_of_log_odds(logits, np.array([0, 2], np.int32), loss="softmax").numpy()
    np.testing.assert_allclose(found, [[1, -2 / 5, -3 / 5], [-1 / 3, -2 / 3, 1]], rtol=1e-6)
    assert found.dtype == np.float32
    independent = slopes_of_log_odds(logits, np.array([0, 2], np.int32), loss="sigmoid")
    assert independent.numpy().tolist() == [[1, 0, 0], [0, 0, 1]]
