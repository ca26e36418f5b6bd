"""Showing how far long work is: live on a terminal, a few lines in a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from system.terminal import can_redraw

if TYPE_CHECKING:
    from system.bar import Bar

_SECONDS_BETWEEN_LINES = 30
_bar: "Bar | None" = None  # the one that is on the terminal now


@contextlib.contextmanager
def progress(total: int, description: str) -> Iterator[Callable[[int], object]]:
    """Shows the progress of work on many pictures. Yields a function to call with the number that were just finished.

    On a terminal it is a bar with the rate and the time left, erased at the end. Elsewhere it is one line on stderr
    every 30 seconds, so quick work leaves nothing in a log.
    """
    stream = next(filter(can_redraw, (sys.stdout, sys.stderr)), None)
    with live_bar(stream, total, description) as bar:
        done, start = 0, time.monotonic()
        due = start + _SECONDS_BETWEEN_LINES

        def advance(count: int) -> None:
            nonlocal done, due
            done += count
            now = time.monotonic()
            rate = done / max(now - start, 1e-9)
            pace = f"{rate:,.0f} img/s, {format_seconds((total - done) / max(rate, 1e-9))} left"
            if bar:
                bar.update(done, pace)
            elif now >= due:
                due = now + _SECONDS_BETWEEN_LINES
                print(f"{description}: {done:,} of {total:,}, {pace}", file=sys.stderr, flush=True)

        yield advance


@contextlib.contextmanager
def live_bar(stream: IO[str] | None, total: int, description: str, text: str = "") -> Iterator["Bar | None"]:
    """Yields a bar on a terminal until the block ends; or None if there is no stream, or nothing to do."""
    global _bar
    if stream is None or not total:
        yield None
        return
    from system.bar import Bar  # here, because a run without a terminal does not need it

    _bar = bar = Bar(stream, total, description, text)
    try:
        yield bar
    finally:
        _bar = None
        bar.close()


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """Says on a terminal what takes a while, and erases it when the block ends.

    It says nothing if one of the standard streams is not the terminal: its reader could write into the same line.
    """
    if bar := _bar:
        bar.show(text)
        yield
        return
    if not (can_redraw(sys.stdout) and can_redraw(sys.stderr)):
        yield
        return
    print(text, end="\r", file=sys.stderr, flush=True)  # a warning that comes meanwhile is written over it
    try:
        yield
    finally:
        print(" " * len(text), end="\r", file=sys.stderr, flush=True)


def format_seconds(seconds: float) -> str:
    """Returns a duration as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
