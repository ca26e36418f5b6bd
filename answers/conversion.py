"""From a trained network in Keras to `model.tflite`, which LiteRT runs. Needs TensorFlow.

Most of the time goes into copies of the weights. The converter is given a SavedModel, whose variables it reads where
they are; given a function with frozen variables, it copies them several times.
"""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from answers.engine import Engine
from answers.ensemble import Ensemble, load_network
from answers.grad_cam import GradCam, mean_of_maps
from answers.predictions import Predictions, are_equal, largest_difference, predictions_of
from answers.trained_network import TrainedNetwork
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import BEST
from network.device import in_float32, use_processor
from network.layers import AverageViews, ByteDropout, Dense, FusedBatchNormalization, MirrorViews
from network.model_config import ModelConfig
from network.model_file import MODEL_FILE, ModelFile, pack_model_file, write_model_file
from network.model_structure import HEAT_MAP_INPUTS, HEAT_MAPS, SIGNATURE
from system.errors import UserError
from system.files import locked
from system.quiet import quiet_stderr
from system.terminal import printable

# The layers that LiteRT can compute for certain.
_CONVERTIBLE = {
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.Conv2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Flatten,
    Dense,
    FusedBatchNormalization,
    ByteDropout,
    MirrorViews,
    AverageViews,
}
_TRIED = 16  # images of noise with which a network is tried if there are no pictures
_LAST_WORDS = "the network was being converted for LiteRT when this process ended; its memory may not be enough"


class ServingModule(tf.Module):
    """A trained network as functions for other programs, by the names of their signatures."""

    def __init__(self, network: TrainedNetwork | Ensemble, *, heat_maps: bool) -> None:
        """
        Args:
            network: it gives images → raw, scores, distance; an ensemble also gives agreement.
            heat_maps: whether it also has outputs from which a second function makes heat maps:
                features, middle, classes → heat_maps. So the weights are in the memory of LiteRT once.
        """
        super().__init__()
        self._variables = [weight.value for member in network.members for weight in member.model.weights]
        models, extra = [member.with_features for member in network.members], ()
        count = len(models[0].outputs)
        if heat_maps and (grad_cams := _grad_cams(network)):
            models = [
                keras.Model(model.input, [*model.outputs, *grad_cam.first.outputs], name="network")
                for model, grad_cam in zip(models, grad_cams, strict=True)
            ]
            extra = HEAT_MAP_INPUTS
        views = 2 if network.model_config.random_mirror else 1  # of each member

        def serve(images):
            found = [model(images, training=False) for model in models]
            others = zip(*(values[count:] for values in found), strict=True)
            by_image = [tf.concat([_by_image(values, views) for values in of_members], axis=1) for of_members in others]
            return {**network.combined([values[:count] for values in found]), **dict(zip(extra, by_image, strict=True))}

        def explain(features, middle, classes):
            maps = []
            for index, grad_cam in enumerate(grad_cams):
                own = slice(index * views, (index + 1) * views)
                by_view = [
                    tf.concat(tf.unstack(values[:, own], views, axis=1), axis=0) for values in (features, middle)
                ]
                maps.append(grad_cam(*by_view, classes))
            return {HEAT_MAPS: mean_of_maps(maps)}

        images = tf.TensorSpec((None, *network.model_config.shape), tf.uint8, name="images")
        self.functions = {SIGNATURE: _function(serve, images).get_concrete_function()}
        if extra:
            specs = [
                tf.TensorSpec((None, views * len(models), *output.shape[1:]), output.dtype, name=name)
                for name, output in zip(extra, grad_cams[0].first.outputs, strict=True)
            ]
            classes = tf.TensorSpec((None,), tf.int32, name="classes")
            self.functions[HEAT_MAPS] = _function(explain, *specs, classes).get_concrete_function()

    def save(self, folder: str) -> None:
        """Writes it to a folder as a SavedModel of TensorFlow. Raises OSError if the disk is full."""
        with quiet_stderr(_LAST_WORDS):
            try:
                tf.saved_model.save(self, folder, signatures=self.functions)
            except tf.errors.OpError as error:
                full = os.strerror(errno.ENOSPC)
                if full not in str(error):
                    raise
                raise OSError(errno.ENOSPC, full, folder) from None


def _grad_cams(network: TrainedNetwork | Ensemble) -> list[GradCam]:
    try:
        return [member.grad_cam for member in network.members]
    except UserError:  # model.py was edited, and all else works
        return []


def _by_image(values: tf.Tensor, views: int) -> tf.Tensor:
    """Returns values for images and then for their mirror images by image: (views · batch, …) → (batch, views, …)."""
    return tf.stack(tf.split(values, views), axis=1)


def _function(function: Callable, *specs: tf.TensorSpec):
    return tf.function(function, input_signature=specs, autograph=False)


def convert(network: TrainedNetwork | Ensemble, *, float16: bool = False) -> bytes:
    """Returns a network as a FlatBuffer with the signatures of model_structure.py.

    Args:
        network: to be converted.
        float16: whether weights are stored in float16, which takes half the size. They are computed with in float32.

    Raises:
        UserError: `model.py` was edited, and LiteRT cannot compute one of its layers.
    """
    for heat_maps in (True, False):  # without, in case it is because of them
        module = ServingModule(network, heat_maps=heat_maps)
        with tempfile.TemporaryDirectory() as folder:
            module.save(folder)
            with quiet_stderr(_LAST_WORDS):
                converted = _try_to_convert(folder, list(module.functions), float16)
        if isinstance(converted, bytes):
            return converted
    raise UserError(f"model.py: LiteRT cannot compute one of its layers ({converted}); use another layer")


def _try_to_convert(folder: str, signatures: list[str], float16: bool) -> bytes | str:
    """Returns a FlatBuffer, or the reason why there is none."""
    try:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=signatures)
        converter.exclude_conversion_metadata = True  # adding it takes 0.3 s
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
    except (MemoryError, OSError):  # too little memory, or no room on the disk: not the fault of model.py
        raise
    except Exception as error:  # of several kinds, as the converter is a program of its own
        return printable(str(error).strip().partition("\n")[0])[:200]


def pack(network: TrainedNetwork | Ensemble, flatbuffer: bytes, *, float16: bool = False) -> ModelFile:
    """Returns the model file of a network that was converted to a FlatBuffer."""
    return pack_model_file(
        flatbuffer,
        model_config=network.model_config,
        step=network.step,
        source=network.source,
        calibrated=network.calibration is not None,
        float16=float16,
        max_distance=network.max_distance,
    )


class ConvertedNetwork:
    """A trained network, or an ensemble, together with its form for LiteRT."""

    def __init__(self, network: TrainedNetwork | Ensemble) -> None:
        """Raises UserError if LiteRT cannot compute the network."""
        self.network = network
        self._flatbuffer = convert(network)

    def pack(self) -> ModelFile:
        """Returns the model file, with the limit for unknown pictures that the network has now."""
        return pack(self.network, self._flatbuffer)

    def check(self, images: np.ndarray, expected: Predictions, *, unknown_rate: float | None = None) -> Predictions:
        """Returns the predictions of LiteRT.

        Args:
            images: uint8 (count, height, width, color_channels).
            expected: the predictions of Keras for them.
            unknown_rate: fraction of such pictures that may be called unknown. If it is given, the limit for unknown
                pictures is set from the outputs of LiteRT, whose last digits differ from those of Keras.

        Raises:
            UserError: the raw magnitudes differ by more than rounding (`predictions.are_equal`).
        """
        engine = Engine(self.pack())
        outputs = engine.outputs(images)
        if not are_equal(outputs.logits, expected.logits):
            difference = largest_difference(outputs.logits, expected.logits)
            raise UserError(
                f"LiteRT gives other raw magnitudes than Keras (difference {difference:.2g}), so its file is not kept; "
                "if you have edited model.py, use other layers"
            )
        if unknown_rate is not None:
            self.network.set_max_distance(outputs.distances, unknown_rate=unknown_rate)
        return predictions_of(outputs, max_distance=self.network.max_distance)

    def save(self, folder: Path) -> None:
        """Writes the checkpoint and the model file of the best network in a folder of checkpoints."""
        with locked(folder / BEST, wait=True):  # predict.py may be building the file from older weights
            self.network.save(folder)
            write_model_file(folder / MODEL_FILE, self.pack())


def require_convertible(model: keras.Model, model_config: ModelConfig) -> None:
    """Raises UserError if LiteRT cannot compute the layers of a network; before it is trained for hours.

    Only a network with other layers than those of this toolkit is tried, since that takes a second.
    """
    if {type(layer) for layer in model.layers} - _CONVERTIBLE:
        with in_float32():
            convert(TrainedNetwork(generate_model(model_config), model_config))


def build_model_file(folder: Path) -> ModelFile:
    """Returns the model file of the best network, or of the ensemble, in a folder of checkpoints.

    Raises:
        UserError: there is no intact checkpoint, or LiteRT cannot compute the network.
    """
    use_processor()  # the trainer may be using the GPU
    network = load_network(folder)
    images = np.random.default_rng(0).integers(0, 256, (_TRIED, *network.model_config.shape), np.uint8)
    converted = ConvertedNetwork(network)
    converted.check(images, network.predict(images))
    return converted.pack()
