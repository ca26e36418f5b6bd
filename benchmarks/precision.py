"""Compares training in float32 and in bfloat16, on identical splits of a folder of pictures.

    python -m benchmarks.precision --raw_data rawdata --seeds 3 --epochs 60
    python -m benchmarks.precision --seeds 1 --epochs 2     a quick try

Accuracies are balanced ones on the validation pictures: of the best epoch, which was chosen with the same pictures, and
the mean of the last five epochs. All runs have the same number of epochs, each in a new process.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness.processes import in_new_process
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import TrainingResult, config_in, train_ours
from config import Count
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Validated

_PRECISIONS = "float32", "bfloat16"


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig(Validated):
    """What to compare on."""

    # What to compare on
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    seeds: Count = 3  # Number of splits to train on.
    epochs: Count = 60  # Passes over the training pictures.


def row(precision: str, results: list[TrainingResult]) -> str:
    return format_row(
        precision,
        f"{mean_and_deviation([result.seconds for result in results], 0)} s",
        mean_and_deviation([max(result.accuracies) for result in results], 3),
        mean_and_deviation([float(np.mean(result.accuracies[-5:])) for result in results], 3),
    )


def main(config: PrecisionConfig) -> int:
    results: dict[str, list[TrainingResult]] = {precision: [] for precision in _PRECISIONS}
    for seed in range(1, config.seeds + 1):
        with tempfile.TemporaryDirectory() as work:
            base = config_in(Path(work), config.raw_data, seed=seed, epochs=config.epochs, patience=config.epochs)
            for precision, own in results.items():
                checkpoints = f"{base.model_save_name}-{precision}"
                own.append(in_new_process(train_ours, replace(base, precision=precision, model_save_name=checkpoints)))
    print(f"\nvalidation accuracy on {config.raw_data}, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print(format_header("precision", "time", "best epoch", "last five epochs"))
    for precision, own in results.items():
        print(row(precision, own))
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PrecisionConfig, __doc__)
