"""Pictures and networks to predict with, for the tests of predict.py."""

import shutil
from pathlib import Path

import numpy as np

from answers.trained_network import load_trained_network
from network.model_config import ModelConfig
from pictures.folders import read_image
from tests.helpers.pictures import write_picture


def picture(name: str | Path, *, label: int = 0, seed: int = 500) -> str:
    return str(write_picture(Path(name), label=label, seed=seed))


def pixels_of(name: str | Path, model_config: ModelConfig) -> np.ndarray:
    """Returns the image that the network is given: uint8 (height, width, color_channels)."""
    return read_image(Path(name), model_config, max_pixels=10**6)


def with_max_distance(trained: Path, folder: Path, max_distance: float) -> Path:
    """Copies a folder of checkpoints; its network calls pictures farther from the training pictures unknown."""
    shutil.copytree(trained, folder)
    classifier = load_trained_network(folder)
    classifier.calibration = classifier.calibration._replace(max_distance=float(max_distance))
    classifier.save(folder)
    return folder
