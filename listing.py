"""Which files there are in a folder of pictures, and what is in those that may be read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from config import PictureConfig, UserError
from files import printable
from manifest import MANIFEST, PENDING, SKIPPED, Picture, source_of
from pictures import standard_image

_LONGEST_NAME = 170  # bytes; what is made of it has a longer one, and systems take 255
_SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}
_NOT_PICTURES = {"thumbs.db", "desktop.ini"}
_DEEPEST = 100  # folders inside each other; systems, and functions that call themselves, have limits too


def class_folders(folder: Path) -> dict[str, Path]:
    """Class names, sorted, and their folders; none where there is no such folder.

    Raises:
        UserError: one of them is a link that leads out of the folder.
    """
    if not folder.is_dir():
        return {}
    found = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    for path in found.values():
        if path.is_symlink() and folder.resolve() not in path.resolve().parents:
            mend = f"move that folder here, or name another one than {printable(folder)}"
            raise UserError(f"{printable(path)}: a link that leads out of the folder; {mend}")
    return found


def visible_files(folder: Path) -> Iterator[Path]:
    """Files below a folder, however deep, sorted; hidden ones and those that systems leave behind are passed over.

    Links to folders are not followed, so no loop can be entered. They are among the files, so that they can be named.
    """
    for name, _ in visible_entries(folder):
        yield folder / name


def visible_entries(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """As `visible_files`: their names below the folder, and what the system tells of them without being asked again.

    A folder inside that cannot be looked into, or is nested too deep, stands for its files, so that it can be named.
    """
    waiting: list[tuple[str, os.DirEntry | None]] = [("", None)]
    while waiting:
        name, place = waiting.pop()
        if name.count("/") == _DEEPEST:
            yield name, place
            continue
        try:
            with os.scandir(folder / name) as found:
                entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError:
            if place is None:
                raise
            yield name, place
            continue
        below = f"{name}/" if name else ""
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False) and entry.name.lower() not in _NOT_PICTURES:
                yield f"{below}{entry.name}", entry
        folders = [(f"{below}{entry.name}", entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        waiting.extend(reversed(folders))


def refusal_of_link(path: Path, within: Path) -> str:
    """Why a link is not followed, or "" for one to a file of the folder that it must stay within."""
    if path.is_dir():
        return "a link to a folder, which is not followed"
    try:
        inside = path.resolve().is_relative_to(within.resolve())
    except (OSError, RuntimeError):  # which of them depends on the release of Python
        return "a link that leads to itself"
    return "" if inside else "a link that leads out of the folder"


def content_of(path: Path, *, within: Path | None = None) -> bytes:
    """All of a regular file.

    Args:
        path: the file, or a link to it.
        within: the folder that a link must not lead out of, if any.

    Raises:
        ValueError: it is no regular file, or a link that is not followed; the message says why.
        OSError: it cannot be read.
    """
    if within and path.is_symlink() and (reason := refusal_of_link(path, within)):
        raise ValueError(reason)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("a folder that cannot be looked into, or is nested too deep")
    if not stat.S_ISREG(mode):  # a pipe would keep its reader waiting for ever
        raise ValueError("not a regular file")
    return path.read_bytes()


def read_picture(item: tuple[Path, Path | None], **decoding: float) -> np.ndarray | str:
    """The pixels of a picture, as from `standard_image`, or the reason why there are none.

    `item` is the file, and the folder that a link must not lead out of, if any.
    """
    path, within = item
    try:
        return standard_image(content_of(path, within=within), **decoding)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)


def shape_of(config: PictureConfig) -> str:
    """As it stands in the manifest."""
    return f"{config.height}x{config.width}x{config.color_channels}"


def list_pictures(folder: Path, config: PictureConfig) -> list[Picture]:
    """All files in the class folders of a folder, as rows of a manifest: still to be made, or skipped."""
    pictures = []
    shape = shape_of(config)
    for class_name, class_folder in class_folders(folder).items():
        for below, entry in visible_entries(class_folder):
            name = f"{class_name}/{below}"
            source = source_of(name)[0]
            reason = ""
            if len(os.fsencode(source.rpartition("/")[2])) > _LONGEST_NAME:
                reason = "its name is too long"
            elif entry.is_symlink():
                reason = refusal_of_link(class_folder / below, folder)
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere
                status = entry.stat(follow_symlinks=False)
            picture = Picture(
                file="" if reason else f"{name}.png",  # appended, so that a.png and a.jpg do not meet
                class_name=class_name,
                source=source,
                status=SKIPPED if reason else PENDING,
                reason=reason,
                origin=f"{class_folder.as_posix()}/{below}",
                size=status.st_size,
                modified=status.st_mtime_ns,
                shape=shape,
            )
            pictures.append(picture)
    return pictures


def list_classes(folder: Path, config: PictureConfig) -> list[Picture]:
    """As `list_pictures`, for a folder that classes are learnt from.

    Raises:
        UserError: it is missing, holds fewer than two class folders, or one of them is empty.
    """
    mend = "put your pictures into one sub-folder a class"
    if not folder.is_dir():
        raise UserError(f"{printable(folder)}: no such folder; make it and {mend}")
    names = list(class_folders(folder))
    if len(names) < 2:
        found = ", ".join(map(printable, names)) or "none"
        raise UserError(f"{printable(folder)}: at least two classes are needed, found {found}; {mend}")
    if "output" in names and set(names) & class_folders(folder / "output").keys():
        raise UserError(f"{printable(folder / 'output')}: Augmentor's output is no class; move or remove it")
    if _SPLIT_NAMES.issuperset(name.lower() for name in names):
        raise UserError(f"{printable(folder)}: {' and '.join(names)} are no classes; give one of them as --raw_data")
    loose = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if loose and MANIFEST not in {path.name for path in loose}:
        print(f"{printable(folder)}: {len(loose)} files are in no class folder and are passed over")
    pictures = list_pictures(folder, config)
    for name in sorted(set(names) - {picture.class_name for picture in pictures}):
        raise UserError(f"class {printable(name)}: no pictures in it; add some or remove its folder")
    return pictures
