"""Lists picture files and reads them."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from config import ImageConfig
from pictures.copy_names import source_of
from pictures.decoding import UnreadableImage, load_image
from pictures.manifest import MANIFEST, PENDING, SKIPPED, Picture, shape_text
from system.errors import UserError
from system.terminal import printable

_MAX_NAME_BYTES = 170  # the names of copies and stored images are longer, and file systems allow 255
_SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_MAX_DEPTH = 100  # of nested folders


# ---- which files exist ----


def find_classes(folder: Path) -> dict[str, Path]:
    """Returns the class names, sorted, with their folders; nothing if the folder does not exist.

    Raises:
        UserError: a class folder is a link to a place outside the folder.
    """
    if not folder.is_dir():
        return {}
    found = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    for path in found.values():
        if path.is_symlink() and folder.resolve() not in path.resolve().parents:
            remedy = f"move that folder here, or use another folder than {printable(folder)}"
            raise UserError(f"{printable(path)}: is a link to a place outside the folder; {remedy}")
    return found


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
                entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError:
            if entry is None:
                raise
            yield name, entry
            continue
        prefix = f"{name}/" if name else ""
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False) and entry.name.lower() not in _SYSTEM_FILES:
                yield f"{prefix}{entry.name}", entry
        folders = [(f"{prefix}{entry.name}", entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        stack.extend(reversed(folders))


def find_pictures(names: Iterable[str]) -> tuple[dict[Path, Path | None], list[str]]:
    """Returns the files that names stand for: a file itself, the files below a folder, the matches of a pattern.

    Returns:
        the files in the order of the names, each once, with the folder that a link must not leave (None: any place is
        allowed); and the names for which there is no file.
    """
    found: dict[Path, Path | None] = {}
    missing = []
    for name in names:
        matches = [name]
        # A file may be called photo[1].jpg, so a name is tried as a file before it is used as a pattern.
        if not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that no file can have
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
        own = {path: within for match in matches for path, within in _files_of(Path(match)).items()}
        if not own:
            missing.append(name)
        found.update((path, within) for path, within in own.items() if path not in found or within is None)
    return found, missing


def _files_of(path: Path) -> dict[Path, Path | None]:
    return dict.fromkeys(picture_files(path), path) if path.is_dir() else {path: None}


# ---- reading files ----


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
    except (FileNotFoundError, PermissionError) as error:
        raise UnreadableImage(error.strerror) from None


def read_image(path: Path, config: ImageConfig, *, max_pixels: int, within: Path | None = None) -> np.ndarray:
    """Returns the pixels of a picture file as in `load_image`; raises the same, and as in `read_regular_file`."""
    return load_image(read_regular_file(path, within=within), config, max_pixels=max_pixels)


def try_read_image(item: tuple[Path, Path | None], *, config: ImageConfig, max_pixels: int) -> np.ndarray | str:
    """Returns the pixels of a picture file, or the reason why it cannot be read; for worker processes.

    `item` is the file, and the folder that a link must not leave, if any.
    """
    path, within = item
    try:
        return read_image(path, config, max_pixels=max_pixels, within=within)
    except UnreadableImage as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


# ---- listing a folder of classes ----


def index_pictures(folder: Path, config: ImageConfig) -> list[Picture]:
    """Returns all files in the class folders of a folder as manifest rows that are pending or, if refused, skipped."""
    pictures = []
    for class_name, class_folder in find_classes(folder).items():
        for below, entry in picture_entries(class_folder):
            name = f"{class_name}/{below}"
            source = source_of(name)[0]
            reason = ""
            if len(os.fsencode(source.rpartition("/")[2])) > _MAX_NAME_BYTES:
                reason = "its name is too long"
            elif entry.is_symlink():
                reason = link_problem(class_folder / below, folder)
            try:
                status = entry.stat()
            except OSError:  # a link to nothing
                status = entry.stat(follow_symlinks=False)
            picture = Picture(
                stored="" if reason else f"{name}.png",  # appended, so that a.png and a.jpg get different names
                class_name=class_name,
                source=source,
                status=SKIPPED if reason else PENDING,
                reason=reason,
                path=f"{class_folder.as_posix()}/{below}",
                size=status.st_size,
                modified=status.st_mtime_ns,
                shape=shape_text(config),
            )
            pictures.append(picture)
    return pictures


def index_classes(folder: Path, config: ImageConfig) -> list[Picture]:
    """Returns the same as `index_pictures`, for a folder to train on.

    Raises:
        UserError: it does not exist, has fewer than two class folders, one of them is empty, or they are not classes
            but the output of Augmentor or the parts of a split.
    """
    remedy = "put your pictures into one sub-folder per class"
    layout = f"{printable(folder)}/cat/….jpg, {printable(folder)}/dog/….jpg"
    if not folder.is_dir():
        raise UserError(f"{printable(folder)}: no such folder; create it and {remedy}: {layout}")
    names = list(find_classes(folder))
    if len(names) < 2:
        found = ", ".join(map(printable, names)) or "none"
        raise UserError(f"{printable(folder)}: at least two classes are needed, found {found}; {remedy}: {layout}")
    if "output" in names and set(names) & find_classes(folder / "output").keys():
        raise UserError(f"{printable(folder / 'output')}: Augmentor's output is not a class; move or remove it")
    if _SPLIT_NAMES.issuperset(name.lower() for name in names):
        raise UserError(f"{printable(folder)}: {' and '.join(names)} are not classes; use one of them as --raw_data")
    loose = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if loose and MANIFEST not in {path.name for path in loose}:
        ignored = "1 file that is" if len(loose) == 1 else f"{len(loose)} files that are"
        print(f"{printable(folder)}: ignoring {ignored} not in a class folder")
    pictures = index_pictures(folder, config)
    for name in sorted(set(names) - {picture.class_name for picture in pictures}):
        raise UserError(f"class {printable(name)}: its folder is empty; add pictures or remove the folder")
    return pictures
