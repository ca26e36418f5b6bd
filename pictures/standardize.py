"""The work on one picture of `rawdata/` in a worker process: read, decode, resize, hash, measure, encode."""

import hashlib
from dataclasses import replace
from pathlib import Path

from config import ImageConfig
from pictures.decoding import ImageTooLarge, LoadedPicture, UnreadableImage, encode_png, load_picture
from pictures.duplicates import perceptual_hash
from pictures.folders import read_regular_file
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, Picture, updated
from pictures.quality import measure_quality


def standardize(picture: Picture, *, config: ImageConfig, max_pixels: int) -> tuple[Picture, bytes]:
    """Returns the manifest row of a picture, and the PNG file to store."""
    try:
        content = read_regular_file(Path(picture.path))
        picture = replace(picture, sha256=hashlib.sha256(content).hexdigest())
        loaded = load_picture(content, config, max_pixels=max_pixels)
    except ImageTooLarge as error:  # without a sha256 it is tried again, since another limit may allow it
        return skipped(replace(picture, sha256=""), str(error)), b""
    except UnreadableImage as error:
        return skipped(picture, str(error)), b""
    png = encode_png(loaded.image)
    return replace(_with_image(picture, loaded), status=KEPT, stored_sha256=hashlib.sha256(png).hexdigest()), png


def add_hashes(picture: Picture, *, config: ImageConfig, max_pixels: int) -> Picture:
    """Returns a kept picture of a ready-made data/ folder, which is stored as it is, with its hashes and measures.

    Without them if it cannot be read.
    """
    if picture.status != KEPT:
        return picture
    try:
        content = read_regular_file(Path(picture.path))
        loaded = load_picture(content, config, max_pixels=max_pixels)
    except (UnreadableImage, OSError):  # reported when it is loaded for training
        return picture
    sha256 = hashlib.sha256(content).hexdigest()
    return replace(_with_image(picture, loaded), sha256=sha256, stored_sha256=sha256)


def _with_image(picture: Picture, loaded: LoadedPicture) -> Picture:
    """Returns the row of a picture with what is known from its image."""
    width, height = loaded.size
    return replace(
        picture,
        perceptual_hash=perceptual_hash(loaded.image),
        note=loaded.note,
        pixels=loaded.pixels,
        width=width,
        height=height,
        format=loaded.format,
        camera=loaded.camera,
        **measure_quality(loaded.image)._asdict(),
    )


def skipped(picture: Picture, reason: str) -> Picture:
    """Returns the row of a picture that cannot be used."""
    return replace(picture, stored="", photo="", group="", split="", remarks="", status=SKIPPED, reason=reason)


def carry_over(old: Picture, picture: Picture) -> Picture:
    """Returns the row of the last run for the same content; exclusion and the side of a copy are decided again."""
    if old.status == EXCLUDED:
        old = replace(old, status=KEPT, reason="", stored=picture.stored)
    elif old.status == KEPT and picture.group:
        old = updated(old, photo=picture.photo, group=picture.group, split=picture.split)
    return updated(old, path=picture.path)
