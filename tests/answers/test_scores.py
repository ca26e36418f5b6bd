"""The outputs of a network: scores, and the distance from the training pictures."""

import math

import numpy as np
import pytest

from answers.calibration import Calibration
from answers.scores import distances, log_odds, measures, outputs
from network.backend import tf

FITTED = Calibration(
    mean=np.array([1, 1], np.float32),
    whitening=np.diag([2, 1]).astype(np.float32),
    references=np.array([[1, 0], [0.6, 0.8]], np.float32),
    centers=np.zeros(2, np.float32),
    spreads=np.ones(2, np.float32),
    slope=2.0,
    intercept=-1.0,
)


def odds_of(logits, loss: str = "softmax") -> np.ndarray:
    return np.asarray(log_odds(tf.constant(logits, tf.float32), loss=loss))


def features(*rows) -> tf.Tensor:
    return tf.constant(rows, tf.float32)


def test_softmax_log_odds_are_those_of_the_probabilities():
    logits = np.log(np.array([[1, 2, 5]])) + 7  # probabilities 1/8, 2/8 and 5/8; a constant changes nothing
    assert np.exp(odds_of(logits)) == pytest.approx(np.array([[1 / 7, 2 / 6, 5 / 3]]), rel=1e-5)


def test_softmax_log_odds_of_two_classes_are_differences_of_logits():
    assert odds_of([[3, 1], [-2, 2.5], [4, 4]]).tolist() == [[2, -2], [-4.5, 4.5], [0, 0]]


def test_softmax_log_odds_are_exact_for_huge_logits():
    expected = [[2000, -2000], [-2000, 2000], [2e30, -2e30], [50, -50]]
    assert odds_of([[1000, -1000], [-1000, 1000], [1e30, -1e30], [50, 0]]) == pytest.approx(np.array(expected))
    three = odds_of([[1000, 999, -1000], [0, 0, 0]])
    below = -2000 - math.log(1 + math.exp(-1))  # the others sum to e^1000 + e^999
    assert three == pytest.approx(np.array([[1, -1, below], [-math.log(2)] * 3]))


def test_softmax_log_odds_of_two_equal_highest_logits_are_equal():
    assert odds_of([[5, 5, -100]])[0, :2] == pytest.approx([0, 0], abs=1e-6)


def test_sigmoid_log_odds_are_the_logits():
    logits = np.array([[-1000, 0.1, 1000], [1, 2, 3]], np.float32)
    np.testing.assert_array_equal(odds_of(logits, "sigmoid"), logits)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_log_odds_have_the_order_of_the_logits(loss):
    logits = np.random.default_rng(0).normal(scale=20, size=(200, 7)).astype(np.float32)
    np.testing.assert_array_equal(odds_of(logits, loss).argsort(axis=1), logits.argsort(axis=1))


def test_outputs_are_raw_magnitudes_scores_and_distances():
    logits = tf.constant([[0.5, -0.5], [-1000.0, 1000.0]])  # log-odds of 1 and -1, and of ± 2,000
    found = outputs(logits, features([4, 9, 0, 2], [1, 1, 3, 0]), loss="softmax", calibration=FITTED)
    assert list(found) == ["raw", "scores", "distance"]
    assert found["raw"].numpy().tolist() == [[0.5, -0.5], [-1000, 1000]]
    assert found["scores"].numpy() == pytest.approx(np.array([[0.73105858, 0.04742587], [0, 1]]))  # of 1, -3, ± 4,000
    assert found["distance"].numpy() == pytest.approx([math.hypot(2, 2), 1 - 0.6])
    assert {value.dtype for value in found.values()} == {tf.float32}


def test_outputs_without_calibration_are_sigmoids_and_no_distance():
    found = outputs(tf.constant([[-1.0, 0.0, 1.0]]), features([4, 9, 0, 2]), loss="sigmoid", calibration=None)
    assert found["scores"].numpy() == pytest.approx(np.array([[0.26894142, 0.5, 0.73105858]]))
    assert found["distance"].numpy().tolist() == [0]


def test_first_measure_is_the_length_of_whitened_square_roots_from_the_mean():
    given = features([4, 9, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0])  # square roots 2 and 3; 1 and 1; 0 and 0
    assert measures(given, FITTED)[:, 0].numpy() == pytest.approx([math.hypot(2, 2), 0, math.hypot(2, 1)])
    mixing = FITTED._replace(whitening=np.array([[1, 1], [0, 1]], np.float32))
    assert measures(given, mixing)[:, 0].numpy() == pytest.approx([math.hypot(1, 1 + 2), 0, math.hypot(1, 1 + 1)])


def test_second_measure_is_one_minus_the_cosine_to_the_fifth_most_similar_reference():
    angles = np.radians([0, 10, 20, 30, 40, 60, 180])
    references = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    calibration = FITTED._replace(references=np.random.default_rng(0).permutation(references))
    given = features([1, 1, 5, 0], [1, 1, 0.01, 0], [1, 1, -1, 0], [1, 1, 0, 3])
    expected = 1 - np.cos(np.radians([40, 40, 160, 80]))  # the angles to the fifth nearest
    assert measures(given, calibration)[:, 1].numpy() == pytest.approx(expected, abs=1e-6)


def test_second_measure_with_few_references_is_about_the_least_similar():
    assert measures(features([1, 1, 0, 2], [1, 1, 3, 0]), FITTED)[:, 1].numpy() == pytest.approx([1, 1 - 0.6])


def test_second_measure_of_features_that_are_all_zero_is_one():
    assert measures(features([1, 1, 0, 0]), FITTED)[:, 1].numpy().tolist() == [1]


def test_distance_is_the_larger_measure_on_its_scale_and_not_negative():
    scaled = FITTED._replace(centers=np.array([2, 0.5], np.float32), spreads=np.array([0.5, 0.1], np.float32))
    # Measures: 3 and 0; 0 and 1; 0 and 0.
    given = features([6.25, 1, 1, 0], [1, 1, 0, 1], [1, 1, 1, 0])
    scaled = scaled._replace(references=np.array([[1, 0]], np.float32))
    assert distances(given, scaled).numpy() == pytest.approx([(3 - 2) / 0.5, (1 - 0.5) / 0.1, 0])
