"""Turns `rawdata/<class>/` (and the copies in `augmented/<class>/`) into `data/<class>/` and `data/manifest.csv`.

Every picture is decoded, resized and stored without loss; a file that cannot be read is skipped and named. Every
picture's source is recorded, and all pictures of the same photo are on one side of the split between training and
validation. If you run it again, only what has changed is processed.
"""

if __name__ == "__main__":  # before the imports, which take a moment
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - `python -P` leaves it out
    from system.startup import start_script

    start_script()

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from config import PictureConfig
from pictures.checks import check_pictures, with_remarks
from pictures.class_differences import class_difference_lines
from pictures.data_folder import DataFolder, has_foreign_data, read_pixels
from pictures.duplicates import assign_groups, grouping, mislabeled_lines
from pictures.listing import index_classes, index_pictures, split_off_other_files
from pictures.manifest import (
    EXCLUDED,
    KEPT,
    MANIFEST,
    PENDING,
    SKIPPED,
    Picture,
    class_names,
    kept,
    read_manifest,
    shape_text,
)
from pictures.report import describe_changes, finding_lines, print_copies, print_reasons, print_table, print_totals
from pictures.split import assign_folds, assign_splits, exclude_unusable_copies, few_validate_lines
from pictures.standardize import add_hashes
from system.errors import EXIT_SUCCESS, UserError
from system.files import locked, remove_partial_files
from system.pool import imap
from system.script import run_script
from system.terminal import printable, wrapped


def preprocess(config: PictureConfig) -> list[Picture]:
    """Makes or updates `data/` and returns the pictures that were kept. See `update_data`."""
    return kept(update_data(config))


def update_data(config: PictureConfig) -> list[Picture]:
    """Makes or updates `data/` from `rawdata/` and `augmented/`, and prints what it did.

    Returns:
        every picture, with what became of it.

    Raises:
        UserError: a folder is missing, `data/` was not made by this toolkit, or a class has fewer than two photos.
    """
    data, augmented = Path(config.data_path), Path(config.augmented)
    originals = index_classes(Path(config.raw_data), config)
    if has_foreign_data(data):
        move = f", or move {printable(config.raw_data)}/ away to train on the files as they are"
        raise UserError(
            f"{printable(data)}: has files but no {MANIFEST}, so it is not overwritten; use another --data_path"
            f"{move if config.raw_data == PictureConfig.raw_data else ''}"
        )
    with _locked_while_read(augmented), locked(data, wait=True):
        copies = index_pictures(augmented, config)
        _refuse_same_names([*originals, *copies])
        remove_partial_files(data, is_ours=lambda name: name == MANIFEST or name.endswith(".png"))
        folder = DataFolder(config, [*originals, *copies])
        pictures = _update(folder, originals, copies, config)
        print_reasons(pictures, [SKIPPED])
        print_totals(pictures, data, describe_changes(pictures, folder.previous))
    return pictures


def _locked_while_read(folder: Path) -> contextlib.AbstractContextManager:
    """Keeps augment.py from changing a folder meanwhile, if there is one in which it could."""
    return locked(folder, wait=True) if os.access(folder, os.W_OK) else contextlib.nullcontext()


def _update(
    folder: DataFolder, originals: list[Picture], copies: list[Picture], config: PictureConfig
) -> list[Picture]:
    """Brings `data/` up to date and returns all pictures: originals first, which decide about their copies."""
    # A picture is standardized before it is compared with others; the split follows from the comparison.
    originals = folder.update(originals, others=[folder.previous_by_key.get(copy.key, copy) for copy in copies])
    if not folder.keeps_groups(originals):
        originals = _assign_groups(originals, config)
    originals = _check(originals, config)
    originals = _assign_splits(originals, config)
    print_copies(originals)
    copies = exclude_unusable_copies(copies, originals)
    pictures = folder.update([*folder.mark_missing(originals), *copies])  # now it is known which copies are needed
    folder.finish(pictures)
    return pictures


def _assign_groups(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    return assign_groups(pictures, pixels_of=partial(read_pixels, config=config), similar=config.group_similar)


def _assign_splits(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    """Returns the pictures with their side of the split. Classes without any picture file are named and left out."""
    candidates, others = split_off_other_files(pictures)
    names = class_names(candidates)
    for name in sorted(set(class_names(others)) - set(names)):
        print(f"class {printable(name)}: none of its files is a picture, so it is not a class of this run")
    if len(names) < 2:
        raise UserError(f"{printable(config.raw_data)}: at least two classes with pictures are needed")
    if config.folds > 1:
        candidates = assign_folds(candidates, folds=config.folds, seed=config.seed)
    else:
        candidates = assign_splits(candidates, fraction=config.validation_split, seed=config.seed)
        for line in few_validate_lines(candidates, fraction=config.validation_split):
            print(wrapped(line))
    assigned = {picture.path: picture for picture in candidates}
    return [assigned.get(picture.path, picture) for picture in pictures]


def training_pictures(config: PictureConfig) -> list[Picture]:
    """Returns the pictures to train on. See `prepare_data`."""
    return kept(prepare_data(config))


def prepare_data(config: PictureConfig) -> list[Picture]:
    """Returns every picture, with what became of it: from `data/`, updated from `rawdata/` first, or as it is without.

    Raises:
        UserError: there are no usable pictures.
    """
    data = Path(config.data_path)
    if has_foreign_data(data) and _is_ready_made(config):
        print(f"{printable(data)}/ has no {MANIFEST}, so it was not made by this toolkit; it is used as it is")
        found = _assign_groups(_index_foreign_data(config), config)
    elif not Path(config.raw_data).is_dir() and (data / MANIFEST).exists():
        found = _reuse_data_folder(config)
        if any(picture.grouped not in (0, grouping(similar=config.group_similar)) for picture in found):
            found = _assign_groups(found, config)
    else:
        return update_data(config)
    found = _assign_splits(_check(found, config), config)
    print_copies(found)
    print_reasons(found, (SKIPPED, EXCLUDED))
    print_totals(found, data)
    return found


def _is_ready_made(config: PictureConfig) -> bool:
    """Returns whether to train on a `data/` folder that the user made: if it is named, or there are no raw pictures."""
    names_data, names_raw = config.data_path != PictureConfig.data_path, config.raw_data != PictureConfig.raw_data
    return names_data if names_data != names_raw else not Path(config.raw_data).is_dir()


def _reuse_data_folder(config: PictureConfig) -> list[Picture]:
    """Returns what an earlier run made of a `rawdata/` that no longer exists."""
    data, raw = printable(config.data_path), printable(config.raw_data)
    found = read_manifest(Path(config.data_path, MANIFEST))
    if not any(Path(picture.path).absolute().is_relative_to(Path(config.raw_data).absolute()) for picture in found):
        raise UserError(f"{raw}: no such folder, and {data} was made from a different one; check --raw_data")
    if any(picture.status == PENDING or (picture.status == KEPT and not picture.group) for picture in found):
        raise UserError(f"{data}: is incomplete; bring back {raw}/ and run this again")
    if found[0].shape != shape_text(config):
        raise UserError(
            f"{data}: has images of {found[0].shape}, not {shape_text(config)}, and {raw}/ is missing; bring it back"
        )
    print(f"{raw}/ is missing: {data}/ is used as it is")
    return found


def _index_foreign_data(config: PictureConfig) -> list[Picture]:
    """Returns the pictures of a `data/` folder that the user made, with the hashes that identify duplicates.

    Raises:
        UserError: a picture crashes its decoder, which would end the training.
    """

    def on_failure(picture: Picture, reason: str) -> Picture:
        raise UserError(f"{printable(picture.path)}: {reason}; move it away and run this again")

    pictures = [
        replace(picture, stored=Path(picture.path).relative_to(config.data_path).as_posix(), status=KEPT)
        if picture.status == PENDING
        else picture
        for picture in index_classes(Path(config.data_path), config)
    ]
    read = partial(add_hashes, config=config, max_pixels=config.max_pixels)
    return list(imap(read, pictures, on_failure=on_failure, description="comparing"))


def _refuse_same_names(pictures: Sequence[Picture]) -> None:
    """Raises UserError if `augmented/` repeats a name of `rawdata/`, since both would be stored under one name."""
    paths = {picture.stored: picture.path for picture in pictures if picture.stored}
    for picture in pictures:
        if picture.stored and paths[picture.stored] != picture.path:
            other = printable(paths[picture.stored])
            raise UserError(f"{printable(picture.path)}: {other} has the same class and name; remove or rename one")


def _check(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    """Prints what is unusual about the pictures and their classes; returns them with remarks for the manifest."""
    findings = check_pictures(pictures, config)
    has_manifest = Path(config.data_path, MANIFEST).exists()  # not in a data/ folder that the user made
    lines = mislabeled_lines(pictures) + finding_lines(findings, in_manifest=has_manifest)
    for line in lines + class_difference_lines(pictures):
        print(wrapped(line))
    return with_remarks(pictures, findings)


def main(config: PictureConfig) -> int:
    print_table(update_data(config))
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PictureConfig, __doc__)
