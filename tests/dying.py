"""Runs that die at any change they make to files, as by kill -9: from then on they change nothing any more."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


class Killed(BaseException):
    """So that no handler of ordinary errors sees it."""


class _Death:
    def __init__(self, folder: Path, after: int) -> None:
        self.folder, self.left = os.fspath(folder), after

    def look_at(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            path, changes = arguments[0], event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if changes and os.fspath(path).startswith(self.folder) and not os.fspath(path).endswith(".lock"):
            self.left -= 1
            if self.left < 0:
                raise Killed


_death: _Death | None = None


@contextlib.contextmanager
def dying(folder: Path, *, after: int) -> Iterator[_Death]:
    """Lets so many changes below a folder happen, and none after those."""
    global _death
    _death = _Death(folder, after)
    try:
        with contextlib.suppress(Killed):
            yield _death
    finally:
        _death = None


def _hook(event: str, arguments: tuple) -> None:
    if _death and (event == "open" or event.startswith("os.")) and isinstance(arguments[0], str | os.PathLike):
        _death.look_at(event, arguments)


sys.addaudithook(_hook)  # sees what the interpreter is about to ask of the system; there is no way to remove it
