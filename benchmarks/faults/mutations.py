"""The experiment that decodes damaged pictures, and the program that decodes them in a process of its own.

`python -m benchmarks.faults.mutations SEED FIRST COUNT FOLDER`

judges damaged pictures by their numbers, prints a verdict for each, and keeps those that should have been refused.
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

import numpy as np

from benchmarks.faults.campaign import Experiment, Row, format_tried
from benchmarks.harness.processes import ROOT
from config import ImageConfig
from pictures.decoding import UnreadableImage, decode_image, load_image
from tests.helpers.mutations import by_pillow, mutated, samples

_MAX_PIXELS = 10**6  # of damaged files, whose headers may declare any size
_FULL_SIZE = 10**6  # pixels: with this smallest side, nothing is decoded at a fraction of its size
_MAX_DIFFERENCE = 4  # gray levels, on average, by which a picture may differ from what Pillow shows
_MAX_SECONDS = 60  # for one picture
_PICTURES_PER_PROCESS = 500
_REFUSED, _ACCEPTED = "refused", "accepted"  # all other verdicts are failures


# ---- in a process of its own ----


def judge(data: bytes) -> str:
    """Returns the verdict on a picture."""
    try:
        load_image(data, ImageConfig(), max_pixels=_MAX_PIXELS)
        pixels = decode_image(data, mode="RGB", min_side=_FULL_SIZE, max_pixels=_MAX_PIXELS)
    except UnreadableImage:
        return _REFUSED
    except Exception as error:
        return f"raised {type(error).__name__}"
    try:
        expected = by_pillow(data)
    except Exception:
        return "accepted, but refused by Pillow"
    if pixels.shape != expected.shape:
        return "accepted with another size than Pillow's"
    same = np.abs(pixels - expected).mean() <= _MAX_DIFFERENCE
    return _ACCEPTED if same else "accepted with other pixels than Pillow's"


def damaged_picture(seed: int, number: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Returns the kind and the content of a damaged picture, which follow from its number."""
    kind, data = files[number % len(files)]
    return kind, mutated(data, random.Random(f"{seed}/{number}"))


def judge_all(seed: int, first: int, count: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    files = list(samples().items())
    for number in range(first, first + count):
        kind, data = damaged_picture(seed, number, files)
        verdict = judge(data)
        if verdict not in (_REFUSED, _ACCEPTED):
            (folder / f"damaged-{number}").write_bytes(data)
        print(json.dumps((number, kind, verdict)), flush=True)


# ---- the experiment ----


def verdicts_of(seed: int, first: int, count: int, folder: Path) -> Iterator[tuple[int, str, str]]:
    """Yields number, kind and verdict of damaged pictures in order, even if one crashes or hangs its process."""
    end = first + count
    files = list(samples().items())
    while first < end:
        command = [sys.executable, "-m", __name__, *map(str, (seed, first, end - first, folder))]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: queue.Queue[str] = queue.Queue()

        def read(stream=process.stdout, lines=lines) -> None:
            for line in stream:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        problem = "crashed"
        try:
            while line := lines.get(timeout=_MAX_SECONDS):
                number, kind, verdict = json.loads(line)
                yield number, kind, verdict
                first += 1
        except queue.Empty:
            problem = "hung"
        process.kill()
        process.wait()
        if first < end:
            kind, data = damaged_picture(seed, first, files)
            (folder / f"damaged-{first}").write_bytes(data)
            yield first, kind, problem
            first += 1


def damaged_pictures(experiment: Experiment, *, count: int, seed: int) -> Iterator[Row]:
    verdicts: dict[str, Counter] = defaultdict(Counter)  # by format
    with experiment.case("files") as (folder, _), ThreadPoolExecutor(os.cpu_count()) as pool:

        def judge_some(first: int) -> list[tuple[int, str, str]]:
            if first and not experiment.has_time():
                return []
            return list(verdicts_of(seed, first, min(_PICTURES_PER_PROCESS, count - first), folder))

        for results in pool.map(judge_some, range(0, count, _PICTURES_PER_PROCESS)):
            for number, kind, verdict in results:
                verdicts[kind.partition(",")[0]][verdict] += 1
                if verdict not in (_REFUSED, _ACCEPTED):
                    experiment.fail(f"number {number}, {kind}: {verdict} (kept in {folder})")
    for name, own in verdicts.items():
        yield Row(f"{experiment.name}: {name}", f"{own.total():,} files", format_verdicts(own))
    total = sum(verdicts.values(), Counter())
    yield Row(experiment.name, format_tried(total.total(), count, "damaged files"), format_verdicts(total))


def format_verdicts(verdicts: Counter) -> str:
    failures = [f"{times:,} {name}" for name, times in sorted(verdicts.items()) if name not in (_REFUSED, _ACCEPTED)]
    figures = [f"{verdicts[_REFUSED]:,} refused", f"{verdicts[_ACCEPTED]:,} correctly accepted"]
    return ", ".join([*figures, *failures])


if __name__ == "__main__":
    judge_all(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
