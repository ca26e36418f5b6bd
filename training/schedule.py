"""The learning rate and the regularization of each epoch, and when a run is finished. Needs no TensorFlow.

All follow from the epochs before. The learning rate is constant until `patience` epochs bring no lower validation
cost. Then it falls linearly, nearly to 0, and the network of the last epoch is kept. So nobody has to know beforehand
how long a run will be, and no epoch is chosen because it was lucky. Such a schedule is as good as one of a fixed length
(Hägele et al. 2024, https://arxiv.org/abs/2405.18392).
"""

import math

from config import TrainConfig
from training.history import History, epochs_without_progress, falling_epochs

# The training accuracy is measured with transforms, mixup and dropout, so it is lower by itself: by up to 0.06 for a
# thousand photos, which the network memorizes by the end, and by 0.16 for 16,000 pictures.
_LAG = 0.1


def decay_epochs(constant: int, config: TrainConfig) -> int:
    """Returns in how many epochs the learning rate falls after a number of epochs in which it was constant."""
    return min(math.ceil(constant * config.learning_rate_decay), max(0, config.epochs - constant))


def learning_rate(history: History, config: TrainConfig) -> float:
    """Returns the learning rate of the epoch that follows these epochs of a run."""
    done, count = falling(history, config)
    return config.learning_rate * max(0.0, 1 - (done + 1) / (count + 1)) if count else config.learning_rate


def regularization(epoch: int, history: History, config: TrainConfig) -> float:
    """Returns the strength of dropout, of the random transforms and of mixup in an epoch of a run, 0..1.

    It is 1, unless the training accuracy lags far behind the validation accuracy when the learning rate begins to fall:
    then there are so many pictures that the network has not learned enough about them. In this case it falls to nearly
    0, one epoch later than the learning rate.

    Args:
        epoch: counted from 0.
        history: at least all epochs before the previous one, on which alone it depends: when the batches of an epoch
            are made, which happens ahead, the one before may still go on.
        config: of the run.
    """
    known = history[: max(0, epoch - 1)]
    done, count = falling(known, config)
    if not count or not config.adapt_regularization:
        return 1.0
    last_constant = known[len(known) - done - 1]
    lags = last_constant["accuracy"] < last_constant["val_accuracy"] - _LAG
    return max(0.0, 1 - (done + 1) / (count + 1)) if lags else 1.0


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

    Only the epochs since the lowest cost count: what came before does not matter, whatever the limits were then.
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
