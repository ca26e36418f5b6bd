"""Runs that are killed at a chosen change of their files, and processes that can be interrupted."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

# What changes a file or folder, as pathlib calls it.
CHANGES = ((io, "open"), *((os, name) for name in ("replace", "rename", "unlink", "remove", "mkdir", "rmdir")))


class Killed(BaseException):
    """Not an Exception, so that no handler of ordinary errors catches it."""


class Kill:
    """Counts the changes to files below a folder, and prevents all after the last allowed one."""

    def __init__(self, folder: Path, changes: int) -> None:
        self._folder, self._left = os.fspath(folder), changes

    @property
    def happened(self) -> bool:
        return self._left < 0

    def before(self, function: Callable) -> Callable:
        """Returns a function of io or os that changes its first argument, with the count before it."""
        opens = function is io.open  # asked here, since io.open is replaced later

        def counted(path, *arguments, **options):
            mode = str(arguments[0] if arguments else options.get("mode", "r")) if opens else "w"
            name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
            if set(mode) & set("wxa+") and name.startswith(self._folder) and not name.endswith(".lock"):
                self._left -= 1
                if self._left < 0:
                    raise Killed
            return function(path, *arguments, **options)

        return counted


@contextlib.contextmanager
def killed(folder: Path, *, after: int) -> Iterator[Kill]:
    """Ends the block, like kill -9, after so many changes below a folder: no cleanup can change anything either.

    The functions behind pathlib are replaced meanwhile. An audit hook would see every change too, but it cannot be
    removed, and CPython 3.11 may then fail to start two threads at once under coverage.
    """
    kill = Kill(folder, after)
    with contextlib.ExitStack() as stack:
        for module, name in CHANGES:
            stack.enter_context(mock.patch.object(module, name, kill.before(getattr(module, name))))
        with contextlib.suppress(Killed):
            yield kill


def contents(folder: str | Path) -> dict[str, bytes | None]:
    """Returns all files and folders below a folder, except for the lock. Fails if there are none."""
    folder = Path(folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.name != ".lock"}
    assert found, f"nothing was made in {folder}"
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def restore(folder: Path, state: Path) -> None:
    """Replaces a folder by a copy of another one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(state, folder)
