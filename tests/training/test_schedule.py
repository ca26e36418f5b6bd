"""The learning rate of each epoch, and the end of a run, for histories made by hand."""

from dataclasses import replace

import pytest

from config import TrainConfig
from tests.helpers.checkpoints import metrics
from training.schedule import epochs_at_end, falling, learning_rate, reached_limits, regularization


def history(*accuracies: float) -> list[dict[str, float]]:
    return [metrics(accuracy) for accuracy in accuracies]


@pytest.mark.parametrize(
    ("accuracies", "patience", "reached"),
    [
        ([], 1, {}),
        ([0.5], 1, {}),
        ([0.5, 0.5], 1, {"patience": 2}),
        ([0.5, 0.6], 1, {}),
        ([0.5, 0.6, 0.5, 0.6], 2, {"patience": 4}),
        ([0.5, 0.6, 0.5, 0.6], 3, {}),
        ([0.0, 0.0], 1, {"patience": 2}),
        ([0.5, 0.8389188647, 0.8389189839, 0.5], 2, {"patience": 4}),
        ([0.5, 0.8389189839, 0.8389188647, 0.5], 2, {"patience": 4}),
        ([0.5, 0.8389188647, 0.8389189839, 0.5], 3, {}),
        ([0.6, 0.5, 0.5, 0.5, 0.5], 2, {"patience": 6}),  # patience was larger before
        ([0.6, 0.5, 0.5, 0.5, 0.5, 0.7, 0.5], 2, {}),  # and a better epoch has come since
        ([0.6, 0.5, 0.5, 0.5, 0.5, 0.7, 0.5, 0.5], 2, {"patience": 4}),
    ],
)
def test_reached_limits_has_patience_after_epochs_without_a_better_one(accuracies, patience, reached):
    assert reached_limits(history(*accuracies), TrainConfig(patience=patience, learning_rate_decay=0)) == reached


@pytest.mark.parametrize(("epochs", "reached"), [(4, {}), (3, {"epochs": 6}), (2, {"epochs": 5}), (1, {"epochs": 4})])
def test_reached_limits_has_epochs_once_there_are_as_many(epochs, reached):
    assert reached_limits(history(0.5, 0.6, 0.7), TrainConfig(epochs=epochs, learning_rate_decay=0)) == reached


def test_reached_limits_lets_a_run_continue_with_its_values():
    """Every history of up to 6 epochs, at every pair of limits: the values are enough, and all of them are needed."""
    for length in range(7):
        for number in range(2**length):
            found = history(*(0.5 + epoch * (number >> epoch & 1) / 100 for epoch in range(length)))
            for patience in range(1, 7):
                for epochs in range(1, 8):
                    limits = {"patience": patience, "epochs": epochs, "learning_rate_decay": 0}
                    reached = reached_limits(found, TrainConfig(**limits))
                    assert not reached_limits(found, TrainConfig(**{**limits, **reached}))
                    for name in reached:
                        others = {other: value for other, value in reached.items() if other != name}
                        assert reached_limits(found, TrainConfig(**{**limits, **others}))


@pytest.mark.parametrize(
    ("accuracies", "limits", "epochs"),
    [
        ([], {"patience": 3, "epochs": 9}, (4, 9)),  # the first epoch is always the best so far
        ([], {"patience": 3, "epochs": 2}, (2, 2)),
        ([0.5, 0.7, 0.6], {"patience": 3, "epochs": 9}, (5, 9)),
        ([0.5, 0.7, 0.7], {"patience": 3, "epochs": 9}, (5, 9)),  # as accurate is not better
        ([0.5, 0.7, 0.6], {"patience": 7, "epochs": 9}, (9, 9)),
        ([0.5, 0.7, 0.6], {"patience": 8, "epochs": 9}, (9, 9)),
    ],
)
def test_epochs_at_end_are_the_least_and_the_most(accuracies, limits, epochs):
    config = TrainConfig(learning_rate_decay=0, **limits)
    assert epochs_at_end(history(*accuracies), config) == epochs


def run(config: TrainConfig, *accuracies: float) -> list[dict[str, float]]:
    """Returns the epochs of a whole run with the learning rates of the schedule; the last accuracy is repeated."""
    found: list[dict[str, float]] = []
    while not reached_limits(found, config):
        accuracy = accuracies[min(len(found), len(accuracies) - 1)]
        found.append(metrics(accuracy) | {"learning_rate": learning_rate(found, config)})
    return found


def rates(history: list[dict[str, float]]) -> list[float]:
    return [epoch["learning_rate"] for epoch in history]


def test_learning_rate_falls_in_half_as_many_epochs_after_patience():
    config = TrainConfig(learning_rate_decay=0.5, patience=3, learning_rate=1.0)
    # The second epoch is the best, so the rate is constant in five; half of that, rounded up, are three.
    assert rates(run(config, 0.5, 0.6, 0.5)) == pytest.approx([1, 1, 1, 1, 1, 3 / 4, 2 / 4, 1 / 4])


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, [1]),
        (2, [1, 1 / 2]),
        (3, [1, 1, 1 / 2]),
        (6, [1, 1, 1, 1, 2 / 3, 1 / 3]),
        (9, [1, 1, 1, 1, 1, 1, 3 / 4, 2 / 4, 1 / 4]),
    ],
)
def test_learning_rate_falls_in_the_last_third_of_the_epochs(epochs, expected):
    config = TrainConfig(learning_rate_decay=0.5, patience=100, epochs=epochs, learning_rate=1.0)
    assert rates(run(config, 0.5)) == pytest.approx(expected)


def test_learning_rate_is_constant_without_decay():
    config = TrainConfig(patience=2, learning_rate=0.1, learning_rate_decay=0)
    assert rates(run(config, 0.5, 0.6, 0.5)) == [0.1] * 4


def test_better_epochs_while_the_learning_rate_falls_do_not_make_a_run_longer():
    config = TrainConfig(learning_rate_decay=0.5, patience=3)
    assert len(run(config, 0.5, 0.6, 0.5, 0.5, 0.5, 0.7, 0.8)) == len(run(config, 0.5, 0.6, 0.5)) == 8


def test_falling_and_epochs_at_end_follow_the_run():
    config = TrainConfig(learning_rate_decay=0.5, patience=3, epochs=30)
    done = run(config, 0.5, 0.6, 0.5)
    assert [falling(done[:count], config) for count in range(9)] == [(0, 0)] * 5 + [(number, 3) for number in range(4)]
    # With the first epoch as the best one, four are constant and two follow; with the second one, five and three.
    assert [epochs_at_end(done[:count], config) for count in range(9)] == [(6, 30)] * 2 + [(8, 30)] * 3 + [(8, 8)] * 4


@pytest.mark.parametrize("limits", [{"patience": 3, "epochs": 30}, {"patience": 90, "epochs": 6}])
def test_finished_run_continues_at_the_full_rate_with_the_values_of_its_limits(limits):
    config = TrainConfig(learning_rate_decay=0.5, **limits)
    done = run(config, 0.5, 0.6, 0.5)
    ((name, value),) = reached_limits(done, config).items()
    longer = replace(config, **{name: value})
    assert not reached_limits(done, longer)
    assert learning_rate(done, longer) == longer.learning_rate
    done.append(metrics(0.5) | {"learning_rate": longer.learning_rate})
    assert not reached_limits(done, longer)


def strengths(history: list[dict[str, float]], config: TrainConfig, *, accuracy: float) -> list[float]:
    """Returns the strength of each epoch if the training accuracy is always the same."""
    return [
        regularization(epoch, [metrics | {"accuracy": accuracy} for metrics in history], config)
        for epoch in range(len(history))
    ]


def test_regularization_falls_after_the_learning_rate_if_training_accuracy_lags():
    """By more than 0.1."""
    config = TrainConfig(learning_rate_decay=0.5, patience=3)
    history = run(config, 0.5, 0.6, 0.5)  # five epochs, then three in which the learning rate falls
    assert strengths(history, config, accuracy=0.39) == pytest.approx([1, 1, 1, 1, 1, 1, 3 / 4, 2 / 4])
    assert strengths(history, config, accuracy=0.41) == [1] * 8


def test_regularization_does_not_depend_on_the_epoch_before():
    config = TrainConfig(learning_rate_decay=0.5, patience=3)
    history = [metrics | {"accuracy": 0.1} for metrics in run(config, 0.5, 0.6, 0.5)]
    for epoch in range(1, 9):
        assert regularization(epoch, history[: epoch - 1], config) == regularization(epoch, history, config)


def test_regularization_stays_the_same_unless_it_is_adapted():
    config = TrainConfig(learning_rate_decay=0.5, patience=3, adapt_regularization=False)
    assert strengths(run(config, 0.5, 0.6, 0.5), config, accuracy=0.1) == [1] * 8
