"""Turns `rawdata/<class>/` (and the copies in `augmented/<class>/`) into `data/<class>/` and `data/manifest.csv`.

Every picture is decoded, brought to one size and stored without loss; what cannot be read is skipped and named. Every
picture knows its source photograph, and all that show the same stand on one side of the split between training and
validation.
Run again, only what changed is done again.
"""

import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

import config as settings
from config import PictureConfig, UserError
from duplicates import assign_groups, mixed_groups, perceptual_hash
from files import printable, write_atomically
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
    write_manifest,
)

_BACKGROUND = (255, 255, 255)  # what shows through transparent pixels: white, as on a page
_LONGEST_NAME = 170  # bytes; what is made of it has a longer one, and systems take 255
_SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}
_NOT_PICTURES = {"thumbs.db", "desktop.ini"}


# ---- from bytes to pixels: the one way in, for training and for prediction ----


def standard_image(data: bytes, *, height: int, width: int, color_channels: int) -> np.ndarray:
    """Decodes a picture file and stretches it to one size.

    `data` is the whole content of a JPEG, PNG, WebP, BMP, GIF, TIFF… file; `color_channels` is 3 for RGB, 1 for grey.

    Returns:
        uint8 array (height, width, color_channels), 0..255, upright by its EXIF orientation, the first frame of an
        animation, transparent parts on white. A picture that has the right size already keeps its very pixels.

    Raises:
        ValueError: it is damaged or no picture; the message says why, on one line.
    """
    pixels = decode_image(data, mode="RGB" if color_channels == 3 else "L", least=(height, width))
    # Averaging areas is right for shrinking, and interpolating for enlarging; each axis may need either.
    shrunk = cv2.resize(
        pixels, (min(width, pixels.shape[1]), min(height, pixels.shape[0])), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, color_channels)


def decode_image(data: bytes, *, mode: str, least: tuple[int, int]) -> np.ndarray:
    """Decodes a picture file, upright and in its own proportions.

    Pillow decodes, because it refuses the truncated files that OpenCV fills with grey. Large JPEGs are decoded at
    1/2, 1/4 or 1/8 of their size, which costs a fraction, but never below twice `least` = (height, width).

    Returns:
        uint8 array (rows, columns, 3) for mode "RGB", (rows, columns) for mode "L".

    Raises:
        ValueError: it is damaged or no picture; the message says why, on one line.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft(None, (2 * max(least), 2 * max(least)))  # a side may be either until the picture is upright
            image.load()
            return np.asarray(_flatten(_upright(image), mode))
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture, or of an unknown format") from None
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, KeyError…
        raise ValueError(f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing of the pixels, which are whole
        return image


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Any of Pillow's pixel formats → "RGB" or "L", 8 bits a channel."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to white: keep its upper 8 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 256).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, (*_BACKGROUND, 255))
        image = Image.alpha_composite(page, image)
    return image.convert(mode)


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 array (rows, columns, 1 or 3), RGB → a PNG file's content."""
    done, data = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return data.tobytes()


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
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in _NOT_PICTURES:
                yield Path(parent, name)


def list_pictures(folder: Path, config: PictureConfig) -> list[Picture]:
    """All files in the class folders of a folder, as rows of a manifest that are still to be made."""
    pictures = []
    for class_name, class_folder in class_folders(folder).items():
        for path in visible_files(class_folder):
            name = path.relative_to(folder)
            status = path.stat() if path.exists() else path.lstat()
            picture = Picture(
                class_name=class_name,
                source=source_of(name)[0],
                file=f"{name.as_posix()}.png",  # appended, so that a.png and a.jpg do not meet
                origin=path.as_posix(),
                size=status.st_size,
                modified=status.st_mtime_ns,
                shape=_shape(config),
            )
            if len(os.fsencode(PurePosixPath(picture.source).name)) > _LONGEST_NAME:
                picture = replace(picture, file="", status=SKIPPED, reason="its name is too long")
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
    before = {p.origin: p for p in read_manifest(data / MANIFEST)} if (data / MANIFEST).exists() else {}
    originals = list_classes(Path(config.raw_data), config)
    copies = list_pictures(Path(config.augmented), config)
    _refuse_same_names([*originals, *copies])

    # Should this run be cut off, the manifest on disk names every file that it may have left behind.
    stale = [replace(picture, status=PENDING) for picture in before.values()]
    plan = {picture.origin: picture for picture in [*stale, *originals, *copies]}.values()
    interim = [before[p.origin] if _same_file(p, before.get(p.origin), data) else p for p in plan]
    if any(picture.status == PENDING for picture in interim):
        write_manifest(data / MANIFEST, interim)

    originals = _grouped(_make(originals, before, config), config)
    originals = assign_splits(originals, share=config.validation_split, seed=config.seed)
    pictures = [*originals, *_make(_usable_copies(copies, originals), before, config)]
    for file in {picture.file for picture in plan} - {picture.file for picture in pictures} - {""}:
        _remove(data / file, data)
    write_manifest(data / MANIFEST, pictures)
    _report(pictures, before, data)
    return [picture for picture in pictures if picture.status == KEPT]


def _ready_made(data: Path) -> bool:
    return data.is_dir() and not (data / MANIFEST).exists() and any(visible_files(data))


def _refuse_same_names(pictures: Sequence[Picture]) -> None:
    """Only where `augmented/` repeats a name of `rawdata/` could two pictures be stored under one name."""
    origins = {picture.file: picture.origin for picture in pictures if picture.file}
    for picture in pictures:
        if picture.file and origins[picture.file] != picture.origin:
            other = printable(origins[picture.file])
            raise UserError(f"{printable(picture.origin)}: {other} has the same class and name; remove or rename one")


def _reusable(old: Picture | None, shape: str, data: Path) -> bool:
    """Whether what a former run made of a file still stands, should the file be the same."""
    if old is None or old.shape != shape:
        return False
    # What could not even be opened has no sha256, and is tried again.
    return (old.status == SKIPPED and bool(old.sha256)) or (
        old.status == KEPT and bool(old.perceptual_hash) and (data / old.file).exists()
    )


def _same_file(picture: Picture, old: Picture | None, data: Path) -> bool:
    """Whether a file has not been touched since a former run, whose work still stands."""
    return _reusable(old, picture.shape, data) and (old.size, old.modified) == (picture.size, picture.modified)


def _make(pictures: Sequence[Picture], before: dict[str, Picture], config: PictureConfig) -> list[Picture]:
    """Reads, standardises and stores every pending picture that a former run has not."""
    data = Path(config.data_path)

    def make(picture: Picture) -> Picture:
        return _make_one(picture, before.get(picture.origin), config)

    pending = [picture for picture in pictures if picture.status == PENDING]
    todo = [picture for picture in pending if not _same_file(picture, before.get(picture.origin), data)]
    done = {picture.origin: before.get(picture.origin) for picture in pending}
    # Decoding and resizing release Python's lock, so threads use every core.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for made in tqdm(pool.map(make, todo), total=len(todo), desc="preprocessing", unit="img", disable=None):
            done[made.origin] = made
    return [replace(done.get(p.origin, p), group=p.group, split=p.split) for p in pictures]


def _make_one(picture: Picture, old: Picture | None, config: PictureConfig) -> Picture:
    data, origin = Path(config.data_path), Path(picture.origin)
    try:
        if not stat.S_ISREG(origin.stat().st_mode):  # a pipe would keep its reader waiting for ever
            raise ValueError("not a regular file")
        content = origin.read_bytes()
        picture = replace(picture, sha256=hashlib.sha256(content).hexdigest())
        if _reusable(old, picture.shape, data) and old.sha256 == picture.sha256:
            return replace(old, modified=picture.modified)
        pixels = standard_image(content, **size_of(config))
    except (ValueError, FileNotFoundError, PermissionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return replace(picture, file="", status=SKIPPED, reason=reason)
    write_atomically(data / picture.file, encode_png(pixels))
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

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = tqdm(
            pool.map(read, pictures), total=len(pictures), desc="comparing", unit="img", leave=False, disable=None
        )
        return list(bar)


def _grouped(pictures: Sequence[Picture], config: PictureConfig) -> list[Picture]:
    """Fills in which pictures show the same, and names those that can't all be in the right class folder."""

    def pixels_of(picture: Picture) -> np.ndarray:
        path = Path(config.data_path, picture.file)
        try:
            return standard_image(path.read_bytes(), **size_of(config))
        except ValueError as error:
            raise UserError(f"cannot read {printable(path)} ({error}); delete it and run this again") from None

    pictures = assign_groups(pictures, most_bits=config.near_duplicate_bits, pixels_of=pixels_of)
    for group in mixed_groups(pictures):
        names = " and ".join(printable(picture.origin) for picture in group)
        print(f"probably mislabelled: {names} show the same picture")
    return pictures


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
        elif not source.sha256.startswith(source_of(PurePosixPath(copy.origin))[1]):
            reason = "its source has changed since: run augment.py again"
        else:
            return replace(copy, group=source.group, split=TRAIN)
        return replace(copy, file="", status=LEFT_OUT, reason=reason)

    return [judge(copy) for copy in copies]


def _remove(path: Path, top: Path) -> None:
    """Deletes a file and the folders that it leaves empty."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == top or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def _report(pictures: Sequence[Picture], before: dict[str, Picture], data: Path) -> None:
    """Per class what was kept and skipped, every skipped file by name, and what changed since the last run."""
    print(f"{'class':<20} {'kept':>7} {'train':>7} {'valid.':>7} {'copies':>7} {'skipped':>7} {'left out':>8}")
    for class_name in sorted({picture.class_name for picture in pictures}):
        own = [picture for picture in pictures if picture.class_name == class_name]
        count = Counter(value for p in own for value in (p.status, p.split))
        copies = sum(picture.is_copy for picture in own if picture.status == KEPT)
        print(
            f"{printable(class_name):<20} {count[KEPT]:>7} {count[TRAIN]:>7} {count[VALIDATION]:>7} "
            f"{copies:>7} {count[SKIPPED]:>7} {count[LEFT_OUT]:>8}"
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
