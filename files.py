"""Small things about files that several scripts need: writing them whole, showing progress, naming them."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from config import UserError

_TEMPORARY = ".part"  # ends the name of a file that is being written; a dot begins it, so that listings pass over it
_LOCK = ".lock"
_SECONDS_BETWEEN_LINES = 30


def write_atomically(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Writes a file, and the folders above it, under a temporary name and gives it its own once all is written.

    So a reader, or a run after a crash, sees all of the new file or all of the old one. With `flush` that holds for a
    power cut too; without, whoever writes many files calls `flush_to_disk` once before relying on them.
    """
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    try:
        try:
            _write(temporary, data)
        except FileNotFoundError:  # the folder, once for all of its files
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, data)
        except FileExistsError:  # the leftover of a killed writer; were it a link, what it leads to must not be written
            temporary.unlink()
            _write(temporary, data)
        if flush:
            _flush(temporary)
        temporary.replace(path)
    except BaseException as error:  # Ctrl-C as well as a full disk
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.strerror:
            error.filename, error.filename2 = os.fspath(path), None  # which writing alone does not tell
        raise
    if flush:
        _flush(path.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)


def _flush(path: Path) -> None:
    """Returns when the system says that a file, or the names in a folder, would survive a power cut."""
    folder = path.is_dir()
    if os.name == "nt" and folder:  # Windows flushes them by itself, and lets nobody ask
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (folder and error.errno in (errno.EINVAL, errno.ENOTSUP)):  # some network drives cannot
            raise
    finally:
        os.close(handle)


def flush_to_disk(paths: Iterable[Path]) -> None:
    """Returns when files that were written without `flush` would survive a power cut.

    Of many files that takes Linux a hundredth of the time that flushing each takes, though it flushes those of others
    too, and tells of no disk that has failed.
    """
    if sys.platform == "linux":  # elsewhere sync() may return before it is done
        os.sync()
        return
    for path in paths:
        _flush(path)
    for folder in {path.parent for path in paths}:
        _flush(folder)


def remove_leftovers(folder: Path, is_ours: Callable[[str], object]) -> None:
    """Deletes what writers that were killed have left below a folder; only while `locked` keeps out the living.

    `is_ours` is asked whether the file that was being written, by its name, is one of ours.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            whole = name.removeprefix(".").removesuffix(_TEMPORARY)
            if name == f".{whole}{_TEMPORARY}" and is_ours(whole):
                Path(place, name).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keeps a folder, which is made if need be, to this process until the end, whichever way it ends.

    So does the system on file systems that have locks; on others a file is left behind that has to be deleted by hand.

    Raises:
        UserError: another process has it, and it is not to be waited for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not wait:
            raise UserError(f"{printable(folder)}: another run is at work here; wait for its end or end it") from None
        print(f"{printable(folder)}/: another run is at work here; waiting for its end", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def progress(total: int, description: str, *, leave: bool = True) -> Iterator[Callable[[int], object]]:
    """Shows how far work on many pictures is: gives a function to be told how many more are done.

    On a terminal it is a bar with rate and time left, which vanishes in the end unless it is to be left; elsewhere it
    is a plain line every half a minute, so that quick work leaves no trace in a log.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=description, unit="img", leave=leave) as bar:
            yield bar.update
        return
    done, began = 0, time.monotonic()
    due = began + _SECONDS_BETWEEN_LINES

    def advance(count: int) -> None:
        nonlocal done, due
        done += count
        now = time.monotonic()
        if now >= due:
            due = now + _SECONDS_BETWEEN_LINES
            rate = done / max(now - began, 1e-9)
            left = tqdm.format_interval((total - done) / max(rate, 1e-9))
            line = f"{description}: {done:,} of {total:,}, {rate:,.0f} img/s, {left} left"
            print(line, file=sys.stderr, flush=True)

    yield advance


def printable(name: str | os.PathLike[str]) -> str:
    """A file name on one line of a terminal: control characters and bytes that are no UTF-8 are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in os.fspath(name))


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Keeps TensorFlow's libraries from writing to stderr while they load, and from all but fatal messages later.

    They write a dozen lines about processors and missing GPU drivers before any setting of theirs is read, so the file
    descriptor itself is turned away for the moment. A Python exception passes through as always.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
