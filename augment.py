"""Makes randomly transformed copies of the training pictures of `rawdata/`, in `augmented/<class>/`.

The transforms are Augmentor's, driven one by one with dice of our own, since Augmentor's are rounded to one decimal and
cannot be repeated. Only sources on the training side of the split are copied. Same seed, same bytes, however often it
was cut off and run again.
A picture that crashes its decoder or a transform is named and goes without copies, as one that cannot be read does in
preprocessing; the exit code is 0 all the same.
"""

import io
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from Augmentor.Operations import BlackAndWhite, Flip, Operation, RotateRange, Skew
from PIL import Image

import config as settings
from config import AugmentConfig
from files import flush_to_disk, locked, printable, remove_leftovers, write_atomically
from listing import content_of, visible_files
from manifest import TRAIN, Picture, copy_name, source_of
from pictures import decode_image
from preprocessing import preprocess
from workers import in_processes, portion

_LEAST_SIDE = 32  # pixels


class GaussianDistortion(Operation):
    """Augmentor's operation of this name, as the original has it ("bell", "in"), in a seventh of the time.

    Augmentor finds the range of the bell anew for every point of the grid. The result is the same, pixel by pixel.
    """

    def __init__(self, *, probability: float, columns: int, rows: int, magnitude: int) -> None:
        super().__init__(probability)
        self._columns, self._rows, self._magnitude = columns, rows, magnitude

    def perform_operation(self, images):
        """Moves every inner point of a grid by a random distance, and the pixels around it along."""
        (image,) = images
        across = [number * (image.width // self._columns) for number in range(self._columns)] + [image.width]
        down = [number * (image.height // self._rows) for number in range(self._rows)] + [image.height]
        points = np.stack(np.meshgrid(across, down), axis=-1).astype(float)
        for y, x in itertools.product(range(1, self._rows), range(1, self._columns)):
            deviation = self._magnitude * bell(across[x] / image.width, down[y] / image.height)
            points[y, x] += np.random.normal(0, deviation), np.random.normal(0, deviation)
        mesh = [
            (
                (across[x], down[y], across[x + 1], down[y + 1]),
                points[[y, y + 1, y + 1, y], [x, x, x + 1, x + 1]].ravel(),
            )
            for y in range(self._rows)
            for x in range(self._columns)
        ]
        return [image.transform(image.size, Image.Transform.MESH, mesh, resample=Image.Resampling.BICUBIC)]


def bell(x: float, y: float) -> float:
    """How far points of the grid are moved: 1 in the middle, 0.01 at the edges; x and y from 0 to 1.

    Augmentor's limits are those on 50 × 50 points, of which none lies in the middle itself.
    """

    def height(x: float, y: float) -> float:
        return math.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.05)

    lowest, highest = height(0, 0), height(24 / 49, 24 / 49)
    return max((height(x, y) - lowest) / (highest - lowest), 0.01)


def pipeline(config: AugmentConfig) -> list[tuple[float, Operation]]:
    """The original's transforms in its order, each with the probability of its being performed."""
    operations = [
        (config.mirror, Flip, {"top_bottom_left_right": "LEFT_RIGHT"}),
        (config.black_and_white, BlackAndWhite, {"threshold": config.black_and_white_threshold}),
        (
            config.gaussian_distortion,
            GaussianDistortion,
            {
                "columns": config.gaussian_distortion_columns,
                "rows": config.gaussian_distortion_rows,
                "magnitude": config.gaussian_distortion_magnitude,
            },
        ),
        (
            config.rotate,
            RotateRange,
            {"max_left_rotation": -config.rotate_degrees, "max_right_rotation": config.rotate_degrees},
        ),
        (config.skew, Skew, {"skew_type": "RANDOM", "magnitude": config.skew_magnitude}),
        (config.skew_tilt, Skew, {"skew_type": "TILT", "magnitude": config.skew_tilt_magnitude}),
        (config.skew_left_right, Skew, {"skew_type": "TILT_LEFT_RIGHT", "magnitude": config.skew_left_right_magnitude}),
    ]
    return [(probability, kind(probability=1, **strength)) for probability, kind, strength in operations]


def transform(image: Image.Image, operations: Sequence[tuple[float, Operation]], *, seed: str) -> Image.Image:
    """Performs each operation with its probability.

    Args:
        image: RGB, any size.
        operations: as from `pipeline`.
        seed: everything random follows from it. It also sets the global generators of `random` and `numpy`, which
            Augmentor's operations draw from.

    Returns:
        an RGB image of the same size.
    """
    for place, (probability, operation) in enumerate(operations):
        random.seed(f"{seed}/{place}")  # anew for each, so that switching one off leaves the others alone
        np.random.seed(random.getrandbits(32))
        if random.random() < probability:
            (image,) = operation.perform_operation([image])
    return image.convert("RGB")


def reduced(data: bytes, *, height: int, width: int, max_megapixels: float) -> Image.Image:
    """Decodes a picture, in its own proportions, down to about twice the size it is trained at.

    Transforming more pixels than that costs time and changes nothing that is left at the final size. Augmentor's
    operations fail on pictures that are tiny or narrower than about 1 to 3, so those are stretched, as they will be in
    the end anyway.
    """
    pixels = decode_image(data, mode="RGB", least=2 * max(height, width), max_megapixels=max_megapixels)
    rows, columns = pixels.shape[:2]
    scale = min(1, max(2 * height / rows, 2 * width / columns))
    rows, columns = rows * scale, columns * scale
    size = round(max(columns, rows / 3, _LEAST_SIDE)), round(max(rows, columns / 3, _LEAST_SIDE))
    return Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Task:
    """The copies to make of one source, by their numbers."""

    picture: Picture
    numbers: range

    def names(self) -> list[str]:
        return [copy_name(self.picture.source, self.picture.sha256, number) for number in self.numbers]

    def parts(self, most: int) -> Iterator["Task"]:
        """The same copies, so many at a time at most."""
        for start in range(0, len(self.numbers), most):
            yield Task(self.picture, self.numbers[start : start + most])


def plan(pictures: Sequence[Picture], sample: int) -> list[Task]:
    """Spreads `sample` copies a class over its training sources, so that their numbers differ by one at most."""
    classes = defaultdict(list)
    for picture in sorted(pictures, key=lambda picture: picture.origin):
        if picture.split == TRAIN and not picture.is_copy:
            classes[picture.class_name].append(picture)
    return [
        Task(picture, range(sample // len(own) + (place < sample % len(own))))
        for own in classes.values()
        for place, picture in enumerate(own)
    ]


def make_copies(task: Task, config: AugmentConfig) -> list[bytes] | str:
    """The JPEG files of some copies, made in a process of its own; or why there are none."""
    try:
        data = content_of(Path(task.picture.origin))
        size = {"height": config.height, "width": config.width, "max_megapixels": config.max_megapixels}
        image = reduced(data, **size)
    except (ValueError, FileNotFoundError, PermissionError) as error:  # it was readable a moment ago
        return error.strerror if isinstance(error, OSError) else str(error)
    operations = pipeline(config)
    copies = []
    for name in task.names():
        copy = io.BytesIO()
        transformed = transform(image, operations, seed=f"{config.seed}/{name}")
        transformed.save(copy, format="JPEG", quality=95, subsampling=0)
        copies.append(copy.getvalue())
    return copies


def write_copies(tasks: Sequence[Task], config: AugmentConfig) -> dict[str, str]:
    """Makes and writes all copies; returns the sources that have none, and why."""
    folder, failures, written = Path(config.augmented), {}, []
    most = portion(config.height, config.width)  # so that any number of copies is a matter of seconds
    parts = [part for task in tasks for part in task.parts(most)]
    made = in_processes(
        partial(make_copies, config=config), parts, failed=lambda _, why: why, description="augmenting", together=1
    )
    for part, copies in zip(parts, made, strict=True):
        if isinstance(copies, str):
            failures.setdefault(part.picture.source, copies)
        else:
            for name, data in zip(part.names(), copies, strict=True):
                written.append(folder / name)
                write_atomically(written[-1], data, flush=False)
    if written:
        flush_to_disk(written)
    return failures


def remove_former_copies(folder: Path, keep: set[str]) -> int:
    """Deletes what a former run made and this one did not; files with other names are not ours and stay."""
    former = [path for path in visible_files(folder) if source_of(path.name)[1]]
    gone = [path for path in former if path.relative_to(folder).as_posix() not in keep]
    for path in gone:
        path.unlink()
    return len(gone)


def main(config: AugmentConfig) -> int:
    pictures = preprocess(config)  # says which sources are readable, and which of them are trained on
    tasks = [task for task in plan(pictures, config.sample) if task.numbers]
    folder = Path(config.augmented)
    with locked(folder, wait=True):
        remove_leftovers(folder, is_ours=lambda name: source_of(name)[1])
        failures = write_copies(tasks, config)
        done = [task for task in tasks if task.picture.source not in failures]
        names = {name for task in done for name in task.names()}
        removed = remove_former_copies(folder, names)
    for task in tasks:
        if reason := failures.get(task.picture.source):
            print(f"skipped {printable(task.picture.origin)}: {printable(reason)}")
    former = f", {removed} of a former run removed" if removed else ""
    print(f"{printable(config.augmented)}/: {len(names)} copies of {len(done)} training pictures{former}")
    print("trainer.py takes them in by itself; a run begun without them cannot go on, so name a new --model_save_name")
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, AugmentConfig, __doc__)
