"""Pictures and networks to ask about, for the tests of predict.py."""

import shutil
from pathlib import Path

import numpy as np
from conftest import write_picture

from checkpoint import load_best, save_calibration
from description import Description
from listing import read_picture


def picture(name: str, *, label: int = 0, seed: int = 500) -> str:
    return str(write_picture(Path(name), label=label, seed=seed))


def pixels_of(name: str | Path, description: Description) -> np.ndarray:
    """As the network is shown them."""
    size = {name: getattr(description, name) for name in ("height", "width", "color_channels")}
    return read_picture((Path(name), None), **size, max_megapixels=200)


def with_limits(trained: Path, folder: Path, *, farthest: float) -> Path:
    """A copy of the checkpoints whose network refuses what is farther from its training pictures than this."""
    shutil.copytree(trained, folder)
    classifier, description, step = load_best(folder)
    classifier.calibration.farthest.assign(farthest)
    save_calibration(folder, classifier, description, step)
    return folder
