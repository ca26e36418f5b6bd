"""The formats of an export that are made from checkpoints: SavedModel, float16 and ONNX. Needs TensorFlow."""

import importlib.util
import math
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from answers.conversion import ServingModule, convert, pack
from answers.ensemble import Ensemble, load_network
from answers.export import Comparison, Export, Exported
from answers.model_card import ONNX_FILE, SAVED_MODEL
from answers.trained_network import TrainedNetwork
from network.backend import keras, tf
from network.device import raises_memory_error, use_processor
from network.model_file import FLOAT16_FILE, MODEL_FILE, write_model_file
from network.model_structure import SIGNATURE
from system.errors import UserError
from system.files import write_atomically
from system.progress import status
from system.quiet import quiet_stderr
from system.terminal import printable

if TYPE_CHECKING:
    import onnxruntime

_OPSET = 17  # of ONNX; ONNX Runtime runs it since version 1.12 of 2022
_LARGE = 2**16  # values of a weight
_LAST_WORDS = "the network was being exported when this process ended; its memory may not be enough"
_ONNX_PACKAGES = ("tf2onnx", "onnxruntime")


class Exporter:
    """Writes the network of a folder of checkpoints in several formats."""

    @raises_memory_error()
    def __init__(self, checkpoints: Path, comparison: Comparison) -> None:
        """Raises UserError if its weights are not those of the engine: it has better ones now, or those are damaged."""
        use_processor()  # a trainer may be using the GPU
        self._network = load_network(checkpoints)
        self._comparison = comparison
        if self._network.source != comparison.engine.model.source:
            raise UserError(
                f"{printable(checkpoints)}: its intact weights are not those of {MODEL_FILE}; while a trainer is "
                "running, run the same command again; otherwise export that file alone: --model_save_name "
                f"{printable(checkpoints / MODEL_FILE)}"
            )
        self._module = ServingModule(self._network, heat_maps=False)

    @property
    def layers(self) -> list[tuple[str, str, str]]:
        """The layers of the network, or of each of an ensemble: name, dimensions of the output, number of weights."""
        layers = self._network.members[0].model.layers
        shapes = ("×".join(map(str, layer.output.shape[1:])) for layer in layers)
        return [(layer.name, shape, f"{layer.count_params():,}") for layer, shape in zip(layers, shapes, strict=True)]

    @raises_memory_error()
    def write_all(self, folder: Path, found: Export) -> None:
        """Writes all formats, and adds to `found` what was written and what was not."""
        writers = {FLOAT16_FILE: self._write_float16, SAVED_MODEL: self._write_saved_model, ONNX_FILE: self._write_onnx}
        if not all(map(importlib.util.find_spec, _ONNX_PACKAGES)):
            del writers[ONNX_FILE]
            found.notes.append(f"{ONNX_FILE} is left out; to get it too: pip install {' '.join(_ONNX_PACKAGES)}")
        with tempfile.TemporaryDirectory() as temporary:  # TensorFlow cannot write to folders of any name
            saved_model = f"{temporary}/saved_model"
            self._module.save(saved_model)
            for name, write in writers.items():
                try:
                    with status(f"writing {name} ..."):
                        found.formats.append(write(folder / name, saved_model))
                except UserError as error:
                    found.refused.append(f"{name}: {error}")
                    _remove(folder / name)

    def _write_float16(self, path: Path, _saved_model: str) -> Exported:
        write_model_file(path, pack(self._network, convert(self._network, float16=True), float16=True))
        return self._comparison.rounded(path)

    def _write_saved_model(self, path: Path, saved_model: str) -> Exported:
        shutil.copytree(saved_model, path / "1")  # TensorFlow Serving wants a folder for each version
        with quiet_stderr(_LAST_WORDS):
            loaded = tf.saved_model.load(saved_model)
        run = loaded.signatures[SIGNATURE]
        return self._comparison.exact(
            path, lambda images: {name: value.numpy() for name, value in run(images=tf.constant(images)).items()}
        )

    def _write_onnx(self, path: Path, _saved_model: str) -> Exported:
        with quiet_stderr(_LAST_WORDS):
            found = _try_onnx(self._network)
        if isinstance(found, str):
            raise UserError(f"tf2onnx or ONNX Runtime cannot compute this network ({found})")
        content, session = found
        write_atomically(path, content)
        names = [output.name for output in session.get_outputs()]
        return self._comparison.exact(
            path, lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))
        )


def _try_onnx(network: TrainedNetwork | Ensemble) -> tuple[bytes, "onnxruntime.InferenceSession"] | str:
    """Returns the content of an ONNX file and what computes it, or the reason why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import onnxruntime  # here, because it is optional

            content = _to_onnx(network)
            return content, onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # of any kind, as they are not made for every version of TensorFlow
        return printable(str(error).strip().partition("\n")[0])[:200]


def _to_onnx(network: TrainedNetwork | Ensemble) -> bytes:
    """Returns the content of an ONNX file.

    tf2onnx copies all constants many times: it would take seconds, and 40 times the memory of the weights. So large
    weights are inputs of the function that it converts, and get their values afterwards.
    """
    import onnx  # here, because it is optional
    import tf2onnx

    large = {
        f"network_{number}_{weight.path.replace('/', '_')}": weight
        for number, member in enumerate(network.members, 1)
        for weight in member.model.weights
        if _is_large(weight)
    }
    specs = [
        tf.TensorSpec((None, *network.model_config.shape), tf.uint8, "images"),
        *(tf.TensorSpec(weight.shape, weight.dtype, name) for name, weight in large.items()),
    ]

    @tf.function(input_signature=specs, autograph=False)
    def serve(images, *values):
        with keras.StatelessScope(state_mapping=list(zip(large.values(), values, strict=True))):
            return network.serve(images)

    model, _ = tf2onnx.convert.from_function(serve, input_signature=specs, opset=_OPSET)
    for entry in [entry for entry in model.graph.input if entry.name in large]:
        model.graph.input.remove(entry)
        model.graph.initializer.append(onnx.numpy_helper.from_array(large[entry.name].numpy(), entry.name))
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_param = "count"
    return model.SerializeToString(deterministic=True)


def _is_large(weight: keras.Variable) -> bool:
    return math.prod(weight.shape) > _LARGE


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
