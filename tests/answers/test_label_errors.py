"""Probable label errors, from scores by hand."""

import numpy as np
import pytest

from answers.evaluation import Evaluation
from answers.label_errors import label_errors
from answers.predictions import Predictions


def found(*pictures: tuple[int, tuple[float, ...]]) -> list[int]:
    """Returns the probable label errors among pictures (label, scores)."""
    scores = np.array([scores for _, scores in pictures])
    predictions = Predictions(scores.argmax(axis=1), np.log(scores), scores, np.zeros(len(pictures), bool))
    names = [f"class {number}" for number in range(scores.shape[1])]
    labels = np.array([label for label, _ in pictures])
    paths = [f"{number}.png" for number in range(len(pictures))]
    return label_errors(Evaluation(class_names=names, paths=paths, labels=labels, predictions=predictions)).tolist()


def test_label_errors_are_pictures_that_reach_the_mean_score_of_another_class():
    # The thresholds are (0.875 + 0.25 + 0.375) / 3 = 0.5 of class 0 and (0.75 + 0.5) / 2 = 0.625 of class 1.
    pictures = [(0, (0.875, 0.125)), (0, (0.25, 0.75)), (0, (0.375, 0.5)), (1, (0.125, 0.75)), (1, (0.25, 0.5))]
    assert found(*pictures) == [1]  # picture 2 is predicted as class 1 as well, but not confidently


@pytest.mark.parametrize(("score", "expected"), [(0.625, [1]), (0.62, [])])
def test_label_errors_reach_the_threshold_if_they_are_equal_to_it(score, expected):
    assert found((0, (0.875, 0.125)), (0, (0.25, score)), (1, (0.125, 0.75)), (1, (0.25, 0.5))) == expected


def test_label_errors_are_ranked_by_the_margin():
    correct = [(0, (0.9, 0.1)), (0, (0.9, 0.1)), (1, (0.1, 0.6)), (1, (0.1, 0.6))]
    wrong = [(0, (0.5, 0.9)), (0, (0.1, 0.7)), (0, (0.3, 0.7)), (0, (0.3, 0.7))]  # margins -0.4, -0.6, -0.4, -0.4
    assert found(*correct, *wrong) == [5, 4, 6, 7]


def test_label_errors_leave_out_what_is_predicted_as_its_label():
    # The thresholds are 0.8, and 0.3 of class 1, which the last picture reaches; its own class it does not.
    assert found((0, (0.95, 0.1)), (1, (0.1, 0.3)), (0, (0.65, 0.4))) == []


def test_label_errors_use_the_highest_of_several_reached_classes():
    # The thresholds are 0.7, 0.5 and 0.4. Picture 3 reaches those of its own class 0, where its score is lower, and 1.
    reached = [(0, (0.7, 0.1, 0.1)), (1, (0.1, 0.5, 0.1)), (2, (0.1, 0.1, 0.4)), (0, (0.7, 0.9, 0.1))]
    assert found(*reached) == [3]


def test_label_errors_never_name_a_class_without_pictures():
    assert found((0, (0.9, 0.1, 0.1)), (1, (0.1, 0.9, 0.2)), (0, (0.1, 0.2, 0.95))) == []


def test_label_errors_of_a_network_without_mistakes_are_none():
    assert found((0, (0.9, 0.1)), (1, (0.2, 0.6)), (1, (0.4, 0.5))) == []
