"""Asking a small real network: its raw magnitudes, its scores before and after calibration, and what it refuses."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from checkpoint import FIGURES, Checkpoints, load_classifier, save_calibration
from classifier import Answers, Classifier
from description import Description

DESCRIPTION = Description(
    class_names=["ant", "bee"],
    height=16,
    width=16,
    color_channels=3,
    scale_input=True,
    batch_normalization=True,
    dropout=0.5,
    loss="softmax",
    random_mirror=False,
    balance_classes=True,
    batch_size=10,
    seed=1,
    validation_split=0.2,
    pictures="",
)


def classifier(*, seed: int = 1, classes: int = 2, **changes) -> Classifier:
    """A network with random weights, not calibrated."""
    keras.utils.set_random_seed(seed)
    return replace(DESCRIPTION, class_names=["ant", "bee", "wasp"][:classes], **changes).classifier()


def noise(count: int, *, seed: int) -> np.ndarray:
    """Pictures of dark noise."""
    return np.random.default_rng(seed).integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)


def plain(*levels: int) -> np.ndarray:
    """Pictures of one grey each."""
    return np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])


STRANGE = plain(128, 255)


def calibrate(asked: Classifier, *, unknown_rate: float = 0.05, validation: int = 40) -> None:
    """On dark noise; the true class is the one it names, but for every third picture."""
    pictures = noise(validation, seed=2)
    labels = asked.ask(pictures).logits.argmax(axis=1)
    labels[::3] = 1 - labels[::3]
    asked.calibrate(training=noise(50, seed=1), validation=pictures, labels=labels, unknown_rate=unknown_rate)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def assert_same(found: Answers, wanted: Answers) -> None:
    for name in Answers._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_raw_magnitudes_are_what_the_network_puts_out(loss):
    asked = classifier(loss=loss)
    pictures = noise(5, seed=0)
    answers = asked.ask(pictures)
    np.testing.assert_array_equal(answers.logits, asked.model.predict_on_batch(pictures))
    assert answers.logits.dtype == np.float32
    assert len(np.unique(answers.logits)) == 10


@pytest.mark.parametrize("classes", [2, 3])
def test_before_calibration_scores_under_a_softmax_are_its_probabilities(classes):
    answers = classifier(classes=classes).ask(noise(5, seed=0))
    weights = np.exp(answers.logits.astype(np.float64))
    assert answers.scores == pytest.approx(weights / weights.sum(axis=1, keepdims=True))


def test_before_calibration_scores_class_by_class_are_sigmoids_of_the_magnitudes_and_need_not_sum_to_one():
    answers = classifier(loss="sigmoid", classes=3).ask(noise(5, seed=0))
    assert answers.scores == pytest.approx(sigmoid(answers.logits))
    assert np.abs(answers.scores.sum(axis=1) - 1).max() > 0.01


def test_before_calibration_nothing_is_unknown():
    assert not classifier().is_calibrated
    assert classifier().ask(np.concatenate([noise(3, seed=0), STRANGE])).unknown.tolist() == [False] * 5


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_after_calibration_scores_are_the_sigmoid_of_a_line_through_the_log_odds(loss):
    asked = classifier(loss=loss)
    calibrate(asked)
    answers = asked.ask(noise(20, seed=3))
    scale, offset = (variable.numpy() for variable in (asked.calibration.scale, asked.calibration.offset))
    magnitudes = answers.logits.astype(np.float64)
    odds = magnitudes if loss == "sigmoid" else magnitudes - magnitudes[:, ::-1]  # the other one of two classes
    assert scale != 1
    assert answers.scores == pytest.approx(sigmoid(scale * odds + offset))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_calibration_changes_the_scores_but_neither_the_magnitudes_nor_the_class_that_is_named(loss):
    asked = classifier(loss=loss)
    pictures = noise(100, seed=3)
    before = asked.ask(pictures)
    calibrate(asked)
    after = asked.ask(pictures)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert np.abs(after.scores - before.scores).max() > 0.001
    named = after.logits.argmax(axis=1)
    np.testing.assert_array_equal(after.scores.argmax(axis=1), named)
    np.testing.assert_array_equal(before.scores.argmax(axis=1), named)


def test_a_network_that_is_right_two_times_in_three_scores_about_two_thirds():
    asked = classifier()
    last = asked.model.get_layer("logits").kernel
    last.assign(30 * last)
    assert asked.ask(noise(300, seed=2)).scores.max(axis=1).mean() > 0.85  # much too sure
    calibrate(asked, validation=300)
    assert asked.ask(noise(300, seed=2)).scores.max(axis=1).mean() == pytest.approx(2 / 3, abs=0.04)


def test_answers_do_not_depend_on_how_many_pictures_are_asked_about_at_once():
    asked = classifier()
    calibrate(asked)
    pictures = np.concatenate([noise(128, seed=3), STRANGE])
    together = asked.ask(pictures)
    assert len(together.logits) == len(together.scores) == len(together.unknown) == 130
    for number in (0, 63, 64, 127, 128, 129):  # batches have 64
        alone = asked.ask(pictures[number : number + 1])
        np.testing.assert_allclose(alone.logits[0], together.logits[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone.scores[0], together.scores[number], rtol=1e-4)
        assert alone.unknown[0] == together.unknown[number]
    assert len(np.unique(together.logits[:, 0])) == 130


def test_pictures_unlike_all_training_pictures_are_unknown_and_others_are_not():
    asked = classifier()
    calibrate(asked)
    assert asked.ask(STRANGE).unknown.tolist() == [True, True]
    assert asked.ask(noise(200, seed=4)).unknown.mean() < 0.2


def test_a_rate_of_zero_refuses_nothing_however_strange():
    asked = classifier()
    calibrate(asked, unknown_rate=0)
    assert not asked.ask(np.concatenate([noise(40, seed=2), STRANGE])).unknown.any()


@pytest.mark.parametrize(("rate", "most"), [(0.05, 1), (0.5, 19)])
def test_of_forty_validation_pictures_no_more_are_refused_than_the_rate_allows(rate, most):
    asked = classifier()
    calibrate(asked, unknown_rate=rate)
    refused = asked.ask(noise(40, seed=2)).unknown.sum()
    assert most - 1 <= refused <= most


def test_too_few_validation_pictures_for_the_rate_refuse_nothing():
    asked = classifier()
    calibrate(asked, validation=18)
    assert not asked.ask(STRANGE).unknown.any()


def test_what_is_usual_is_measured_as_the_mean_over_the_picture_of_the_last_convolution():
    asked = classifier()
    calibrate(asked)
    maps = keras.Model(asked.model.input, asked.model.get_layer("activation_3").output)
    values = maps.predict_on_batch(noise(50, seed=1))
    assert values.shape == (50, 2, 2, 64)
    by_hand = [np.sqrt([picture[..., kind].mean() for picture in values]).mean() for kind in range(64)]
    assert asked.calibration.center.numpy() == pytest.approx(np.array(by_hand), rel=1e-4, abs=1e-6)


def test_a_picture_and_its_mirror_image_have_one_answer_where_that_is_switched_on():
    both, one = classifier(random_mirror=True), classifier(random_mirror=False)
    one.model.set_weights(both.model.get_weights())
    pictures = noise(5, seed=0)
    mirrored = pictures[:, :, ::-1]
    assert np.abs(one.ask(pictures).logits - one.ask(mirrored).logits).max() > 1e-3
    by_hand = (one.ask(pictures).logits + one.ask(mirrored).logits) / 2
    np.testing.assert_allclose(both.ask(pictures).logits, by_hand, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(both.ask(mirrored).logits, by_hand, rtol=1e-4, atol=1e-6)


def test_what_is_usual_is_then_measured_on_both_sides():
    both, one = classifier(random_mirror=True), classifier(random_mirror=False)
    one.model.set_weights(both.model.get_weights())
    center = {}
    for name, asked, picture in (
        ("both", both, noise(1, seed=1)),
        ("left", one, noise(1, seed=1)),
        ("right", one, noise(1, seed=1)[:, :, ::-1]),
    ):
        asked.calibrate(training=picture, validation=noise(2, seed=2), labels=np.array([0, 1]), unknown_rate=0)
        center[name] = asked.calibration.center.numpy()  # the square roots of its features
    assert not np.allclose(center["left"], center["right"], rtol=1e-3)
    by_hand = np.sqrt((center["left"] ** 2 + center["right"] ** 2) / 2)
    np.testing.assert_allclose(center["both"], by_hand, rtol=1e-4, atol=1e-6)


def test_of_many_training_pictures_those_that_tell_what_is_usual_come_from_all_of_them():
    asked = classifier()
    centers = []
    for dark, bright in ((1, 1), (1000, 1000)):
        training = plain(*[40] * dark, *[200] * bright)
        asked.calibrate(training=training, validation=plain(40, 200), labels=np.array([0, 1]), unknown_rate=0)
        centers.append(asked.calibration.center.numpy())
    assert centers[1] == pytest.approx(centers[0], rel=1e-4, abs=1e-6)


def test_calibrating_again_forgets_the_first_time():
    once, twice = classifier(), classifier()
    calibrate(twice, unknown_rate=0.5, validation=60)
    for asked in (once, twice):
        calibrate(asked)
    assert_same(
        twice.ask(np.concatenate([noise(20, seed=3), STRANGE])), once.ask(np.concatenate([noise(20, seed=3), STRANGE]))
    )


def test_a_checkpoint_brings_weights_and_calibration_back_to_the_bit(tmp_path):
    keras.utils.set_random_seed(1)
    model = DESCRIPTION.network()
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(1)
    checkpoints = Checkpoints(tmp_path, model, DESCRIPTION, max_to_keep=1)
    checkpoints.add_epoch(dict.fromkeys(FIGURES, 0.5))
    checkpoints.save()
    pictures = np.concatenate([noise(20, seed=3), STRANGE])

    asked, description = load_classifier(tmp_path)
    assert description == DESCRIPTION
    assert not asked.is_calibrated
    np.testing.assert_array_equal(asked.ask(pictures).logits, model.predict_on_batch(pictures))
    calibrate(asked)
    save_calibration(tmp_path, asked, DESCRIPTION, 1)
    restored, _ = load_classifier(tmp_path)
    assert asked.is_calibrated and restored.is_calibrated
    assert_same(restored.ask(pictures), asked.ask(pictures))
    assert restored.ask(pictures).unknown[-2:].all()
