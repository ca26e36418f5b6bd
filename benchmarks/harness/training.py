"""Training with the settings of this toolkit."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import trainer
from answers.trained_network import load_trained_network
from config import TrainConfig
from training.checkpoints import latest_checkpoint
from training.history import history_of


class TrainingResult(NamedTuple):
    """What came out of one training run."""

    accuracies: list[float]  # on the validation pictures, after each epoch
    seconds: float  # without importing TensorFlow
    weights: int


def config_in(work: Path, raw_data: Path | str, **changes: Any) -> TrainConfig:
    """Returns the default settings, but everything is written to the folder `work`."""
    return TrainConfig(
        raw_data=str(raw_data),
        augmented=f"{work}/none",
        data_path=f"{work}/data",
        model_save_name=f"{work}/checkpoints",
        **changes,
    )


def train_ours(config: TrainConfig) -> TrainingResult:
    folder = Path(config.model_save_name)
    start = time.perf_counter()
    trainer.main(config)
    seconds = time.perf_counter() - start
    checkpoint = latest_checkpoint(folder)
    assert checkpoint
    accuracies = [metrics["val_accuracy"] for metrics in history_of(checkpoint)]
    return TrainingResult(accuracies, seconds, load_trained_network(folder).model.count_params())
