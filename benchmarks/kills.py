"""The rows of reliability.py that cut scripts off, and run them again until they come to their end."""

import contextlib
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from campaign import (
    LOCK,
    TOP,
    Line,
    Row,
    Running,
    Wrong,
    counted,
    descendants,
    expect,
    expect_same_files,
    leftovers,
    load,
    outlive,
    places,
    script,
)

# isort: split

import cv2
import numpy as np

from checkpoint import BEST
from resumed import Training, Undisturbed

_KILLS_OF_A_CHAIN = 5
_SOON = 0.3  # seconds between a step and a signal, and between two signals, at most
_SECONDS_TO_GO = 5  # for processes whose run was killed


# ---- trainer.py ----


def training_kills(row: Row, kills: int, other: Undisturbed) -> Iterator[Line]:
    """Chains of kills; every second one while something else keeps all cores busy."""
    longest = other.made().seconds
    done, most_lost = Counter(), 0.0
    for number in row.numbers(kills):
        left = kills - done["kills"]
        if not left:
            break
        loaded = bool(number % 2)
        done.update(["runs"] + ["loaded"] * loaded)
        with row.case(f"run {number + 1}") as (folder, dice), load(loaded):
            training = Training(folder)
            for kill in row.numbers(min(_KILLS_OF_A_CHAIN, left)):
                if not kill_once(training, dice, done, longest=longest * (1 + loaded), in_save=bool(kill % 2)):
                    break
            training.finish()
            most_lost = max(most_lost, training.most_lost)
            training.expect_same(other)
            done["same"] += 1
    yield Line(
        row.name,
        counted(done["kills"], kills, f"kills in {done['runs']} runs, {done['loaded']} of them on busy cores"),
        f"{done['same']} of {done['runs']} runs ended equal to the bit; {done['in save']} kills were aimed at a save, "
        f"{done['met']} of all left a half-written file, {done['early']} came before the first checkpoint; "
        f"at most {most_lost:.2f} s of training were lost",
    )


def kill_once(training: Training, dice: random.Random, done: Counter, *, longest: float, in_save: bool) -> bool:
    """Begins a run and kills it; False if it came to its end first."""
    began, run = time.time(), training.start()
    if in_save:
        aimed, delay, seen = dice.randint(1, 3), dice.uniform(0, 0.2), set()

        def saves() -> bool:
            seen.update(half_written(training.checkpoints, since=began))
            return len(seen) >= aimed

        lasted = run.lasts_until(saves) and run.lasts(delay)
    else:
        lasted = run.lasts(dice.uniform(0, longest))
    moment = run.seconds
    run.kill()
    killed = run.process.returncode == -signal.SIGKILL
    met = bool(half_written(training.checkpoints, since=began))
    try:
        expect(killed or run.process.returncode == 0, f"ended with {run.process.returncode}: {run.err[-500:]}")
        training.check(run)
    except Wrong as wrong:
        raise Wrong(f"killed after {moment:.3f} s: {wrong}") from None
    if killed:
        done.update(["kills"] + ["in save"] * in_save + ["met"] * met + ["early"] * (training.step is None))
    return lasted and killed


def half_written(checkpoints: Path, *, since: float) -> set[str]:
    """Checkpoints that are being written, or that a killed run was writing, since a time of day."""
    found = set()
    for folder in (checkpoints, checkpoints / BEST):
        for path in folder.glob(".*"):
            with contextlib.suppress(FileNotFoundError):
                if path.name != LOCK and path.stat().st_mtime >= since:
                    found.add(path.name)
    return found


def training_signals(row: Row, count: int, other: Undisturbed) -> Iterator[Line]:
    """Each run is stopped by SIGTERM, by SIGINT and by two SIGINT, in an order of chance, and then let to its end."""
    other.made()
    ways, done, runs, same = ("SIGTERM", "SIGINT", "SIGINT twice"), Counter(), 0, 0
    for number in row.numbers(count):
        with row.case(f"run {number + 1}") as (folder, dice):
            runs += 1
            training = Training(folder)
            for place, way in enumerate(dice.sample(ways, len(ways)), start=1):
                left = [step for step in other.returns if step > (training.step or 0)]
                step = dice.choice(left[: max(1, len(left) * place // len(ways))] or [0])  # so that some are left
                done.update([stop_once(training, dice, way, step, other.step)])
            training.finish()
            training.expect_same(other)
            same += 1
    tried = counted(runs, count, f"runs, each stopped by {', by '.join(ways)}")
    figures = ", ".join(f"{what} {times}" for what, times in sorted(done.items()))
    yield Line("training-signals", tried, f"{same} of {runs} runs ended equal to the bit; {figures}")


def stop_once(training: Training, dice: random.Random, way: str, step: int, last: int) -> str:
    """Begins a run, signals to it soon after a step, and says what came of it."""
    number = signal.SIGTERM if way == "SIGTERM" else signal.SIGINT
    run = training.start()
    lasted = training.reaches(run, step) and run.lasts(dice.uniform(0, _SOON))
    moment = run.seconds
    run.process.send_signal(number)
    if way == "SIGINT twice" and run.lasts(dice.uniform(0, _SOON)):
        run.process.send_signal(number)
    code = run.end()
    try:
        training.check(run)
        expect("Traceback" not in run.err, f"wrote to stderr: {run.err[-500:]}")
        if code == 0:
            return f"{way}: too late"
        expect(lasted, f"ended with {code}: {run.err[-500:]}")
        trained = training.returns[-1:] == [last]  # behind the last step a signal acts at once
        expect(code == 128 + number or (trained and code == -number), f"ended with {code}: {run.err[-500:]}")
        stopped = re.search(r"stopped and saved after step (\d+)", run.out)
        expect(not stopped or int(stopped[1]) == training.step, f"{stopped and stopped[0]}, but has {training.step}")
        expect(stopped or trained or way == "SIGINT twice", f"did not save: {run.out[-500:]}")
    except Wrong as wrong:
        raise Wrong(f"{way} after {moment:.3f} s: {wrong}") from None
    return f"{way}: {'saved' if stopped else 'ended at once'}"


def trainers(row: Row, count: int, other: Undisturbed) -> Iterator[Line]:
    """Two trainers on one folder, in three ways."""
    other.made()
    refused = let_in = cases = 0
    for number in row.numbers(count):
        for way in ("second comes later", "both at once", "first is killed"):
            with row.case(f"{way} {number + 1}") as (folder, dice):
                cases += 1
                training = Training(folder, other.raw, other.arguments)
                first = training.start()
                if way != "both at once":
                    expect(training.reaches(first, 1), first.err)
                second = training.start()
                if way == "both at once" and first.end() == 2:
                    first, second = second, first
                second.expect_refusal("another run is at work here", str(training.checkpoints))
                refused += 1
                if way == "first is killed":
                    expect(first.lasts(dice.uniform(0, 0.5)), "the first came to its end too early")
                    first.kill()
                    training.finish()
                    let_in += 1
                else:
                    first.expect_done()
                training.expect_same(other)
    result = f"the second was refused {refused} times, {let_in} times it was let in after the first had been killed"
    yield Line("trainers", counted(cases, 3 * count, "pairs on one folder"), result)


# ---- preprocessing.py and augment.py ----


def pictures_of_many_sizes(folder: Path, count: int) -> Path:
    """So many pictures made from the shipped ones, in two classes, no two of the same size."""
    originals = [cv2.imread(str(path)) for path in sorted((TOP / "rawdata").glob("*/*.*"))]
    for number in range(count):
        path = folder / ("ant", "bee")[number % 2] / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        original = originals[number % len(originals)]
        size = 60 + number % 397, 60 + number % 401
        cv2.imwrite(str(path), cv2.resize(np.rot90(original, number // len(originals)), size))
    return folder


def folder_kills(
    row: Row, kills: int, name: str, *, arguments: Sequence[str], count: int, apart: Sequence[str] = ()
) -> Iterator[Line]:
    """Kills a script that fills folders; what it makes when it is run again is what it would have made at once.

    In the end preprocessing.py is run in any case, as it takes in what augment.py makes. `apart` are names of files
    that need not be equal.
    """
    done = Counter()
    with row.case("undisturbed") as (clean, _):
        raw = pictures_of_many_sizes(clean / "raw", count)
        seconds = finish(clean, raw, name, arguments)
        for number in row.numbers(kills):
            left = kills - done["kills"]
            if not left:
                break
            done["runs"] += 1
            with row.case(f"run {number + 1}") as (folder, dice):
                for moment in [dice.uniform(0, seconds) for _ in range(dice.randint(1, min(3, left)))]:
                    kill_with_processes(script(folder, name, *places(folder, raw), *arguments), moment, row, done)
                finish(folder, raw, name, arguments)
                for part in {"data", "augmented"} & {path.name for path in clean.iterdir()}:
                    expect(not leftovers(folder / part), f"left over: {leftovers(folder / part)[:5]}")
                    expect_same_files(folder / part, clean / part, apart=apart)
                done["same"] += 1
    yield Line(
        row.name,
        counted(done["kills"], kills, f"kills in {done['runs']} runs with {count} pictures"),
        f"{done['same']} of {done['runs']} runs ended equal to the bit; of {done['processes']} processes at work "
        f"for them {done['stayed']} stayed for more than {_SECONDS_TO_GO} s",
    )


def finish(folder: Path, raw: Path, name: str, arguments: Sequence[str]) -> float:
    """Runs a script to its end, and then preprocessing.py; returns the seconds that the first one took."""
    run = script(folder, name, *places(folder, raw), *arguments)
    run.expect_done()
    seconds = run.seconds
    script(folder, "preprocessing.py", *places(folder, raw)).expect_done()
    return seconds


def kill_with_processes(run: Running, moment: float, row: Row, done: Counter) -> None:
    """Kills a run, should it last so long, and waits for the end of the processes that it has begun."""
    if run.lasts(moment):
        others = descendants(run.process.pid)
        run.kill()
        stayed = outlive(others, seconds=_SECONDS_TO_GO)
        done.update({"kills": 1, "processes": len(others), "stayed": len(stayed)})
        if stayed:
            row.fail(f"run {done['runs']}, killed after {moment:.3f} s: {len(stayed)} of its processes stayed")
