"""Small things about files that several scripts need."""

import os
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
