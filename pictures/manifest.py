"""What is known about every picture: where it comes from, its side of the split, what was made of it.

`data/manifest.csv` holds one row per file of `rawdata/` and `augmented/`.
"""

import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Any

from config import ImageConfig
from system.errors import UserError
from system.files import write_atomically
from system.terminal import printable

MANIFEST = "manifest.csv"
TRAIN, VALIDATION = "train", "validation"
KEPT, SKIPPED, EXCLUDED, PENDING = "kept", "skipped", "excluded", "pending"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One row of the manifest."""

    stored: str = ""  # the image made from it, below data_path; "" if there is none
    class_name: str
    source: str  # the photo that it shows, as <class>/<name>: itself, unless its name is that of a copy
    photo: str = ""  # the first of the sources that are the same picture: saved again, resized, mirrored or turned
    group: str = ""  # the first of the sources that look alike; they are on one side of the split
    split: str = ""  # "train" or "validation"; with several folds "fold 1", "fold 2", ... or, in all of them, "train"
    sha256: str = ""  # of the file
    perceptual_hash: str = ""  # 64 bits in hexadecimal; near-duplicates share nearly all of them
    status: str = PENDING  # "kept", "skipped" (unreadable), "excluded" (must not be used) or "pending"
    reason: str = ""  # why it was skipped or excluded
    note: str = ""  # what the image does not show of the picture, if anything
    path: str  # the file in rawdata/ or augmented/
    pixels: int = 0  # of the file
    width: int = 0  # of the file, upright, in pixels
    height: int = 0
    format: str = ""  # of the file, by its content: "JPEG", "PNG" and so on
    camera: str = ""  # maker and model, by the file's EXIF block
    brightness: float = 0.0  # of the image, as the next five (quality.py): mean luma, 0 to 255
    shadows: float = 0.0  # luma below which 5 % of the pixels are
    highlights: float = 0.0  # luma above which 1 % of the pixels are
    contrast: float = 0.0  # standard deviation of the color channel in which it is largest
    colorfulness: float = 0.0  # mean difference of the largest and the smallest color level of a pixel; 0 is gray
    sharpness: float = 0.0  # variance of the Laplacian by that of the luma
    remarks: str = ""  # what is unusual, compared with the other pictures (checks.py)
    shape: str = ""  # of the image: height x width x channels
    stored_sha256: str = ""  # of the image in data/
    grouped: int = 0  # how the group was found by comparing all sources that were kept: 1 or 2 (duplicates.py), else 0

    @property
    def is_copy(self) -> bool:
        return not normalized(f"/{self.path}").endswith(normalized(f"/{self.source}"))

    @property
    def key(self) -> str:
        """Of the file, however its folder was named: relative, absolute or by a link."""
        folder, name = os.path.split(os.path.abspath(self.path))  # noqa: PTH100 - plain strings
        return f"{self.class_name}/{_real_folder(folder)}/{name}"


_FIELDS = [field.name for field in fields(Picture)]
_COLUMNS = ["class" if name == "class_name" else name for name in _FIELDS]
_NUMBERS: dict[str, Any] = {field.name: field.type for field in fields(Picture) if field.type in (int, float)}
_OLD_NAMES = {"file": "stored", "origin": "path"}  # in manifests of the first version
_ALL_VERSIONS = {"class", "source", "group", "split", "sha256", "perceptual_hash", "status", "reason", "shape"}


@lru_cache(maxsize=1024)  # of few folders there are many pictures
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def updated(picture: Picture, **changes: Any) -> Picture:
    """Returns the same as `dataclasses.replace`, but fast if nothing changes, as for most pictures of most runs."""
    if all(getattr(picture, name) == value for name, value in changes.items()):
        return picture
    return replace(picture, **changes)


def shape_text(config: ImageConfig) -> str:
    """Returns the shape of the images as written in the manifest: 100x100x3."""
    return "x".join(map(str, config.shape))


def kept(pictures: Iterable[Picture]) -> list[Picture]:
    """Returns the pictures that are used."""
    return [picture for picture in pictures if picture.status == KEPT]


def class_names(pictures: Iterable[Picture]) -> list[str]:
    """Returns the sorted names of the classes; a label is an index into this list."""
    return sorted({picture.class_name for picture in pictures})


def stand_ins(pictures: Iterable[Picture]) -> dict[str, Picture]:
    """Returns the picture that stands for each source: the source itself or, if it is not there, its first copy."""
    found: dict[str, Picture] = {}
    for picture in sorted(pictures, key=attrgetter("is_copy", "path")):
        found.setdefault(picture.source, picture)
    return found


def read_manifest(path: Path) -> list[Picture]:
    """Returns the rows of a manifest. All rows of one that an earlier version wrote are pending.

    Raises:
        UserError: it is not a manifest of this toolkit, or it names a file outside its folder.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
        if header == _COLUMNS:
            pictures = [_from_row(dict(zip(_FIELDS, row, strict=True))) for row in rows]
        elif set(header) >= _ALL_VERSIONS:
            columns = [_OLD_NAMES.get(name, name) for name in header]
            pictures = [_from_other_version(dict(zip(columns, row, strict=True))) for row in rows]
            print(f"{printable(path)}: was written by another version of this toolkit; all images are made again")
        else:
            raise ValueError("other columns")
    except (TypeError, ValueError, LookupError, csv.Error):
        raise UserError(f"{printable(path)}: is not a manifest of this version; move its folder away") from None
    for picture in pictures:
        if not is_inside(picture.stored):
            raise UserError(f"{printable(path)}: names a file outside its folder: {printable(picture.stored)}")
    return pictures


def _from_row(row: dict[str, Any]) -> Picture:
    return Picture(**row | {name: kind(row[name]) for name, kind in _NUMBERS.items()})


def _from_other_version(row: dict[str, str]) -> Picture:
    """Returns a pending row, so that the image is made again, or deleted if it is no longer needed."""
    return Picture(stored=row["stored"], class_name=row["class"], source=row["source"], path=row["path"])


def is_inside(name: str, *, system: type[PurePath] = PurePath) -> bool:
    """Returns whether a name stays below the folder that it is joined to, by the rules of an operating system.

    `a\\..\\b`, for example, is an ordinary name on Linux, and a path on Windows.
    """
    path = system(name)
    return not path.anchor and ".." not in path.parts


def normalized(name: str) -> str:
    """Returns a name in Unicode's composed form (NFC), so that é is one letter, however the system spells it."""
    return unicodedata.normalize("NFC", name)


def write_manifest(path: Path, pictures: Sequence[Picture]) -> None:
    """Writes a manifest atomically, unless the file already has the same content."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # with its own line ends: only then are names that contain one quoted
    writer.writerow(_COLUMNS)
    writer.writerows(map(attrgetter(*_FIELDS), pictures))
    content = text.getvalue().encode("utf-8", errors="surrogateescape")
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)
