"""Writing files completely or not at all, flushing them to disk, and locking folders.

Writing is ours because the library for it, atomicwrites, is no longer maintained.
"""

import atexit
import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from system.errors import UserError
from system.startup import owns_process
from system.terminal import printable

_PARTIAL_SUFFIX = ".part"  # of a file that is being written; its name also starts with a dot, so listings ignore it
_LOCK_NAME = ".lock"
MAX_NAME_BYTES = 255 - len(f".{_PARTIAL_SUFFIX}")  # of a file that is written: file systems allow 255
_unfinished: set[Path] = set()  # files and folders that are not yet complete, to delete if the process ends at once
_has_temporary_folder = False


def write_atomically(path: Path, *data: bytes | memoryview, fsync: bool = True) -> None:
    """Creates missing folders, writes a file under a temporary name, and renames it once it is complete.

    Its content is all of `data`, one after the other.

    A reader, or a run after a crash, sees either the complete new file or the complete old one. With `fsync` this also
    holds after a power cut. Without it, call `fsync_all` once for many files before relying on them.
    """
    temporary = path.with_name(f".{path.name}{_PARTIAL_SUFFIX}")
    _unfinished.add(temporary)
    try:
        try:
            _write(temporary, data)
        except FileNotFoundError:  # the folder is missing: made once for all of its files
            made = _make_folders(path.parent)
            if fsync:
                for folder in made:
                    _fsync(folder.parent)
            _write(temporary, data)
        except FileExistsError:  # left by a killed writer; it could be a link, so it is replaced and not written to
            temporary.unlink()
            _write(temporary, data)
        if fsync:
            _fsync(temporary)
        temporary.replace(path)
        _unfinished.discard(path)
    except BaseException as error:  # Ctrl-C as well as a full disk
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.strerror:
            error.filename, error.filename2 = os.fspath(path), None  # an error of write() does not name its file
        raise
    finally:
        _unfinished.discard(temporary)
    if fsync:
        _fsync(path.parent)


def _write(path: Path, data: Iterable[bytes | memoryview]) -> None:
    with path.open("xb") as file:
        file.writelines(data)


def create_atomically(path: Path, chunks: Iterable[bytes], *, like: Path | None = None) -> None:
    """Writes a new file under a temporary name, and renames it once it is complete.

    Args:
        path: the file, in a folder that exists; its name has at most `MAX_NAME_BYTES`.
        chunks: its content.
        like: a file whose times and permissions it gets, if any.

    Raises:
        FileExistsError: there is something of this name already. It is not touched.
    """
    temporary = path.with_name(f".{os.getpid()}{_PARTIAL_SUFFIX}")  # another process may write the same file
    _unfinished.add(temporary)
    try:
        temporary.unlink(missing_ok=True)  # left by a killed writer; it could be a link, which is not written to
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
        if like:
            with contextlib.suppress(OSError):  # some network drives keep no permissions; the content is what counts
                shutil.copystat(like, temporary)
        _rename_to_new(temporary, path)
    except OSError as error:
        if error.strerror and error.filename in (None, os.fspath(temporary)):  # an error of write() names no file
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _unfinished.discard(temporary)


def _rename_to_new(path: Path, target: Path) -> None:
    """Gives a file another name. Raises FileExistsError if it is taken."""
    if os.name != "nt":  # there, renaming never replaces a file
        try:
            target.hardlink_to(path)
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links, as on memory cards
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target)) from None
    path.rename(target)


def _make_folders(folder: Path) -> list[Path]:
    """Makes a folder and those that contain it. Returns those that did not exist, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _fsync(path: Path) -> None:
    """Returns once a file, or the names in a folder, would survive a power cut."""
    folder = path.is_dir()
    if os.name == "nt" and folder:  # Windows flushes folders by itself and offers no call for it
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (folder and error.errno in (errno.EINVAL, errno.ENOTSUP)):  # some network drives do not support it
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def reserved(path: Path) -> Iterator[None]:
    """Creates an empty file, which the block is to write at its end; so work is not done for what cannot be written.

    If the block ends without writing it, the file is deleted, with the folders that were created for it.

    Raises:
        OSError: it exists already or cannot be created.
    """
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:  # `write_atomically` needs a longer name meanwhile
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.fspath(path))
    made = _make_folders(path.parent)
    _unfinished.add(path)  # before it is created: a signal may come in between
    try:
        try:
            path.open("xb").close()
        except OSError:
            _unfinished.discard(path)
            raise
        yield
    finally:
        if path in _unfinished:
            _unfinished.discard(path)
            path.unlink(missing_ok=True)
        _remove_empty_folders(made)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder with a temporary name, which gets its own name when the block ends without an error.

    After an error it is deleted, with the folders that were created for it; so there is a complete folder or none.

    Raises:
        OSError: there is something of this name already, or the folder cannot be created.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
    made = _make_folders(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL_SUFFIX}")
    _unfinished.add(temporary)  # before it is created: a signal may come in between
    try:
        try:
            temporary.mkdir()
        except OSError:
            _unfinished.discard(temporary)
            raise
        yield temporary
        temporary.rename(path)
    except OSError as error:
        if error.filename and Path(error.filename).is_relative_to(temporary):  # a name that nobody has seen
            error.filename = os.fspath(path / Path(error.filename).relative_to(temporary))
        raise
    finally:
        if temporary in _unfinished:
            _unfinished.discard(temporary)
            shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty_folders(made)


def remove_unfinished_files() -> None:
    """Deletes what is not yet complete, when the process ends at once and no exception can do it."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def use_own_temporary_folder() -> None:
    """Lets libraries write temporary files to a folder that is removed when the process ends, unless it is killed.

    TensorFlow leaves some behind when it is interrupted, and ONNX Runtime always does. In a process that is not the
    script's own, or without a place for temporary files, nothing is changed.
    """
    global _has_temporary_folder
    if _has_temporary_folder or not owns_process():
        return
    with contextlib.suppress(OSError):
        folder = tempfile.mkdtemp(prefix="classifier-")
        _unfinished.add(Path(folder))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        tempfile.tempdir = os.environ["TMPDIR"] = folder  # the variable is for libraries that are not in Python
        _has_temporary_folder = True


def fsync_all(paths: Sequence[Path]) -> None:
    """Returns once files that were written without `fsync` would survive a power cut.

    On Linux this is one sync() of all disks. For many files it takes a hundredth of the time of flushing each, but it
    also flushes the files of other programs and does not report a failing disk.
    """
    if sys.platform == "linux":  # elsewhere sync() may return before it is done
        os.sync()
        return
    for path in paths:
        _fsync(path)
    for folder in {path.parent for path in paths}:
        _fsync(folder)


def remove_partial_files(folder: Path, is_ours: Callable[[str], object]) -> None:
    """Deletes the partial files that killed writers left below a folder. Call it only while the folder is `locked`.

    `is_ours` is called with the final name of each partial file and returns whether this toolkit writes such files.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            final_name = name.removeprefix(".").removesuffix(_PARTIAL_SUFFIX)
            if name == f".{final_name}{_PARTIAL_SUFFIX}" and is_ours(final_name):
                Path(parent, name).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Gives this process exclusive use of a folder, which is created if necessary, until the block or process ends.

    The operating system releases the lock of a killed process. On file systems without locks, a lock file is left
    behind that has to be deleted by hand. If nothing was written to a new folder, it is removed again.

    Raises:
        UserError: another process holds the lock and `wait` is not set.
    """
    from filelock import FileLock, Timeout  # here, because loading it takes 0.01 s, and predict.py locks nothing

    made = _make_folders(folder)
    lock = FileLock(folder / _LOCK_NAME)
    is_waiting = False
    while True:
        try:
            lock.acquire(blocking=is_waiting)
            if (folder / _LOCK_NAME).exists():
                break
            lock.release()
        except Timeout:
            if not wait:
                raise UserError(f"{printable(folder)}: another run is using this folder; wait or stop it") from None
            print(f"{printable(folder)}/: another run is using this folder; waiting", file=sys.stderr, flush=True)
            is_waiting = True
        except FileNotFoundError:  # the other run has written nothing, and removed the folder
            made = _make_folders(folder)
    try:
        yield
    finally:
        _remove_empty_folders(made)
        lock.release()


def _remove_empty_folders(folders: Sequence[Path]) -> None:
    """Removes folders, the innermost first, if there is nothing in them but a lock: nothing was done there."""
    with contextlib.suppress(OSError):
        for folder in folders:
            if [path.name for path in folder.iterdir()] == [_LOCK_NAME]:
                (folder / _LOCK_NAME).unlink()
            folder.rmdir()
