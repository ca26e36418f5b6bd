"""A trained network that answers, computed by LiteRT: logits, scores, what is unknown, heat maps. No TensorFlow."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from answers.predictions import BATCH_SIZE, Limits, Predictions, outputs_of, predictions_of
from network.checkpoint_file import BEST, is_checkpoint_name, network_folder, read_best, stored_checksum, trained_paths
from network.model_config import MODEL_CONFIG, read_model_config
from network.model_file import MODEL_FILE, ModelFile, read_model_file, write_model_file
from network.model_structure import HEAT_MAP_INPUTS, HEAT_MAPS, SIGNATURE
from system.errors import UserError, describe_os_error
from system.files import locked
from system.pool import available_cores
from system.quiet import quiet_stderr
from system.resources import require_memory
from system.terminal import print_to_stderr, printable

DEVICE = f"LiteRT, {available_cores()} cores, float32"  # on which it computes
_SUFFIX = Path(MODEL_FILE).suffix
# How many times the size of a file its network takes in memory, as measured: to be computed, and to be built.
_READING, _BUILDING = 3, 15
_LARGE = 2**27  # bytes of a file from which on the memory is checked, which takes longer than to read a small one
_REMEDY = "use a larger machine"
_LAST_WORDS = "LiteRT was opening a network when this process ended; if its file comes from elsewhere, do not use it"


class Engine:
    """A network in a model file. It may be used by several threads, one of which computes at a time."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self.model_config = model.model_config
        self.step = model.step  # training steps of its weights
        self.calibrated = model.calibrated
        self.limits = Limits(model.max_distance, model.min_score)
        self._lock = threading.Lock()
        with _readable_errors(), quiet_stderr(_LAST_WORDS):  # LiteRT writes there which kernels it uses
            self._interpreter = Interpreter(model_content=model.content, num_threads=available_cores())
            self._signatures = self._interpreter.get_signature_list()
            self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner(SIGNATURE)

    def predict(self, images: np.ndarray) -> Predictions:
        """Returns predictions for uint8 images (count, height, width, color_channels)."""
        return predictions_of(*self.outputs(images), self.limits)

    def outputs(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns logits (count, classes), scores (count, classes) and distances (count,), all float32."""

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


def load_engine(name: Path) -> Engine:
    """Returns the trained network of a folder of checkpoints, or of a model file.

    The model file of a folder is built if there is none, or if it is older than the best weights, as in a run that was
    killed or still goes on. That takes seconds, since it needs TensorFlow, so a line says so, and the file is kept.

    Args:
        name: of the folder, of its sub-folder best/, of a file in them that the trainer wrote, or of any model file.

    Raises:
        UserError: there is no trained network, or it is damaged.
    """
    folder = checkpoints_of(name)
    if folder is None:
        return Engine(_read(name))
    return Engine(_current_model_file(folder) or _build_model_file(folder))


def checkpoints_of(name: Path) -> Path | None:
    """Returns the folder of checkpoints for a name as in `load_engine`; None for a model file alone.

    Neither needs to exist.
    """
    folder = network_folder(name.parent if name.name == MODEL_FILE else name)
    is_file = not name.is_dir() and (name.exists() or name.suffix.lower() == _SUFFIX)
    if is_file and not is_checkpoint_name(name.name) and not (folder / MODEL_CONFIG).exists():
        return None
    return folder


def _current_model_file(folder: Path) -> ModelFile | None:
    """Returns the model file of a folder if it is intact and belongs to the best weights."""
    path, weights = folder / MODEL_FILE, trained_paths(folder)
    if not path.exists():
        return None
    if not weights:
        return _read(path)
    try:
        model = _read(path)
    except UserError as error:
        print_to_stderr(str(error))
        return None
    if model.model_config != read_model_config(folder):
        return None
    checksum = stored_checksum(weights[0])
    if not checksum:  # older weights, which could be read, would replace the best ones here, each time
        print_to_stderr(f"{printable(weights[0])}: damaged; {MODEL_FILE}, which is intact, is used as it is")
    return model if checksum in ("", model.source) else None


def _build_model_file(folder: Path) -> ModelFile:
    """Builds the model file of a folder from its best weights and keeps it, unless the folder cannot be written to."""
    read_model_config(folder)  # says what is wrong before TensorFlow is loaded
    if not trained_paths(folder):
        read_best(folder)  # raises the error that applies
    path = folder / MODEL_FILE
    with contextlib.ExitStack() as stack:
        before = _modified(path)
        with contextlib.suppress(OSError):
            stack.enter_context(locked(folder / BEST, wait=True))
        if _modified(path) != before and (model := _current_model_file(folder)):
            return model  # another process has built it meanwhile
        require_memory(_BUILDING * trained_paths(folder)[0].stat().st_size, _REMEDY)
        print_to_stderr(f"{printable(path)}: is built from the best weights once, with TensorFlow ...")
        from answers.conversion import build_model_file  # here, because loading TensorFlow takes seconds

        model = build_model_file(folder)
        try:
            write_model_file(path, model)
        except OSError as error:
            print_to_stderr(f"{describe_os_error(error)}; it is used without being kept")
    return model


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _read(path: Path) -> ModelFile:
    """Returns a model file, if the memory can hold it: in one piece, and once more as LiteRT arranges the weights."""
    if path.is_file() and (size := path.stat().st_size) > _LARGE:
        require_memory(_READING * size, _REMEDY)
    return read_model_file(path)
