"""The experiment that kills one of several workers, again and again, and lets the run continue."""

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.campaign import Experiment, Row, expect, format_tried
from benchmarks.faults.folders import RAW_DATA
from benchmarks.faults.processes import ScriptProcess, descendants, start_script, survivors
from benchmarks.faults.resumed import newest_checkpoint
from benchmarks.harness.processes import folder_arguments
from network.checkpoint_file import BEST
from reports.report_files import TEXT_REPORT
from system.errors import EXIT_SUCCESS, EXIT_WORKER_LOST
from tests.helpers.processes import free_addresses

_WORKERS = 2
_KILLS_PER_RUN = 5
_MAX_SECONDS = 60  # that the others may take to end
_OPTIONS = ("--height", "64", "--width", "64", "--epochs", "6", "--save_seconds", "0.5", "--patience", "100")


def start_workers(folder: Path) -> list[ScriptProcess]:
    addresses = ",".join(free_addresses(_WORKERS))
    folders = [*folder_arguments(RAW_DATA, folder), "--model_save_name", folder / "checkpoints"]
    return [
        start_script(folder, "trainer.py", *folders, *_OPTIONS, "--workers", addresses, "--worker", str(index))
        for index in range(_WORKERS)
    ]


def finish_workers(folder: Path) -> float:
    """Trains to the end, and returns the seconds that it took."""
    processes = start_workers(folder)
    for process in processes:
        process.expect_success()
    return processes[0].seconds


def kill_one(folder: Path, rng: random.Random, counts: Counter, *, longest: float) -> float:
    """Starts all workers and kills one of them; returns how long the others took to end."""
    processes = start_workers(folder)
    try:
        return _kill_one_of(processes, rng, counts, longest=longest)
    finally:
        for process in processes:
            process.kill()


def _kill_one_of(processes: list[ScriptProcess], rng: random.Random, counts: Counter, *, longest: float) -> float:
    victim = rng.choice(processes)
    others = [process for process in processes if process is not victim]
    # Before all are there, the others wait for the one that is missing, for some minutes.
    if not all(process.runs_until(lambda process=process: "device" in process.stdout) for process in processes):
        return 0.0
    in_time = victim.runs_for(rng.uniform(0, longest))
    children = set.union(*(descendants(process.pid) for process in processes))
    start = victim.seconds
    victim.kill()
    for process in others:
        process.wait()
    seconds = victim.seconds - start
    ended = victim.exit_code == EXIT_SUCCESS
    expect(seconds < _MAX_SECONDS, f"the others took {seconds:.1f} s to end")
    for process in others:
        allowed = (EXIT_SUCCESS,) if ended else (EXIT_WORKER_LOST, EXIT_SUCCESS)
        expect(process.exit_code in allowed, f"ended with {process.exit_code}: {process.stderr[-500:]}")
        lines = process.stderr.count("\n")
        expect(lines == (process.exit_code == EXIT_WORKER_LOST), f"wrote to stderr: {process.stderr[-500:]}")
    expect(not survivors(children, seconds=5), "left processes behind")
    if in_time and victim.exit_code == -signal.SIGKILL:
        counts.update(["kills", "chief" if victim is processes[0] else "other"])
    return seconds


def worker_kills(experiment: Experiment, *, kills: int) -> Iterator[Row]:
    """Kills workers, each time one of them, and runs the same commands again."""
    counts, longest_end = Counter(), 0.0
    with experiment.case("reference") as (reference, _):
        longest = finish_workers(reference)
        for number in experiment.numbers(kills):
            if counts["kills"] >= kills:
                break
            counts["runs"] += 1
            with experiment.case(f"run {number + 1}") as (folder, rng):
                for _ in range(min(_KILLS_PER_RUN, kills - counts["kills"])):
                    longest_end = max(longest_end, kill_one(folder, rng, counts, longest=longest))
                finish_workers(folder)
                for part in ("", BEST):
                    own, other = (newest_checkpoint(run / "checkpoints" / part) for run in (folder, reference))
                    expect(own.name == other.name, f"{part}/{own.name} is the newest, not {other.name}")
                    expect(own.read_bytes() == other.read_bytes(), f"{part}/{own.name} differs")
                own, other = (run / "checkpoints" / TEXT_REPORT for run in (folder, reference))
                expect(own.read_bytes() == other.read_bytes(), f"{own.name} differs")
                counts["same"] += 1
    tried = f"kills in {counts['runs']} runs of {_WORKERS} workers, {counts['chief']} of them of the chief"
    yield Row(
        experiment.name,
        format_tried(counts["kills"], kills, tried),
        f"{counts['same']} of {counts['runs']} runs ended equal to the bit; the others ended within "
        f"{longest_end:.1f} s, and no process was left",
    )
