"""Experiments of the reliability benchmark: their time, their cases and their failures."""

import contextlib
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Failure(Exception):
    """Something was lost, or something wrong was accepted."""


def expect(condition: object, message: str) -> None:
    if not condition:
        raise Failure(message)


class Row(NamedTuple):
    """One row of the table."""

    name: str
    tried: str
    result: str


class Experiment:
    """One experiment in progress."""

    def __init__(self, name: str, folder: Path, *, size: float, seed: int, seconds: float) -> None:
        """`size` and `seed` are those of the command line; `seconds` is the time that the experiment may take."""
        self.name = name
        self.failures: list[str] = []
        self._folder = folder
        self._seed = seed
        self._repeat = f"{name} --size {size:g} --seed {seed}"
        self._deadline = time.monotonic() + seconds

    def has_time(self) -> bool:
        return time.monotonic() < self._deadline

    def numbers(self, count: int) -> Iterator[int]:
        """Yields 0, 1, 2… below `count`; always 0, and the others only while there is time."""
        for number in range(count):
            if number and not self.has_time():
                return
            yield number

    @contextlib.contextmanager
    def case(self, name: str) -> Iterator[tuple[Path, random.Random]]:
        """Provides a new folder and a generator that follows from the seed. The folder is kept if the case fails."""
        folder = self._folder / f"{self.name}-{name}".replace(" ", "-")
        folder.mkdir()
        print(f"  {self.name}, {name}", file=sys.stderr, flush=True)
        before = len(self.failures)
        try:
            yield folder, random.Random(f"{self._seed}/{self.name}/{name}")
        except Failure as failure:
            self.fail(f"{name}: {failure} (kept in {folder})")
        if len(self.failures) == before:
            shutil.rmtree(folder)

    def fail(self, message: str) -> None:
        self.failures.append(f"{self.name}, {message}; to repeat: {self._repeat}")
        print(f"  FAILED: {self.failures[-1]}", file=sys.stderr, flush=True)


def format_tried(done: int, planned: int, what: str) -> str:
    """Returns how much was tried, and whether that was all."""
    return f"{done:,} {what}" if done >= planned else f"{done:,} of {planned:,} {what}, when the time was up"
