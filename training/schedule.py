"""The learning rate of each epoch, and when a run is finished: functions of the epochs before. Needs no TensorFlow.

The learning rate is constant until `patience` epochs bring no better validation accuracy. Then it falls linearly,
nearly to 0, and the network of the last epoch is kept. So nobody has to know beforehand how long a run will be, and no
epoch is chosen because it was lucky. Such a schedule is as good as one of a fixed length (Hägele et al. 2024,
https://arxiv.org/abs/2405.18392). Together with the learning rate fall the random transforms, mixup and dropout, so the
network ends with pictures as they are: their strength need not fit the number of pictures as closely.
"""

import math

from config import TrainConfig
from training.history import History, epochs_without_progress, falling_epochs


def decay_epochs(constant: int, config: TrainConfig) -> int:
    """Returns in how many epochs the learning rate falls after a number of epochs in which it was constant."""
    return min(math.ceil(constant * config.learning_rate_decay), max(0, config.epochs - constant))


def decay_factors(history: History, config: TrainConfig) -> list[float]:
    """Returns by what the learning rate is multiplied in each epoch that follows, down to nearly 0 in the last one.

    It is empty as long as the learning rate is constant.
    """
    done, count = falling(history, config)
    return [1 - epoch / (count + 1) for epoch in range(done + 1, count + 1)]


def falling(history: History, config: TrainConfig) -> tuple[int, int]:
    """Returns in how many epochs the learning rate has fallen, and in how many it will in all; 0 and 0 before that."""
    done = falling_epochs(history)
    return (done, decay_epochs(len(history) - done, config)) if _reasons(history, config) else (0, 0)


def epochs_at_end(history: History, config: TrainConfig) -> tuple[int, int]:
    """Returns how many epochs there will be if none of those to come is better, and the most there may be."""
    constant = len(history) - falling_epochs(history)
    if _reasons(history, config):
        return (constant + decay_epochs(constant, config),) * 2
    waited = epochs_without_progress(history) if history else -1
    constant = min(len(history) - waited + config.patience, _most_constant_epochs(config))
    return constant + decay_epochs(constant, config), config.epochs


def reached_limits(history: History, config: TrainConfig) -> dict[str, int]:
    """Returns the limits that ended a run after these epochs, each with a value that lets it continue.

    It is empty if the run is not finished.
    """
    done = falling_epochs(history)
    return {} if done < decay_epochs(len(history) - done, config) else _reasons(history, config)


def _reasons(history: History, config: TrainConfig) -> dict[str, int]:
    """Returns the limits at which the learning rate falls or fell, each with a value that it would not have reached.

    Only the epochs since the highest accuracy count: what came before does not matter, whatever the limits were at that
    time.
    """
    constant = len(history) - falling_epochs(history)
    reached = {}
    if constant and (waited := epochs_without_progress(history[:constant])) >= config.patience:
        reached["patience"] = waited + config.patience
    if constant >= _most_constant_epochs(config):
        reached["epochs"] = math.ceil(constant * (1 + config.learning_rate_decay)) + config.epochs
    return reached


def _most_constant_epochs(config: TrainConfig) -> int:
    """Returns after how many epochs the learning rate falls at the latest, so that the run ends with `epochs`."""
    return max(1, round(config.epochs / (1 + config.learning_rate_decay)))
