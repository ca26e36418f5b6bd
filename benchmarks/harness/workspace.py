"""The pictures and the network that speed is measured with."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness.machine import Machine, measure_machine
from benchmarks.harness.processes import folder_arguments, in_new_process, time_script
from pictures.folders import picture_files
from system.errors import UserError

CLASSES = "first", "second"  # of the pictures that are made
SMALL = (338, 450)  # height and width of 0.15 megapixels


class Workspace:
    """A folder in which pictures and networks are made, each once."""

    def __init__(self, folder: Path, *, raw_data: str, size: float, rounds: int) -> None:
        """Pictures are made of those in `raw_data`; `size` is a factor of all counts."""
        self.rounds, self.raw_data = rounds, raw_data
        self._size = size
        self._folder = folder
        paths = picture_files(Path(raw_data)) if Path(raw_data).is_dir() else iter(())
        self._photos = [image for path in paths if (image := cv2.imread(str(path))) is not None]
        if not self._photos:
            raise UserError(f"--raw_data {raw_data}: no pictures there; name a folder that has some")

    @cached_property
    def machine(self) -> Machine:
        return in_new_process(measure_machine)

    def scaled(self, count: int, *, multiple: int = 2) -> int:
        """Returns a count scaled by the size, as a multiple: at least two pictures per class."""
        return max(2, round(count * self._size / multiple)) * multiple

    def new_folder(self) -> Path:
        """Returns a new, empty folder."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def pictures(self, count: int, height: int, width: int, suffix: str = ".jpg") -> Path:
        """Returns a folder with this many different pictures in two classes; each follows from its number."""
        folder = self._folder / f"{count} of {height}x{width}{suffix}"

        def make(number: int) -> None:
            path = folder / CLASSES[number % 2] / f"{number:06d}{suffix}"
            photo = self._photos[number % len(self._photos)]
            image = make_image(photo, height, width, np.random.default_rng(number))
            cv2.imwrite(str(path), image, [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90])

        if not folder.exists():
            for name in CLASSES:
                (folder / name).mkdir(parents=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(make, range(count)))
        return folder

    def network(self) -> Path:
        """Returns the checkpoints of a network that was trained for one epoch; any other predicts as fast."""
        folder = self._folder / "network"
        if not folder.exists():
            raw = self.pictures(400, 100, 100)
            time_script(
                "trainer.py", *folder_arguments(raw, self.new_folder()), "--model_save_name", folder, "--epochs", "1"
            )
        return folder


def make_image(photo: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a part of a photo, mixed with smooth colors and with grain like that of a camera.

    There is so much grain that a JPEG takes about 0.15 bytes per pixel, like the photos of common data sets.

    Returns:
        uint8 (height, width, 3).
    """
    rows, columns = photo.shape[:2]
    top, left = rng.integers(0, rows // 2), rng.integers(0, columns // 2)
    part = photo[top : top + rows // 2, left : left + columns // 2]
    colors = rng.integers(0, 256, (6, 6, 3), np.uint8)
    part, colors = (cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in (part, colors))
    grain = cv2.cvtColor(rng.integers(0, 8, (height, width), np.uint8), cv2.COLOR_GRAY2BGR)
    return cv2.add(cv2.addWeighted(part, 0.5, colors, 0.45, 0), grain)
