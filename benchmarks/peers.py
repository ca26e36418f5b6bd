"""The other ways of handling pictures that speed.py compares with; none of them needs TensorFlow."""

import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import Augmentor
import cv2
from PIL import Image

from config import AugmentConfig
from preprocessing import visible_files


class Run(NamedTuple):
    """One measurement of one way of doing something."""

    seconds: float
    count: int = 1  # how many were done in that time: pictures, or one start
    work: Any = None  # what was done; the same for all ways, or they can't be compared
    peak: int = 0  # the most memory that a process took, in bytes; 0 where it was not looked at

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def timed(function: Callable[[], None], count: int = 1, work: Any = None) -> Run:
    began = time.perf_counter()
    function()
    return Run(time.perf_counter() - began, count, work)


def one_after_another(raw: Path, data: Path, height: int, width: int) -> Run:
    """The original's preprocessing: `imread`, `resize` and `imwrite` of one picture after another."""
    paths = list(visible_files(raw))

    def work() -> None:
        for path in paths:
            copy = data / path.relative_to(raw)
            copy.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(copy), cv2.resize(cv2.imread(str(path)), (width, height)))

    return timed(work, len(paths), (len(paths), height, width))


def decode_alone(raw: Path, height: int, width: int) -> Run:
    """The least that has to be done to JPEGs: decoding them, reduced as far as `height` and `width` allow."""
    paths = list(visible_files(raw))

    def decode(path: Path) -> None:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.draft(None, (round(1.5 * width), round(1.5 * height)))
            image.load()

    def work() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode, paths))

    decode(paths[0])  # loads the decoder
    return timed(work, len(paths), (len(paths), height, width))


def sample(raw: str, copies: str, count: int) -> None:
    """Augmentor's own way, in threads: the same operations as ours, with the same probabilities.

    Its dice are rounded to one decimal, so some fire a little more often than ours; and it transforms whole pictures,
    where ours are reduced to about twice the size they are trained at.
    """
    pipeline, ours = Augmentor.Pipeline(raw, copies), AugmentConfig()
    pipeline.flip_left_right(ours.mirror)
    pipeline.black_and_white(ours.black_and_white)
    grid = ours.gaussian_distortion_columns, ours.gaussian_distortion_rows, ours.gaussian_distortion_magnitude
    pipeline.gaussian_distortion(ours.gaussian_distortion, *grid, corner="bell", method="in")
    pipeline.rotate(ours.rotate, ours.rotate_degrees, ours.rotate_degrees)
    pipeline.skew(ours.skew, ours.skew_magnitude)
    pipeline.skew_tilt(ours.skew_tilt, ours.skew_tilt_magnitude)
    pipeline.skew_left_right(ours.skew_left_right, ours.skew_left_right_magnitude)
    pipeline.sample(count)
