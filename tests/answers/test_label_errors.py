"""Probable label errors, from scores by hand."""

import numpy as np
import pytest

from answers.evaluation import Evaluation
from answers.label_errors import class_thresholds, confident_classes, confident_joint, estimated_errors, label_errors
from tests.helpers import evaluations

Pictures = list[tuple[int, tuple[float, ...]]]  # label and scores of each


def evaluation_of(pictures: Pictures) -> Evaluation:
    names = "ant", "bee", "cow"
    answers = [(f"{number}.png", names[label], scores) for number, (label, scores) in enumerate(pictures)]
    return evaluations.evaluation_of(answers, names[: len(pictures[0][1])])


def found(pictures: Pictures) -> list[int]:
    return label_errors(evaluation_of(pictures)).tolist()


# The thresholds are (0.875 + 0.25 + 0.375) / 3 = 0.5 of class 0 and (0.75 + 0.5) / 2 = 0.625 of class 1.
FIVE = [(0, (0.875, 0.125)), (0, (0.25, 0.75)), (0, (0.375, 0.5)), (1, (0.125, 0.75)), (1, (0.25, 0.5))]


def test_class_thresholds_are_mean_scores_of_the_label():
    assert class_thresholds(evaluation_of(FIVE)).tolist() == [0.5, 0.625]


def test_confident_joint_counts_pictures_that_reach_a_threshold():
    evaluation = evaluation_of(FIVE)
    confident = confident_classes(evaluation)
    assert confident.tolist() == [0, 1, -1, 1, -1]
    assert confident_joint(evaluation, confident).tolist() == [[1, 1], [0, 1]]


def test_confident_joint_of_three_classes():
    # The thresholds are (0.8 + 0.6 + 0.1) / 3 = 0.5, (0.7 + 0.1) / 2 = 0.4 and 0.6.
    pictures = [
        (0, (0.8, 0.1, 0.1)),
        (0, (0.6, 0.7, 0.1)),  # reaches those of 0 and 1
        (0, (0.1, 0.3, 0.6)),
        (1, (0.2, 0.7, 0.1)),
        (1, (0.4, 0.1, 0.5)),  # reaches none
        (2, (0.1, 0.3, 0.6)),
    ]
    evaluation = evaluation_of(pictures)
    confident = confident_classes(evaluation)
    assert confident.tolist() == [0, 1, 2, 1, -1, 2]
    assert confident_joint(evaluation, confident).tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 1]]
    assert estimated_errors(evaluation, confident) == [2, 0, 0]  # 3 pictures · 2 of 3


def test_estimated_errors_are_a_fraction_of_all_pictures_of_a_label():
    evaluation = evaluation_of(FIVE)
    # Half of the two sure pictures of class 0 are off the diagonal, so 1.5 of 3, rounded to an even number.
    assert estimated_errors(evaluation, confident_classes(evaluation)) == [2, 0]


def test_estimated_errors_are_none_without_sure_pictures():
    evaluation = evaluation_of(FIVE)
    assert estimated_errors(evaluation, np.full(5, -1)) == [0, 0]


def test_label_errors_are_pictures_that_reach_the_mean_score_of_another_class():
    assert found(FIVE) == [1]  # picture 2 is predicted as class 1 as well, but not confidently


@pytest.mark.parametrize(("score", "expected"), [(0.625, [1]), (0.62, [])])
def test_label_errors_reach_the_threshold_if_they_are_equal_to_it(score, expected):
    assert found([(0, (0.875, 0.125)), (0, (0.25, score)), (1, (0.125, 0.75)), (1, (0.25, 0.5))]) == expected


def test_label_errors_are_ranked_by_the_score_of_the_label():
    correct = [(0, (0.9, 0.1)), (0, (0.9, 0.1)), (1, (0.1, 0.6)), (1, (0.1, 0.6))]
    wrong = [(0, (0.5, 0.9)), (0, (0.1, 0.7)), (0, (0.3, 0.9)), (0, (0.3, 0.7))]
    assert found([*correct, *wrong]) == [5, 6, 7, 4]


def test_label_errors_leave_out_what_is_predicted_as_its_label():
    # The thresholds are 0.8, and 0.3 of class 1, which the last picture reaches; its own class it does not.
    assert found([(0, (0.95, 0.1)), (1, (0.1, 0.3)), (0, (0.65, 0.4))]) == []


@pytest.mark.parametrize(("own", "expected"), [(0.3, [2]), (0.5, [])])
def test_label_errors_are_among_the_lowest_scores_of_their_label(own, expected):
    # Picture 2 is confidently of class 1, so of the sure pictures of class 0, one of three is off the diagonal. Of its
    # four, 1.33 are estimated to be mislabeled. That is picture 3 if its score is lower, although it is not confident.
    pictures = [(0, (0.9, 0.1)), (0, (0.9, 0.1)), (0, (own, 0.7)), (0, (0.4, 0.5)), (1, (0.1, 0.6))]
    assert found(pictures) == expected


def test_label_errors_never_name_a_class_without_pictures():
    assert found([(0, (0.9, 0.1, 0.1)), (1, (0.1, 0.9, 0.2)), (0, (0.1, 0.2, 0.95))]) == []


def test_label_errors_of_a_network_without_mistakes_are_none():
    assert found([(0, (0.9, 0.1)), (1, (0.2, 0.6)), (1, (0.4, 0.5))]) == []
