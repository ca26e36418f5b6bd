"""Small picture files, and the folder of the scripts."""

import io
import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent.parent


def write_picture(path: Path, *, label: int, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    """Writes noise of (width, height) with a bright half: the left one for label 0, the upper one for label 1.

    For label 2 both halves are bright. The format follows from the name of the file. Returns its path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng([label, seed]).integers(0, 120, (height, width, 3), dtype=np.uint8)
    if label in (0, 2):
        pixels[:, : width // 2] += 120
    if label == 1:
        pixels[: height // 2] += 120
    if label == 2:
        pixels[:, width // 2 :] += 120
    assert cv2.imwrite(str(path), pixels)
    return path


def write_classes(folder: Path, ants: int, bees: int) -> None:
    """Writes the classes ant and bee, which are easy to tell apart, with some PNGs each."""
    for label, name, count in ((0, "ant", ants), (1, "bee", bees)):
        for number in range(count):
            write_picture(folder / name / f"{number:02d}.png", label=label, seed=number)


PUZZLING_CLASSES = ("ant", "b|`<img src=x onerror=alert(1)>")  # the second one is not what a page expects
PUZZLING_COUNT = 48  # pictures that are used


def write_puzzling_pictures(folder: Path) -> None:
    """Writes a folder of two classes: 24 pictures each, every sixth of them in the folder of the other class.

    Besides, there are a copy of a picture and a damaged file.
    """
    for label, name in enumerate(PUZZLING_CLASSES):
        for number in range(24):
            shown = 1 - label if number % 6 == 0 else label
            write_picture(folder / name / f"{number:02d}|*<b>.png", label=shown, seed=number + 100 * label)
    shutil.copy(folder / "ant" / "01|*<b>.png", folder / "ant" / "again.png")
    (folder / "ant" / "damaged.jpg").write_bytes(b"no picture")


def clouds(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Returns soft colored clouds, different for each seed: to a perceptual hash they are like photos."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int = 90) -> Image.Image:
    """Returns the same image after it was saved as a JPEG."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data)


def save(image: Image.Image, path: Path) -> None:
    """Saves an image, and creates the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
