"""The row of reliability.py that decodes damaged pictures, and the process that does it.

    python benchmarks/mutants.py SEED FIRST COUNT FOLDER

judges damaged pictures by their numbers, prints what it made of each, and keeps those that it should not have accepted.
"""

import json
import os
import queue
import random
import subprocess
import sys
import threading
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from campaign import Line, Row, counted

# isort: split

import numpy as np
from mutations import by_pillow, mutated, samples

from pictures import decode_image, standard_image

_MEGAPIXELS = 1.0  # of damaged files, whose headers may declare any size
_FARTHEST = 4  # grey levels, on average, that a picture may be from what Pillow shows
_SECONDS = 60  # that one picture may take
_BLOCK = 500  # pictures that a process judges
_WORDS = {"refused", "accepted"}  # all others are exceptions


# ---- in a process of its own ----


def judge(data: bytes) -> str:
    """What is made of a picture."""
    try:
        standard_image(data, height=100, width=100, color_channels=3, max_megapixels=_MEGAPIXELS)
        pixels = decode_image(data, mode="RGB", least=10**6, max_megapixels=_MEGAPIXELS)  # at its own size
    except ValueError:
        return "refused"
    except Exception as error:
        return f"raised {type(error).__name__}"
    try:
        expected = by_pillow(data)
    except Exception:
        return "accepted, refused by Pillow"
    if pixels.shape != expected.shape:
        return "accepted in another size than Pillow's"
    return "accepted" if np.abs(pixels - expected).mean() <= _FARTHEST else "accepted with other pixels than Pillow's"


def mutant(seed: int, number: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A damaged picture, which follows from its number."""
    name, data = files[number % len(files)]
    return name, mutated(data, random.Random(f"{seed}/{number}"))


def judge_all(seed: int, first: int, count: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    files = list(samples().items())
    for number in range(first, first + count):
        name, data = mutant(seed, number, files)
        verdict = judge(data)
        if verdict not in _WORDS:
            (folder / f"mutant-{number}").write_bytes(data)
        print(json.dumps((number, name, verdict)), flush=True)


# ---- the row ----


def judged(seed: int, first: int, count: int, folder: Path) -> Iterator[tuple[int, str, str]]:
    """Number, kind and verdict of damaged pictures, one after another, even where one ends the process or hangs."""
    last = first + count
    files = list(samples().items())
    while first < last:
        command = [sys.executable, __file__, *map(str, (seed, first, last - first, folder))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = queue.Queue()

        def read(stream=process.stdout, lines=lines) -> None:
            for line in stream:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        problem = "crashed"
        try:
            while line := lines.get(timeout=_SECONDS):
                yield tuple(json.loads(line))
                first += 1
        except queue.Empty:
            problem = "hung"
        process.kill()
        process.wait()
        if first < last:
            name, data = mutant(seed, first, files)
            (folder / f"mutant-{first}").write_bytes(data)
            yield first, name, problem
            first += 1


def pictures(row: Row, count: int, seed: int) -> Iterator[Line]:
    verdicts = defaultdict(Counter)  # of every format
    with row.case("files") as (folder, _), ThreadPoolExecutor(os.cpu_count()) as pool:

        def block(first: int) -> list[tuple[int, str, str]]:
            return list(judged(seed, first, min(_BLOCK, count - first), folder)) if row.has_time() else []

        for results in pool.map(block, range(0, count, _BLOCK)):
            for number, name, verdict in results:
                verdicts[name.partition(",")[0]][verdict] += 1
                if verdict not in _WORDS:
                    row.fail(f"number {number}, {name}: {verdict} (kept in {folder})")
    for name, own in verdicts.items():
        yield Line(f"{row.name}: {name}", f"{own.total():,} files", figures(own))
    total = sum(verdicts.values(), Counter())
    yield Line(row.name, counted(total.total(), count, "damaged files"), figures(total))


def figures(verdicts: Counter) -> str:
    others = [f"{times:,} {verdict}" for verdict, times in sorted(verdicts.items()) if verdict not in _WORDS]
    return ", ".join([f"{verdicts['refused']:,} refused", f"{verdicts['accepted']:,} accepted rightly", *others])


if __name__ == "__main__":
    judge_all(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
