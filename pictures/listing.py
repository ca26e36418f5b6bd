"""Lists a folder with one sub-folder per class as rows of the manifest, and refuses folders that are no classes."""

import hashlib
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from config import MAX_CLASSES, UNKNOWN, ImageConfig
from pictures.copy_names import short_name, source_of, with_sources
from pictures.folders import find_classes, is_ignored, limit_of_links, link_problem, picture_entries, picture_files
from pictures.formats import NOT_A_PICTURE, SUFFIXES
from pictures.layout import find_class_folders, parts_of_a_split
from pictures.manifest import MANIFEST, PENDING, SKIPPED, Picture, normalized, shape_text
from system.errors import UserError
from system.files import MAX_NAME_BYTES
from system.terminal import printable, some_names

_IMAGE_SUFFIX = ".png"  # appended, so that a.png and a.jpg get different names
_HASH_DIGITS = 8
_MAX_NAMES = 5  # of classes in a message
_PLACEHOLDER = re.compile(r"\..+\.icloud", re.DOTALL)  # of a file that has not been downloaded from iCloud yet


def index_pictures(folder: Path, config: ImageConfig) -> list[Picture]:
    """Returns all files in the class folders of a folder as manifest rows that are pending or, if refused, skipped."""
    pictures = [
        picture
        for class_name, class_folder in find_classes(folder).items()
        for picture in _index_class(class_name, class_folder, config)
    ]
    return with_sources(pictures)


def _index_class(class_name: str, class_folder: Path, config: ImageConfig) -> list[Picture]:
    within = limit_of_links(class_folder)
    entries = list(picture_entries(class_folder))
    folders = {parent.as_posix() for name, _ in entries for parent in Path(name).parents}
    pictures = []
    for below, entry in entries:
        name = f"{class_name}/{below}"
        reason = link_problem(class_folder / below, within) if entry.is_symlink() else ""
        picture = Picture(
            stored="" if reason else f"{class_name}/{_image_name(below, folders)}",
            class_name=class_name,
            source=source_of(name)[0],
            status=SKIPPED if reason else PENDING,
            reason=reason,
            path=f"{class_folder.as_posix()}/{below}",
            shape=shape_text(config),
        )
        pictures.append(picture)
    return pictures


def _image_name(name: str, folders: Collection[str]) -> str:
    """Returns the name of the image of a picture below its class folder, the same in every run.

    Where a sub-folder has that name, as `a.png/` has beside a picture `a`, a hash of the name is added.
    """
    parent, slash, last = name.rpartition("/")
    limit = MAX_NAME_BYTES - len(_IMAGE_SUFFIX)
    if f"{name}{_IMAGE_SUFFIX}" in folders:
        digits = hashlib.sha256(os.fsencode(last)).hexdigest()[:_HASH_DIGITS]
        last = f"{short_name(last, limit - 1 - _HASH_DIGITS)}~{digits}"
    return f"{parent}{slash}{short_name(last, limit)}{_IMAGE_SUFFIX}"


def index_classes(folder: Path, config: ImageConfig) -> list[Picture]:
    """Returns the same as `index_pictures`, for a folder to train on, and names what it passes over.

    Raises:
        UserError: it does not exist, has fewer than two classes with files or too many of them, or its sub-folders are
            not classes.
    """
    remedy = "put your pictures into one sub-folder per class"
    layout = f"{printable(folder)}/cat/….jpg, {printable(folder)}/dog/….jpg"
    if not folder.is_dir():
        raise UserError(f"{printable(folder)}: no such folder; create it and {remedy}: {layout}")
    classes = find_classes(folder)
    _refuse_other_layouts(folder, classes)
    pictures = index_pictures(folder, config)
    names = sorted({picture.class_name for picture in pictures})
    empty = sorted(classes.keys() - set(names))
    if len(names) < 2:
        found = ", ".join(map(printable, names)) or "none"
        if empty:
            found += f" ({', '.join(map(printable, empty))}: no pictures)"
        raise UserError(
            f"{printable(folder)}: at least two classes are needed, found {found}; {remedy}: {layout}"
            f"{_nested_classes(folder)}"
        )
    if len(names) > MAX_CLASSES:
        raise UserError(f"{printable(folder)}: {len(names):,} classes; at most {MAX_CLASSES:,} are possible")
    for name in empty:
        print(f"{printable(classes[name])}: has no pictures, so it is not a class of this run")
    _tell_what_is_ignored(folder, classes)
    return pictures


def _refuse_other_layouts(folder: Path, classes: dict[str, Path]) -> None:
    """Raises UserError if the sub-folders are the parts of a split, the output of Augmentor, or called unknown."""
    if "output" in classes and classes.keys() & find_classes(classes["output"]).keys():
        raise UserError(f"{printable(classes['output'])}: Augmentor's output is not a class; move or remove it")
    if UNKNOWN in classes:
        raise UserError(
            f"{printable(classes[UNKNOWN])}: a picture of no class is called unknown, so a class must not be; "
            "rename the folder, for example to other"
        )
    if MANIFEST in classes:
        raise UserError(f"{printable(classes[MANIFEST])}: a class must not be called {MANIFEST}; rename the folder")
    if parts := parts_of_a_split(classes):
        shown = " and ".join(printable(name) for name in parts[:5])
        below = parts_of_a_split(find_classes(classes[parts[0]]))
        if below:
            remedy = (
                f"{shown} each hold {' and '.join(map(printable, below))}; keep only the pictures to train on in them"
            )
            raise UserError(f"{printable(folder)}: {remedy}")
        inner = find_class_folders(classes[parts[0]])
        remedy = f"use one of them: --raw_data {printable(inner)}" if inner else "put one of them into class folders"
        raise UserError(f"{printable(folder)}: {shown} are parts of a data set and not classes; {remedy}")


def _nested_classes(folder: Path) -> str:
    """Returns a hint if a folder below contains the classes, as after unpacking an archive."""
    inner = find_class_folders(folder)
    if not inner or inner == folder:
        return ""
    names = " and ".join(printable(name) for name in list(find_classes(inner))[:2])
    return f"; if {names} are the classes, use --raw_data {printable(inner)}"


def _tell_what_is_ignored(folder: Path, classes: dict[str, Path]) -> None:
    """Prints how many files are in no class folder, and how many are only placeholders of files in a cloud."""
    if loose := describe_loose_files(folder):
        print(loose)
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.exists():
            print(f"{printable(path)}: is a link to nothing, so it is not a class")
    placeholders = [
        Path(parent, name)
        for path in classes.values()
        for parent, _, names in os.walk(path)
        for name in names
        if _PLACEHOLDER.fullmatch(name)
    ]
    if placeholders:
        count = f"{len(placeholders)} file{'' if len(placeholders) == 1 else 's'}"
        print(f"{count} not downloaded from iCloud yet, such as {printable(min(placeholders))}: download, run again")


def find_true_classes(folder: Path, class_names: Sequence[str]) -> tuple[dict[Path, Path | None], dict[Path, str]]:
    """Returns the pictures of a folder to evaluate, with one sub-folder per class.

    Returns:
        the files, each with the folder that a link must not leave; and the class of each.

    Raises:
        UserError: there is no such folder, there are no pictures, or a sub-folder is not a class of the network.
    """
    own_names = {normalized(name): name for name in class_names}
    if not folder.is_dir():
        raise UserError(f"--evaluate {printable(folder)}: no such folder")
    class_folders = find_classes(folder)
    files = {name: list(picture_files(path)) for name, path in class_folders.items()}
    files = {name: found for name, found in files.items() if found}  # an empty folder is no class
    expected = some_names(class_names, _MAX_NAMES)
    if others := sorted(files.keys() - own_names.keys()):
        raise UserError(
            f"--evaluate {printable(folder)}: {some_names(others, _MAX_NAMES)}: not a class of this network, which "
            f"has {expected}; rename or remove the folder"
        )
    paths: dict[Path, Path | None] = {}
    classes: dict[Path, str] = {}
    for name, found in files.items():
        paths |= dict.fromkeys(found, limit_of_links(class_folders[name]))
        classes |= dict.fromkeys(found, own_names[name])
    if not paths:
        raise UserError(f"--evaluate {printable(folder)}: no pictures in its sub-folders; put some into {expected}")
    return paths, classes


def describe_loose_files(folder: Path) -> str:
    """Returns one line about the files of a folder that are in no class folder; "" without such files."""
    count = count_loose_files(folder)
    ignored = "1 file that is" if count == 1 else f"{count} files that are"
    return f"{printable(folder)}: ignoring {ignored} not in a class folder" if count else ""


def count_loose_files(folder: Path) -> int:
    """Returns how many files are in a folder of classes, but in no class folder."""
    names = (path.name for path in folder.iterdir() if path.is_file())
    return sum(not is_ignored(name) and name != MANIFEST for name in names)


def is_other_file(path: str, reason: str) -> bool:
    """Returns whether a file is no picture by its content, for which it was refused, and by its name.

    A file that is called a.jpg is taken for a damaged picture, so that a damaged class is not passed over.
    """
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - a plain string
    return NOT_A_PICTURE in reason and suffix not in SUFFIXES


def split_off_other_files(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Returns the pictures, damaged ones included, and the files that are none."""
    parts: tuple[list[Picture], list[Picture]] = ([], [])
    for picture in pictures:
        parts[is_other_file(picture.path, picture.reason)].append(picture)
    return parts
