"""How many photos validate although copies of them also train, if a folder has copies made by other tools.

    python -m benchmarks.leaks --raw_data rawdata

Of each of two classes, ten photos are drawn. Six copies of each are made (saved again, mirrored, turned by 90 degrees,
rotated by 10, brighter, cropped by a tenth of each side) and named as a tool would name them. Then the folder is
preprocessed with three seeds. A photo leaks if it, or a copy of it, validates, and another one of these trains.
"""

import contextlib
import io
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from PIL import Image, ImageEnhance, ImageOps

from benchmarks.harness.tables import format_header, format_row
from config import PictureConfig
from pictures.folders import find_classes, picture_files
from pictures.manifest import TRAIN, VALIDATION
from preprocessing import preprocess
from system.errors import EXIT_SUCCESS
from system.script import run_script
from system.validation import Validated

_PHOTOS = 10  # of each class
_SEEDS = 3
_CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copy": lambda image: image,
    "hflip": ImageOps.mirror,
    "rot90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotate_10": lambda image: image.rotate(10),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "crop": lambda image: ImageOps.crop(image, round(min(image.size) / 10)),
}

# Tool → whether the photos themselves are in the folder too, and the name of a copy, from: the class, the stem of the
# photo, its number in the class, the number of the copy, the change, and a random number.
_TOOLS: dict[str, tuple[bool, str]] = {
    "Roboflow, copies only": (False, "{stem}_jpg.rf.{bits:032x}.jpg"),
    "Roboflow, with photos": (True, "{stem}_jpg.rf.{bits:032x}.jpg"),
    "Keras flow_from_directory": (False, "aug_{photo}_{number}.png"),
    "Keras flow, with photos": (True, "{stem}_0_{number}.jpeg"),
    "imgaug, copies only": (False, "{stem}_aug_{copy}.jpg"),
    "imgaug, with photos": (True, "{stem}_aug_{copy}.jpg"),
    "Albumentations, copies only": (False, "{stem}_{change}.jpg"),
    "Albumentations, with photos": (True, "{stem}_{change}.jpg"),
    "Augmentor": (True, "{class_name}_original_{stem}.jpg_{uuid}.jpg"),
    "names that tell nothing": (True, "{number}.jpg"),
}


@dataclass(frozen=True, kw_only=True)
class LeaksConfig(Validated):
    """What to copy."""

    # What to copy
    raw_data: str = "rawdata"  # Folder of pictures, one sub-folder per class.


def copies_of(photos: dict[str, list[Path]], pattern: str) -> Iterator[tuple[Path, Image.Image, Path]]:
    """Yields each copy: its name below the folder, its image, and the photo it was made of."""
    rng = random.Random(1)
    for class_name, paths in photos.items():
        for number, path in enumerate(paths):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            for copy, (change, apply) in enumerate(_CHANGES.items()):
                bits = rng.getrandbits(128)
                name = pattern.format(
                    class_name=class_name,
                    stem=path.stem,
                    photo=number,
                    copy=copy,
                    change=change,
                    bits=bits,
                    number=bits % 10**7,
                    uuid=UUID(int=bits),
                )
                yield Path(class_name, name), apply(image), path


def make_folder(folder: Path, photos: dict[str, list[Path]], tool: str) -> dict[str, Path]:
    """Makes the class folders of a tool. Returns the photo of each file, by its path."""
    with_photos, pattern = _TOOLS[tool]
    photo_of = {}
    for name, image, photo in copies_of(photos, pattern):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)
        photo_of[path.as_posix()] = photo
        if with_photos and (original := path.with_name(f"{photo.stem}.jpg")).as_posix() not in photo_of:
            with Image.open(photo) as opened:
                opened.convert("RGB").save(original, quality=95)
            photo_of[original.as_posix()] = photo
    return photo_of


def count_leaks(folder: Path, photo_of: dict[str, Path]) -> tuple[float, float]:
    """Returns how many photos validate, and how many of these also train: the means over the seeds."""
    validating = leaking = 0
    for seed in range(1, _SEEDS + 1):
        config = PictureConfig(
            raw_data=str(folder), data_path=f"{folder}-data", augmented=f"{folder}-augmented", seed=seed
        )
        with contextlib.redirect_stdout(io.StringIO()):
            pictures = preprocess(config)
        sides = {side: {photo_of[p.path] for p in pictures if p.split == side} for side in (TRAIN, VALIDATION)}
        validating += len(sides[VALIDATION])
        leaking += len(sides[VALIDATION] & sides[TRAIN])
    return validating / _SEEDS, leaking / _SEEDS


def main(config: LeaksConfig) -> int:
    rng = random.Random(3)
    classes = list(find_classes(Path(config.raw_data)).items())[:2]
    photos = {name: rng.sample(list(picture_files(folder)), _PHOTOS) for name, folder in classes}
    print(format_header(f"tool, {2 * _PHOTOS} photos of {config.raw_data}", "validate", "of these also train"))
    for tool in _TOOLS:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(os.path.realpath(work), "rawdata")
            validating, leaking = count_leaks(folder, make_folder(folder, photos, tool))
        print(format_row(tool, f"{validating:.1f}", f"{leaking:.1f}"), flush=True)
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, LeaksConfig, __doc__)
