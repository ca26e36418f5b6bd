"""Lists picture files and reads them."""

import contextlib
import errno
import functools
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from config import ImageConfig
from pictures.decoding import LoadedPicture, UnreadableImage, load_image, load_picture
from pictures.manifest import normalized
from system.errors import UserError
from system.terminal import printable

_MAX_DEPTH = 100  # of nested folders
# Errors that concern one file or its name, and not the disk.
_FILE_ERRORS = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
}
_READ = "which is read, so its files would be read again and again; use a folder elsewhere"
# Files and folders that systems, network drives and archives create, in lower case; hidden ones start with a dot.
_SYSTEM_NAMES = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "$windows.~bt"),
    *("lost+found", "__macosx", "__pycache__", "network trash folder", "temporary items"),
    *("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "@__thumb", "@sharebin"),
}


# ---- which files exist ----


def is_ignored(name: str) -> bool:
    """Returns whether a file or folder of this name is hidden, or was created by a system and not by the user."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def find_classes(folder: Path) -> dict[str, Path]:
    """Returns the class names, sorted, with their folders; nothing if the folder does not exist.

    A class name is the name of its folder in Unicode's composed form. A class folder may be a link to any place.

    Raises:
        UserError: two folders have the same name in that form, or a link leads to a folder that contains it.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_ignored(path.name) or not path.is_dir():
            continue
        name = normalized(path.name)
        if name in found:
            raise UserError(f"{printable(folder)}: two folders are named {printable(name)}; rename one or merge them")
        if path.is_symlink() and folder.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{printable(path)}: is a link to a folder that contains it; remove the link")
        found[name] = path
    return dict(sorted(found.items()))


def picture_files(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder at any depth, sorted, without hidden files and those that systems create.

    Links to folders are not followed, so there are no endless loops. They are yielded, so that callers can report them.
    """
    for name, _ in picture_entries(folder):
        yield folder / name


def picture_entries(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """Yields the same files as `picture_files`, as their name below the folder and their directory entry.

    A sub-folder that cannot be opened, or is nested too deep, is yielded in place of its files, so that callers can
    report it.
    """
    stack: list[tuple[str, os.DirEntry | None]] = [("", None)]
    while stack:
        name, entry = stack.pop()
        if entry is not None and name.count("/") == _MAX_DEPTH:
            yield name, entry
            continue
        try:
            with os.scandir(folder / name) as found:
                entries = sorted((e for e in found if not is_ignored(e.name)), key=lambda entry: entry.name)
        except OSError:
            if entry is None:
                raise
            yield name, entry
            continue
        prefix = f"{name}/" if name else ""
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield f"{prefix}{entry.name}", entry
        folders = [(f"{prefix}{entry.name}", entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        stack.extend(reversed(folders))


def find_pictures(names: Iterable[str]) -> tuple[dict[Path, Path | None], list[str]]:
    """Returns the files that names stand for: a file itself, the files below a folder, the matches of a pattern.

    Returns:
        the files in the order of the names, each once and as it is named first, with the folder that a link must not
        leave (None: any place is allowed); and the names for which there is no file.
    """
    # A path can be written in many ways; but a link to a file is not the same as that file.
    found: dict[tuple[str, str], tuple[Path, Path | None]] = {}
    real_folder = functools.cache(os.path.realpath)
    missing = []
    for name in names:
        matches = [name]
        # A file may be called photo[1].jpg, so a name is tried as a file before it is used as a pattern.
        if not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that no file can have
            matches = sorted(glob.glob(_pattern(name), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute ones
        own = {path: within for match in matches for path, within in _files_of(Path(match)).items()}
        if not own and name not in missing:
            missing.append(name)
        for path, within in own.items():
            identity = real_folder(path.parent), path.name
            first, limit = found.get(identity, (path, within))
            found[identity] = first, within and limit
    return dict(found.values()), missing


def read_names(stream: BinaryIO) -> list[str]:
    """Returns the names of files in a stream: one a line, or separated by NUL if there is one (`find -print0`)."""
    data = stream.read()
    lines = data.split(b"\0") if b"\0" in data else data.replace(b"\r\n", b"\n").split(b"\n")
    return [os.fsdecode(line) for line in lines if line]


def _pattern(name: str) -> str:
    """Returns a pattern in which the folder, if there is one of this name, stands for itself: d[1]/*.jpg."""
    folder, last = os.path.split(name)
    with contextlib.suppress(ValueError):  # of names that no file can have
        if os.path.isdir(folder):  # noqa: PTH112 - a plain string
            return os.path.join(glob.escape(folder), last)  # noqa: PTH118 - a plain string
    return name


def _files_of(path: Path) -> dict[Path, Path | None]:
    return dict.fromkeys(picture_files(path), path) if path.is_dir() else {path: None}


def check_output_folder(option: str, folder: Path, sources: Iterable[Path]) -> None:
    """Raises UserError if what is written to a folder would be read as pictures the next time, or at once by --watch.

    Args:
        option: that names the folder, for the message.
        folder: it need not exist.
        sources: the folders and files that are read.
    """
    real = Path(os.path.realpath(folder))
    for source in sources:
        real_source = Path(os.path.realpath(source))
        if real.is_relative_to(real_source):
            raise UserError(f"--{option} {printable(folder)}: lies in {printable(source)}, {_READ}")
        if real_source.is_relative_to(real):
            raise UserError(f"--{option} {printable(folder)}: {printable(source)} lies in it, {_READ}")


# ---- reading files ----


def limit_of_links(class_folder: Path) -> Path:
    """Returns the folder that links in a class folder must not leave: the one of all classes, unless it is a link."""
    return class_folder if class_folder.is_symlink() else class_folder.parent


def link_problem(path: Path, within: Path) -> str:
    """Returns why a link is not followed, or "" for a link to a file inside the folder `within`."""
    if path.is_dir():
        return "is a link to a folder, which is not followed"
    try:
        inside = path.resolve().is_relative_to(within.resolve())
    except (OSError, RuntimeError):  # depending on the version of Python
        return "is a link to itself"
    return "" if inside else "is a link to a place outside the folder"


def read_regular_file(path: Path, *, within: Path | None = None) -> bytes:
    """Returns the content of a regular file.

    Args:
        path: the file, or a link to it.
        within: the folder that a link must not leave, if any.

    Raises:
        UnreadableImage: it is missing, not permitted, not a regular file, or a link that is not followed.
        OSError: the disk fails.
    """
    if within and path.is_symlink() and (reason := link_problem(path, within)):
        raise UnreadableImage(reason)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableImage("is a folder that cannot be opened, or is nested too deep")
        if not stat.S_ISREG(mode):  # reading a pipe could wait forever
            raise UnreadableImage("not a regular file")
        return path.read_bytes()
    except OSError as error:
        if error.errno not in _FILE_ERRORS:
            raise
        raise UnreadableImage(error.strerror) from None


def read_image(path: Path, config: ImageConfig, *, max_pixels: int) -> np.ndarray:
    """Returns the pixels of a picture file as in `load_image`; raises the same, and as in `read_regular_file`."""
    return load_image(read_regular_file(path), config, max_pixels=max_pixels)


def try_read_picture(item: tuple[Path, Path | None], *, config: ImageConfig, max_pixels: int) -> LoadedPicture | str:
    """Returns a picture as from `load_picture`, or the reason why it cannot be read; for worker processes.

    `item` is the file, and the folder that a link must not leave, if any.
    """
    path, within = item
    try:
        return load_picture(read_regular_file(path, within=within), config, max_pixels=max_pixels)
    except UnreadableImage as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
