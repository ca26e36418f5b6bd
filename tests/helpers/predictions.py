"""Pictures and networks to predict with, for the tests of predict.py."""

from pathlib import Path

import numpy as np

from network.model_config import ModelConfig
from network.model_file import MODEL_FILE, pack_model_file, read_model_file, write_model_file
from pictures.folders import read_image
from tests.helpers.pictures import write_picture


def picture(name: str | Path, *, label: int = 0, seed: int = 500) -> str:
    return str(write_picture(Path(name), label=label, seed=seed))


def pixels_of(name: str | Path, model_config: ModelConfig) -> np.ndarray:
    """Returns the image that the network is given: uint8 (height, width, color_channels)."""
    return read_image(Path(name), model_config, max_pixels=10**6)


def with_max_distance(trained: Path, folder: Path, max_distance: float) -> Path:
    """Writes the model file of a network to a folder, with another limit beyond which pictures are called unknown."""
    model = read_model_file(trained / MODEL_FILE)
    packed = pack_model_file(
        model.content[: model.size],
        model_config=model.model_config,
        step=model.step,
        source=model.source,
        calibrated=model.calibrated,
        max_distance=max_distance,
    )
    write_model_file(folder / MODEL_FILE, packed)
    return folder
