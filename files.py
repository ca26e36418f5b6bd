"""Small things about files that several scripts need."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a run after a crash, sees all of it or none of it.

    The temporary name begins with a dot, which every listing of pictures passes over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)


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
