"""Reliability and precision-recall curves, from scores by hand."""

import numpy as np
import pytest

from answers.curves import expected_calibration_error, precision_recall_curve, reliability_bins

# ---- reliability ----


def test_reliability_bins_are_mean_score_accuracy_and_count():
    scores = np.array([0.75, 0.25, 0.71875, 0.78125, 0.2, 1, 0.90625])
    correct = np.array([1, 0, 1, 0, 1, 1, 1], bool)
    assert reliability_bins(scores, correct) == [(0.225, 0.5, 2), (0.75, pytest.approx(2 / 3), 3), (0.953125, 1, 2)]


def test_reliability_bins_hold_their_lower_edge_and_the_last_one_holds_1():
    bins = reliability_bins(np.array([0, 0.5, 0.4375, 0.9375, 1]), np.ones(5, bool))
    assert bins == [(0, 1, 1), (0.4375, 1, 1), (0.5, 1, 1), (0.96875, 1, 2)]


@pytest.mark.parametrize(
    ("scores", "correct", "error"),
    [
        ([1, 1, 1], [1, 1, 1], 0),
        ([1, 1, 1], [0, 0, 0], 1),
        ([0, 0], [0, 0], 0),
        ([0.75] * 4, [1, 1, 1, 0], 0),  # as often correct as the score says
        ([0.75] * 4, [1, 0, 0, 0], 0.5),  # the score is too high by a half
        ([0.25] * 4, [1, 1, 1, 0], 0.5),  # or too low
        ([0.8125, 0.875], [0, 1], 0.34375),  # in one bin: 0.84375 against 1/2
        ([0.8125, 0.9375], [0, 1], (0.8125 + 0.0625) / 2),  # in two bins: each compared with its own prediction
        ([0.5, 0.5625], [0, 1], 0.03125),  # a bin holds its lower edge …
        ([0.5, 0.4375], [0, 1], (0.5 + 0.5625) / 2),  # … and not its upper one
        ([0.9375, 1], [1, 0], 0.46875),  # but the last one holds 1
        ([0, 0.0625], [1, 0], 0.46875),
        ([0.25, 0.75, 0.75, 0.75], [1, 1, 1, 1], (0.75 + 3 * 0.25) / 4),  # bins are weighted by their predictions
    ],
)
def test_expected_calibration_error_is_the_mean_gap_of_the_bins(scores, correct, error):
    found = expected_calibration_error(np.array(scores, float), np.array(correct, bool))
    assert found == pytest.approx(error)


# ---- precision and recall ----


def test_precision_recall_curve_has_a_point_for_each_score():
    # As in the documentation of scikit-learn's function: y_true [0, 0, 1, 1], y_scores [0.1, 0.4, 0.35, 0.8].
    curve = precision_recall_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1], bool))
    assert curve.precision.tolist() == pytest.approx([2 / 4, 2 / 3, 1 / 2, 1, 1])
    assert curve.recall.tolist() == [1, 1, 0.5, 0.5, 0]
    assert curve.thresholds.tolist() == [0.1, 0.35, 0.4, 0.8]
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0 * 1 / 2 + 0.5 * 2 / 3)  # 0.83, as there


def test_precision_recall_curve_takes_equal_scores_together():
    curve = precision_recall_curve(np.array([0.5, 0.5, 0.5, 0.25]), np.array([1, 0, 1, 1], bool))
    assert curve.precision.tolist() == pytest.approx([3 / 4, 2 / 3, 1])
    assert curve.recall.tolist() == pytest.approx([1, 2 / 3, 0])
    assert curve.average_precision == pytest.approx(2 / 3 * 2 / 3 + 1 / 3 * 3 / 4)


@pytest.mark.parametrize(
    ("is_class", "average"),
    [([0, 0, 1, 1], 1), ([1, 1, 0, 0], (1 / 3 + 2 / 4) / 2), ([1, 1, 1, 1], 1), ([1, 0, 0, 0], 1 / 4)],
)
def test_average_precision_of_perfect_and_reversed_scores(is_class, average):
    curve = precision_recall_curve(np.array([0.2, 0.4, 0.6, 0.8]), np.array(is_class, bool))
    assert curve.average_precision == pytest.approx(average)


def test_precision_recall_curve_of_a_class_without_pictures_is_none():
    assert precision_recall_curve(np.array([0.5, 0.25]), np.zeros(2, bool)) is None
