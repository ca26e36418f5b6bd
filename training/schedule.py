"""The learning rate and the regularization of each epoch, and when a run is finished. Needs no TensorFlow.

All follow from the epochs before. The learning rate is constant until `patience` epochs bring no better validation
accuracy. Then it falls linearly, nearly to 0, and the network of the last epoch is kept. So nobody has to know
beforehand how long a run will be, and no epoch is chosen because it was lucky. Such a schedule is as good as one of a
fixed length (Hägele et al. 2024, https://arxiv.org/abs/2405.18392).
"""

import math

from config import TrainConfig
from training.history import History, epochs_without_progress, falling_epochs

_LEAD = 0.05  # of the training accuracy over the validation accuracy, up to which the regularization is reduced
_STEP = 0.05  # of its strength after each epoch


def decay_epochs(constant: int, config: TrainConfig) -> int:
    """Returns in how many epochs the learning rate falls after a number of epochs in which it was constant."""
    return min(math.ceil(constant * config.learning_rate_decay), max(0, config.epochs - constant))


def learning_rate(history: History, config: TrainConfig) -> float:
    """Returns the learning rate of the epoch that follows these epochs of a run."""
    done, count = falling(history, config)
    return config.learning_rate * max(0.0, 1 - (done + 1) / (count + 1)) if count else config.learning_rate


def regularization(epoch: int, history: History, config: TrainConfig) -> float:
    """Returns the strength of dropout, of the random transforms and of mixup in an epoch of a run, 0..1.

    It starts with 1, and is reduced while the training accuracy lags behind the validation accuracy: then the network
    still has to learn more about the pictures themselves, of which there may be many. It rises again once the network
    knows its training pictures better. The idea is that of adaptive discriminator augmentation (Karras et al. 2020,
    https://arxiv.org/abs/2006.06676).

    Args:
        epoch: counted from 0.
        history: at least all epochs before the previous one, on which alone it depends: when the batches of an epoch
            are made, which happens ahead, the one before may still go on.
        config: of the run.
    """
    strength = 1.0
    for metrics in history[: max(0, epoch - 1)] if config.adapt_regularization else ():
        lags = metrics["accuracy"] < metrics["val_accuracy"] + _LEAD
        strength = min(1.0, max(0.0, strength + (-_STEP if lags else _STEP)))
    return strength


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
