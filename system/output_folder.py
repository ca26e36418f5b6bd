"""Files that are added to a folder of the user, in which nothing is replaced."""

import errno
import filecmp
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from system.errors import UserError, describe_os_error
from system.files import MAX_NAME_BYTES, create_atomically
from system.terminal import plural, printable

_CHUNK = 2**20  # bytes that are copied at a time
_MAX_SUFFIX_BYTES = 20  # a longer one is a part of the name
# Errors that concern the name of one file, which another file system can have, and not the folder.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}


class OutputFolder:
    """A folder to which files are added, and what became of them.

    If there is a file of the same name and content, nothing is added. If its content differs, the new file is called
    `name (2).png`, `name (3).png` and so on. There is never a part of a file, except under a hidden temporary name
    after a kill.
    """

    def __init__(self, folder: Path) -> None:
        """Creates the folder, so that it is known before the work whether this is possible.

        Raises:
            UserError: it is not.
        """
        self.folder = folder
        self.added = 0  # files
        self.present = 0  # files that were there already
        self.renamed = 0  # added ones whose name was taken
        self.problems: list[str] = []  # a line for each file that could not be added
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(describe_os_error(error)) from None

    def add(self, name: str, data: bytes) -> None:
        """Adds a file with a content. A name that no file can have is kept as a problem.

        Args:
            name: of the file, or folder/file.
            data: its content.

        Raises:
            UserError: nothing can be written, since the disk is full, for example.
        """

        def is_same(path: Path) -> bool:
            return path.stat().st_size == len(data) and path.read_bytes() == data

        self._add(name, is_same, lambda path: create_atomically(path, [data]))

    def add_copy(self, name: str, source: Path) -> None:
        """Adds a copy of a file, or of the file that a link leads to, with its times and permissions.

        One that cannot be read any more is kept as a problem; else as `add`.
        """

        def is_same(path: Path) -> bool:
            return filecmp.cmp(source, path, shallow=False)

        try:
            with source.open("rb"):  # first of all, so that other errors are those of the folder
                pass
        except OSError as error:
            self.problems.append(describe_os_error(error))
            return
        self._add(name, is_same, lambda path: create_atomically(path, _chunks(source), like=source))

    def describe(self, noun: str) -> str:
        """Returns a line about what was added: `cats: 12 pictures added, 3 of them renamed, 5 were there already`."""
        parts = [f"{plural(self.added, noun)} added"]
        if self.renamed:
            parts.append(f"{self.renamed:,} of them renamed, since their names were taken")
        if self.present:
            parts.append(f"{self.present:,} {'was' if self.present == 1 else 'were'} there already")
        return f"{printable(self.folder)}: {', '.join(parts)}"

    def _add(self, name: str, is_same: Callable[[Path], bool], create: Callable[[Path], None]) -> None:
        try:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            for number, path in enumerate(_places(self.folder / name), start=1):
                try:
                    if not os.path.lexists(path):
                        create(path)
                        self.added += 1
                        self.renamed += number > 1
                        return
                except FileExistsError:  # another process was faster
                    pass
                if _holds(path, is_same):
                    self.present += 1
                    return
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise UserError(describe_os_error(error)) from None
            self.problems.append(describe_os_error(error))


def _places(path: Path) -> Iterator[Path]:
    """Yields `name.png`, `name (2).png`, `name (3).png` and so on, shortened to what file systems allow."""
    stem, suffix = path.stem, path.suffix
    if len(os.fsencode(suffix)) > _MAX_SUFFIX_BYTES:
        stem, suffix = path.name, ""
    for number in itertools.count(1):
        end = suffix if number == 1 else f" ({number}){suffix}"
        while len(os.fsencode(stem + end)) > MAX_NAME_BYTES:
            stem = stem[:-1]
        yield path.with_name(stem + end)


def _holds(path: Path, is_same: Callable[[Path], bool]) -> bool:
    try:
        return path.is_file() and is_same(path)
    except OSError:  # it cannot be read, so it cannot be compared
        return False


def _chunks(path: Path) -> Iterable[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        error.filename = os.fspath(path)  # an error of read() does not name its file
        raise
