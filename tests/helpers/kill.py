"""Runs that are killed at a chosen change of their files, and processes that can be interrupted."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.pictures import ROOT


class Killed(BaseException):
    """Not an Exception, so that no handler of ordinary errors catches it."""


class Kill:
    """Counts the changes to files below a folder, and prevents all after the last allowed one."""

    def __init__(self, folder: Path, changes: int) -> None:
        self._folder, self._left = os.fspath(folder), changes

    @property
    def happened(self) -> bool:
        return self._left < 0

    def check(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            path, changes = arguments[0], event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if changes and os.fspath(path).startswith(self._folder) and not os.fspath(path).endswith(".lock"):
            self._left -= 1
            if self._left < 0:
                raise Killed


_kill: Kill | None = None


@contextlib.contextmanager
def killed(folder: Path, *, after: int) -> Iterator[Kill]:
    """Ends the block, like kill -9, after so many changes below a folder: no cleanup can change anything either."""
    global _kill
    _kill = Kill(folder, after)
    try:
        with contextlib.suppress(Killed):
            yield _kill
    finally:
        _kill = None


def _hook(event: str, arguments: tuple) -> None:
    if _kill and (event == "open" or event.startswith("os.")) and isinstance(arguments[0], str | os.PathLike):
        _kill.check(event, arguments)


sys.addaudithook(_hook)  # called before each operation on a file; it cannot be removed


def kill_script(name: str, *arguments: object, folder: Path, suffix: str, count: int, cwd: Path) -> None:
    """Runs a script and kills it as soon as a folder has this many files with the suffix."""
    run = subprocess.Popen([sys.executable, str(ROOT / name), *map(str, arguments)], cwd=cwd, stdout=subprocess.DEVNULL)
    with run:
        while sum(path.name.endswith(suffix) for path in folder.rglob("*")) < count:
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL


def contents(folder: str | Path) -> dict[str, bytes | None]:
    """Returns all files and folders below a folder, except for the lock."""
    folder = Path(folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.name != ".lock"}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def restore(folder: Path, state: Path) -> None:
    """Replaces a folder by a copy of another one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(state, folder)


def restore_interrupt() -> None:
    """Lets a new process, as its `preexec_fn`, react to SIGINT, which it ignores if the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
