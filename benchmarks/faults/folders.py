"""Folders of pictures, and comparing what scripts have written."""

import filecmp
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.faults.campaign import expect
from benchmarks.harness.processes import ROOT

LOCK = ".lock"  # the file by which a script keeps others out of a folder
RAW_DATA = ROOT / "rawdata"  # the sample pictures
_FEW = 12  # per class


def few_pictures(folder: Path) -> Path:
    """Returns a new folder with a dozen of the sample pictures of each class."""
    for class_folder in sorted(RAW_DATA.iterdir()):
        (folder / class_folder.name).mkdir(parents=True)
        for path in sorted(class_folder.iterdir())[:_FEW]:
            shutil.copy(path, folder / class_folder.name)
    return folder


def pictures_of_many_sizes(folder: Path, count: int) -> Path:
    """Returns a new folder with this many pictures in two classes, made from the sample pictures.

    No two have the same size.
    """
    originals = [cv2.imread(str(path)) for path in sorted(RAW_DATA.glob("*/*.*"))]
    for number in range(count):
        path = folder / ("ant", "bee")[number % 2] / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        original = originals[number % len(originals)]
        size = 60 + number % 397, 60 + number % 401
        cv2.imwrite(str(path), cv2.resize(np.rot90(original, number // len(originals)), size))
    return folder


def expect_no_partial_files(folder: Path) -> None:
    """There must be no hidden files but locks: whatever is only partly written is hidden."""
    found = [path.name for path in folder.rglob(".*") if path.name != LOCK]
    expect(not found, f"{folder.name}/ has partial files: {found[:5]}")


def expect_same_files(folder: Path, other: Path, *, ignore: Sequence[str] = ()) -> None:
    """All files of both must be equal, byte by byte, except for locks and the names to ignore."""
    own_names, other_names = (
        {path.relative_to(top) for path in top.rglob("*") if path.is_file() and path.name not in (LOCK, *ignore)}
        for top in (folder, other)
    )
    missing = sorted(map(str, own_names ^ other_names))
    expect(not missing, f"{folder.name}/ has other files: {missing[:5]}")
    different = [name for name in sorted(own_names) if not filecmp.cmp(folder / name, other / name, shallow=False)]
    expect(not different, f"{folder.name}/ differs in {len(different)} files: {[*map(str, different[:5])]}")
