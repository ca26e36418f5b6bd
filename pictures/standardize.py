"""The work on one picture of `rawdata/` in a worker process: read, decode, resize, hash, encode."""

import hashlib
from dataclasses import replace
from pathlib import Path

from config import ImageConfig
from pictures.decoding import ImageTooLarge, UnreadableImage, encode_png, load_image
from pictures.duplicates import perceptual_hash
from pictures.folders import read_regular_file
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, Picture, updated


def standardize(item: tuple[Picture, Picture | None], *, config: ImageConfig, max_pixels: int) -> tuple[Picture, bytes]:
    """Returns the manifest row of a picture, and the PNG file to store.

    `item` is the picture and its row in the last manifest, if what was made of it then is still usable. If the content
    of the file is the same as then, no PNG is returned.
    """
    picture, old = item
    try:
        content = read_regular_file(Path(picture.path))
        picture = replace(picture, sha256=hashlib.sha256(content).hexdigest())
        if old and old.sha256 == picture.sha256:
            return carry_over(old, picture), b""
        pixels = load_image(content, config, max_pixels=max_pixels)
    except ImageTooLarge as error:  # without a sha256 it is tried again, since another limit may allow it
        return skipped(replace(picture, sha256=""), str(error)), b""
    except UnreadableImage as error:
        return skipped(picture, str(error)), b""
    return replace(picture, status=KEPT, perceptual_hash=perceptual_hash(pixels)), encode_png(pixels)


def add_hashes(picture: Picture, *, config: ImageConfig, max_pixels: int) -> Picture:
    """Returns a kept picture with the hashes that identify duplicates; without them if it cannot be read."""
    if picture.status != KEPT:
        return picture
    try:
        content = read_regular_file(Path(picture.path))
        pixels = load_image(content, config, max_pixels=max_pixels)
    except (UnreadableImage, OSError):  # reported when it is loaded for training
        return picture
    return replace(picture, sha256=hashlib.sha256(content).hexdigest(), perceptual_hash=perceptual_hash(pixels))


def skipped(picture: Picture, reason: str) -> Picture:
    """Returns the row of a picture that cannot be used."""
    return replace(picture, stored="", group="", split="", status=SKIPPED, reason=reason)


def carry_over(old: Picture, picture: Picture) -> Picture:
    """Returns the row of the last run for the same content; exclusion and the side of a copy are decided again."""
    if old.status == EXCLUDED:
        old = replace(old, status=KEPT, reason="", stored=picture.stored)
    elif old.status == KEPT and picture.group:
        old = updated(old, group=picture.group, split=picture.split)
    return updated(old, modified=picture.modified)
