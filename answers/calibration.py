"""Fits what validation pictures tell about a network: how reliable its answers are, and which pictures are unlike them.

Nothing here changes the logits or the predicted class. How the values are used: scores.py.
"""

import math
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.special import expit

from network.ensemble_folder import EnsembleCalibration

_SHRINKAGE = 0.5  # of the covariance towards its diagonal, because there may be few pictures
_MAX_VALUES = 2**20  # of the references, which are a part of the model file: 4 MB
MIN_LENGTH = 1e-6  # of features, to which shorter ones are not extended: they may be all 0
_PRIOR_DEVIATION = 0.25  # standard deviation of the prior of the intercept and of the logarithm of the slope, around 0


class Calibration(NamedTuple):
    """Fitted once for a trained network."""

    mean: np.ndarray  # (statistics,), of the square roots of those of training pictures
    whitening: np.ndarray  # (statistics, statistics); distances are measured after multiplying with it
    references: np.ndarray  # (count, other features), of training pictures, each of length 1 or 0
    centers: np.ndarray  # (2,), medians of the two measures of validation pictures
    spreads: np.ndarray  # (2,), from there to the value that a tenth of them exceed
    slope: float = 1.0  # of the log-odds
    intercept: float = 0.0  # added to them
    max_distance: float = math.inf  # pictures that are farther from the training pictures are unknown


_AnyCalibration = TypeVar("_AnyCalibration", Calibration, EnsembleCalibration)


def fit(
    *, training_features: np.ndarray, statistics: int, validation_odds: np.ndarray, validation_labels: np.ndarray
) -> Calibration:
    """Returns the calibration of a network, without the scale of distances and without a limit for unknown pictures.

    Args:
        training_features: float32 (count, features).
        statistics: how many of them are statistics, which come first.
        validation_odds: float (pictures, classes), from `scores.log_odds`.
        validation_labels: int (pictures,).
    """
    slope, intercept = fit_platt_scaling(validation_odds.astype(np.float64), validation_labels)
    roots = np.sqrt(training_features[:, :statistics].astype(np.float64))
    covariance = np.cov(roots.T, bias=True)
    diagonal = np.diag(np.diag(covariance))
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal + 1e-9 * np.eye(len(covariance))
    others = training_features[:, statistics:]
    directions = others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), MIN_LENGTH)
    return Calibration(
        mean=roots.mean(axis=0).astype(np.float32),
        whitening=np.linalg.inv(np.linalg.cholesky(shrunk)).T.astype(np.float32),
        references=directions[:: math.ceil(directions.size / _MAX_VALUES)],
        centers=np.zeros(2, np.float32),
        spreads=np.ones(2, np.float32),
        slope=slope,
        intercept=intercept,
    )


def with_scale(calibration: Calibration, measures: np.ndarray) -> Calibration:
    """Returns a calibration with the scale of distances, fitted to the two measures of validation pictures: (count, 2).

    So both count alike, although their units have nothing to do with each other.
    """
    centers, high = np.quantile(measures, [0.5, 0.9], axis=0)
    spreads = np.maximum(high - centers, 0.01 * centers + 1e-6)  # there may be few pictures, or equal ones
    return calibration._replace(centers=centers.astype(np.float32), spreads=spreads.astype(np.float32))


def with_max_distance(calibration: _AnyCalibration, distances: np.ndarray, *, unknown_rate: float) -> _AnyCalibration:
    """Returns a calibration with the distance beyond which pictures are called unknown.

    Args:
        calibration: as from `fit`, or that of an ensemble.
        distances: float (count,), of validation pictures.
        unknown_rate: largest fraction of ordinary pictures that may be called unknown, 0..0.5.
    """
    return calibration._replace(max_distance=rejection_threshold(distances, rate=unknown_rate))


def fit_platt_scaling(odds: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Returns slope and intercept of the line through the log-odds whose sigmoid fits the labels best.

    One line serves all classes, so the order of the scores stays the same. It is the scaling of Platt 1999
    ("Probabilistic outputs for support vector machines") with a normal prior that keeps it close to the network's own
    odds: few pictures, or pictures that are all predicted correctly, say little about how reliable the scores are.
    """
    from scipy.optimize import minimize  # here, so that only fitting takes the time to load it

    truth = np.arange(odds.shape[1]) == labels[:, None]

    def negative_log_posterior(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, intercept = math.exp(parameters[0]), parameters[1]
        values = slope * odds + intercept
        error = expit(values) - truth
        gradient = np.array([(error * odds).sum() * slope, error.sum()]) + parameters / _PRIOR_DEVIATION**2
        prior = (parameters**2).sum() / (2 * _PRIOR_DEVIATION**2)
        return float((np.logaddexp(0, values) - truth * values).sum() + prior), gradient

    best = minimize(negative_log_posterior, np.zeros(2), jac=True, method="L-BFGS-B").x
    return math.exp(best[0]), float(best[1])


def rejection_threshold(values: np.ndarray, *, rate: float) -> float:
    """Returns a threshold; a picture whose value is higher is rejected.

    It is the lowest of the given values with which a new picture of the same kind is rejected with a probability of at
    most `rate`. As in split conformal prediction (Papadopoulos et al. 2002), the new picture could have any rank among
    the given ones. If there are too few of them, the threshold is infinite.

    Args:
        values: float (count,), of the given pictures.
        rate: 0..0.5.
    """
    allowed = math.floor((len(values) + 1) * rate)  # highest ranks, with which the new picture is rejected
    return float(np.sort(values)[-allowed]) if allowed else math.inf
