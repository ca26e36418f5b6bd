"""What is known of every picture: where it came from, which side of the split it is on, what became of it.

`data/manifest.csv` holds it, one row a file of `rawdata/` and `augmented/`.
"""

import csv
import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from config import UserError
from files import printable, write_atomically

MANIFEST = "manifest.csv"
TRAIN, VALIDATION = "train", "validation"
KEPT, SKIPPED, LEFT_OUT, PENDING = "kept", "skipped", "left out", "pending"

_OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)  # names from a root, a drive or with ".."
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_COPY_NAMES = (
    re.compile(
        r"(?P<source>.+)_augmented_(?P<stamp>[0-9a-f]{8})_\d+\.jpg(?P<stored>\.png)?", re.DOTALL
    ),  # augment.py's
    re.compile(rf".+?_original_(?P<source>.+)_{_UUID}\.\w+?(?P<stored>\.png)?", re.DOTALL),  # plain Augmentor's
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One row of the manifest."""

    file: str = ""  # below data_path, "" when nothing was made of it
    class_name: str
    source: str  # the photograph it shows, as <class>/<name>: itself, unless its name is that of a copy
    group: str = ""  # the first of the sources that show the same photograph; they stand on one side of the split
    split: str = ""  # "train" or "validation"
    sha256: str = ""  # of the file it was made from
    perceptual_hash: str = ""  # of its pixels; near-duplicates share nearly all of its 64 bits
    status: str = PENDING  # "kept", "skipped" (unreadable), "left out" (must not be used), "pending"
    reason: str = ""  # why it was skipped or left out
    origin: str  # the file it was made from
    size: int = 0  # of that file, in bytes
    modified: int = 0  # when that file was last changed, in nanoseconds
    shape: str = ""  # height x width x channels
    group_bits: int = -1  # in how many bits hashes might differ when the groups of all sources were found; -1: not yet

    @property
    def is_copy(self) -> bool:
        return not f"/{self.origin}".endswith(f"/{self.source}")


_NAMES = [field.name for field in fields(Picture)]
_NUMBERS = [field.name for field in fields(Picture) if field.type is int]


def updated(picture: Picture, **changes: Any) -> Picture:
    """As `dataclasses.replace`, but quick where nothing changes, as with most pictures of most runs."""
    if all(getattr(picture, name) == value for name, value in changes.items()):
        return picture
    return replace(picture, **changes)


def read_manifest(path: Path) -> list[Picture]:
    """Raises UserError where it is no manifest of ours, or names a file outside its folder."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.reader(file)
            header = ["class_name" if name == "class" else name for name in next(reader, ())]
            if header != _NAMES:  # one of before may be of pixels and hashes that were made otherwise
                raise ValueError("other columns")
            rows = [dict(zip(header, row, strict=True)) for row in reader if row]
        pictures = [Picture(**row | {name: int(row[name]) for name in _NUMBERS}) for row in rows]
    except (TypeError, ValueError, csv.Error):
        raise UserError(f"{printable(path)}: not a manifest of this version; move its folder away") from None
    for picture in pictures:
        if _OUTSIDE.match(picture.file):
            raise UserError(f"{printable(path)}: names a file outside its folder: {printable(picture.file)}")
    return pictures


def write_manifest(path: Path, pictures: Sequence[Picture]) -> None:
    """Writes it whole, unless the file says the very same already."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # its own line ends: only with them are names that hold any quoted
    writer.writerow("class" if name == "class_name" else name for name in _NAMES)
    writer.writerows(map(attrgetter(*_NAMES), pictures))
    content = text.getvalue().encode("utf-8", errors="surrogateescape")
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)


def copy_name(source: str, stamp: str, number: int) -> str:
    """The name of augment.py's copy of a picture: it tells its source, and the version of it by its sha256."""
    return f"{source}_augmented_{stamp[:8]}_{number:04d}.jpg"


def source_of(name: str) -> tuple[str, str]:
    """The source photograph of a file, by its name.

    Args:
        name: <class>/<name>, below `rawdata/` or `augmented/`.

    Returns:
        <class>/<name> of the source, which is the file itself unless its name is that of a copy; and the first 8 digits
        of the source's sha256 when the copy was made, or "" where the name does not tell.
    """
    folder, _, last = name.rpartition("/")
    for pattern in _COPY_NAMES:
        if match := pattern.fullmatch(last):
            source = match["source"] + (match["stored"] or "")  # in data/ every name has .png appended
            stamp = match.groupdict().get("stamp", "")
            if not stamp and folder.endswith("/output"):  # where plain Augmentor puts copies
                folder = folder.removesuffix("/output")
            first, _ = source_of(f"{folder}/{source}")  # which may be a copy itself
            return first, stamp
    return name, ""


def validation_sources(sources: Iterable[str], *, share: float, seed: int) -> set[str]:
    """Draws the sources (or groups, by their names) of one class that are kept back: at least one, and never all.

    They are ranked by a hash of the seed and their own name, so the draw does not depend on the order of listing,
    and a new name moves at most one other to the other side.
    """
    ranked = sorted(set(sources), key=lambda source: hashlib.sha256(os.fsencode(f"{seed}/{source}")).digest())
    count = min(max(round(share * len(ranked)), 1), len(ranked) - 1)
    return set(ranked[:count])


def assign_splits(pictures: Sequence[Picture], *, share: float, seed: int) -> list[Picture]:
    """Puts whole groups on one side: all kept pictures of a group train, or one of them validates.

    That one is a source itself, or the first copy where only copies are left; the others are left out, so that every
    validation picture counts as one measurement. A group with pictures of several classes trains: its labels
    contradict each other, so nothing could be measured on it.

    Raises:
        UserError: a class has fewer than two groups of its own.
    """
    classes: dict[str, dict[str, list[Picture]]] = {picture.class_name: defaultdict(list) for picture in pictures}
    homes = defaultdict(set)
    for picture in pictures:
        if picture.status == KEPT:
            classes[picture.class_name][picture.group].append(picture)
            homes[picture.group].add(picture.class_name)
    faces: dict[str, str] = {}  # validation group → the origin of the one picture that stands for it
    for class_name, groups in classes.items():
        own = [group for group in groups if len(homes[group]) == 1]
        if len(own) < 2:
            raise _too_few(class_name, len(own), pictures)
        for group in validation_sources(own, share=share, seed=seed):
            faces[group] = min(groups[group], key=lambda picture: (picture.is_copy, picture.origin)).origin

    def place(picture: Picture) -> Picture:
        if picture.status != KEPT:
            return picture
        if picture.group not in faces:
            return updated(picture, split=TRAIN)
        face = faces[picture.group]
        if picture.origin == face:
            return updated(picture, split=VALIDATION)
        reason = f"shows the same as {face}, which validates"
        return replace(picture, file="", split="", status=LEFT_OUT, reason=reason)

    return [place(picture) for picture in pictures]


def _too_few(class_name: str, photographs: int, pictures: Sequence[Picture]) -> UserError:
    own = [picture for picture in pictures if picture.class_name == class_name]
    skipped = [picture for picture in own if picture.status == SKIPPED]
    same = sum(picture.status == KEPT for picture in own) - photographs
    why = f" ({len(skipped)} skipped, the first because: {printable(skipped[0].reason)})" if skipped else ""
    why += f" ({same} more show the same as others)" if same > 0 else ""
    return UserError(
        f"class {printable(class_name)}: {photographs or 'no'} usable picture{'' if photographs == 1 else 's'}{why}; "
        "at least two are needed, one to learn from and one to measure on: add pictures or remove its folder"
    )
