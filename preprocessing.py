"""Turns `rawdata/<class>/` (and the copies in `augmented/<class>/`) into `data/<class>/` and `data/manifest.csv`.

Every picture is decoded, brought to one size and stored without loss; what cannot be read is skipped and named. Every
picture knows its source photograph, and all that show the same stand on one side of the split between training and
validation.
Run again, only what changed is done again.
"""

import contextlib
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import config as settings
from config import PictureConfig, UserError
from duplicates import assign_groups, mixed_groups, perceptual_hash
from files import flush_to_disk, locked, printable, remove_leftovers, write_atomically
from listing import class_folders, content_of, list_classes, list_pictures, shape_of, visible_entries, visible_files
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
from pictures import TooLarge, encode_png, standard_image
from workers import in_processes, portion


def size_of(config: PictureConfig) -> dict[str, int]:
    """Of the standardised pictures."""
    return {"height": config.height, "width": config.width, "color_channels": config.color_channels}


def decoding(config: PictureConfig) -> dict[str, float]:
    """What `standard_image` wants to know."""
    size = size_of(config)
    # What is stored has that size, and must be readable itself.
    return {**size, "max_megapixels": max(config.max_megapixels, size["height"] * size["width"] / 1e6)}


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
        found = _grouped(_hashed(list_classes(data, config), config), config)
        _name_mislabelled(found)
    elif not Path(config.raw_data).is_dir() and (data / MANIFEST).exists():
        found = _made_before(data, config)
    else:
        return preprocess(config)
    found = assign_splits(found, share=config.validation_split, seed=config.seed)
    for picture in found:
        if picture.status in (SKIPPED, LEFT_OUT) and picture.reason:
            print(f"{picture.status} {printable(picture.origin)}: {printable(picture.reason)}")
    return [picture for picture in found if picture.status == KEPT]


def _made_before(data: Path, config: PictureConfig) -> list[Picture]:
    """What a former run made of a `rawdata/` that is gone."""
    raw, shape = printable(config.raw_data), shape_of(config)
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
    originals = list_classes(Path(config.raw_data), config)
    copies = list_pictures(Path(config.augmented), config)
    _refuse_same_names([*originals, *copies])
    with locked(data, wait=True):
        remove_leftovers(data, is_ours=lambda name: name == MANIFEST or name.endswith(".png"))
        return _refreshed(originals, copies, config)


def _refreshed(originals: list[Picture], copies: list[Picture], config: PictureConfig) -> list[Picture]:
    """As `preprocess`. Whenever it is cut off, the manifest names all that lies in `data/`, as kept or as pending."""
    data = Path(config.data_path)
    former = read_manifest(data / MANIFEST) if (data / MANIFEST).exists() else []
    before = {picture.origin: picture for picture in former}
    known = [*former, *originals, *copies]  # all that may have a file in data/
    stored = {f"{name}/{below}" for name, path in class_folders(data).items() for below, _ in visible_entries(path)}

    others = [before.get(copy.origin, copy) for copy in copies]
    originals = _make(originals, others, before, known, stored, config)
    originals = _as_grouped_before(originals, former, config) or _grouped(originals, config)
    _name_mislabelled(originals)
    originals = assign_splits(originals, share=config.validation_split, seed=config.seed)
    copies = _usable_copies(copies, originals)
    # What the last run left out was not stored, and may have to be now.
    originals = [updated(p, status=PENDING) if p.status == KEPT and p.file not in stored else p for p in originals]
    pictures = _make([*originals, *copies], [], before, known, stored, config)

    unwanted = stored & {picture.file for picture in known} - {picture.file for picture in pictures}
    for file in unwanted:
        (data / file).unlink()
    if unwanted or any(map(_is_pending, former)):  # a run that was cut off may have left folders without files
        _remove_empty_folders(data)
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


def _is_pending(picture: Picture) -> bool:
    return picture.status == PENDING


def _announce(pictures: Iterable[Picture], known: Sequence[Picture], stored: Collection[str], data: Path) -> None:
    """Should this run be cut off, the manifest names every file that it may have left behind, and trusts no group."""
    rows = {picture.origin: picture for picture in pictures}
    wanted = {picture.file for picture in rows.values()}
    doomed = {p.origin: replace(p, status=PENDING) for p in known if p.file in stored and p.file not in wanted}
    if doomed or any(map(_is_pending, rows.values())):
        write_manifest(data / MANIFEST, [updated(picture, group_bits=-1) for picture in (rows | doomed).values()])


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
    known: Sequence[Picture],
    stored: set[str],
    config: PictureConfig,
) -> list[Picture]:
    """Reads, standardises and stores every pending picture that a former run has not; adds to what is stored."""
    data = Path(config.data_path)
    pending = [picture for picture in pictures if picture.status == PENDING]
    done = {p.origin: _taken_over(old, p) for p in pending if (old := _as_before(p, before, stored))}
    todo = [picture for picture in pending if picture.origin not in done]
    _announce([*others, *(done.get(picture.origin, picture) for picture in pictures)], known, stored, data)
    # This process writes, and not those that decode: one of those may outlive a run that was killed, and come in the
    # way of the next.
    written = []
    for made, png in in_processes(
        partial(_made, decoding=decoding(config)),
        [(p, old if _reusable(old := before.get(p.origin), p, stored) else None) for p in todo],
        failed=lambda item, reason: (_skipped(item[0], reason), b""),
        description="preprocessing",
        together=portion(config.height, config.width),
    ):
        done[made.origin] = made
        if png:
            written.append(data / made.file)
            write_atomically(written[-1], png, flush=False)
            stored.add(made.file)
    if written:
        flush_to_disk(written)  # before any manifest calls them kept: those that are pending are made again
    return [done.get(picture.origin, picture) for picture in pictures]


def _made(item: tuple[Picture, Picture | None], *, decoding: dict[str, float]) -> tuple[Picture, bytes]:
    """What becomes of a picture, and the PNG to store; none if it is what a former run stored, whose row comes too."""
    picture, old = item
    try:
        content = content_of(Path(picture.origin))
        picture = replace(picture, sha256=hashlib.sha256(content).hexdigest())
        if old and old.sha256 == picture.sha256:
            return _taken_over(old, picture), b""
        pixels = standard_image(content, **decoding)
    except TooLarge as error:  # which another setting may allow, so it is to be tried again
        return _skipped(replace(picture, sha256=""), str(error)), b""
    except (ValueError, FileNotFoundError, PermissionError) as error:
        return _skipped(picture, error.strerror if isinstance(error, OSError) else str(error)), b""
    return replace(picture, status=KEPT, perceptual_hash=perceptual_hash(pixels)), encode_png(pixels)


def _skipped(picture: Picture, reason: str) -> Picture:
    return replace(picture, file="", group="", split="", status=SKIPPED, reason=reason)


def _hashed(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    """Reads what tells duplicates from files of `data/` itself; what is damaged is left to be named when it is read.

    Raises:
        UserError: a picture crashes its decoder, which would take the training with it.
    """

    def failed(picture: Picture, reason: str) -> Picture:
        raise UserError(f"{printable(picture.origin)}: {reason}; move it away and run this again")

    own = [replace(p, file=p.file.removesuffix(".png"), status=KEPT) if _is_pending(p) else p for p in pictures]
    read = partial(_with_hashes, decoding=decoding(config))
    return list(in_processes(read, own, failed=failed, description="comparing", leave=False))


def _with_hashes(picture: Picture, *, decoding: dict[str, float]) -> Picture:
    if picture.status != KEPT:
        return picture
    try:
        content = content_of(Path(picture.origin))
        pixels = standard_image(content, **decoding)
    except (ValueError, OSError):
        return picture
    return replace(picture, sha256=hashlib.sha256(content).hexdigest(), perceptual_hash=perceptual_hash(pixels))


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
            return standard_image(content_of(path if path.exists() else Path(picture.origin)), **decoding(config))
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


def _remove_empty_folders(data: Path) -> None:
    for folder, _, files in os.walk(data, topdown=False):
        if not files:
            with contextlib.suppress(OSError):  # one with folders
                Path(folder).rmdir()


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
