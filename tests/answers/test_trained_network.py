"""Predictions of a small real network: logits, scores, what is unknown; and how it is saved and loaded."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest

from answers import trained_network as trained_network_module
from answers.predictions import Predictions
from answers.trained_network import TrainedNetwork, load_trained_network
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import read_checkpoint, write_checkpoint
from network.model_config import ModelConfig
from system.errors import UserError
from tests.helpers.checkpoints import (
    MODEL_CONFIG,
    calibrate_best,
    checkpoint_file,
    epoch_of,
    model_config,
    new_run,
    save_epochs,
    truncate,
)


def new_classifier(*, classes: int = 2, **changes) -> TrainedNetwork:
    """Returns a network with random weights, not calibrated."""
    keras.utils.set_random_seed(1)
    config = model_config(**{"random_mirror": False, "class_names": ["ant", "bee", "wasp"][:classes], **changes})
    return TrainedNetwork(generate_model(config), config)


shared_classifier = functools.cache(new_classifier)


def classifier(**changes) -> TrainedNetwork:
    """Returns the same, for tests that do not change the weights."""
    network = shared_classifier(**changes)
    network.calibration = None
    return network


def noise(count: int, *, seed: int) -> np.ndarray:
    """Returns images of dark noise."""
    return np.random.default_rng(seed).integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)


def plain(*levels: int) -> np.ndarray:
    """Returns images of one gray level each."""
    return np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])


UNUSUAL = plain(128, 255)


def calibrate(classifier: TrainedNetwork, *, unknown_rate: float = 0.05, validation: int = 40) -> None:
    """Calibrates with dark noise; the true class is the predicted one, except for every third image."""
    images = noise(validation, seed=2)
    labels = classifier.predict(images).logits.argmax(axis=1)
    labels[::3] = 1 - labels[::3]
    classifier.calibrate(training=noise(50, seed=1), validation=images, labels=labels, unknown_rate=unknown_rate)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def assert_same(found: Predictions, expected: Predictions) -> None:
    for name in Predictions._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_logits_are_the_outputs_of_the_network(loss):
    network = classifier(loss=loss)
    images = noise(5, seed=0)
    predictions = network.predict(images)
    np.testing.assert_array_equal(predictions.logits, network.model.predict_on_batch(images))
    np.testing.assert_array_equal(predictions.predicted, predictions.logits.argmax(axis=1))
    assert predictions.logits.dtype == np.float32
    assert len(np.unique(predictions.logits)) == 10


@pytest.mark.parametrize("classes", [2, 3])
def test_softmax_scores_before_calibration_are_probabilities(classes):
    predictions = classifier(classes=classes).predict(noise(5, seed=0))
    weights = np.exp(predictions.logits.astype(np.float64))
    assert predictions.scores == pytest.approx(weights / weights.sum(axis=1, keepdims=True))


def test_sigmoid_scores_before_calibration_are_sigmoids_of_the_logits():
    predictions = classifier(loss="sigmoid", classes=3).predict(noise(5, seed=0))
    assert predictions.scores == pytest.approx(sigmoid(predictions.logits))
    assert np.abs(predictions.scores.sum(axis=1) - 1).max() > 0.01


def test_nothing_is_unknown_before_calibration():
    assert classifier().calibration is None
    assert classifier().predict(np.concatenate([noise(3, seed=0), UNUSUAL])).unknown.tolist() == [False] * 5


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_calibrated_scores_are_the_sigmoid_of_a_line(loss):
    network = classifier(loss=loss)
    calibrate(network)
    predictions = network.predict(noise(20, seed=3))
    slope, intercept = network.calibration.slope, network.calibration.intercept
    logits = predictions.logits.astype(np.float64)
    odds = logits if loss == "sigmoid" else logits - logits[:, ::-1]  # minus that of the other class
    assert slope != 1
    assert predictions.scores == pytest.approx(sigmoid(slope * odds + intercept))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_calibration_changes_neither_logits_nor_predicted_class(loss):
    network = classifier(loss=loss)
    images = noise(100, seed=3)
    before = network.predict(images)
    calibrate(network)
    after = network.predict(images)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert np.abs(after.scores - before.scores).max() > 0.001
    predicted = after.logits.argmax(axis=1)
    np.testing.assert_array_equal(after.scores.argmax(axis=1), predicted)
    np.testing.assert_array_equal(before.scores.argmax(axis=1), predicted)


def test_calibrated_scores_are_as_high_as_the_fraction_correct():
    network = new_classifier()
    last = network.model.get_layer("logits").kernel
    last.assign(30 * last)
    assert network.predict(noise(300, seed=2)).scores.max(axis=1).mean() > 0.85  # much too high
    calibrate(network, validation=300)
    assert network.predict(noise(300, seed=2)).scores.max(axis=1).mean() == pytest.approx(2 / 3, abs=0.04)


def test_predictions_do_not_depend_on_the_number_of_images():
    network = classifier()
    calibrate(network)
    images = np.concatenate([noise(128, seed=3), UNUSUAL])
    all_predictions = network.predict(images)
    assert len(all_predictions.logits) == len(all_predictions.scores) == len(all_predictions.unknown) == 130
    for number in (0, 31, 32, 63, 64, 129):  # batches have 32
        alone = network.predict(images[number : number + 1])
        np.testing.assert_allclose(alone.logits[0], all_predictions.logits[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone.scores[0], all_predictions.scores[number], rtol=1e-4)
        assert alone.unknown[0] == all_predictions.unknown[number]
    assert len(np.unique(all_predictions.logits[:, 0])) == 130


def test_images_unlike_all_training_images_are_unknown():
    network = classifier()
    calibrate(network)
    assert network.predict(UNUSUAL).unknown.tolist() == [True, True]
    assert network.predict(noise(200, seed=4)).unknown.mean() < 0.2


def test_nothing_is_unknown_at_an_unknown_rate_of_zero():
    network = classifier()
    calibrate(network, unknown_rate=0)
    images = np.concatenate([noise(40, seed=2), UNUSUAL])
    assert network.predict(images).unknown.tolist() == [False] * 42


@pytest.mark.parametrize(("rate", "count"), [(0.05, 1), (0.5, 19)])  # one less than the ranks out of 41
def test_unknown_rate_limits_the_unknown_validation_images(rate, count):
    network = classifier()
    calibrate(network, unknown_rate=rate)
    assert network.predict(noise(40, seed=2)).unknown.sum() == count


def test_nothing_is_unknown_after_too_few_validation_images():
    network = classifier()
    calibrate(network, validation=18)
    assert network.predict(UNUSUAL).unknown.tolist() == [False, False]


def test_calibration_mean_is_over_statistics_of_the_last_convolution():
    network = classifier()
    calibrate(network)
    maps = keras.Model(network.model.input, network.model.get_layer("activation_3").output)
    values = maps.predict_on_batch(noise(50, seed=1))
    assert values.shape == (50, 2, 2, 64)
    by_hand = [
        np.sqrt([statistic(image[..., kind]) for image in values]).mean()
        for statistic in (np.mean, np.std)
        for kind in range(64)
    ]
    assert network.calibration.mean[-128:] == pytest.approx(np.array(by_hand), rel=1e-4, abs=1e-5)


def test_random_mirror_predicts_the_same_for_mirror_images():
    averaged, single = new_classifier(random_mirror=True), new_classifier(random_mirror=False)
    single.model.set_weights(averaged.model.get_weights())
    images = noise(5, seed=0)
    mirrored = images[:, :, ::-1]
    assert np.abs(single.predict(images).logits - single.predict(mirrored).logits).max() > 1e-3
    by_hand = (single.predict(images).logits + single.predict(mirrored).logits) / 2
    np.testing.assert_allclose(averaged.predict(images).logits, by_hand, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(averaged.predict(mirrored).logits, by_hand, rtol=1e-4, atol=1e-6)


def test_random_mirror_calibrates_with_both_views():
    averaged, single = new_classifier(random_mirror=True), new_classifier(random_mirror=False)
    single.model.set_weights(averaged.model.get_weights())
    mean = {}
    for name, network, image in (
        ("both", averaged, noise(1, seed=1)),
        ("left", single, noise(1, seed=1)),
        ("right", single, noise(1, seed=1)[:, :, ::-1]),
    ):
        network.calibrate(training=image, validation=noise(2, seed=2), labels=np.array([0, 1]), unknown_rate=0)
        mean[name] = network.calibration.mean  # the square roots of its features
    assert not np.allclose(mean["left"], mean["right"], rtol=1e-3)
    by_hand = np.sqrt((mean["left"] ** 2 + mean["right"] ** 2) / 2)
    np.testing.assert_allclose(mean["both"], by_hand, rtol=1e-4, atol=1e-6)


def test_calibrating_again_replaces_the_first_calibration():
    network = classifier()
    images = np.concatenate([noise(20, seed=3), UNUSUAL])
    calibrate(network)
    expected = network.predict(images)
    calibrate(network, unknown_rate=0.5, validation=60)
    assert not np.array_equal(network.predict(images).scores, expected.scores)
    calibrate(network)
    assert_same(network.predict(images), expected)


# ---- saving and loading ----


def test_load_trained_network_restores_weights_and_calibration_to_the_bit(tmp_path):
    network = new_classifier()
    network.step = 7
    images = np.concatenate([noise(20, seed=3), UNUSUAL])
    network.save(tmp_path)
    (tmp_path / "model.json").write_bytes(network.model_config.to_json())
    restored = load_trained_network(tmp_path)
    assert (restored.model_config, restored.step, restored.calibration) == (network.model_config, 7, None)
    assert_same(restored.predict(images), network.predict(images))

    calibrate(network)
    network.save(tmp_path)
    restored = load_trained_network(tmp_path)
    for name, value in network.calibration._asdict().items():
        np.testing.assert_array_equal(getattr(restored.calibration, name), value)
    assert_same(restored.predict(images), network.predict(images))
    assert restored.predict(images).unknown[-2:].all()


def test_load_trained_network_returns_the_best_one_with_its_calibration(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    assert load_trained_network(tmp_path).calibration is None
    calibrate_best(tmp_path)
    restored = load_trained_network(tmp_path)
    assert (epoch_of(restored), restored.step) == (1, 10)
    assert restored.calibration[5:] == (3.5, 4.5, 5.5)
    arrays = zip(restored.calibration[:5], [(224,), (224, 224), (2, 1024), (2,), (2,)], range(5), strict=True)
    for found, shape, value in arrays:
        np.testing.assert_array_equal(found, np.full(shape, [1.5, 2.5, 7.5, 8.5, 9.5][value], np.float32))


def test_load_trained_network_skips_a_damaged_best_checkpoint(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    calibrate_best(tmp_path)
    truncate(checkpoint_file(tmp_path / "best", 10))
    restored = load_trained_network(tmp_path)
    assert (epoch_of(restored), restored.calibration) == (2, None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'best' / 'ckpt-10.safetensors'}: damaged (")


def test_load_trained_network_before_the_end_of_an_epoch_uses_the_average(tmp_path):
    model, checkpoints = new_run(tmp_path)
    model.get_layer("logits").bias.assign([7, -7])
    checkpoints.average[-1].assign([6, -6])
    model.optimizer.iterations.assign(5)
    checkpoints.save()
    restored = load_trained_network(tmp_path)
    assert (epoch_of(restored), restored.calibration) == (6, None)


def test_load_trained_network_before_the_first_step_is_refused(tmp_path):
    _, checkpoints = new_run(tmp_path)
    checkpoints.save()
    with pytest.raises(UserError, match="not saved any weights yet"):
        load_trained_network(tmp_path)


def test_load_trained_network_refuses_a_folder_of_damaged_checkpoints(tmp_path):
    save_epochs(*new_run(tmp_path), 0.9)
    for path in tmp_path.rglob("ckpt-*"):
        truncate(path)
    with pytest.raises(UserError, match=f"^{tmp_path}: every checkpoint is damaged; train to a new folder$"):
        load_trained_network(tmp_path)


def test_load_trained_network_refuses_the_model_config_of_another(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    (tmp_path / "model.json").write_bytes(model_config(class_names=["cat", "dog"]).to_json())
    with pytest.raises(UserError, match="belongs to a different network than .*model.json; bring back the two"):
        load_trained_network(tmp_path)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> Path:
    """Returns the checkpoints of a run whose best network is calibrated."""
    folder = tmp_path_factory.mktemp("calibrated")
    save_epochs(*new_run(folder), 0.9)
    calibrate_best(folder)
    return folder


def forge(calibrated: Path, folder: Path, config: ModelConfig = MODEL_CONFIG, **changes) -> Path:
    """Copies the best checkpoint with other tensors; None removes one. Returns its path."""
    path = checkpoint_file(folder / "best", 10)
    tensors = {**read_checkpoint(checkpoint_file(calibrated / "best", 10)).tensors, **changes}
    write_checkpoint(path, {name: value for name, value in tensors.items() if value is not None}, config)
    (folder / "model.json").write_bytes(config.to_json())
    return path


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("average/conv_1/kernel", None, "weights do"),
        ("average/conv_1/kernel", np.zeros((5, 5, 3, 17), np.float32), "weights do"),
        ("average/conv_1/kernel", np.zeros((5, 5, 3, 16), np.float64), "weights do"),
        ("average/conv_9/kernel", np.zeros(3, np.float32), "weights do"),
        ("calibration/slope", None, "calibration does"),
        ("calibration/slope", np.zeros(1), "calibration does"),
        ("calibration/slope", np.array(1.0, np.float32), "calibration does"),
        ("calibration/mean", np.zeros(223, np.float32), "calibration does"),
        ("calibration/whitening", np.zeros((224, 223), np.float32), "calibration does"),
        ("calibration/references", None, "calibration does"),
        ("calibration/references", np.zeros((2, 1023), np.float32), "calibration does"),
        ("calibration/references", np.zeros((0, 1024), np.float32), "calibration does"),
        ("calibration/references", np.zeros((2, 1024)), "calibration does"),
        ("calibration/references", np.zeros(1024, np.float32), "calibration does"),
        ("calibration/other", np.array(1.0), "calibration does"),
    ],
)
def test_load_trained_network_refuses_tensors_that_do_not_fit(calibrated, tmp_path, name, value, reason):
    path = forge(calibrated, tmp_path, **{name: value})
    with pytest.raises(UserError) as refused:
        load_trained_network(tmp_path)
    remedy = "train to a new folder with --model_save_name"
    assert str(refused.value) == f"{path}: its {reason} not fit this network; {remedy}"


def test_load_trained_network_allocates_no_more_than_a_forged_file_is_long(calibrated, tmp_path, monkeypatch):
    forge(calibrated, tmp_path, model_config(height=4096, width=4096))  # 68 GB of weights

    def generate_without_allocating(config):
        assert not tf.executing_eagerly()
        return generate_model(config)

    monkeypatch.setattr(trained_network_module, "generate_model", generate_without_allocating)
    with pytest.raises(UserError, match="its weights do not fit this network"):
        load_trained_network(tmp_path)


def test_load_trained_network_needs_nothing_but_model_config_and_best(calibrated, tmp_path):
    shutil.copytree(calibrated / "best", tmp_path / "best")
    with pytest.raises(UserError, match="no trained network here"):
        load_trained_network(tmp_path)
    shutil.copy(calibrated / "model.json", tmp_path)
    assert epoch_of(load_trained_network(tmp_path)) == 1
