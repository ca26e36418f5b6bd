"""What a folder contains, for tests that compare it with another one, or with what it contained before."""

import sys
from pathlib import Path

import pytest

needs_any_letter = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8", reason="in this locale, file names cannot have all letters"
)


def contents(folder: str | Path) -> dict[str, bytes]:
    """Returns the files below a folder, except for the lock. Fails if there are none: two empty folders are equal."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"]
    assert paths, f"nothing was made in {folder}"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
