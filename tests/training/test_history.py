"""The best epoch, and the epochs without progress and with a falling learning rate, of histories made by hand."""

import pytest

from tests.helpers.checkpoints import metrics
from training.history import best_epoch, epochs_without_progress, falling_epochs


def test_best_epoch_has_the_highest_accuracy_then_the_smallest_loss():
    assert best_epoch([metrics(0.7, 0.1), metrics(0.9, 0.5), metrics(0.8, 0.2)]) == 1
    assert best_epoch([metrics(0.9, 0.5), metrics(0.9, 0.4), metrics(0.9, 0.6)]) == 1
    assert best_epoch([metrics(0.7, 0.5), metrics(0.9, 0.5), metrics(0.9, 0.5)]) == 1


# Both are the mean of 84 of 100 and 31 of 37, added up in 32 bits in different orders.
TIES = 0.8389188647, 0.8389189839


@pytest.mark.parametrize("accuracies", [TIES, TIES[::-1]])
def test_best_epoch_of_equal_accuracies_that_were_rounded_differently(accuracies):
    one, other = accuracies
    assert best_epoch([metrics(one, 0.5), metrics(other, 0.4), metrics(0.8, 0.1)]) == 1
    assert best_epoch([metrics(one, 0.4), metrics(other, 0.5), metrics(0.8, 0.1)]) == 0
    assert best_epoch([metrics(one, 0.5), metrics(other, 0.5)]) == 0


def test_best_epoch_is_the_one_with_one_more_right_answer_among_many():
    few, more = metrics(0.5, 0.1), metrics(0.5 + 1 / 200_000, 0.9)
    assert best_epoch([few, more]) == 1
    assert best_epoch([more, few]) == 0


def falling(*rates: float, accuracy: float = 0.5) -> list[dict[str, float]]:
    """Returns epochs with these learning rates."""
    return [metrics(accuracy) | {"learning_rate": rate} for rate in rates]


def test_best_epoch_is_the_newest_while_the_learning_rate_falls():
    good = [metrics(0.9) | {"learning_rate": 1.0}]
    assert best_epoch([*good, *falling(1.0)]) == 0
    assert best_epoch([*good, *falling(1.0, 0.6)]) == 2
    assert best_epoch([*good, *falling(1.0, 0.6, 0.3)]) == 3
    assert best_epoch([*good, *falling(1.0, 0.6, 0.3, 1.0)]) == 3  # it goes on, and is no better
    assert best_epoch([*good, *falling(1.0, 0.6, 0.3, 1.0), metrics(0.6) | {"learning_rate": 1.0}]) == 5


@pytest.mark.parametrize(
    ("rates", "count"),
    [([], 0), ([1], 0), ([1, 1], 0), ([1, 0.5], 1), ([1, 1, 0.5, 0.2], 2), ([1, 0.5, 0.5], 0), ([1, 0.5, 1, 0.4], 1)],
)
def test_falling_epochs_counts_back_from_the_last_epoch(rates, count):
    assert falling_epochs(falling(*rates)) == count


@pytest.mark.parametrize(
    ("accuracies", "count"),
    [([0.5], 0), ([0.5, 0.6], 0), ([0.6, 0.5], 1), ([0.6, 0.6], 1), ([0.5, *TIES, 0.5], 2), ([0.0, 0.0, 0.0], 2)],
)
def test_epochs_without_progress_counts_from_the_first_highest_accuracy(accuracies, count):
    assert epochs_without_progress([metrics(accuracy) for accuracy in accuracies]) == count
