"""Pictures beside their heat maps, each as a file: the answers of a network, explained."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from answers.engine import Engine
from answers.explain import overlay
from answers.messages import Message, finish_folder
from answers.output import Answer, Output
from reports.sheets import Tile, drawable, drawable_class, strip
from system.errors import UserError
from system.output_folder import OutputFolder

CLOSE = 0.5  # of the score of the predicted class: if another one has as much, its heat map is shown too
_SIDE = 320  # pixels of the longer side of a picture, at least
_QUALITY = 90  # of JPEG, which opens everywhere


class Explanations(Output):
    """Writes a file for each picture: the picture, and the heat map of its class, or of two if the scores are close.

    Its name is that of the picture, with .jpg at its end. Names that are taken: see `OutputFolder`.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        """Creates the folder.

        Raises:
            UserError: it cannot be created, or the network has no heat maps.
        """
        if not engine.explains:
            raise UserError(
                "--explain: this network has no heat maps: its model.py has a way around activation_3, such as a skip "
                "connection; leave --explain out"
            )
        self.files = OutputFolder(folder)
        self._engine = engine

    def add(self, answers: Sequence[Answer]) -> None:
        """Writes the explanations of some answers, except for those without an image.

        Raises:
            UserError: nothing can be written, since the disk is full, for example.
        """
        pairs = [(answer, answer.image) for answer in answers if answer.image is not None]
        if not pairs:
            return
        shown = [(image, label) for answer, image in pairs for label in classes_to_show(answer)]
        images = np.stack([image for image, _ in shown])
        heat_maps = iter(self._engine.heat_maps(images, np.array([label for _, label in shown])))
        for answer, image in pairs:
            maps = {label: next(heat_maps) for label in classes_to_show(answer)}
            drawn = draw(answer, image, maps, self._engine.model_config.class_names)
            self.files.add(f"{Path(answer.path).stem}.jpg", _as_jpeg(drawn))

    def finish(self) -> list[Message]:
        return finish_folder(self.files)


def classes_to_show(answer: Answer) -> list[int]:
    """Returns the index of the predicted class, and that of the next one if their scores are close."""
    first = answer.predicted
    second = max((label for label in range(len(answer.scores)) if label != first), key=lambda i: answer.scores[i])
    return [first, second] if answer.scores[second] >= CLOSE * answer.scores[first] else [first]


def draw(answer: Answer, image: np.ndarray, maps: dict[int, np.ndarray], class_names: Sequence[str]) -> np.ndarray:
    """Returns a picture beside its heat maps, with captions: uint8 (height, width, 3).

    Args:
        answer: about it.
        image: uint8 (height, width, 3 or 1); small ones are magnified.
        maps: float (rows, columns), 0..1, by the index of their class.
        class_names: of the network.
    """
    large = _magnified(image)
    name = "/".join(Path(answer.path).parts[-2:])  # two folders may have a picture of the same name
    lines = [drawable(name, "picture"), *(["unknown"] if answer.unknown else [])]
    tiles = [Tile(large, lines, is_wrong=answer.unknown)]
    for label, heat_map in maps.items():
        caption = f"{drawable_class(label, class_names)} {answer.scores[label]:.3f}"
        tiles.append(Tile(overlay(large, heat_map), [caption]))
    return strip(tiles)


def _magnified(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    factor = max(1, _SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).reshape(size[1], size[0], -1)


def _as_jpeg(image: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=_QUALITY, subsampling=0)  # colored letters stay sharp
    return data.getvalue()
