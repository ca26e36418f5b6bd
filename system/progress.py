"""Showing how far long work is: live on a terminal, a few lines in a log."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from system.terminal import can_redraw, columns, fitted

if TYPE_CHECKING:
    from system.bar import Bar

_SECONDS_BETWEEN_LINES = 30
_SECONDS_BETWEEN_TEXTS = 0.1
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


@contextlib.contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows a text in place of the one before, and "" erases it; so does the end of the block.

    Nothing is shown where `status` shows nothing. A text that comes a moment after another is left out. Erase the text
    before anything else is printed.
    """
    if not (can_redraw(sys.stdout) and can_redraw(sys.stderr)):
        yield lambda text: None
        return
    shown, drawn = 0, 0.0

    def show(text: str) -> None:
        nonlocal shown, drawn
        now = time.monotonic()
        if text and now - drawn < _SECONDS_BETWEEN_TEXTS:
            return
        width = min(columns(text), shutil.get_terminal_size().columns - 1)  # a full line would break
        print(fitted(text, width) + " " * (shown - width), end="\r", file=sys.stderr, flush=True)
        shown, drawn = width, now if text else 0.0

    try:
        yield show
    finally:
        show("")


def format_seconds(seconds: float) -> str:
    """Returns a duration as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
