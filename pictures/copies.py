"""Randomly transformed copies of pictures: how many to make of each, and the work on one in a worker process."""

import io
import os
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np
from Augmentor.Operations import Operation
from PIL import Image

from config import AugmentConfig, ImageConfig
from pictures.copy_names import copy_name
from pictures.decoding import UnreadableImage, decode_image
from pictures.folders import read_regular_file
from pictures.manifest import VALIDATION, Picture, stand_ins

_MIN_SIDE = 32  # pixels; Augmentor's operations fail on tiny images
_MAX_ASPECT = 3  # and on narrow ones


@dataclass(frozen=True)
class CopyTask:
    """The copies to make of one source, by their indices."""

    picture: Picture
    indices: range

    def names(self) -> list[str]:
        """Returns the names of the copies, as <class>/<name>."""
        return [copy_name(self.picture.source, self.picture.sha256, index) for index in self.indices]

    def chunks(self, size: int) -> Iterator["CopyTask"]:
        """Yields the same copies in tasks of at most `size`."""
        for start in range(0, len(self.indices), size):
            yield CopyTask(self.picture, self.indices[start : start + size])


def plan(pictures: Sequence[Picture], sample: int) -> list[CopyTask]:
    """Returns tasks for `sample` copies of each class, spread over its training sources as evenly as possible."""
    classes = defaultdict(list)
    candidates = (picture for picture in pictures if picture.split not in ("", VALIDATION))
    training = stand_ins(candidates)  # copies are not copied again
    for picture in sorted(training.values(), key=attrgetter("path")):
        classes[picture.class_name].append(picture)
    tasks = [
        CopyTask(picture, range(sample // len(sources) + (index < sample % len(sources))))
        for sources in classes.values()
        for index, picture in enumerate(sources)
    ]
    return [task for task in tasks if task.indices]


def make_copies(task: CopyTask, *, config: AugmentConfig, operations: Sequence[Operation]) -> list[bytes] | str:
    """Returns the JPEG files of some copies, or the reason why there are none."""
    try:
        image = load_reduced(read_regular_file(Path(task.picture.path)), config, max_pixels=config.max_pixels)
    except UnreadableImage as error:  # it was readable a moment ago
        return str(error)
    copies = []
    for name in task.names():
        copy = io.BytesIO()
        transformed = transform(image, operations, seed=f"{config.seed}/{name}")
        transformed.save(copy, format="JPEG", quality=95, subsampling=0)
        copies.append(copy.getvalue())
    return copies


def load_reduced(data: bytes, config: ImageConfig, *, max_pixels: int) -> Image.Image:
    """Returns a picture as RGB, in its own proportions, reduced to about twice the size it is trained at.

    Transforming more pixels than that takes longer and makes no difference at the final size. Pictures that are tiny or
    narrower than 1:3 are stretched, as they will be in the end anyway, because Augmentor's operations fail on
    them.

    Raises:
        UnreadableImage: as in `decode_image`.
    """
    pixels = decode_image(data, mode="RGB", min_side=2 * max(config.height, config.width), max_pixels=max_pixels)
    rows, columns = pixels.shape[:2]
    scale = min(1, max(2 * config.height / rows, 2 * config.width / columns))
    height, width = rows * scale, columns * scale
    size = round(max(width, height / _MAX_ASPECT, _MIN_SIDE)), round(max(height, width / _MAX_ASPECT, _MIN_SIDE))
    return Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def transform(image: Image.Image, operations: Sequence[Operation], *, seed: str) -> Image.Image:
    """Returns an image after performing each operation with its probability.

    Args:
        image: RGB, of any size.
        operations: of Augmentor.
        seed: determines everything random. It also seeds the global generators of `random` and `numpy`, which
            Augmentor's operations use.

    Returns:
        an RGB image of the same size.
    """
    for index, operation in enumerate(operations):
        random.seed(os.fsencode(f"{seed}/{index}"))  # so that the numbers one operation uses do not affect the next
        np.random.seed(random.getrandbits(32))
        if random.random() < operation.probability:
            (image,) = operation.perform_operation([image])
    return image.convert("RGB")
