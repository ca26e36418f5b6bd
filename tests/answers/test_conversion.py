"""LiteRT gives the same answers as Keras, for every kind of network."""

import numpy as np
import pytest

from answers import conversion
from answers.conversion import ConvertedNetwork, build_model_file, convert
from answers.engine import Engine
from answers.predictions import Predictions
from answers.trained_network import TrainedNetwork, load_trained_network
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import stored_checksum
from network.model_config import ModelConfig
from network.model_file import MODEL_FILE, read_model_file
from pictures.folders import picture_files, read_image
from system.errors import UserError
from tests.helpers.checkpoints import calibrate_best, checkpoint_file, model_config, new_run, save_epochs
from tests.helpers.pictures import ROOT

KINDS = {
    "default": {},
    "gray": {"color_channels": 1},
    "many classes": {"class_names": [f"class {number:03}" for number in range(200)]},
    "sigmoid": {"loss": "sigmoid", "class_names": ["ant", "bee", "wasp"]},
    "no mirror": {"random_mirror": False},
    "no normalization": {"batch_normalization": False},
    "odd sizes": {"height": 17, "width": 35},
    "unscaled": {"scale_input": False, "batch_normalization": False},
    "no dropout": {"dropout": 0},
}


def new_network(**changes) -> TrainedNetwork:
    """Returns a network with random weights, and moving averages that are not 0 and 1."""
    keras.utils.set_random_seed(1)
    config = model_config(**changes)
    model = generate_model(config)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name in ("moving_mean", "beta", "bias"):
            weight.assign(rng.normal(scale=0.3, size=weight.shape))
        elif weight.name in ("moving_variance", "gamma"):
            weight.assign(rng.uniform(0.5, 2, weight.shape))
    last = model.get_layer("logits").kernel
    last.assign(30 * last)  # so that the scores of a new network differ
    return TrainedNetwork(model, config)


def drawings(config: ModelConfig) -> np.ndarray:
    """Returns the images of the shipped drawings."""
    paths = picture_files(ROOT / "samples" / "unseen")
    images = [read_image(path, config, max_pixels=10**7) for path in paths if path.suffix in (".png", ".jpg")]
    assert len(images) == 10
    return np.stack(images)


def calibrate(network: TrainedNetwork, images: np.ndarray) -> None:
    labels = np.arange(len(images)) % len(network.model_config.class_names)
    network.calibrate(training=images, validation=images, labels=labels, unknown_rate=0.2)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_litert_equals_keras_on_real_pictures(changes):
    network = new_network(**changes)
    images = drawings(network.model_config)
    calibrate(network, images)
    engine = Engine(ConvertedNetwork(network).pack())
    found, expected = engine.predict(images), network.predict(images)
    scale = max(1, np.abs(expected.logits).max())  # without scaling, logits are in the thousands
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4 * scale, rtol=0)
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert np.ptp(expected.logits) > 0.01
    raw = {name: value.numpy() for name, value in network.outputs(*network.with_features(images)).items()}
    # The whitening multiplies features without variance by up to 30,000, and with them their rounding.
    np.testing.assert_allclose(engine.outputs(images)[2], raw["distance"], rtol=1e-2, atol=1e-3)
    classes = expected.predicted
    np.testing.assert_allclose(engine.heat_maps(images, classes), network.heat_maps(images, classes), atol=1e-3)


def test_converted_network_sets_the_limit_by_what_litert_says():
    network = new_network()
    images = drawings(network.model_config)
    calibrate(network, images)
    converted = ConvertedNetwork(network)
    predictions = converted.check(images, network.predict(images), unknown_rate=0.3)
    distances = Engine(converted.pack()).outputs(images).distances
    assert network.max_distance == np.sort(distances)[-3]  # 3 of 11 ranks: two of ten pictures, and a new one
    assert predictions.unknown.sum() == 2
    np.testing.assert_array_equal(Engine(converted.pack()).predict(images).unknown, predictions.unknown)


def test_converted_network_without_calibration_calls_nothing_unknown():
    network = new_network()
    model = ConvertedNetwork(network).pack()
    assert (model.calibrated, model.max_distance) == (False, np.inf)
    assert Engine(model).outputs(drawings(network.model_config))[2].tolist() == [0] * 10


@pytest.mark.parametrize("largest", [0.5, 20])
def test_converted_network_refuses_raw_magnitudes_that_differ(largest):
    network = new_network()
    kernel, _ = network.model.get_layer("logits").get_weights()
    network.model.get_layer("logits").set_weights([0 * kernel, np.array([largest, 0])])
    images = drawings(network.model_config)
    converted = ConvertedNetwork(network)
    expected = network.predict(images)

    def shifted(error: float) -> Predictions:
        return expected._replace(logits=np.array([largest, 0]) + error * max(1, largest))

    assert converted.check(images, shifted(0.9e-4)).logits.max() == largest
    for error in (1.1e-4, np.nan):
        with pytest.raises(UserError, match="^LiteRT gives other raw magnitudes than Keras "):
            converted.check(images, shifted(error))


def test_convert_is_repeatable_to_the_bit():
    network = new_network()
    assert convert(network) == convert(network)


class _Unusual(keras.layers.Layer):
    """A layer with an operator that LiteRT does not have."""

    def call(self, inputs):
        return tf.math.bessel_i1e(inputs)


def edited(layers) -> TrainedNetwork:
    """Returns a network in which `layers` lead from the third convolution, (batch, 4, 4, 8), to the logits."""
    config = model_config(height=16, width=16, random_mirror=False)
    images = keras.Input(config.shape, dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    third = keras.layers.ReLU(name="activation_3")(keras.layers.Conv2D(8, 3, strides=4, padding="same")(x))
    return TrainedNetwork(keras.Model(images, layers(x, third)), config)


def test_convert_refuses_a_layer_that_litert_does_not_have(capfd):
    network = edited(lambda _, third: keras.layers.Dense(2)(keras.layers.Flatten()(_Unusual()(third))))
    with pytest.raises(UserError, match=r"^model\.py: LiteRT cannot compute one of its layers \(.+\); use another"):
        convert(network)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk full")], ids=["memory", "disk"])
def test_convert_does_not_blame_the_layers_for_too_little_memory_or_disk(error, monkeypatch):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", fail)
    with pytest.raises(type(error)):
        convert(new_network(height=16, width=16))


def test_convert_of_an_edited_network_keeps_the_heat_maps():
    network = edited(lambda _, third: keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(third)))
    images = drawings(network.model_config)
    engine = Engine(ConvertedNetwork(network).pack())
    assert engine.explains
    found = engine.heat_maps(images, np.zeros(10, int))
    np.testing.assert_allclose(found, network.heat_maps(images, np.zeros(10, int)), atol=1e-4)
    assert found.shape == (10, 4, 4) and found.any()


def test_convert_of_a_network_without_heat_maps_keeps_the_answers():
    join = keras.layers.Concatenate()
    flatten = keras.layers.Flatten
    network = edited(lambda x, third: keras.layers.Dense(2)(join([flatten()(third), flatten()(x)])))
    images = drawings(network.model_config)
    engine = Engine(ConvertedNetwork(network).pack())
    np.testing.assert_allclose(engine.predict(images).logits, network.predict(images).logits, atol=1e-4)
    assert not engine.explains
    with pytest.raises(UserError, match=r"^model\.py: there is a way around activation_3, so there are no heat maps"):
        engine.heat_maps(images, np.zeros(10, int))


def test_build_model_file_is_of_the_best_weights(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    calibrate_best(tmp_path)
    model = build_model_file(tmp_path)
    assert (model.step, model.calibrated, model.max_distance) == (10, True, 5.5)
    assert model.source == stored_checksum(checkpoint_file(tmp_path / "best", 10)) != ""
    images = drawings(model.model_config)
    expected = load_trained_network(tmp_path).predict(images)
    np.testing.assert_allclose(Engine(model).predict(images).logits, expected.logits, atol=1e-4)


def test_save_writes_a_checkpoint_and_a_model_file_that_belong_together(tmp_path):
    network = new_network()
    network.step = 7
    converted = ConvertedNetwork(network)
    converted.save(tmp_path)
    model = read_model_file(tmp_path / MODEL_FILE)
    assert model.source == stored_checksum(checkpoint_file(tmp_path / "best", 7)) != ""
    assert (model.step, model.model_config) == (7, network.model_config)
    assert model == converted.pack()


def test_networks_computed_in_bfloat16_are_converted_in_float32(tmp_path):
    """As a trainer does that computes in bfloat16: the answers are those of the weights, without rounding."""
    save_epochs(*new_run(tmp_path), 0.9)
    expected = Engine(build_model_file(tmp_path)).predict(drawings(model_config())).logits
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = Engine(build_model_file(tmp_path)).predict(drawings(model_config())).logits
    np.testing.assert_array_equal(found, expected)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert np.isfinite(found).all()


def test_require_convertible_tries_only_networks_with_other_layers(monkeypatch):
    tried = []
    monkeypatch.setattr(conversion, "convert", tried.append)
    conversion.require_convertible(new_network().model, model_config())
    assert tried == []
    network = edited(lambda _, third: keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(third)))
    conversion.require_convertible(network.model, network.model_config)
    assert len(tried) == 1
