"""The manifest in numbers: how many pictures each class has, and why files are not used."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, VALIDATION, Picture


class ClassCounts(NamedTuple):
    """How many files of a class are used, and for what."""

    train: int  # with copies
    validation: int
    copies: int  # among those to train on
    skipped: int  # unreadable
    excluded: int  # must not be used

    @property
    def used(self) -> int:
        """How many are trained on or validated with."""
        return self.train + self.validation


def count_classes(pictures: Sequence[Picture]) -> dict[str, ClassCounts]:
    """Returns the counts of each class, sorted by its name."""
    classes: dict[str, Counter] = defaultdict(Counter)
    for picture in pictures:
        used = [picture.split, "copy" * picture.is_copy] if picture.status == KEPT else []
        classes[picture.class_name].update([picture.status, *used])
    names = (TRAIN, VALIDATION, "copy", SKIPPED, EXCLUDED)
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
