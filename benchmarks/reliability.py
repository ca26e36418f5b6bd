"""What is lost when scripts are killed, disks are full and files are damaged: a long campaign, and its table.

    python benchmarks/reliability.py
    python benchmarks/reliability.py --rows training-kills pictures --kills 10 --pictures 2000 --minutes 5

Rows run one after another, each with a share of the time; one that was not done in its time says so. What was lost or
taken for right that is not is named below the table with a way to repeat it, its folder is kept, and the exit code is
1. Whatever is left to chance follows from `--seed`; moments are those of a clock, so a repetition hits others nearby.
For Linux.

    training-kills      `trainer.py` on the shipped pictures, killed (SIGKILL) again and again, up to 5 times a run:
                        at any moment from its start to its report, or, every second time, up to 0.2 s after the first
                        to third checkpoint began to be written. Every second run shares its cores with as many busy
                        loops. After every kill all checkpoints are whole, the newest is never older than it was, and
                        what was trained since took no longer than --save_seconds and one return to Python. The next
                        start goes on from there. At its end checkpoints, report and curves, as TensorBoard reads
                        them, equal those of a run that nobody disturbed, to the bit.
    training-signals    the same with SIGTERM, SIGINT, and two SIGINT up to 0.3 s apart, after the first steps
    trainers            two trainers on one folder: the second is refused, and let in after the first was killed
    preprocess-kills    `preprocessing.py`, killed at any moment and run again: `data/` as after a run that nobody
                        disturbed, and no process of it stays for more than 5 s
    augment-kills       the same of `augment.py` and `augmented/`
    checkpoint-damage   a small checkpoint: truncations, every 37th, flipped bits, zeroed and swapped pages; of
                        model.json all truncations and flipped bits
    disk-full           disks of 20 sizes that are too small for the checkpoints, for `data/`, for what TensorBoard
                        shows, and read-only ones: exit code 2 and one line that says what to mend, nothing half
                        written, and with more room the same command goes on to the same end
    pictures            damaged pictures of every format: each is refused, or is what Pillow shows of it
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from campaign import Line, Row, Wrong, enter_own_mounts

# isort: split

import trainer  # noqa: F401 - before all others that need TensorFlow, as it loads it quietly

# isort: split

import config as settings
import damage
import kills
import mutants
from config import Between, Checked, Count, UserError
from resumed import Undisturbed


@dataclass(frozen=True, kw_only=True)
class ReliabilityConfig(Checked):
    """How much to try."""

    rows: tuple[str, ...] = ()  # Names of the rows, such as training-kills; all of them if none is given.
    kills: Count = 50  # Kills of training runs; of preprocessing.py and of augment.py half as many each.
    pictures: Count = 20_000  # Damaged pictures.
    minutes: Annotated[float, Between(0.1, 10_000)] = 40  # Time for all rows together; one run more may be finished.
    seed: Annotated[int, Between(0, 2**31 - 1)] = 1  # Decides what is left to chance.


SHARES = {  # of the time
    "training-kills": 12,
    "training-signals": 6,
    "trainers": 3,
    "preprocess-kills": 3,
    "augment-kills": 4,
    "checkpoint-damage": 4,
    "disk-full": 6,
    "pictures": 2,
}


def rows(config: ReliabilityConfig, folder: Path) -> dict[str, Callable[[Row], Iterator[Line]]]:
    """What every row does. Runs to compare with are made when the first row asks for them."""
    half = max(1, config.kills // 2)
    large = Undisturbed(folder / "large")
    few = damage.few_pictures(folder / "few")
    small, grey, long = (
        Undisturbed(folder / name, few, [*damage.SMALL, *arguments])
        for name, arguments in {
            "small": ["--epochs", "4", "--save_seconds", "0"],
            "grey": ["--epochs", "4", "--save_seconds", "0", "--color_channels", "1"],
            "long": ["--epochs", "150", "--save_seconds", "0.2"],
        }.items()
    )
    return {
        "training-kills": partial(kills.training_kills, kills=config.kills, other=large),
        "training-signals": partial(kills.training_signals, count=10, other=large),
        "trainers": partial(kills.trainers, count=3, other=long),
        "preprocess-kills": partial(kills.folder_kills, kills=half, name="preprocessing.py", arguments=[], count=600),
        "augment-kills": partial(
            kills.folder_kills,
            kills=half,
            name="augment.py",
            arguments=["--sample", "300"],
            count=100,
            apart=["manifest.csv"],  # which has the times at which copies were made
        ),
        "checkpoint-damage": partial(damage.checkpoint_damage, other=grey),
        "disk-full": partial(damage.disk_full, other=small),
        "pictures": partial(mutants.pictures, count=config.pictures, seed=config.seed),
    }


def main(config: ReliabilityConfig) -> int:
    names = config.rows or tuple(SHARES)
    if unknown := [name for name in names if name not in SHARES]:
        raise UserError(f"--rows {' '.join(unknown)}: no such row; there are {' '.join(SHARES)}")
    if "disk-full" in names:
        enter_own_mounts()
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    end = time.monotonic() + 60 * config.minutes
    wrong = []
    print("| what | tried | result | exceptions |\n|---|---|---|---|", flush=True)
    every = rows(config, folder)
    for place, name in enumerate(names):
        left = sum(SHARES[other] for other in names[place:])
        row = Row(name, folder, seed=config.seed, seconds=(end - time.monotonic()) * SHARES[name] / left)
        said = 0
        try:
            for line in every[name](row):
                exceptions = f"{len(row.wrong) - said}, below" if len(row.wrong) > said else "none"
                print(f"| {' | '.join([*line, exceptions])} |", flush=True)
                said = len(row.wrong)
        except Wrong as error:  # in what others should have been compared with
            row.fail(str(error))
        wrong += row.wrong
    print("", *(f"- {line}" for line in wrong), sep="\n")
    if not wrong:
        shutil.rmtree(folder)
    return settings.SOME_PICTURES_FAILED if wrong else settings.DONE


if __name__ == "__main__":
    settings.run(main, ReliabilityConfig, __doc__)
