"""Measures what `trainer.py --folds` gives and costs, on pictures that were held out before anything else happened.

    python -m benchmarks.folds --raw_data rawdata --seeds 3
    python -m benchmarks.folds --seeds 1 --folds 2 --epochs 2     a quick try

For each seed a fifth of the photos of each class is held out. The others are divided into folds, and a network is
trained for each. Compared are the networks one by one (their mean) and all together, as predict.py answers with them.
What the trainer reports, about pictures that each network has not seen, should be the accuracy of the networks one by
one.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

import trainer
from answers.curves import expected_calibration_error
from answers.engine import Engine
from answers.loading import load_engine
from answers.predictions import Predictions
from benchmarks.harness.holdout import REST, TEST, hold_out, load_classes
from benchmarks.harness.processes import in_new_process
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import config_in
from config import BatchSize, Count, TrainConfig
from network.checkpoint_file import member_folder
from network.model_file import MODEL_FILE
from reports.report_files import JSON_REPORT
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Between, Validated


@dataclass(frozen=True, kw_only=True)
class FoldsConfig(Validated):
    """What to measure."""

    # What to measure
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    folds: Annotated[int, Between(2, 20)] = 5  # Networks to train.
    seeds: Count = 3  # Number of times that pictures are held out.
    epochs: Count = TrainConfig.epochs  # Maximum number of passes over the training pictures.
    batch_size: BatchSize = TrainConfig.batch_size  # Pictures per training step.


class Row(NamedTuple):
    """Of one network, or of all together, on the pictures held out."""

    accuracy: float
    calibration_error: float
    unknown: float  # fraction called unknown
    seconds: float  # to train it
    rate: float  # pictures per second that it predicts
    megabytes: float  # of its file


class Result(NamedTuple):
    """Of one seed."""

    reported: float  # accuracy in the report of the trainer
    one: Row  # the mean over the networks
    together: Row
    agreed: float  # accuracy on the pictures for which all networks agree
    disagreed: float  # on the others


def measure_network(folder: Path, images: np.ndarray, labels: np.ndarray, *, seconds: float) -> tuple[Row, Predictions]:
    engine: Engine = load_engine(folder)
    engine.predict(images[:32])  # to warm up
    start = time.perf_counter()
    found = engine.predict(images)
    rate = len(images) / (time.perf_counter() - start)
    correct = found.predicted == labels
    row = Row(
        accuracy=float(correct.mean()),
        calibration_error=expected_calibration_error(found.scores.max(axis=1), correct),
        unknown=float(found.unknown.mean()),
        seconds=seconds,
        rate=rate,
        megabytes=(folder / MODEL_FILE).stat().st_size / 1e6,
    )
    return row, found


def measure(config: FoldsConfig, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        hold_out(config.raw_data, work, seed)
        sizes = {name: getattr(config, name) for name in ("folds", "epochs", "batch_size")}
        train_config = config_in(work, work / REST, seed=seed, **sizes)
        start = time.perf_counter()
        trainer.main(train_config)
        seconds = time.perf_counter() - start
        test, checkpoints = load_classes(work / TEST), Path(train_config.model_save_name)
        members = [
            measure_network(
                member_folder(checkpoints, 1 + index), test.images, test.labels, seconds=seconds / config.folds
            )[0]
            for index in range(config.folds)
        ]
        together, found = measure_network(checkpoints, test.images, test.labels, seconds=seconds)
        correct, agree = found.predicted == test.labels, found.agreement == 1
        report = json.loads((checkpoints / JSON_REPORT).read_text(encoding="utf-8"))
        result = Result(
            reported=report["report"]["accuracy"],
            one=Row(*np.mean(members, axis=0)),
            together=together,
            agreed=float(correct[agree].mean()),
            disagreed=float(correct[~agree].mean()) if not agree.all() else float("nan"),
        )
        print(f"seed {seed}, {len(correct)} pictures held out: {result}", flush=True)
        return result


def main(config: FoldsConfig) -> int:
    seeds = range(1, config.seeds + 1)
    results = [in_new_process(measure, config, seed) for seed in seeds]
    print(f"\n{config.raw_data}, {config.folds} folds, seeds 1 to {config.seeds}, mean ± standard deviation\n")
    print(format_header("on pictures held out", "one network", f"all {config.folds} together"))
    rows = {"accuracy": 3, "calibration_error": 3, "unknown": 3, "seconds": 0, "rate": 0, "megabytes": 0}
    titles = {"unknown": "called unknown", "rate": "pictures per second", "megabytes": "size of the file, MB"}
    for name, digits in rows.items():
        columns = ([getattr(getattr(result, part), name) for result in results] for part in ("one", "together"))
        title = titles.get(name, name.replace("_", " "))
        print(format_row(title, *(mean_and_deviation(values, digits) for values in columns)))
    reported, agreed, disagreed = (
        mean_and_deviation([getattr(result, name) for result in results], 3)
        for name in ("reported", "agreed", "disagreed")
    )
    print(f"\naccuracy in the report of the trainer: {reported}; where all agree: {agreed}, elsewhere: {disagreed}")
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, FoldsConfig, __doc__)
