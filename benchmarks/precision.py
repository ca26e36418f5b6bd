"""Trains the defaults in float32 and in bfloat16 on the identical splits of a folder of pictures, and compares.

    python benchmarks/precision.py --raw_data rawdata --seeds 3 --epochs 60

Accuracies are measured on the validation sources, every class counting alike: at the best epoch, which was chosen on
the same pictures, and as the mean of the last five epochs. All runs have as many epochs, each in a process of its own.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from common import alone, settings_in, spread

# isort: split

import numpy as np

import config as settings
from accuracy import Run, train_ours
from config import Checked, Count

_PRECISIONS = "float32", "bfloat16"


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What to compare on."""

    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder a class.
    seeds: Count = 3  # How many splits to train on.
    epochs: Count = 60  # Passes over the training pictures.


def row(precision: str, runs: list[Run]) -> str:
    cells = [
        precision,
        f"{spread([run.seconds for run in runs], 0)} s",
        spread([max(run.accuracies) for run in runs], 3),
        spread([float(np.mean(run.accuracies[-5:])) for run in runs], 3),
    ]
    return f"| {' | '.join(cells)} |"


def main(config: BenchmarkConfig) -> int:
    runs: dict[str, list[Run]] = {precision: [] for precision in _PRECISIONS}
    for seed in range(1, config.seeds + 1):
        with tempfile.TemporaryDirectory() as work:
            base = settings_in(Path(work), config.raw_data, seed=seed, epochs=config.epochs, patience=config.epochs)
            for precision, own in runs.items():
                saved = f"{base.model_save_name}-{precision}"
                own.append(alone(train_ours, replace(base, precision=precision, model_save_name=saved)))
    print(f"\nvalidation accuracy on {config.raw_data}, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print("| precision | time | best epoch | last five epochs |\n|---|---|---|---|")
    for precision, own in runs.items():
        print(row(precision, own))
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
