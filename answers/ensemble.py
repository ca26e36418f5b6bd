"""The networks of several folds, which answer together. Needs TensorFlow."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from answers.calibration import fit_platt_scaling, with_max_distance
from answers.predictions import Outputs, Predictions, outputs_of, predictions_of
from answers.scores import log_odds
from answers.trained_network import TrainedNetwork, load_trained_network
from network.backend import tf
from network.checkpoint_file import is_ensemble, member_folder
from network.ensemble_folder import EnsembleCalibration, read_calibration, source_of, write_calibration
from network.model_config import ModelConfig, read_model_config


class Ensemble:
    """Several networks of the same structure, and the calibration of their common answers, which may be missing.

    Their raw magnitudes are averaged, and the scores follow from the mean. So the class with the highest mean has the
    highest score, as in a single network. (Averages of the log-odds would be the same for two classes.)
    """

    def __init__(
        self, members: Sequence[TrainedNetwork], model_config: ModelConfig, calibration: EnsembleCalibration | None
    ) -> None:
        self.members = list(members)
        self.model_config = model_config
        self.calibration = calibration
        self.step = sum(member.step for member in members)  # training steps of all
        self.source = source_of([member.source for member in members])

    @property
    def max_distance(self) -> float:
        """Pictures that are farther from the training pictures are unknown; infinite without a calibration."""
        return self.calibration.max_distance if self.calibration else math.inf

    def predict(self, images: np.ndarray) -> Predictions:
        """Returns predictions for uint8 images (count, height, width, color_channels)."""

        def run(batch: np.ndarray) -> dict[str, np.ndarray]:
            return {name: value.numpy() for name, value in self.serve(tf.constant(batch)).items()}

        return predictions_of(outputs_of(run, images), max_distance=self.max_distance)

    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs for uint8 images by name; also in a graph."""
        return self.combined([member.with_features(images, training=False) for member in self.members])

    def combined(self, found: Sequence[Sequence[tf.Tensor]]) -> dict[str, tf.Tensor]:
        """Returns raw, scores, distance and agreement from what `with_features` of each member gives for some images.

        The distance is the mean of the members' distances. The agreement is the fraction of the members whose own
        prediction is the common one.
        """
        own = [member.outputs(*values) for member, values in zip(self.members, found, strict=True)]
        raw = _mean([outputs["raw"] for outputs in own])
        odds = log_odds(raw, loss=self.model_config.loss)
        slope, intercept = (self.calibration.slope, self.calibration.intercept) if self.calibration else (1.0, 0.0)
        predicted = tf.argmax(raw, axis=1, output_type=tf.int32)
        agree = [tf.argmax(outputs["raw"], axis=1, output_type=tf.int32) == predicted for outputs in own]
        return {
            "raw": raw,
            "scores": tf.sigmoid(slope * odds + intercept),
            "distance": _mean([outputs["distance"] for outputs in own]),
            "agreement": _mean([tf.cast(agrees, tf.float32) for agrees in agree]),
        }

    def save(self, folder: Path) -> None:
        """Writes the calibration of the ensemble in a folder. The members are in folders of their own."""
        assert self.calibration
        write_calibration(folder, self.calibration, source=self.source)


def _mean(values: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(list(values)) / len(values)


def load_network(folder: Path) -> TrainedNetwork | Ensemble:
    """Returns the trained network in a folder of checkpoints, or all of an ensemble.

    Raises:
        UserError: there is no intact checkpoint of one of them, or it does not belong to its model.json.
    """
    if not is_ensemble(folder):
        return load_trained_network(folder)
    model_config = read_model_config(folder)
    members = [load_trained_network(member_folder(folder, 1 + index)) for index in range(model_config.folds)]
    calibration = read_calibration(folder, source=source_of([member.source for member in members]))
    return Ensemble(members, model_config, calibration)


def fit_calibration(outputs: Outputs, labels: np.ndarray, *, loss: str, unknown_rate: float) -> EnsembleCalibration:
    """Returns the calibration of an ensemble, fitted to the answers of single members about pictures new to them.

    No picture is new to all members, so nothing can be fitted to their common answers. These are less random than
    those of a member: the scores are rather too close to 0.5 than too far from it, and rather fewer pictures than
    `unknown_rate` are called unknown.

    Args:
        outputs: for each picture, those of the member that was not trained on it.
        labels: int (pictures,).
        loss: softmax or sigmoid.
        unknown_rate: largest fraction of ordinary pictures that may be called unknown, 0..0.5.
    """
    odds = np.asarray(log_odds(outputs.logits, loss=loss), np.float64)
    calibration = EnsembleCalibration(*fit_platt_scaling(odds, labels))
    return with_max_distance(calibration, outputs.distances, unknown_rate=unknown_rate)


def calibrated_predictions(outputs: Outputs, calibration: EnsembleCalibration, *, loss: str) -> Predictions:
    """Returns the predictions of single members with the calibration of the ensemble."""
    odds = log_odds(outputs.logits, loss=loss)
    scores = tf.sigmoid(calibration.slope * odds + calibration.intercept).numpy()
    return predictions_of(outputs._replace(scores=scores), max_distance=calibration.max_distance)
