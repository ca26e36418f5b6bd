"""Turns `rawdata/<class>/` (and the copies in `augmented/<class>/`) into `data/<class>/` and `data/manifest.csv`.

Every picture is decoded, brought to one size and stored without loss; what cannot be read is skipped and named. Every
picture knows its source photograph, and all that show the same stand on one side of the split between training and
validation.
Run again, only what changed is done again.
"""

import contextlib
import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import config as settings
from config import PictureConfig, UserError
from duplicates import assign_groups, mixed_groups, perceptual_hash
from files import in_parallel, printable, write_atomically
from manifest import (
    KEPT,
    LEFT_OUT,
    MANIFEST,
    PENDING,
    SKIPPED,
    TRAIN,
    VALIDATION,
    Picture,
    assign_splits,
    read_manifest,
    source_of,
    updated,
    write_manifest,
)
from pictures import encode_png, standard_image

_LONGEST_NAME = 170  # bytes; what is made of it has a longer one, and systems take 255
_SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}
_NOT_PICTURES = {"thumbs.db", "desktop.ini"}


# ---- which files there are ----


def class_folders(folder: Path) -> dict[str, Path]:
    """Class names, sorted, and their folders; none where there is no such folder."""
    if not folder.is_dir():
        return {}
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}


def visible_files(folder: Path) -> Iterator[Path]:
    """Files below a folder, however deep, sorted; hidden ones and those that systems leave behind are passed over.

    Links to folders are not followed, so no loop can be entered.
    """
    for name, _ in _visible_entries(folder):
        yield folder / name


def _visible_entries(folder: Path, below: str = "") -> Iterator[tuple[str, os.DirEntry]]:
    """As `visible_files`: their names below the folder, and what the system tells of them without being asked again."""
    with os.scandir(folder / below) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if not _is_folder(entry) and entry.name.lower() not in _NOT_PICTURES:
            yield f"{below}{entry.name}", entry
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _visible_entries(folder, f"{below}{entry.name}/")


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def list_pictures(folder: Path, config: PictureConfig) -> list[Picture]:
    """All files in the class folders of a folder, as rows of a manifest that are still to be made."""
    pictures = []
    shape = _shape(config)
    for class_name, class_folder in class_folders(folder).items():
        for below, entry in _visible_entries(class_folder):
            name = f"{class_name}/{below}"
            source = source_of(name)[0]
            too_long = len(os.fsencode(source.rpartition("/")[2])) > _LONGEST_NAME
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere
                status = entry.stat(follow_symlinks=False)
            picture = Picture(
                file="" if too_long else f"{name}.png",  # appended, so that a.png and a.jpg do not meet
                class_name=class_name,
                source=source,
                status=SKIPPED if too_long else PENDING,
                reason="its name is too long" if too_long else "",
                origin=f"{class_folder.as_posix()}/{below}",
                size=status.st_size,
                modified=status.st_mtime_ns,
                shape=shape,
            )
            pictures.append(picture)
    return pictures


def size_of(config: PictureConfig) -> dict[str, int]:
    """What `standard_image` wants to know."""
    return {"height": config.height, "width": config.width, "color_channels": config.color_channels}


def _shape(config: PictureConfig) -> str:
    return "x".join(map(str, size_of(config).values()))


def list_classes(folder: Path, config: PictureConfig) -> list[Picture]:
    """As `list_pictures`, for a folder that classes are learnt from.

    Raises:
        UserError: it is missing, holds fewer than two class folders, or one of them is empty.
    """
    mend = "put your pictures into one sub-folder a class"
    if not folder.is_dir():
        raise UserError(f"{printable(folder)}: no such folder; make it and {mend}")
    names = list(class_folders(folder))
    if len(names) < 2:
        found = ", ".join(map(printable, names)) or "none"
        raise UserError(f"{printable(folder)}: at least two classes are needed, found {found}; {mend}")
    if "output" in names and set(names) & class_folders(folder / "output").keys():
        raise UserError(f"{printable(folder / 'output')}: Augmentor's output is no class; move or remove it")
    if _SPLIT_NAMES.issuperset(name.lower() for name in names):
        raise UserError(f"{printable(folder)}: {' and '.join(names)} are no classes; give one of them as --raw_data")
    loose = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if loose and MANIFEST not in {path.name for path in loose}:
        print(f"{printable(folder)}: {len(loose)} files are in no class folder and are passed over")
    pictures = list_pictures(folder, config)
    for name in sorted(set(names) - {picture.class_name for picture in pictures}):
        raise UserError(f"class {printable(name)}: no pictures in it; add some or remove its folder")
    return pictures


# ---- making data/ ----


def prepare(config: PictureConfig) -> list[Picture]:
    """The pictures to train on: `data/` refreshed from `rawdata/`, or as it is where there is no `rawdata/`.

    A `data/` folder without manifest.csv was made by its owner and is used as it is, whatever is in `rawdata/`.

    Raises:
        UserError: there is nothing to train on, or it cannot be used.
    """
    data = Path(config.data_path)
    if _ready_made(data):
        print(f"{printable(data)}/ has no {MANIFEST}: it was made elsewhere and is used as it is")
        found = [replace(p, file=p.file.removesuffix(".png"), status=KEPT) for p in list_classes(data, config)]
        found = _grouped(_hashed(found, config), config)
        _name_mislabelled(found)
    elif not Path(config.raw_data).is_dir() and (data / MANIFEST).exists():
        found = _made_before(data, config)
    else:
        return preprocess(config)
    found = assign_splits(found, share=config.validation_split, seed=config.seed)
    for picture in found:
        if picture.status == LEFT_OUT and picture.reason:
            print(f"left out {printable(picture.origin)}: {printable(picture.reason)}")
    return [picture for picture in found if picture.status == KEPT]


def _made_before(data: Path, config: PictureConfig) -> list[Picture]:
    """What a former run made of a `rawdata/` that is gone."""
    raw, shape = printable(config.raw_data), _shape(config)
    found = read_manifest(data / MANIFEST)
    if not any(Path(picture.origin).is_relative_to(config.raw_data) for picture in found):
        raise UserError(f"{raw}: no such folder, and {printable(data)} was made from another one")
    if any(picture.status == PENDING or (picture.status == KEPT and not picture.group) for picture in found):
        raise UserError(f"{printable(data)}: half made; bring back {raw}/ and run this again")
    if found[0].shape != shape:
        raise UserError(f"{printable(data)}: holds pictures of {found[0].shape}, not {shape}, and {raw}/ is missing")
    print(f"{raw}/ is missing: {printable(data)}/ is used as it is")
    return found


def preprocess(config: PictureConfig) -> list[Picture]:
    """Makes or refreshes `data/` from `rawdata/` and `augmented/`, and says what it did.

    Returns:
        the rows of the manifest that were kept.

    Raises:
        UserError: a folder is missing, `data/` is not ours to write to, or a class has fewer than two photographs.
    """
    data = Path(config.data_path)
    if _ready_made(data):
        raise UserError(f"{printable(data)}: holds files but no {MANIFEST}, so is not ours; name another --data_path")
    former = read_manifest(data / MANIFEST) if (data / MANIFEST).exists() else []
    before = {picture.origin: picture for picture in former}
    originals = list_classes(Path(config.raw_data), config)
    copies = list_pictures(Path(config.augmented), config)
    listed = {picture.origin: picture for picture in [*originals, *copies]}
    gone = [replace(picture, status=PENDING) for picture in former if picture.origin not in listed]
    _refuse_same_names(listed.values())
    stored = {f"{name}/{below}" for name, path in class_folders(data).items() for below, _ in _visible_entries(path)}

    others = [*gone, *(before.get(copy.origin, copy) for copy in copies)]
    originals = _make(originals, others, before, stored, config)
    originals = _as_grouped_before(originals, former, config) or _grouped(originals, config)
    _name_mislabelled(originals)
    originals = assign_splits(originals, share=config.validation_split, seed=config.seed)
    copies = _usable_copies(copies, originals)
    # What the last run left out was not stored, and may have to be now.
    originals = [updated(p, status=PENDING) if p.status == KEPT and p.file not in stored else p for p in originals]
    pictures = _make([*originals, *copies], gone, before, stored, config)

    for file in stored & {p.file for p in [*gone, *listed.values()]} - {p.file for p in pictures}:
        _remove(data / file, data)
    write_manifest(data / MANIFEST, pictures)
    _report(pictures, before, data)
    return [picture for picture in pictures if picture.status == KEPT]


def _ready_made(data: Path) -> bool:
    return data.is_dir() and not (data / MANIFEST).exists() and any(visible_files(data))


def _refuse_same_names(pictures: Collection[Picture]) -> None:
    """Only where `augmented/` repeats a name of `rawdata/` could two pictures be stored under one name."""
    origins = {picture.file: picture.origin for picture in pictures if picture.file}
    for picture in pictures:
        if picture.file and origins[picture.file] != picture.origin:
            other = printable(origins[picture.file])
            raise UserError(f"{printable(picture.origin)}: {other} has the same class and name; remove or rename one")


def _announce(pictures: Sequence[Picture], data: Path) -> None:
    """Should this run be cut off, the manifest names every file that it may have left behind, and trusts no group."""
    if any(picture.status == PENDING for picture in pictures):
        write_manifest(data / MANIFEST, [updated(picture, group_bits=-1) for picture in pictures])


def _reusable(old: Picture | None, picture: Picture, stored: Collection[str]) -> bool:
    """Whether what a former run made of a file still stands, should the file be the same."""
    if old is None or (old.class_name, old.source, old.shape) != (picture.class_name, picture.source, picture.shape):
        return False
    if old.status == SKIPPED:
        return bool(old.sha256)  # what could not even be opened has none, and is tried again
    # A near-duplicate that was left out is not stored, which is of no account until it is known to be trained on.
    return bool(old.perceptual_hash) and (
        (old.status == KEPT and old.file in stored) or (old.status == LEFT_OUT and not picture.split)
    )


def _as_before(picture: Picture, before: dict[str, Picture], stored: Collection[str]) -> Picture | None:
    """The row of a former run whose work still stands, as the file has not been touched since."""
    old = before.get(picture.origin)
    if old and (old.size, old.modified) == (picture.size, picture.modified) and _reusable(old, picture, stored):
        return old
    return None


def _taken_over(old: Picture, picture: Picture) -> Picture:
    """A former row for the same content; whether it must be left out, and where a copy belongs, is decided anew."""
    if old.status == LEFT_OUT:
        old = replace(old, status=KEPT, reason="", file=picture.file)
    elif old.status == KEPT and picture.group:
        old = updated(old, group=picture.group, split=picture.split)
    return updated(old, modified=picture.modified)


def _make(
    pictures: Sequence[Picture],
    others: Sequence[Picture],
    before: dict[str, Picture],
    stored: set[str],
    config: PictureConfig,
) -> list[Picture]:
    """Reads, standardises and stores every pending picture that a former run has not; adds to what is stored."""
    pending = [picture for picture in pictures if picture.status == PENDING]
    done = {p.origin: _taken_over(old, p) for p in pending if (old := _as_before(p, before, stored))}
    todo = [picture for picture in pending if picture.origin not in done]
    _announce([*others, *(done.get(picture.origin, picture) for picture in pictures)], Path(config.data_path))
    make = partial(_make_one, before=before, stored=frozenset(stored), config=config)
    for made in in_parallel(make, todo, description="preprocessing"):
        done[made.origin] = made
        if made.file:
            stored.add(made.file)
    return [done.get(picture.origin, picture) for picture in pictures]


def _make_one(
    picture: Picture, *, before: dict[str, Picture], stored: Collection[str], config: PictureConfig
) -> Picture:
    """Reads, standardises and stores one picture, unless it turns out to be what a former run stored."""
    origin, old = Path(picture.origin), before.get(picture.origin)
    try:
        if not stat.S_ISREG(origin.stat().st_mode):  # a pipe would keep its reader waiting for ever
            raise ValueError("not a regular file")
        content = origin.read_bytes()
        picture = replace(picture, sha256=hashlib.sha256(content).hexdigest())
        if old and old.sha256 == picture.sha256 and _reusable(old, picture, stored):
            return _taken_over(old, picture)
        pixels = standard_image(content, **size_of(config))
    except (ValueError, FileNotFoundError, PermissionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return replace(picture, file="", group="", split="", status=SKIPPED, reason=reason)
    write_atomically(Path(config.data_path, picture.file), encode_png(pixels))
    return replace(picture, status=KEPT, perceptual_hash=perceptual_hash(pixels))


def _hashed(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    """Reads what tells duplicates from files of `data/` itself; what is damaged is left to be named when it is read."""

    def read(picture: Picture) -> Picture:
        try:
            content = Path(picture.origin).read_bytes()
            pixels = standard_image(content, **size_of(config))
        except (ValueError, OSError):
            return picture
        digest = hashlib.sha256(content).hexdigest()
        return replace(picture, sha256=digest, perceptual_hash=perceptual_hash(pixels))

    return list(in_parallel(read, pictures, description="comparing", leave=False))


def _as_grouped_before(
    originals: list[Picture], former: Sequence[Picture], config: PictureConfig
) -> list[Picture] | None:
    """The pictures themselves, where they carry the groups that a former run found among just them."""
    kept = {picture.origin for picture in originals if picture.status == KEPT}
    compared = {picture.origin for picture in former if picture.group_bits == config.near_duplicate_bits}
    known = all(p.group_bits == config.near_duplicate_bits for p in originals if p.status == KEPT)
    return originals if known and kept == compared else None


def _grouped(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    """Fills in which pictures show the same."""

    def pixels_of(picture: Picture) -> np.ndarray:
        path = Path(config.data_path, picture.file)
        try:
            # What a former run left out is not stored.
            return standard_image((path if path.exists() else Path(picture.origin)).read_bytes(), **size_of(config))
        except ValueError as error:
            raise UserError(f"cannot read {printable(path)} ({error}); delete it and run this again") from None

    return assign_groups(pictures, most_bits=config.near_duplicate_bits, pixels_of=pixels_of)


def _name_mislabelled(pictures: Sequence[Picture]) -> None:
    for group in mixed_groups(pictures):
        names = " and ".join(printable(picture.origin) for picture in group)
        print(f"probably mislabelled: {names} show the same picture")


def _usable_copies(copies: Sequence[Picture], originals: Sequence[Picture]) -> list[Picture]:
    """Leaves out copies whose source is gone, has changed since, or is kept back for validation."""
    sources = {picture.source: picture for picture in originals if picture.status == KEPT and not picture.is_copy}

    def judge(copy: Picture) -> Picture:
        if copy.status != PENDING:
            return copy
        source = sources.get(copy.source)
        if source is None or not copy.is_copy:
            reason = "its source is not among the pictures of its class"
        elif source.split != TRAIN:
            reason = "its source is kept back for validation"
        elif not source.sha256.startswith(source_of(copy.origin)[1]):
            reason = "its source has changed since: run augment.py again"
        else:
            return replace(copy, group=source.group, split=TRAIN)
        return replace(copy, file="", status=LEFT_OUT, reason=reason)

    return [judge(copy) for copy in copies]


def _remove(path: Path, top: Path) -> None:
    """Deletes a file and the folders that it leaves empty."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # one that is not empty
        for folder in path.parents:
            if folder == top:
                return
            folder.rmdir()


def _report(pictures: Sequence[Picture], before: dict[str, Picture], data: Path) -> None:
    """Per class what was kept and skipped, every skipped file by name, and what changed since the last run."""
    classes = defaultdict(Counter)
    for picture in pictures:
        copy = "copy" if picture.is_copy and picture.status == KEPT else ""
        classes[picture.class_name].update((picture.status, picture.split, copy))
    print(f"{'class':<20} {'kept':>7} {'train':>7} {'valid.':>7} {'copies':>7} {'skipped':>7} {'left out':>8}")
    for class_name, count in sorted(classes.items()):
        print(
            f"{printable(class_name):<20} {count[KEPT]:>7} {count[TRAIN]:>7} {count[VALIDATION]:>7} "
            f"{count['copy']:>7} {count[SKIPPED]:>7} {count[LEFT_OUT]:>8}"
        )
    for picture in pictures:
        if picture.status == SKIPPED:
            print(f"skipped {printable(picture.origin)}: {printable(picture.reason)}")
    after = {picture.origin: picture for picture in pictures}
    new = len(after.keys() - before.keys())
    gone = len(before.keys() - after.keys())
    changed = sum(
        (after[origin].sha256, after[origin].shape) != (before[origin].sha256, before[origin].shape)
        for origin in after.keys() & before.keys()
    )
    news = f"{new} new, {changed} changed, {gone} gone" if new or changed or gone else "nothing has changed"
    print(f"{printable(data)}/: {sum(p.status == KEPT for p in pictures)} pictures; {news}")


def main(config: PictureConfig) -> int:
    preprocess(config)
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, PictureConfig, __doc__)
