"""What is known about every picture: where it comes from, its side of the split, what was made of it.

`data/manifest.csv` holds one row per file of `rawdata/` and `augmented/`.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from config import ImageConfig
from system.errors import UserError
from system.files import write_atomically
from system.terminal import printable

MANIFEST = "manifest.csv"
TRAIN, VALIDATION = "train", "validation"
KEPT, SKIPPED, EXCLUDED, PENDING = "kept", "skipped", "excluded", "pending"

# An absolute path, a drive, or "..":
_OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One row of the manifest."""

    stored: str = ""  # the image made from it, below data_path; "" if there is none
    class_name: str
    source: str  # the photo that it shows, as <class>/<name>: itself, unless its name is that of a copy
    group: str = ""  # the first of the sources that show the same photo; they are on one side of the split
    split: str = ""  # "train" or "validation"
    sha256: str = ""  # of the file
    perceptual_hash: str = ""  # 64 bits in hexadecimal; near-duplicates share nearly all of them
    status: str = PENDING  # "kept", "skipped" (unreadable), "excluded" (must not be used) or "pending"
    reason: str = ""  # why it was skipped or excluded
    path: str  # the file in rawdata/ or augmented/
    size: int = 0  # of the file, in bytes
    modified: int = 0  # time of the last change of the file, in nanoseconds
    shape: str = ""  # of the image: height x width x channels
    grouped: int = 0  # 1 if the group was found by comparing all sources that were kept, else 0

    @property
    def is_copy(self) -> bool:
        return not f"/{self.path}".endswith(f"/{self.source}")


_FIELDS = [field.name for field in fields(Picture)]
_COLUMNS = ["class" if name == "class_name" else name for name in _FIELDS]
_INTEGERS = [field.name for field in fields(Picture) if field.type is int]
_OLD_NAMES = {"stored": "file", "path": "origin", "grouped": "group_bits"}  # in manifests of the first version
_OLD_COLUMNS = [_OLD_NAMES.get(name, name) for name in _COLUMNS]


def updated(picture: Picture, **changes: Any) -> Picture:
    """Returns the same as `dataclasses.replace`, but fast if nothing changes, as for most pictures of most runs."""
    if all(getattr(picture, name) == value for name, value in changes.items()):
        return picture
    return replace(picture, **changes)


def shape_text(config: ImageConfig) -> str:
    """Returns the shape of the images as written in the manifest: 100x100x3."""
    return "x".join(map(str, config.shape))


def class_names(pictures: Iterable[Picture]) -> list[str]:
    """Returns the sorted names of the classes; a label is an index into this list."""
    return sorted({picture.class_name for picture in pictures})


def read_manifest(path: Path) -> list[Picture]:
    """Returns the rows of a manifest. All rows of one that an earlier version wrote are pending.

    Raises:
        UserError: it is not a manifest of this toolkit, or it names a file outside its folder.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
        if header == _OLD_COLUMNS:
            print(f"{printable(path)}: was written by an earlier version of this toolkit; all images are made again")
            pictures = [_from_old_row(dict(zip(header, row, strict=True))) for row in rows]
        elif header == _COLUMNS:
            pictures = [_from_row(dict(zip(_FIELDS, row, strict=True))) for row in rows]
        else:
            raise ValueError("other columns")
    except (TypeError, ValueError, csv.Error):
        raise UserError(f"{printable(path)}: is not a manifest of this version; move its folder away") from None
    for picture in pictures:
        if _OUTSIDE.match(picture.stored):
            raise UserError(f"{printable(path)}: names a file outside its folder: {printable(picture.stored)}")
    return pictures


def _from_row(row: dict[str, Any]) -> Picture:
    return Picture(**row | {name: int(row[name]) for name in _INTEGERS})


def _from_old_row(row: dict[str, str]) -> Picture:
    """Returns a pending row, so that the image is made again, or deleted if it is no longer needed."""
    return Picture(stored=row["file"], class_name=row["class"], source=row["source"], path=row["origin"])


def write_manifest(path: Path, pictures: Sequence[Picture]) -> None:
    """Writes a manifest atomically, unless the file already has the same content."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # with its own line ends: only then are names that contain one quoted
    writer.writerow(_COLUMNS)
    writer.writerows(map(attrgetter(*_FIELDS), pictures))
    content = text.getvalue().encode("utf-8", errors="surrogateescape")
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)
