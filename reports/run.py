"""A training run, as everything that reports on it sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from answers.evaluation import Evaluation
from answers.predictions import Predictions
from config import TrainConfig
from network.model_config import ModelConfig
from pictures.manifest import Picture, stand_ins
from training.batches import Samples, epoch_steps


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings, the device and the pictures of a run."""

    config: TrainConfig
    model_config: ModelConfig
    device: str  # and precision
    pictures: Sequence[Picture]  # every row of the manifest, used or not
    training: Sequence[Picture]  # those of the samples
    validating: Sequence[Picture]
    train: Samples
    validation: Samples

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
