"""Measures what is lost when scripts are killed, disks are full and files are damaged.

    python -m benchmarks.reliability
    python -m benchmarks.reliability training-kills pictures --size 0.2 --minutes 5
    python -m benchmarks.reliability --size 0.1 --minutes 8     a shorter run of all experiments

The experiments run one after the other, each with a share of the time; one that was not finished in its time says so.
Each failure (something was lost, or something wrong was accepted) is named below the table, with a way to repeat it;
its folder is kept, and the exit code is 1. Everything random follows from `--seed`, but kills happen at times of a
clock, so a repetition kills at slightly different points. For Linux.

    training-kills      `trainer.py` on the sample pictures, killed (SIGKILL) up to 5 times per run: at any time from
                        its start to its report or, every second time, up to 0.2 s after the first to third checkpoint
                        began to be written. Every second run shares its cores with as many busy loops. After every
                        kill, all checkpoints are intact, the newest is never older than before, and what was trained
                        after it took no longer than --save_seconds and one return to Python. The next start continues
                        from it. At the end, checkpoints, report and TensorBoard's curves are equal, to the bit, to
                        those of an uninterrupted run.
    training-signals    the same with SIGTERM, SIGINT, and two SIGINT up to 0.3 s apart, after the first steps
    trainers            two trainers on one folder: the second is refused, unless the first was killed
    worker-kills        two workers that train together, one of them killed at any time: the other one ends with one
                        line and exit code 3 within a minute, and leaves no process behind; after the same commands
                        again, the result is equal to the bit
    preprocess-kills    `preprocessing.py`, killed at any time and run again: `data/` is equal to that of an
                        uninterrupted run, and no worker process continues for more than 5 s
    augment-kills       the same for `augment.py` and `augmented/`
    checkpoint-damage   small checkpoints: truncations, flipped bits, zeroed and swapped pages; and all truncations and
                        flipped bits of model.json
    disk-full           disks of several sizes that are too small for the checkpoints, for `data/`, for TensorBoard's
                        files, and read-only ones: exit code 2 and one line that says how to fix it, no partial files,
                        and with more space the same command continues to the same end
    pictures            damaged pictures of every format: each is refused, or is what Pillow shows
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from benchmarks.faults.campaign import Experiment, Failure, Row
from benchmarks.faults.damage import checkpoint_damage
from benchmarks.faults.disks import disk_full, enter_mount_namespace
from benchmarks.faults.folders import few_pictures
from benchmarks.faults.kills import folder_kills, training_kills, training_signals, two_trainers
from benchmarks.faults.mutations import damaged_pictures
from benchmarks.faults.resumed import ReferenceRun
from benchmarks.faults.worker_kills import worker_kills
from benchmarks.harness.options import Size, select
from benchmarks.harness.tables import format_header, format_row
from config import Seed
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Between, Validated

_EXIT_FAILURES = 1
_SMALL = ["--height", "16", "--width", "16", "--batch_size", "2", "--patience", "1000"]


@dataclass(frozen=True, kw_only=True)
class ReliabilityConfig(Validated):
    """How much to try."""

    # How much to try
    experiments: tuple[str, ...] = ()  # Their names, such as training-kills; all if none is given.
    size: Size = 1.0  # Factor of the numbers of kills, signals, disks and damaged files.
    minutes: Annotated[float, Between(0.1, 10_000)] = 40  # Time for all together; the case in progress is finished.
    seed: Seed = 1  # Determines everything random.


SHARES = {  # of the time
    "training-kills": 12,
    "training-signals": 6,
    "trainers": 3,
    "worker-kills": 6,
    "preprocess-kills": 3,
    "augment-kills": 4,
    "checkpoint-damage": 4,
    "disk-full": 6,
    "pictures": 2,
}


def experiments_in(folder: Path, config: ReliabilityConfig) -> dict[str, Callable[[Experiment], Iterator[Row]]]:
    """Returns what each experiment does. Reference runs are made when the first experiment needs them."""

    def scaled(count: int) -> int:
        return max(1, round(config.size * count))

    default = ReferenceRun(folder / "default")
    pictures = few_pictures(folder / "few")
    small, gray, long = (
        ReferenceRun(folder / name, pictures, [*_SMALL, *arguments])
        for name, arguments in {
            "small": ["--epochs", "4", "--save_seconds", "0"],
            "gray": ["--epochs", "4", "--save_seconds", "0", "--color_channels", "1"],
            "long": ["--epochs", "150", "--save_seconds", "0.2"],
        }.items()
    )
    return {
        "training-kills": partial(training_kills, kills=scaled(50), reference=default),
        "training-signals": partial(training_signals, count=scaled(10), reference=default),
        "trainers": partial(two_trainers, count=scaled(3), reference=long),
        "worker-kills": partial(worker_kills, kills=scaled(10)),
        "preprocess-kills": partial(
            folder_kills, kills=scaled(25), script="preprocessing.py", arguments=[], pictures=600
        ),
        "augment-kills": partial(
            folder_kills,
            kills=scaled(25),
            script="augment.py",
            arguments=["--sample", "300"],
            pictures=100,
            ignore=["manifest.csv"],  # it contains the times at which copies were made
        ),
        "checkpoint-damage": partial(checkpoint_damage, size=config.size, reference=gray),
        "disk-full": partial(disk_full, points=scaled(20), reference=small),
        "pictures": partial(damaged_pictures, count=scaled(20_000), seed=config.seed),
    }


def main(config: ReliabilityConfig) -> int:
    names = select(config.experiments, SHARES)
    if "disk-full" in names:
        enter_mount_namespace()
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    end = time.monotonic() + 60 * config.minutes
    failures = []
    print(format_header("experiment", "tried", "result", "failures"), flush=True)
    experiments = experiments_in(folder, config)
    for index, name in enumerate(names):
        share = SHARES[name] / sum(SHARES[other] for other in names[index:])
        seconds = (end - time.monotonic()) * share
        experiment = Experiment(name, folder, size=config.size, seed=config.seed, seconds=seconds)
        printed = 0
        try:
            for row in experiments[name](experiment):
                new = len(experiment.failures) - printed
                print(format_row(*row, f"{new}, below" if new else "none"), flush=True)
                printed += new
        except Failure as failure:  # of a reference run
            experiment.fail(str(failure))
        failures += experiment.failures
    print("", *(f"- {failure}" for failure in failures), sep="\n")
    if failures:
        return _EXIT_FAILURES
    shutil.rmtree(folder)
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, ReliabilityConfig, __doc__)
