"""The experiments that interrupt scripts and run them again until they are finished."""

import contextlib
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faults.campaign import Experiment, Failure, Row, expect, format_tried
from benchmarks.faults.folders import LOCK, expect_no_partial_files, expect_same_files, pictures_of_many_sizes
from benchmarks.faults.processes import ScriptProcess, busy_cores, descendants, start_script, survivors
from benchmarks.faults.resumed import ReferenceRun, TrainingRun
from benchmarks.harness.processes import folder_arguments
from network.checkpoint_file import BEST

_KILLS_PER_RUN = 5
_MAX_DELAY = 0.3  # seconds between a step and a signal, and between two signals
_MAX_WORKER_SECONDS = 5  # that the workers of a killed script may continue
_WAYS_TO_STOP = "SIGTERM", "SIGINT", "SIGINT twice"
_WAYS_TO_COLLIDE = "second starts later", "both start at once", "first is killed"


# ---- trainer.py ----


def training_kills(experiment: Experiment, *, kills: int, reference: ReferenceRun) -> Iterator[Row]:
    """Kills runs several times; every second run while other processes keep all cores busy."""
    longest = reference.finished().seconds
    counts, max_lost = Counter(), 0.0
    for number in experiment.numbers(kills):
        remaining = kills - counts["kills"]
        if not remaining:
            break
        busy = bool(number % 2)
        counts.update(["runs"] + ["busy"] * busy)
        with experiment.case(f"run {number + 1}") as (folder, rng), busy_cores(busy):
            run = TrainingRun(folder)
            for kill in experiment.numbers(min(_KILLS_PER_RUN, remaining)):
                if not kill_once(run, rng, counts, longest=longest * (1 + busy), in_save=bool(kill % 2)):
                    break
            run.finish()
            max_lost = max(max_lost, run.max_lost)
            run.expect_same(reference)
            counts["same"] += 1
    yield Row(
        experiment.name,
        format_tried(counts["kills"], kills, f"kills in {counts['runs']} runs, {counts['busy']} of them on busy cores"),
        f"{counts['same']} of {counts['runs']} runs ended equal to the bit; {counts['in save']} kills were aimed at a "
        f"save, {counts['partial']} of all left a partial file, {counts['early']} came before the first checkpoint; "
        f"at most {max_lost:.2f} s of training were lost",
    )


def kill_once(run: TrainingRun, rng: random.Random, counts: Counter, *, longest: float, in_save: bool) -> bool:
    """Starts a run and kills it. Returns False if it was finished first."""
    start, process = time.time(), run.start()
    if in_save:
        saves, delay, seen = rng.randint(1, 3), rng.uniform(0, 0.2), set()

        def is_saving() -> bool:
            seen.update(partial_checkpoints(run.checkpoints, since=start))
            return len(seen) >= saves

        in_time = process.runs_until(is_saving) and process.runs_for(delay)
    else:
        in_time = process.runs_for(rng.uniform(0, longest))
    seconds = process.seconds
    process.kill()
    killed = process.exit_code == -signal.SIGKILL
    partial = bool(partial_checkpoints(run.checkpoints, since=start))
    try:
        expect(killed or process.exit_code == 0, f"ended with {process.exit_code}: {process.stderr[-500:]}")
        run.check(process)
    except Failure as failure:
        raise Failure(f"killed after {seconds:.3f} s: {failure}") from None
    if killed:
        counts.update(["kills"] + ["in save"] * in_save + ["partial"] * partial + ["early"] * (run.step is None))
    return in_time and killed


def partial_checkpoints(checkpoints: Path, *, since: float) -> set[str]:
    """Returns the partial files that have been written since a time, by a process that may have been killed."""
    found = set()
    for folder in (checkpoints, checkpoints / BEST):
        for path in folder.glob(".*"):
            with contextlib.suppress(FileNotFoundError):
                if path.name != LOCK and path.stat().st_mtime >= since:
                    found.add(path.name)
    return found


def training_signals(experiment: Experiment, *, count: int, reference: ReferenceRun) -> Iterator[Row]:
    """Stops each run by SIGTERM, by SIGINT and by two SIGINT, in random order, and then lets it finish."""
    reference.finished()
    counts, runs, same = Counter(), 0, 0
    for number in experiment.numbers(count):
        with experiment.case(f"run {number + 1}") as (folder, rng):
            runs += 1
            run = TrainingRun(folder)
            for index, way in enumerate(rng.sample(_WAYS_TO_STOP, len(_WAYS_TO_STOP)), start=1):
                remaining = [step for step in reference.done_steps if step > (run.step or 0)]
                early = remaining[: max(1, len(remaining) * index // len(_WAYS_TO_STOP))]  # so that some remain
                counts.update([stop_once(run, rng, way, rng.choice(early or [0]), reference.step)])
            run.finish()
            run.expect_same(reference)
            same += 1
    tried = format_tried(runs, count, f"runs, each stopped by {', by '.join(_WAYS_TO_STOP)}")
    results = ", ".join(f"{result} {times}" for result, times in sorted(counts.items()))
    yield Row(experiment.name, tried, f"{same} of {runs} runs ended equal to the bit; {results}")


def stop_once(run: TrainingRun, rng: random.Random, way: str, step: int, last_step: int | None) -> str:
    """Starts a run, sends it signals soon after a step, and returns the result."""
    number = signal.SIGTERM if way == "SIGTERM" else signal.SIGINT
    process = run.start()
    in_time = run.reaches(process, step) and process.runs_for(rng.uniform(0, _MAX_DELAY))
    seconds = process.seconds
    process.send_signal(number)
    if way == "SIGINT twice" and process.runs_for(rng.uniform(0, _MAX_DELAY)):
        process.send_signal(number)
    code = process.wait()
    try:
        run.check(process)
        expect("Traceback" not in process.stderr, f"wrote to stderr: {process.stderr[-500:]}")
        if code == 0:
            return f"{way}: too late"
        expect(in_time, f"ended with {code}: {process.stderr[-500:]}")
        trained = run.done_steps[-1:] == [last_step]  # after the last step, a signal acts at once
        expect(code == 128 + number or (trained and code == -number), f"ended with {code}: {process.stderr[-500:]}")
        stopped = re.search(r"stopped and saved after step (\d+)", process.stdout)
        expect(not stopped or int(stopped[1]) == run.step, f"{stopped and stopped[0]}, but has step {run.step}")
        expect(stopped or trained or way == "SIGINT twice", f"did not save: {process.stdout[-500:]}")
    except Failure as failure:
        raise Failure(f"{way} after {seconds:.3f} s: {failure}") from None
    return f"{way}: {'saved' if stopped else 'ended at once'}"


def two_trainers(experiment: Experiment, *, count: int, reference: ReferenceRun) -> Iterator[Row]:
    """Starts two trainers on one folder, in three ways."""
    reference.finished()
    refused = admitted = cases = 0
    for number in experiment.numbers(count):
        for way in _WAYS_TO_COLLIDE:
            with experiment.case(f"{way} {number + 1}") as (folder, rng):
                cases += 1
                run = TrainingRun(folder, reference.raw, reference.arguments)
                first = run.start()
                if way != "both start at once":
                    expect(run.reaches(first, 1), first.stderr)
                second = run.start()
                if way == "both start at once" and first.wait() == 2:
                    first, second = second, first
                second.expect_user_error("another run is using this folder", str(run.checkpoints))
                refused += 1
                if way == "first is killed":
                    expect(first.runs_for(rng.uniform(0, 0.5)), "the first was finished too early")
                    first.kill()
                    run.finish()
                    admitted += 1
                else:
                    first.expect_success()
                run.expect_same(reference)
    result = f"the second was refused {refused} times; {admitted} times another one started after the first was killed"
    yield Row(experiment.name, format_tried(cases, len(_WAYS_TO_COLLIDE) * count, "pairs on one folder"), result)


# ---- preprocessing.py and augment.py ----


def folder_kills(
    experiment: Experiment,
    *,
    kills: int,
    script: str,
    arguments: Sequence[str],
    pictures: int,
    ignore: Sequence[str] = (),
) -> Iterator[Row]:
    """Kills a script that fills folders, and runs it again: the result must be that of an uninterrupted run.

    At the end preprocessing.py is run in any case, since it includes what augment.py has made. Files of the names to
    ignore may differ.
    """
    counts = Counter()
    with experiment.case("reference") as (reference, _):
        raw = pictures_of_many_sizes(reference / "raw", pictures)
        seconds = finish(reference, raw, script, arguments)
        for number in experiment.numbers(kills):
            remaining = kills - counts["kills"]
            if not remaining:
                break
            counts["runs"] += 1
            with experiment.case(f"run {number + 1}") as (folder, rng):
                for delay in [rng.uniform(0, seconds) for _ in range(rng.randint(1, min(3, remaining)))]:
                    process = start_script(folder, script, *folder_arguments(raw, folder), *arguments)
                    kill_with_workers(process, delay, experiment, counts)
                finish(folder, raw, script, arguments)
                for part in {"data", "augmented"} & {path.name for path in reference.iterdir()}:
                    expect_no_partial_files(folder / part)
                    expect_same_files(folder / part, reference / part, ignore=ignore)
                counts["same"] += 1
    yield Row(
        experiment.name,
        format_tried(counts["kills"], kills, f"kills in {counts['runs']} runs with {pictures} pictures"),
        f"{counts['same']} of {counts['runs']} runs ended equal to the bit; of their {counts['workers']} worker "
        f"processes {counts['survivors']} continued for more than {_MAX_WORKER_SECONDS} s",
    )


def finish(folder: Path, raw: Path, script: str, arguments: Sequence[str]) -> float:
    """Runs a script to its end, and then preprocessing.py. Returns the seconds that the first one took."""
    process = start_script(folder, script, *folder_arguments(raw, folder), *arguments)
    process.expect_success()
    seconds = process.seconds
    start_script(folder, "preprocessing.py", *folder_arguments(raw, folder)).expect_success()
    return seconds


def kill_with_workers(process: ScriptProcess, delay: float, experiment: Experiment, counts: Counter) -> None:
    """Kills a process after a delay, unless it has ended, and waits for the end of its workers."""
    if process.runs_for(delay):
        workers = descendants(process.pid)
        process.kill()
        remaining = survivors(workers, seconds=_MAX_WORKER_SECONDS)
        counts.update({"kills": 1, "workers": len(workers), "survivors": len(remaining)})
        if remaining:
            experiment.fail(
                f"run {counts['runs']}, killed after {delay:.3f} s: {len(remaining)} of its workers continued"
            )
