"""Metrics of our own: the steps before a loss that is not finite, and the recall of the classes."""

import numpy as np
import pytest

from network.backend import tf
from training.metrics import ClassRecall, FiniteStepCount


@pytest.mark.parametrize("bad", [[0.5, np.nan], [np.nan, 0.5], [np.inf, 0.5, 0.5]])
def test_finite_step_count_needs_every_loss_of_a_step(bad):
    metric = FiniteStepCount(lambda labels, logits: logits)
    for losses in ([0.5, 0.5], bad, [0.5, 0.5]):
        metric.update_state(tf.zeros(len(losses), tf.int32), tf.constant(losses, tf.float32))
    assert metric.result() == 1


@pytest.mark.parametrize(
    ("losses", "count"),
    [([], 0), ([1, 2, 3], 3), ([np.nan], 0), ([1, 2, np.inf], 2), ([1, -np.inf, 3, 4], 1), ([1, np.nan, np.nan], 1)],
)
def test_finite_step_count_ends_at_the_first_loss_that_is_not_finite(losses, count):
    metric = FiniteStepCount(lambda labels, logits: logits)
    for loss in losses:
        metric.update_state(tf.zeros(2, tf.int32), tf.constant([0.5, loss]))
    assert metric.result() == count


def recall_after(*batches: tuple[list[int], list[int]], classes: int) -> dict[str, float]:
    """Returns the result after batches of labels and predicted classes."""
    metric = ClassRecall(classes)
    for labels, predicted in batches:
        metric.update_state(tf.one_hot(labels, classes), tf.one_hot(predicted, classes))
    return {name: float(value) for name, value in metric.result().items()}


def test_class_recall_is_that_of_all_batches():
    # Class 0: 2 of 3, class 1: 1 of 1, class 2: 0 of 2.
    found = recall_after(([0, 0, 1], [0, 1, 1]), ([0, 2, 2], [0, 0, 1]), classes=3)
    assert found == pytest.approx({"recall_mean": (2 / 3 + 1 + 0) / 3, "recall_worst": 0, "recall_best": 1})


def test_class_recall_ignores_classes_without_pictures():
    assert recall_after(([1, 1], [1, 0]), classes=3) == {"recall_mean": 0.5, "recall_worst": 0.5, "recall_best": 0.5}


def test_class_recall_starts_again_after_a_reset():
    metric = ClassRecall(2)
    metric.update_state(tf.one_hot([0], 2), tf.one_hot([1], 2))
    metric.reset_state()
    metric.update_state(tf.one_hot([0], 2), tf.one_hot([0], 2))
    assert metric.result()["recall_worst"] == 1
