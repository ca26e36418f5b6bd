"""Showing progress and file names on a terminal."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30


@contextlib.contextmanager
def progress(total: int, description: str, *, leave: bool = True) -> Iterator[Callable[[int], object]]:
    """Shows the progress of work on many pictures. Yields a function to call with the number that were just finished.

    On a terminal it is a bar with the rate and the time left; it is erased at the end unless `leave` is set. Elsewhere
    it is one line every 30 seconds, so quick work leaves nothing in a log.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=description, unit="img", leave=leave) as bar:
            yield bar.update
        return
    done, start = 0, time.monotonic()
    due = start + _SECONDS_BETWEEN_LINES

    def advance(count: int) -> None:
        nonlocal done, due
        done += count
        now = time.monotonic()
        if now >= due:
            due = now + _SECONDS_BETWEEN_LINES
            rate = done / max(now - start, 1e-9)
            left = tqdm.format_interval((total - done) / max(rate, 1e-9))
            line = f"{description}: {done:,} of {total:,}, {rate:,.0f} img/s, {left} left"
            print(line, file=sys.stderr, flush=True)

    yield advance


def printable(name: str | os.PathLike[str]) -> str:
    """Returns a file name on one line: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in os.fspath(name))
