"""New pictures in a folder, as they arrive.

watchfiles was chosen over watchdog: it is a plain iterator over changes that are grouped already, where watchdog calls
back from threads of its own; and an environment variable makes it look again and again, as network drives need it.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pictures.decoding import LoadedPicture
from pictures.folders import is_ignored, picture_files
from system.errors import UserError
from system.terminal import printable

Arrived = list[tuple[Path, LoadedPicture | str]]
Read = Callable[[dict[Path, Path | None]], Iterable[LoadedPicture | str]]

_QUIET_SECONDS = 0.3  # without a change before a file is read: it may still be copied
_PATIENCE = 5.0  # seconds without a change before a file that cannot be read is reported
_BATCH = 64  # pictures that are in memory at a time
# Milliseconds without changes that end a group of changes, with changes, and without any.
_STEP, _DEBOUNCE, _TIMEOUT = 50, 200, 100
_NOT_UTF8 = "Unable to decode path"  # in the error of watchfiles about a file name that is not UTF-8


def watch_pictures(
    folder: Path, read: Read, *, quiet_seconds: float = _QUIET_SECONDS, patience: float = _PATIENCE
) -> Iterator[Arrived]:
    """Starts to watch a folder, and returns an iterator over the pictures that appear below it, at any depth.

    Pictures that are there already are left out, unless they are replaced later. A file is read once it has not changed
    for a moment, so one that is copied slowly appears once. If it cannot be read, that is tried again when it changes,
    and it is reported when it has not changed for some seconds. Which files and links count is as in `picture_files`.

    Args:
        folder: the folder. It is watched until the iterator is closed.
        read: called with files, each with the folder that a link must not leave. Returns for each, in order, a picture
            or the reason why it cannot be read, as `try_read_picture` does.
        quiet_seconds: without a change before a file is read.
        patience: seconds without a change before a file that cannot be read is reported.

    Yields:
        files, each with a picture or with the reason why it cannot be read: lists of at most 64 pictures.

    Raises:
        UserError: there is no such folder, it cannot be watched, or it is gone.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    arrivals = _arrivals(folder, read, quiet_seconds, patience)
    next(arrivals)  # starts to watch
    return arrivals


def _arrivals(folder: Path, read: Read, quiet_seconds: float, patience: float) -> Iterator[Arrived]:
    with contextlib.closing(_changes(folder)) as changes:
        first = next(changes)
        files = _Files(folder, quiet_seconds, patience)
        files.add(first)
        yield []
        for changed in changes:
            files.add(changed)
            while due := files.due():
                if arrived := files.arrived(due, read(dict.fromkeys(due, folder))):
                    yield arrived
            if overdue := files.overdue():
                yield overdue


def _changes(folder: Path) -> Generator[list[tuple[Path, bool]], None, None]:
    """Yields the paths that have changed, each with whether it is new; an empty list after a moment without changes.

    Raises:
        UserError: there is no such folder, it cannot be watched, or it is gone.
    """
    if not folder.is_dir():
        raise UserError(f"{printable(folder)}: there is no such folder to watch; check the name")
    # Names are made relative, since some systems report the place to which a link to the folder leads.
    root = folder.resolve()
    identity = _identity(root)
    has_missed_some = False
    while True:
        try:
            for changed in _changes_since_now(root):
                if _identity(root) != identity:
                    raise UserError(f"{printable(folder)}: the folder is gone, so it is not watched any more")
                found = [(folder / path.relative_to(root), is_new) for path, is_new in changed]
                yield [*found, *((path, False) for path in picture_files(folder))] if has_missed_some else found
                has_missed_some = False
        except (OSError, RuntimeError) as error:
            if _NOT_UTF8 in str(error):  # it ends watchfiles, but not us: all files are looked at instead
                has_missed_some = True
                continue
            reason = printable(str(error))  # a limit of the system, or a drive that was removed
            remedy = "try it with the environment variable WATCHFILES_FORCE_POLLING=true"
            raise UserError(f"{printable(folder)}: cannot be watched: {reason}; {remedy}") from None


def _changes_since_now(root: Path) -> Iterator[list[tuple[Path, bool]]]:
    from watchfiles import Change, watch  # here, because loading it takes 0.05 s

    for changes in watch(
        root,
        watch_filter=None,
        step=_STEP,
        debounce=_DEBOUNCE,
        rust_timeout=_TIMEOUT,
        yield_on_timeout=True,
        ignore_permission_denied=True,  # of a folder below it
    ):
        yield [(Path(name), change == Change.added) for change, name in changes]


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass
class _Waiting:
    """A file that has changed, or a new folder."""

    since: float  # its last change
    reason: str = ""  # why it cannot be read as it is
    signature: tuple[int, int] | None = None  # as it was read


class _Files:
    """The files below a watched folder: those that are known, and those that have changed."""

    def __init__(self, folder: Path, quiet_seconds: float, patience: float) -> None:
        self._folder, self._quiet_seconds, self._patience = folder, quiet_seconds, patience
        self._known = {path: _signature(path) for path in picture_files(folder)}
        self._waiting: dict[Path, _Waiting] = {}

    def add(self, changed: Iterable[tuple[Path, bool]]) -> None:
        """Notes what has changed: paths, each with whether it is new."""
        now = time.monotonic()
        for path, is_new in changed:
            if self._is_ours(path) and (is_new if _is_folder(path) else self._has_changed(path)):
                self._waiting[path] = _Waiting(now)

    def _is_ours(self, path: Path) -> bool:
        """Returns whether `picture_files` would find a path: it is not ignored, nor reached through a link."""
        parts = path.relative_to(self._folder).parts
        above = (self._folder.joinpath(*parts[:depth]) for depth in range(1, len(parts)))
        return bool(parts) and not any(map(is_ignored, parts)) and not any(folder.is_symlink() for folder in above)

    def _has_changed(self, path: Path) -> bool:
        """Returns whether the content of a file may be new. Forgets a file that does not exist any more."""
        signature = _signature(path)
        if signature is None:
            self._known.pop(path, None)
        if signature in (None, self._known.get(path)):
            self._waiting.pop(path, None)
            return False
        return True

    def due(self) -> list[Path]:
        """Returns up to 64 files to read now. The files of a new folder will be due in turn."""
        latest = time.monotonic() - self._quiet_seconds
        due = [path for path, file in self._waiting.items() if not file.reason and file.since <= latest]
        for folder in filter(_is_folder, due):  # its first files may have come before it was watched
            del self._waiting[folder]
            with contextlib.suppress(OSError):  # it is gone, or cannot be opened
                self.add((path, True) for path in picture_files(folder) if path not in self._waiting)
        files = [path for path in due if path in self._waiting and self._has_changed(path)][:_BATCH]
        for path in files:
            self._waiting[path].signature = _signature(path)
        return files

    def arrived(self, due: Iterable[Path], pictures: Iterable[LoadedPicture | str]) -> Arrived:
        """Returns those of the files that are complete. Of the others, notes why they cannot be read."""
        arrived: Arrived = []
        for path, picture in zip(due, pictures, strict=True):
            file = self._waiting[path]
            if _signature(path) != file.signature:  # it has changed meanwhile
                file.since = time.monotonic()
            elif isinstance(picture, str):
                file.reason = picture
            else:
                arrived.append((path, picture))
                self._finish(path)
        return arrived

    def overdue(self) -> Arrived:
        """Returns the files that cannot be read and have not changed for long, with the reasons."""
        latest = time.monotonic() - self._patience
        reasons = {path: file.reason for path, file in self._waiting.items() if file.reason and file.since <= latest}
        for path in reasons:
            self._finish(path)
        return list(reasons.items())

    def _finish(self, path: Path) -> None:
        self._known[path] = self._waiting.pop(path).signature


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _signature(path: Path) -> tuple[int, int] | None:
    """Returns what changes with the content of a file; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
