"""Which class is predicted, and what is unknown."""

import math

import numpy as np

from answers.predictions import Outputs, predictions_of, short_float

LOGITS = np.array([[1, 2], [2, 1], [3, 3]], np.float32)
SCORES = np.array([[0.2, 0.75], [0.75, 0.1], [0.5, 0.5]], np.float32)


def unknown(distances: list[float], *, max_distance: float) -> list[bool]:
    outputs = Outputs(LOGITS, SCORES, np.array(distances, np.float32))
    return predictions_of(outputs, max_distance=max_distance).unknown.tolist()


def test_predictions_of_is_the_class_with_the_highest_logit():
    found = predictions_of(Outputs(LOGITS, SCORES, np.zeros(3, np.float32)), max_distance=math.inf)
    assert found.predicted.tolist() == [1, 0, 0]  # the first of equal ones
    assert found.logits is LOGITS and found.scores is SCORES


def test_predictions_of_calls_unknown_what_is_beyond_the_limit_and_not_at_it():
    assert unknown([4, 5, 5.001], max_distance=5) == [False, False, True]


def test_predictions_of_calls_nothing_unknown_without_a_limit():
    assert unknown([0, 1e30, math.inf], max_distance=math.inf) == [False] * 3


def test_short_float_has_the_digits_that_tell_a_float32_from_others():
    assert [short_float(np.float32(value)) for value in (0.1, 1, 1e-7, 0.99999857)] == [0.1, 1.0, 1e-7, 0.99999857]
    assert np.float32(short_float(np.float32(1 / 3))) == np.float32(1 / 3)
    assert short_float(0.25) == 0.25
