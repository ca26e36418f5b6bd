"""Turns `rawdata/<class>/` (and the copies in `augmented/<class>/`) into `data/<class>/` and `data/manifest.csv`.

Every picture is decoded, resized and stored without loss; a file that cannot be read is skipped and named. Every
picture's source is recorded, and all pictures of the same photo are on one side of the split between training and
validation. If you run it again, only what has changed is processed.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from config import PictureConfig
from pictures.data_folder import DataFolder, has_foreign_data, read_pixels
from pictures.duplicates import assign_groups, mixed_groups
from pictures.folders import index_classes, index_pictures
from pictures.manifest import (
    EXCLUDED,
    KEPT,
    MANIFEST,
    PENDING,
    SKIPPED,
    TRAIN,
    VALIDATION,
    Picture,
    read_manifest,
    shape_text,
)
from pictures.split import assign_splits, exclude_unusable_copies
from pictures.standardize import add_hashes
from system.command_line import run_script
from system.errors import EXIT_SUCCESS, UserError
from system.files import locked, remove_partial_files
from system.pool import imap
from system.terminal import printable


def preprocess(config: PictureConfig) -> list[Picture]:
    """Makes or updates `data/` from `rawdata/` and `augmented/`, and prints what it did.

    Returns:
        the pictures that were kept.

    Raises:
        UserError: a folder is missing, `data/` was not made by this toolkit, or a class has fewer than two photos.
    """
    data = Path(config.data_path)
    if has_foreign_data(data):
        raise UserError(
            f"{printable(data)}: has files but no {MANIFEST}, so it is not overwritten; use another --data_path"
        )
    originals = index_classes(Path(config.raw_data), config)
    copies = index_pictures(Path(config.augmented), config)
    _refuse_same_names([*originals, *copies])
    with locked(data, wait=True):
        remove_partial_files(data, is_ours=lambda name: name == MANIFEST or name.endswith(".png"))
        folder = DataFolder(config, [*originals, *copies])
        pictures = _update(folder, originals, copies, config)
        _report(pictures, folder.previous_by_path, data)
    return [picture for picture in pictures if picture.status == KEPT]


def _update(
    folder: DataFolder, originals: list[Picture], copies: list[Picture], config: PictureConfig
) -> list[Picture]:
    """Brings `data/` up to date and returns all pictures: originals first, which decide about their copies."""
    # A picture is standardized before it is compared with others; the split follows from the comparison.
    originals = folder.update(originals, others=[folder.previous_by_path.get(copy.path, copy) for copy in copies])
    if not folder.keeps_groups(originals):
        originals = assign_groups(originals, pixels_of=partial(read_pixels, config=config))
    _warn_mislabeled(originals)
    originals = assign_splits(originals, fraction=config.validation_split, seed=config.seed)
    copies = exclude_unusable_copies(copies, originals)
    pictures = folder.update([*folder.mark_missing(originals), *copies])  # now it is known which copies are needed
    folder.finish(pictures)
    return pictures


def training_pictures(config: PictureConfig) -> list[Picture]:
    """Returns the pictures to train on: from `data/`, updated from `rawdata/` first, or as it is without `rawdata/`.

    A `data/` folder without manifest.csv was made by the user and is used as it is, even if there is a `rawdata/`.

    Raises:
        UserError: there are no usable pictures.
    """
    data = Path(config.data_path)
    if has_foreign_data(data):
        print(f"{printable(data)}/ has no {MANIFEST}, so it was not made by this toolkit; it is used as it is")
        found = assign_groups(_index_foreign_data(config), pixels_of=partial(read_pixels, config=config))
        _warn_mislabeled(found)
    elif not Path(config.raw_data).is_dir() and (data / MANIFEST).exists():
        found = _reuse_data_folder(config)
    else:
        return preprocess(config)
    found = assign_splits(found, fraction=config.validation_split, seed=config.seed)
    for picture in found:
        if picture.status in (SKIPPED, EXCLUDED) and picture.reason:
            print(f"{picture.status} {printable(picture.path)}: {printable(picture.reason)}")
    return [picture for picture in found if picture.status == KEPT]


def _reuse_data_folder(config: PictureConfig) -> list[Picture]:
    """Returns what an earlier run made of a `rawdata/` that no longer exists."""
    data, raw = printable(config.data_path), printable(config.raw_data)
    found = read_manifest(Path(config.data_path, MANIFEST))
    if not any(Path(picture.path).is_relative_to(config.raw_data) for picture in found):
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
        replace(picture, stored=picture.stored.removesuffix(".png"), status=KEPT)
        if picture.status == PENDING
        else picture
        for picture in index_classes(Path(config.data_path), config)
    ]
    read = partial(add_hashes, config=config, max_pixels=config.max_pixels)
    return list(imap(read, pictures, on_failure=on_failure, description="comparing", leave=False))


def _refuse_same_names(pictures: Sequence[Picture]) -> None:
    """Raises UserError if `augmented/` repeats a name of `rawdata/`, since both would be stored under one name."""
    paths = {picture.stored: picture.path for picture in pictures if picture.stored}
    for picture in pictures:
        if picture.stored and paths[picture.stored] != picture.path:
            other = printable(paths[picture.stored])
            raise UserError(f"{printable(picture.path)}: {other} has the same class and name; remove or rename one")


def _warn_mislabeled(pictures: Sequence[Picture]) -> None:
    for group in mixed_groups(pictures):
        names = " and ".join(printable(picture.path) for picture in group)
        print(f"probably mislabeled: {names} show the same picture")


def _report(pictures: Sequence[Picture], previous: dict[str, Picture], data: Path) -> None:
    """Prints the numbers of pictures per class, every skipped file, and what has changed since the last run."""
    classes: dict[str, Counter] = defaultdict(Counter)
    for picture in pictures:
        copy = "copy" if picture.is_copy and picture.status == KEPT else ""
        classes[picture.class_name].update((picture.status, picture.split, copy))
    print(f"{'class':<20} {'kept':>7} {'train':>7} {'valid.':>7} {'copies':>7} {'skipped':>7} {'excluded':>8}")
    for class_name, count in sorted(classes.items()):
        print(
            f"{printable(class_name):<20} {count[KEPT]:>7} {count[TRAIN]:>7} {count[VALIDATION]:>7} "
            f"{count['copy']:>7} {count[SKIPPED]:>7} {count[EXCLUDED]:>8}"
        )
    for picture in pictures:
        if picture.status == SKIPPED:
            print(f"skipped {printable(picture.path)}: {printable(picture.reason)}")
    current = {picture.path: picture for picture in pictures}
    new = len(current.keys() - previous.keys())
    removed = len(previous.keys() - current.keys())
    changed = sum(
        (current[path].sha256, current[path].shape) != (previous[path].sha256, previous[path].shape)
        for path in current.keys() & previous.keys()
    )
    changes = f"{new} new, {changed} changed, {removed} removed" if new or changed or removed else "nothing has changed"
    print(f"{printable(data)}/: {sum(p.status == KEPT for p in pictures)} pictures; {changes}")


def main(config: PictureConfig) -> int:
    preprocess(config)
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, PictureConfig, __doc__)
