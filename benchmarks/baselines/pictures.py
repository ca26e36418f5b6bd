"""Other ways of preparing pictures. They need no TensorFlow."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
from PIL import Image

from benchmarks.harness.timing import Measurement, timed
from pictures.folders import picture_files


def time_imread_resize_imwrite(raw: Path, data: Path, height: int, width: int) -> Measurement:
    """Preprocesses one picture after the other, as the original did."""
    paths = list(picture_files(raw))

    def work() -> None:
        for path in paths:
            copy = data / path.relative_to(raw)
            copy.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(copy), cv2.resize(cv2.imread(str(path)), (width, height)))

    return timed(work, len(paths), (len(paths), height, width))


def time_decoding(raw: Path, height: int, width: int) -> Measurement:
    """Only decodes JPEGs, reduced as far as `height` and `width` allow, in threads: the least that must be done."""
    paths = list(picture_files(raw))

    def decode(path: Path) -> None:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.draft(None, (round(1.5 * width), round(1.5 * height)))
            image.load()

    def work() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode, paths))

    decode(paths[0])  # loads the decoder
    return timed(work, len(paths), (len(paths), height, width))
