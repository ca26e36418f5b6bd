"""A progress bar, drawn by rich. Only imported where there is a terminal, because loading rich takes 0.05 s."""

import sys
import time
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from system.terminal import is_terminal

_SECONDS_BETWEEN_DRAWS = 0.2  # drawing takes 0.6 ms
_WIDTH = 24  # of the bar alone; the line has room for ^C, which else would break it


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """Leaves the cursor visible, since after a kill nothing would show it again."""
        return False


class Bar:
    """A line at the bottom of a terminal: description, bar, done/total, text. What is printed appears above it.

    It is only drawn by `update` and `show`, without a thread, and is erased by `close`.
    """

    def __init__(self, stream: IO[str], total: int, description: str, text: str = "") -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            # Colors that can be seen on light and on dark backgrounds. rich leaves them out if NO_COLOR is set.
            BarColumn(_WIDTH, style="bright_black", complete_style="green", finished_style="green"),
            TextColumn("{task.completed:,}/{task.total:,}"),
            TextColumn("{task.fields[text]}", markup=False),
            console=_Console(file=stream),
            auto_refresh=False,
            transient=True,
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),
        )
        self._task = self._progress.add_task(description, total=total, text=text)
        self._progress.start()
        self._drawn = time.monotonic()

    def update(self, done: int, text: str) -> None:
        """Shows how much is done, unless the bar was drawn a moment ago."""
        now = time.monotonic()
        if is_due := now - self._drawn >= _SECONDS_BETWEEN_DRAWS:
            self._drawn = now
        self._progress.update(self._task, completed=done, text=text, refresh=is_due)

    def show(self, text: str) -> None:
        """Shows another text at once."""
        self._progress.update(self._task, text=text, refresh=True)

    def close(self) -> None:
        self._progress.stop()
