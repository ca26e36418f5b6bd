"""Recognizes folders that are not classes: the parts of a split, such as train/ and test/, and folders in between."""

import re
from collections import defaultdict
from pathlib import Path

from pictures.folders import find_classes, is_ignored
from pictures.formats import SUFFIXES

_PART = re.compile(r"train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev|eval(?:uation)?|hold[-_ ]?out", re.IGNORECASE)
_MIN_SHARED = 2  # sub-folders that several folders have in common, from which on they are taken for classes
_MAX_DEPTH = 5


def parts_of_a_split(classes: dict[str, Path]) -> list[str]:
    """Returns the names of the folders that look like the parts of a split, that for training first; [] if none do.

    Either their names say so, as train_set and test_set do. Or they hold the same sub-folders, and no pictures of their
    own.
    """
    parts = _named_as_parts(classes) or _holding_the_same(classes)
    return sorted(parts, key=lambda name: ("train" not in name.lower(), name))


def _named_as_parts(classes: dict[str, Path]) -> list[str]:
    """Returns the names that differ in nothing but the word for the part: seg_train and seg_test, trainA and testA."""
    alike: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in classes:
        for match in _PART.finditer(name):
            before, part, after = name[: match.start()], match[0], name[match.end() :]
            begins = not before[-1:].isalpha() or part[0].isupper() > before[-1:].isupper()
            ends = not after[:1].isalpha() or after[:1].isupper() > part[-1].isupper()
            if begins and ends:
                alike[before.lower(), after.lower()][part.lower()] = name
    return [name for parts in alike.values() if len(parts) > 1 for name in parts.values()]


def _holding_the_same(classes: dict[str, Path]) -> list[str]:
    below = {name: find_classes(path).keys() for name, path in classes.items() if not _has_pictures(path)}
    for own in below.values():
        alike = [name for name, others in below.items() if len(own & others) >= _MIN_SHARED]
        if len(alike) > 1:
            return alike
    return []


def _has_pictures(folder: Path) -> bool:
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not is_ignored(path.name))
    return any(path.is_file() for path in files)


def find_class_folders(folder: Path, depth: int = _MAX_DEPTH) -> Path | None:
    """Returns the folder that seems to have one sub-folder per class: this one or one below it, None if none has."""
    classes = find_classes(folder)
    if parts := parts_of_a_split(classes):
        inner = classes[parts[0]]
    elif len(classes) == 1:
        (inner,) = classes.values()
    else:
        return folder if classes else None
    return find_class_folders(inner, depth - 1) if depth else None
