"""The manifest in numbers: how many pictures each class has, and why files are not used."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pictures.manifest import EXCLUDED, KEPT, SKIPPED, VALIDATION, Picture
from pictures.split import judged_paths


class ClassCounts(NamedTuple):
    """How many files of a class are used, and for what. With several folds, most are used for both."""

    used: int
    train: int  # with copies
    validation: int
    copies: int  # among those to train on
    skipped: int  # unreadable
    excluded: int  # must not be used


def count_classes(pictures: Sequence[Picture]) -> dict[str, ClassCounts]:
    """Returns the counts of each class, sorted by its name."""
    classes: dict[str, Counter] = defaultdict(Counter)
    judged = judged_paths(pictures)
    for picture in pictures:
        count = classes[picture.class_name]
        count[picture.status] += 1
        if picture.status == KEPT:
            count["train"] += picture.split != VALIDATION
            count["validation"] += picture.split == VALIDATION or picture.path in judged
            count["copies"] += picture.is_copy
    names = (KEPT, "train", "validation", "copies", SKIPPED, EXCLUDED)
    return {name: ClassCounts(*(count[key] for key in names)) for name, count in sorted(classes.items())}


def unused_files(pictures: Sequence[Picture], statuses: Collection[str]) -> dict[tuple[str, str], list[str]]:
    """Returns the paths of the files that are not used, by status and reason."""
    reasons = defaultdict(list)
    for picture in pictures:
        if picture.status in statuses and picture.reason:
            reasons[picture.status, picture.reason].append(picture.path)
    return dict(reasons)


def notes(pictures: Sequence[Picture]) -> dict[str, list[str]]:
    """Returns the paths of the kept pictures of which the image does not show everything, by what is missing."""
    found = defaultdict(list)
    for picture in pictures:
        if picture.status == KEPT and picture.note:
            found[picture.note].append(picture.path)
    return dict(found)
