"""A training run, as everything that reports on it sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from answers.conversion import ConvertedNetwork
from answers.evaluation import Evaluation
from answers.predictions import Predictions
from answers.trained_network import load_trained_network
from config import TrainConfig
from network.model_config import ModelConfig, require_same
from pictures.manifest import TRAIN, VALIDATION, Picture, class_names, kept, stand_ins
from pictures.split import fingerprint
from system.errors import UserError
from system.resources import format_bytes
from system.terminal import print_entry, printable
from training.batches import Samples, epoch_steps, fits_in_memory, load, memory_for_images, require_batch_size
from training.distribution import Distribution

_MAX_CALIBRATION_IMAGES = 1000  # training images with which pictures are compared to call them unknown


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings, the device and the pictures of a run."""

    config: TrainConfig
    model_config: ModelConfig
    distribution: Distribution
    pictures: Sequence[Picture]  # every row of the manifest, used or not
    training: Sequence[Picture]  # those of the samples
    validating: Sequence[Picture]
    train: Samples
    validation: Samples
    given: TrainConfig | None = None  # of the command, if that trains several networks

    @property
    def device(self) -> str:
        """What it computes on, and in which precision."""
        return self.distribution.device

    def evaluation(self, predictions: Predictions) -> Evaluation:
        """Returns the predictions for the validation pictures together with the true classes."""
        return Evaluation(
            class_names=self.model_config.class_names,
            paths=[picture.path for picture in self.validating],
            labels=self.validation.labels,
            predictions=predictions,
        )

    def epochs_in(self, steps: int) -> int:
        """Returns how many epochs a number of training steps is."""
        return steps // epoch_steps(len(self.training), self.config.batch_size)[0]

    def typical_images(self, count: int) -> np.ndarray:
        """Returns at most this many training images, evenly spread: uint8 (count, height, width, color_channels).

        They are originals, since copies are less typical; but of some sources there may be nothing else.
        """
        chosen = np.linspace(0, len(self._originals) - 1, min(len(self._originals), count)).astype(int)
        return self.train.images[self._originals[chosen]]

    def image_of(self, picture: Picture) -> np.ndarray:
        """Returns the image of a picture that is used: uint8 (height, width, color_channels)."""
        samples, index = self._places[picture.path]
        return samples.images[index : index + 1][0]

    def validation_image(self, index: int) -> np.ndarray:
        """Returns the image of a validation picture: uint8 (height, width, color_channels)."""
        return self.validation.images[index : index + 1][0]

    @cached_property
    def _places(self) -> dict[str, tuple[Samples, int]]:
        parts = ((self.training, self.train), (self.validating, self.validation))
        return {picture.path: (samples, index) for rows, samples in parts for index, picture in enumerate(rows)}

    @cached_property
    def _originals(self) -> np.ndarray:
        shown = {picture.path for picture in stand_ins(self.training).values()}
        return np.array([index for index, picture in enumerate(self.training) if picture.path in shown])


def model_config_of(manifest: Sequence[Picture], config: TrainConfig, distribution: Distribution) -> ModelConfig:
    """Returns the model config of a run with these pictures."""
    pictures = kept(manifest)
    return ModelConfig.of_run(
        config,
        class_names=class_names(pictures),
        pictures=fingerprint(pictures),
        replicas=distribution.replicas,
    )


def load_run(
    manifest: Sequence[Picture], config: TrainConfig, distribution: Distribution, *, saved: ModelConfig | None = None
) -> Run:
    """Returns the run, with the images to train on and to validate with.

    Args:
        manifest: every picture, with what became of it.
        config: of the run.
        distribution: of the run.
        saved: the model config of the checkpoint from which it will continue.

    Raises:
        UserError: a picture cannot be read, there are too few for a batch, or it is not the run of the checkpoint.
    """
    pictures = kept(manifest)
    training, validating = ([picture for picture in pictures if picture.split == part] for part in (TRAIN, VALIDATION))
    require_batch_size(config.batch_size, count=len(training))
    model_config = model_config_of(manifest, config, distribution)
    if saved:
        require_same(Path(config.model_save_name), saved, model_config)
    in_memory = fits_in_memory(len(pictures), config)
    train, validation = (load(part, config, in_memory=in_memory) for part in (training, validating))
    if not in_memory:
        data, memory = printable(config.data_path), format_bytes(memory_for_images(config))
        print_entry("", f"the pictures need more than {memory}, so each is read from {data}/ when used (memory_gib)")
    return Run(
        config=config,
        model_config=model_config,
        distribution=distribution,
        pictures=manifest,
        training=training,
        validating=validating,
        train=train,
        validation=validation,
    )


def calibrate(run: Run) -> tuple[ConvertedNetwork, Evaluation]:
    """Returns the network of the best epoch, calibrated and converted, and its predictions for the validation pictures.

    The predictions are those of LiteRT, so what the reports say is what predict.py does.

    Raises:
        UserError: LiteRT cannot compute the network, or gives other answers than Keras.
    """
    network = load_trained_network(Path(run.config.model_save_name))
    expected = network.calibrate(
        training=run.typical_images(_MAX_CALIBRATION_IMAGES),
        validation=run.validation.images,
        labels=run.validation.labels,
        unknown_rate=run.config.unknown_rate,
    )
    try:
        converted = ConvertedNetwork(network)
        predictions = converted.check(run.validation.images, expected, unknown_rate=run.config.unknown_rate)
    except UserError:
        network.save(Path(run.config.model_save_name))  # so that its calibration is not lost
        raise
    return converted, run.evaluation(predictions)
