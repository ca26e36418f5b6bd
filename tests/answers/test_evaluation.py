"""The numbers of a report, from hand-made predictions with known results."""

import json
from pathlib import Path

import numpy as np
import pytest

from answers.evaluation import (
    Evaluation,
    accuracy_interval,
    class_metrics,
    confusion_matrix,
    difference_interval,
    evaluate,
    evaluation_of,
    largest_confusions,
)
from answers.output import Answer
from answers.predictions import Predictions
from tests.helpers.evaluations import FIVE, report_on


def test_accuracy_is_the_fraction_of_correct_predictions():
    report = report_on(FIVE)
    assert (report["pictures"], report["correct"], report["accuracy"]) == (5, 3, 0.6)


def test_balanced_accuracy_is_the_mean_recall_of_classes_with_pictures():
    assert report_on(FIVE)["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    names = ("ant", "bee", "wasp")
    answers = [(name, true, (*scores, 0)) for name, true, scores in FIVE]
    assert report_on(answers, names)["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    answers.append(("6.png", "wasp", (1, 0, 0)))
    assert report_on(answers, names)["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 3)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By hand: without any correct one the upper end is z² / (n + z²), where z = 1.959964.
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (1, 1, 0.2065, 1),
    ],
)
def test_accuracy_interval_is_that_of_wilson(correct, count, low, high):
    assert accuracy_interval(correct, count) == pytest.approx([low, high], abs=0.00005)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 49, 1000, 123457])
def test_accuracy_interval_ends_exactly_at_0_and_1(count):
    low, high = accuracy_interval(0, count)
    assert low == 0 and 0 < high < 1
    assert accuracy_interval(count, count) == [pytest.approx(1 - high, abs=1e-12), 1]


def test_difference_interval_is_that_of_agresti_and_min():
    before, after = (
        np.array([True] * 70 + [False] * 30),
        np.array([True] * 65 + [False] * 5 + [True] * 20 + [False] * 10),
    )
    # 20 are better and 5 are worse: (20 - 5) / 102, and 1.95996 * sqrt(20.5 + 5.5 - 15**2 / 102) / 102
    np.testing.assert_allclose(
        difference_interval(before, after), (0.147059 - 0.093733, 0.147059 + 0.093733), atol=1e-5
    )


def test_report_has_the_interval_of_its_own_predictions():
    assert report_on(FIVE)["accuracy_interval_95"] == accuracy_interval(3, 5)
    assert report_on(FIVE[:2])["accuracy_interval_95"] == pytest.approx([0.3424, 1], abs=0.00005)


def test_confusion_matrix_has_true_rows_and_predicted_columns():
    labels, predicted = np.array([0, 0, 0, 1, 2, 2], np.int32), np.array([0, 1, 1, 1, 0, 2])
    assert confusion_matrix(labels, predicted, classes=4).tolist() == [
        [1, 2, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 0],
    ]
    assert report_on(FIVE)["confusion_matrix"] == [[2, 1], [1, 1]]


def test_class_metrics_are_precision_recall_f1_and_support():
    metrics = class_metrics(np.array([[5, 1], [2, 3]]))
    assert metrics[0] == pytest.approx({"precision": 5 / 7, "recall": 5 / 6, "f1": 10 / 13, "support": 6})
    assert metrics[1] == pytest.approx({"precision": 3 / 4, "recall": 3 / 5, "f1": 6 / 9, "support": 5})


def test_class_metrics_are_none_where_nothing_can_be_divided():
    never_predicted, no_pictures, neither = class_metrics(np.array([[0, 4, 0], [0, 0, 0], [0, 0, 0]]))
    assert never_predicted == {"precision": None, "recall": 0, "f1": 0, "support": 4}
    assert no_pictures == {"precision": 0, "recall": None, "f1": 0, "support": 0}
    assert neither == {"precision": None, "recall": None, "f1": None, "support": 0}


def test_expected_calibration_error_of_a_report_uses_the_predicted_class():
    # 0.9 correct, 0.8 correct, 0.75 wrong, 0.9 correct, 0.95 wrong; the bins begin at 0.9, 0.8 and 0.7
    expected = (abs(0.9 + 0.9 + 0.95 - 2) + (1 - 0.8) + 0.75) / 5
    assert report_on(FIVE)["expected_calibration_error"] == pytest.approx(expected)


def test_unknown_pictures_are_counted_and_change_no_other_number():
    with_some = report_on(FIVE, unknown={"1.png", "3.png", "5.png"})
    assert with_some.pop("unknown") == 3
    without = report_on(FIVE)
    assert without.pop("unknown") == 0
    assert with_some == without


def test_worst_mistakes_are_sorted_by_score():
    assert report_on(FIVE)["worst_mistakes"] == [
        {"picture": "5.png", "true_class": "bee", "predicted": "ant", "score": 0.95},
        {"picture": "3.png", "true_class": "ant", "predicted": "bee", "score": 0.75},
    ]


@pytest.mark.parametrize(("mistakes", "shown"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_worst_mistakes_are_the_ten_with_the_highest_scores(mistakes, shown):
    wrong = [(f"{number}.png", "bee", (0.5 + number / 100, 0.1)) for number in range(mistakes)]
    report = report_on([*wrong, ("correct.png", "ant", (1, 0))])
    highest = [f"{number}.png" for number in reversed(range(mistakes))][:shown]
    assert [mistake["picture"] for mistake in report["worst_mistakes"]] == highest


def test_worst_mistakes_with_equal_scores_keep_their_order():
    # So many, and between others, that not every way of sorting would keep their order.
    names = [f"{7 * number % 40}.png" for number in range(40)]
    answers = [(name, "bee", ((0.7, 0.9)[number % 2], 0.1)) for number, name in enumerate(names)]
    assert [mistake["picture"] for mistake in report_on(answers)["worst_mistakes"]] == names[1:21:2]


def test_evaluate_without_pictures_is_an_error():
    nothing = Predictions(np.zeros(0, int), np.zeros((0, 2), np.float32), np.zeros((0, 2)), np.zeros(0, bool))
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(Evaluation(class_names=["ant", "bee"], paths=[], labels=np.zeros(0, int), predictions=nothing))


def test_report_is_plain_json():
    answers = [(name, true, (*scores, 0)) for name, true, scores in FIVE]  # there is no wasp: values that are None
    report = report_on(answers, ("ant", "bee", "wasp"), unknown={"1.png"})
    assert report["classes"]["wasp"]["recall"] is None
    assert json.loads(json.dumps(report, allow_nan=False)) == report


# ---- which pictures to show ----


def test_largest_confusions_are_mistakes_only_the_most_frequent_first():
    matrix = np.array([[9, 2, 0], [3, 9, 0], [2, 0, 9]])
    assert largest_confusions(matrix, 9) == [(1, 0), (0, 1), (2, 0)]
    assert largest_confusions(matrix, 2) == [(1, 0), (0, 1)]
    assert largest_confusions(np.diag([5, 5]), 9) == []


def test_example_is_the_picture_with_the_highest_score():
    scores = np.array([[0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
    predicted = scores.argmax(axis=1)
    given = Predictions(predicted, np.zeros((4, 2), np.float32), scores, np.zeros(4, bool))
    evaluation = Evaluation(
        class_names=["ant", "bee"], paths=["?"] * 4, labels=np.array([0, 0, 0, 1]), predictions=given
    )
    assert evaluation.example(true=0, predicted=1) == 2
    assert evaluation.example(true=1, predicted=1) == 3
    assert evaluation.example(true=1, predicted=0) is None


def test_best_recognized_has_the_highest_score_for_its_class_even_if_wrong():
    scores = np.array([[0.2, 0.8, 0], [0.4, 0.6, 0], [0.1, 0.9, 0]])
    given = Predictions(scores.argmax(axis=1), np.zeros((3, 3), np.float32), scores, np.zeros(3, bool))
    names = ["ant", "bee", "cow"]
    evaluation = Evaluation(class_names=names, paths=["?"] * 3, labels=np.array([0, 0, 1]), predictions=given)
    assert [evaluation.best_recognized(label) for label in (0, 1, 2)] == [1, 2, None]


# ---- answers ----


def test_evaluation_of_answers_leaves_out_unreadable_pictures():
    values = {"logits": np.array([1.0, 2.0]), "scores": np.array([0.3, 0.7])}
    answers = [
        Answer(path=Path("1"), predicted=1, **values),
        Answer(path=Path("2"), error="the file is empty"),
        Answer(path=Path("3"), predicted=1, unknown=True, **values),
    ]
    classes = {Path("1"): "ant", Path("2"): "ant", Path("3"): "bee"}
    found = evaluation_of(answers, classes, ["ant", "bee"])
    assert (found.paths, found.labels.tolist()) == (["1", "3"], [0, 1])
    assert found.predictions.unknown.tolist() == [False, True]
    assert evaluation_of(answers[1:2], classes, ["ant", "bee"]) is None
