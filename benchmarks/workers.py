"""Measures what several workers gain, and whether they learn the same as one.

    python -m benchmarks.workers --raw_data rawdata
    python -m benchmarks.workers speed --workers 2 --steps 12     a quick try

All workers are processes of this machine, connected over its loopback interface, each on one core; if there are more
workers than cores, they share them.

    speed     training steps without validation and saving, after a third as many to warm up: pictures per second of all
              workers, and the scaling efficiency (that rate, divided by the number of workers times the rate of one);
              how long a step takes; how long it takes to add up as many values of all workers as the gradients have,
              and how many bytes all of them send for it
    same      a run of several epochs with the scripts, without batch normalization, in float32: the largest difference
              of a metric and of a weight from those of a run without workers; and, to compare with, that of a run
              without workers that rounds differently
    accuracy  runs with the default settings but the batch size: the accuracy after the last epoch, for several seeds
"""

import contextlib
import io
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import psutil

import trainer
from benchmarks.harness.options import select
from benchmarks.harness.steps import time_ours
from benchmarks.harness.tables import format_header, format_row, mean_and_deviation
from benchmarks.harness.training import config_in
from config import BatchSize, Count, TrainConfig
from network.backend import tf
from preprocessing import training_pictures
from system.cluster import Cluster, WorkerLostError, connected
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Validated
from tests.helpers.processes import free_addresses
from training.checkpoints import latest_checkpoint
from training.distribution import distribute
from training.history import METRICS, history_of

_EXCHANGES = 20
_VALUES = 11_106_594  # weights of the default network


@dataclass(frozen=True, kw_only=True)
class WorkersConfig(Validated):
    """What to measure."""

    # What to measure
    experiments: tuple[str, ...] = ()  # Their names, such as speed; all if none is given.
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.
    workers: Count = 3  # Most workers to try; the others are fewer.
    batch_size: BatchSize = 64  # Pictures per step, of all workers together; for speed and accuracy.
    large_batch_size: BatchSize = 512  # Another number of them, for speed.
    steps: Count = 48  # Training steps to time.
    epochs: Count = 40  # Of each run for same and accuracy; a tenth of them for same.
    seeds: Count = 2  # Number of runs for accuracy.


class Speed(NamedTuple):
    """What one worker has measured."""

    rate: float  # pictures per second, of all workers
    step_seconds: float
    exchange_seconds: float  # of as many values as the gradients have
    megabytes: float  # sent over the loopback interface by this exchange, by all workers


class Trained(NamedTuple):
    """What a run has learned."""

    history: np.ndarray  # (epochs, metrics)
    weights: dict[str, np.ndarray]
    accuracy: float  # on the validation pictures, after the last epoch


# ---- running several workers ----


def on_workers(function: Callable, config: TrainConfig, count: int, *arguments: Any) -> list:
    """Returns what a function returns for each of several workers, each in a new process on a core of its own."""
    cluster = Cluster(free_addresses(count)) if count > 1 else Cluster()
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        calls = [
            pool.submit(_on_core, function, config, replace(cluster, index=index), *arguments) for index in range(count)
        ]
        wait(calls)
        errors = [error for call in calls if (error := call.exception())]
        if errors:  # that of a worker whose end the others have only noticed comes first
            raise min(errors, key=lambda error: isinstance(error, WorkerLostError))
        return [call.result() for call in calls]


def _on_core(function: Callable, config: TrainConfig, cluster: Cluster, *arguments: Any) -> Any:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[cluster.index % len(cores)]})
    return function(config, cluster, *arguments)


# ---- speed ----


def measure_speed(config: TrainConfig, cluster: Cluster, steps: int) -> Speed:
    with connected(cluster) as workers:
        distribution = distribute(config, workers)
        measurement = time_ours(config, steps, distribution)
        exchange_seconds, megabytes = time_exchange(distribution.strategy) if workers.count > 1 else (0.0, 0.0)
    step_seconds = measurement.seconds * config.batch_size / measurement.count
    return Speed(measurement.rate, step_seconds, exchange_seconds, megabytes)


def time_exchange(strategy: tf.distribute.Strategy) -> tuple[float, float]:
    """Returns the seconds that it takes to add up as many values of all workers as the gradients have, and the MB."""

    def add_up() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(_VALUES))

    exchange = tf.function(lambda: strategy.run(add_up))
    exchange()
    sent, start = _bytes_sent(), time.perf_counter()
    for _ in range(_EXCHANGES):
        exchange()
    seconds = time.perf_counter() - start
    return seconds / _EXCHANGES, (_bytes_sent() - sent) / _EXCHANGES / 1e6


def _bytes_sent() -> int:
    return psutil.net_io_counters(pernic=True)["lo"].bytes_sent


def print_speed(config: WorkersConfig, base: TrainConfig) -> None:
    header = "batch", "workers", "img/s", "scaling efficiency", "a step", "exchange alone", "sent by all in a step"
    print(f"\n{format_header(*header)}", flush=True)
    for batch_size in (config.batch_size, config.large_batch_size):
        alone = 0.0
        for count in range(1, config.workers + 1):
            results = on_workers(measure_speed, replace(base, batch_size=batch_size), count, config.steps)
            speed = results[0]
            alone = alone or speed.rate
            exchange = (f"{1000 * speed.exchange_seconds:.0f} ms", f"{speed.megabytes:.0f} MB")
            print(
                format_row(
                    batch_size,
                    count,
                    f"{speed.rate:,.0f}",
                    f"{speed.rate / alone / count:.0%}",
                    f"{1000 * speed.step_seconds:.0f} ms",
                    *(exchange if count > 1 else ("-", "-")),
                ),
                flush=True,
            )


# ---- what is learned ----


def train(config: TrainConfig, cluster: Cluster) -> Trained | None:
    """Trains with trainer.py; returns what the chief has learned."""
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.main(replace(config, workers=",".join(cluster.addresses), worker=cluster.index))
    if cluster.index:
        return None
    checkpoint = latest_checkpoint(Path(config.model_save_name))
    assert checkpoint
    history = history_of(checkpoint)
    rows = np.array([[metrics[name] for name in METRICS] for metrics in history])
    return Trained(rows, checkpoint.part("weights"), history[-1]["val_accuracy"])


def trained(base: TrainConfig, count: int) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        return on_workers(train, replace(base, model_save_name=folder), count)[0]


def print_same(config: WorkersConfig, base: TrainConfig) -> None:
    epochs = max(2, config.epochs // 10)
    base = replace(base, batch_normalization=False, precision="float32", epochs=epochs, patience=epochs)
    print(f"\n{format_header('workers', 'epochs', 'largest difference of a metric', 'of a weight')}", flush=True)
    alone = trained(base, 1)

    def print_difference(name: str, other: Trained) -> None:
        weights = max(
            np.abs(value - other.weights[path]).max()
            for path, value in alone.weights.items()
            if value.dtype == np.float32
        )
        metrics = np.abs(alone.history - other.history).max()
        print(format_row(name, epochs, f"{metrics:.1e}", f"{weights:.1e}"), flush=True)

    with mock.patch.dict(os.environ, TF_ENABLE_ONEDNN_OPTS="0"):
        without_onednn = trained(base, 1)
    print_difference("1, without oneDNN", without_onednn)
    for count in range(2, config.workers + 1):
        print_difference(str(count), trained(base, count))


def print_accuracy(config: WorkersConfig, base: TrainConfig) -> None:
    header = "workers", "epochs", f"validation accuracy, {config.seeds} seeds"
    print(f"\n{format_header(*header)}", flush=True)
    base = replace(base, epochs=config.epochs, batch_size=config.batch_size)
    for count in range(1, config.workers + 1):
        with tempfile.TemporaryDirectory() as data:
            found = [
                trained(replace(base, seed=seed, data_path=f"{data}/{seed}"), count).accuracy
                for seed in range(1, config.seeds + 1)
            ]
        print(format_row(count, config.epochs, mean_and_deviation(found, 3)), flush=True)


def main(config: WorkersConfig) -> int:
    experiments = {"speed": print_speed, "same": print_same, "accuracy": print_accuracy}
    with tempfile.TemporaryDirectory() as work:
        base = config_in(Path(work), config.raw_data)
        with contextlib.redirect_stdout(io.StringIO()):
            training_pictures(base)
        for name in select(config.experiments, experiments):
            experiments[name](config, base)
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, WorkersConfig, __doc__)
