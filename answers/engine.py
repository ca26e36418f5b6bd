"""A trained network that answers, computed by LiteRT: logits, scores, what is unknown, heat maps. No TensorFlow."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from answers.predictions import BATCH_SIZE, Outputs, Predictions, outputs_of, predictions_of
from network.model_file import ModelFile
from network.model_structure import HEAT_MAP_INPUTS, HEAT_MAPS, SIGNATURE
from system.errors import UserError
from system.pool import available_cores
from system.quiet import quiet_stderr
from system.terminal import printable

DEVICE = f"LiteRT, {available_cores()} cores, float32"  # on which it computes
_LAST_WORDS = "LiteRT was opening a network when this process ended; if its file comes from elsewhere, do not use it"


class Engine:
    """A network in a model file. It may be used by several threads, one of which computes at a time."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self.model_config = model.model_config
        self.step = model.step  # training steps of its weights
        self.calibrated = model.calibrated
        self.max_distance = model.max_distance
        self._lock = threading.Lock()
        with _readable_errors(), quiet_stderr(_LAST_WORDS):  # LiteRT writes there which kernels it uses
            self._interpreter = Interpreter(model_content=model.content, num_threads=available_cores())
            self._signatures = self._interpreter.get_signature_list()
            self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner(SIGNATURE)

    def predict(self, images: np.ndarray) -> Predictions:
        """Returns predictions for uint8 images (count, height, width, color_channels)."""
        return predictions_of(self.outputs(images), max_distance=self.max_distance)

    def outputs(self, images: np.ndarray) -> Outputs:
        """Returns the outputs for uint8 images (count, height, width, color_channels)."""

        def run(batch: np.ndarray) -> dict[str, np.ndarray]:
            with self._lock, _readable_errors():
                return self._run(images=batch)

        return outputs_of(run, images)

    @property
    def explains(self) -> bool:
        """Whether there are heat maps. An edited `model.py` can be a reason why not."""
        return HEAT_MAPS in self._signatures

    def heat_maps(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns how much each part of an image speaks for a class: float32 (count, rows, columns), 0..1.

        They are Grad-CAM heat maps (grad_cam.py) with the resolution of the third convolution, 13×13 for images of
        100×100, and a maximum of 1, or of 0 if nothing speaks for the class.

        Args:
            images: uint8 (count, height, width, color_channels).
            classes: int (count,), the index of the class in question for each image.

        Raises:
            UserError: `model.py` was edited so that there are none.
        """
        if not self.explains:
            raise UserError("model.py: there is a way around activation_3, so there are no heat maps; remove it")
        with self._lock, _readable_errors():
            explain = self._interpreter.get_signature_runner(HEAT_MAPS)
            found = []
            for start in range(0, len(images), BATCH_SIZE):
                batch = slice(start, start + BATCH_SIZE)
                outputs = self._run(images=images[batch])
                evidence = {name: outputs[name] for name in HEAT_MAP_INPUTS}
                found.append(explain(**evidence, classes=classes[batch].astype(np.int32))[HEAT_MAPS])
        return np.concatenate(found)


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    """Turns an error of LiteRT into one line. A network that this toolkit has converted causes none."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        reason = printable(str(error).partition("\n")[0])[:200]
        raise UserError(f"LiteRT cannot compute this network ({reason}); train it again") from None
