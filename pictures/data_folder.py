"""`data/`: the images that are stored there, and the manifest of the run that made them.

What a file contains decides whether it has changed, and not its size or its time: copying, unpacking and exchanging
files can leave both as they were. So each run reads all pictures and images, which takes a fraction of the time of
making the images: an eighth for photos of 25 kB.

Whenever a run is interrupted, the manifest names every image in the folder, as kept or as pending. So the next run
knows which files it may overwrite or delete.
"""

import contextlib
import errno
import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from config import PictureConfig
from pictures.decoding import UnreadableImage, decode_png, load_image
from pictures.duplicates import grouping
from pictures.folders import find_classes, picture_entries, picture_files, read_image, read_regular_file
from pictures.manifest import (
    EXCLUDED,
    KEPT,
    MANIFEST,
    PENDING,
    SKIPPED,
    Picture,
    read_manifest,
    updated,
    write_manifest,
)
from pictures.standardize import carry_over, skipped, standardize
from system.errors import UserError
from system.files import fsync_all, write_atomically
from system.pool import imap
from system.progress import progress
from system.resources import require_disk
from system.terminal import printable

# Threads that read and hash files, and files that each takes at a time. With more threads, or one file at a time, small
# files take up to four times as long, because threads wait for each other (the GIL).
_THREADS, _CHUNK = 2, 64
_NAME_ERRORS = {errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG}  # of file systems that do not allow any name


def has_foreign_data(folder: Path) -> bool:
    """Returns whether a folder has files but no manifest, so that this toolkit has not made it."""
    return folder.is_dir() and not (folder / MANIFEST).exists() and any(picture_files(folder))


class DataFolder:
    """What the last run stored in `data/`, brought up to date step by step: `update`, then `finish`."""

    def __init__(self, config: PictureConfig, listed: Sequence[Picture]) -> None:
        """`listed` are all files of `rawdata/` and `augmented/`, as from `index_pictures`."""
        self._config = config
        self._folder = Path(config.data_path)
        self._manifest = self._folder / MANIFEST
        self.previous = read_manifest(self._manifest) if self._manifest.exists() else []  # the rows of the last run
        self.previous_by_key = {picture.key: picture for picture in self.previous}
        self._ours = [*self.previous, *listed]  # every picture whose image may be in the folder
        self._stored = {
            f"{name}/{below}" for name, path in find_classes(self._folder).items() for below, _ in picture_entries(path)
        }

    def update(self, pictures: Sequence[Picture], *, others: Sequence[Picture] = ()) -> list[Picture]:
        """Standardizes and stores every pending picture that the last run did not; returns the updated pictures.

        `others` are listed in the manifest too while this runs, in case it is interrupted.
        """
        done = self._find_unchanged([picture for picture in pictures if picture.status == PENDING])
        todo = [picture for picture in pictures if picture.status == PENDING and picture.path not in done]
        self._require_disk(todo)
        rows = [*others, *(done.get(picture.path, picture) for picture in pictures)]
        self._write_pending(rows)
        self._remove_stale(rows)  # now, since a file may be in the place of a folder, or the other way around
        # This process writes the files. A worker may outlive a killed run, and would disturb the next one.
        written = []
        for picture, png in imap(
            partial(standardize, config=self._config, max_pixels=self._config.max_pixels),
            todo,
            on_failure=lambda picture, reason: (skipped(picture, reason), b""),
            description="preprocessing",
            chunksize=self._config.images_per_chunk,
        ):
            done[picture.path] = self._store(picture, png) if png else picture
            if done[picture.path].stored:
                written.append(self._folder / picture.stored)
        if written:
            fsync_all(written)  # before a manifest calls them kept: pending ones are made again
        return [done.get(picture.path, picture) for picture in pictures]

    def _require_disk(self, pictures: Sequence[Picture]) -> None:
        """Raises UserError if there is no room for the images of these pictures."""
        stored = [self._folder / picture.stored for picture in pictures if picture.stored in self._stored]
        size = len(pictures) * math.prod(self._config.shape) - sum(path.stat().st_size for path in stored)
        require_disk(self._folder, size, "free some, or use a smaller --height and --width")

    def _store(self, picture: Picture, png: bytes) -> Picture:
        """Writes the image of a picture. Returns its row, which is skipped if the disk refuses its name."""
        try:
            write_atomically(self._folder / picture.stored, png, fsync=False)
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            folder = printable(self._folder)
            return skipped(picture, f"{folder} is on a disk that does not allow its name, or the path is too long")
        self._stored.add(picture.stored)
        return picture

    def _find_unchanged(self, pictures: Sequence[Picture]) -> dict[str, Picture]:
        """Returns the updated rows, by path, of the pictures of which the last run made what is needed now."""
        candidates = [(picture, old) for picture in pictures if (old := self._reusable(picture))]
        chunks = [candidates[start : start + _CHUNK] for start in range(0, len(candidates), _CHUNK)]
        found = {}
        with ThreadPoolExecutor(_THREADS) as threads, progress(len(candidates), "comparing") as advance:
            for chunk, unchanged in zip(chunks, threads.map(self._are_unchanged, chunks), strict=True):
                for (picture, old), same in zip(chunk, unchanged, strict=True):
                    if same:
                        found[picture.path] = carry_over(old, picture)
                advance(len(chunk))
        return found

    def _are_unchanged(self, chunk: Sequence[tuple[Picture, Picture]]) -> list[bool]:
        return [self._is_unchanged(picture, old) for picture, old in chunk]

    def _is_unchanged(self, picture: Picture, old: Picture) -> bool:
        """Returns whether a picture and its image, if there is one, have the content that they had in the last run."""
        if sha256_of(Path(picture.path)) != old.sha256:
            return False
        return old.status != KEPT or sha256_of(self._folder / old.stored) == old.stored_sha256

    def mark_missing(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Returns the pictures; kept ones whose image is missing, since the last run excluded them, are pending."""
        return [
            updated(p, status=PENDING) if p.status == KEPT and p.stored not in self._stored else p for p in pictures
        ]

    def finish(self, pictures: Sequence[Picture]) -> None:
        """Deletes the images that are no longer needed and writes the manifest."""
        self._remove_stale(pictures)
        if any(map(_is_pending, self.previous)):  # an interrupted run may have left empty folders
            self._remove_empty_folders()
        write_manifest(self._manifest, pictures)

    def _remove_stale(self, pictures: Iterable[Picture]) -> None:
        """Deletes the images of ours that do not belong to any of the pictures."""
        stale = self._stored & {picture.stored for picture in self._ours} - {picture.stored for picture in pictures}
        for name in stale:
            (self._folder / name).unlink()
        self._stored -= stale
        if stale:
            self._remove_empty_folders()

    def keeps_groups(self, originals: Sequence[Picture]) -> bool:
        """Returns whether the groups of the last run are still valid, because it compared exactly these pictures."""
        kept = {picture.key for picture in originals if picture.status == KEPT}
        grouped = grouping(similar=self._config.group_similar)
        compared = {picture.key for picture in self.previous if picture.grouped == grouped}
        return kept == compared and all(picture.grouped for picture in originals if picture.status == KEPT)

    def _reusable(self, picture: Picture) -> Picture | None:
        """Returns the row of the last run, if what was made then is usable provided that the content is the same."""
        old = self.previous_by_key.get(picture.key)
        if old is None or old.pixels > self._config.max_pixels:
            return None
        if (old.class_name, old.source, old.shape) != (picture.class_name, picture.source, picture.shape):
            return None
        if old.status == SKIPPED:
            return old if old.sha256 else None  # a file that could not be opened has none and is tried again
        # An excluded near-duplicate is not stored, which does not matter until it is known to be trained on.
        stored = old.status == KEPT and old.stored == picture.stored and old.stored in self._stored
        return old if old.perceptual_hash and (stored or (old.status == EXCLUDED and not picture.split)) else None

    def _write_pending(self, pictures: Iterable[Picture]) -> None:
        """Writes a manifest for the case of an interruption: it names every image in the folder and has no groups."""
        rows = {picture.key: picture for picture in pictures}
        wanted = {picture.stored for picture in rows.values()}
        stale = {
            picture.key: replace(picture, status=PENDING)
            for picture in self._ours
            if picture.stored in self._stored and picture.stored not in wanted
        }
        if stale or any(map(_is_pending, rows.values())):
            write_manifest(self._manifest, [updated(picture, grouped=0) for picture in (rows | stale).values()])

    def _remove_empty_folders(self) -> None:
        for folder, _, files in os.walk(self._folder, topdown=False):
            if not files:
                with contextlib.suppress(OSError):  # it contains folders
                    Path(folder).rmdir()


def _is_pending(picture: Picture) -> bool:
    return picture.status == PENDING


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of the content of a file, or "" if it cannot be read."""
    try:
        return hashlib.sha256(read_regular_file(path)).hexdigest()
    except (UnreadableImage, OSError):
        return ""


def read_stored(picture: Picture, config: PictureConfig) -> np.ndarray:
    """Returns the pixels of the image of a picture in `data/`.

    Raises:
        UnreadableImage: it is missing, damaged, or has other content than when this run began.
        OSError: the disk fails.
    """
    content = read_regular_file(Path(config.data_path, picture.stored))
    if picture.stored_sha256 and hashlib.sha256(content).hexdigest() != picture.stored_sha256:
        raise UnreadableImage("has changed since this run began")
    if picture.stored_sha256 in ("", picture.sha256):  # a file of the user, in a ready-made data/
        return load_image(content, config, max_pixels=config.max_pixels)
    return decode_png(content)


def read_pixels(picture: Picture, config: PictureConfig) -> np.ndarray:
    """Returns the pixels of a picture, from `data/` if it is stored there.

    Raises:
        UserError: it cannot be read.
    """
    stored = Path(config.data_path, picture.stored)
    path = stored if stored.exists() else Path(picture.path)
    try:
        return read_image(path, config, max_pixels=config.max_pixels)
    except UnreadableImage as error:
        raise UserError(f"cannot read {printable(path)} ({error}); delete it and run this again") from None
