"""What validation pictures teach about a network's answers: how sure they are, and which pictures are strange to it.

Nothing here changes the raw magnitudes, nor which class is named.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

_SHRINKAGE = 0.1  # of the covariance towards that of independent features, since there may be few pictures
_LINE_DEVIATION = 0.25  # how far from 0 the offset and the logarithm of the scale are expected, a standard deviation


class Calibration(NamedTuple):
    """A few numbers, fitted once for a trained network. With the defaults it changes nothing and refuses nothing."""

    center: np.ndarray  # float64 (features,), mean of the training pictures
    whitening: np.ndarray  # float64 (features, features); distances are measured behind it
    scale: float = 1.0  # of the log-odds
    offset: float = 0.0  # added to them
    farthest: float = math.inf  # a picture farther from the centre than this is unknown
    vaguest: float = -math.inf  # a picture whose best log-odds are lower than this is unknown


def log_odds(logits: np.ndarray, *, loss: str) -> np.ndarray:
    """How much rather each class than not, by the network itself: float64 (count, classes).

    Trained with the softmax, a raw magnitude says nothing alone, only against the others: the odds of a class are its
    exponential over the sum of the other ones. Trained class by class, it is the logarithm of the odds already.
    """
    logits = logits.astype(np.float64)
    if loss == "sigmoid":
        return logits
    total = logsumexp(logits, axis=1, keepdims=True)
    highest = np.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None]
    others = total + np.log1p(-np.exp(np.where(highest, -np.inf, logits) - total))
    # Of the highest, next to nothing may be left, which a subtraction would lose.
    without = logsumexp(np.where(highest, -np.inf, logits), axis=1, keepdims=True)
    return logits - np.where(highest, without, others)


def scores(odds: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Calibrated probabilities, 0..1, of log-odds: the sigmoid of a line."""
    return expit(calibration.scale * odds + calibration.offset)


def is_unknown(odds: np.ndarray, features: np.ndarray, calibration: Calibration) -> np.ndarray:
    """bool (count,): whether a picture is unlike the training pictures, or even its likeliest class is unlikely."""
    return (distances(features, calibration) > calibration.farthest) | (odds.max(axis=1) < calibration.vaguest)


def distances(features: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Mahalanobis's distance of each picture from the middle of the training pictures: float64 (count,).

    The square root brings features, which are means of relu outputs and so never negative, closer to a normal
    distribution. In this space strange pictures lie far out: the idea of Lee et al. 2018
    (https://arxiv.org/abs/1807.03888), who measure from the middle of each class.
    """
    return np.linalg.norm((np.sqrt(features) - calibration.center) @ calibration.whitening, axis=1)


def fit(
    *,
    training_features: np.ndarray,
    validation_features: np.ndarray,
    validation_odds: np.ndarray,
    validation_labels: np.ndarray,
    unknown_rate: float,
) -> Calibration:
    """Fits all of it.

    Args:
        training_features: float (count, features), at least 0.
        validation_features: as those.
        validation_odds: float (pictures, classes), from `log_odds`.
        validation_labels: int (pictures,).
        unknown_rate: the largest share of pictures of the known kinds that may be called unknown, 0..0.5.
    """
    scale, offset = fit_line(validation_odds, validation_labels)
    roots = np.sqrt(training_features.astype(np.float64))
    covariance = np.cov(roots.T, bias=True)
    independent = np.diag(np.diag(covariance))
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * independent + 1e-9 * np.eye(len(covariance))
    calibration = Calibration(
        scale=scale,
        offset=offset,
        center=roots.mean(axis=0),
        whitening=np.linalg.inv(np.linalg.cholesky(shrunk)).T,
    )
    strange = distances(validation_features, calibration)
    vague = -validation_odds.max(axis=1)
    farthest, vaguest = limits(strange, vague, rate=unknown_rate)
    return calibration._replace(farthest=farthest, vaguest=-vaguest)


def fit_line(odds: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale and offset of the likeliest line behind whose sigmoid the log-odds have given the labels.

    One line serves all classes, so the order of the scores stays. That is the scaling of Platt 1999 ("Probabilistic
    outputs for support vector machines"), held near the network's own odds by a normal prior: few pictures, or pictures
    that are all named right, say little about how sure one can be.
    """
    from scipy.optimize import minimize  # here, since only fitting should cost the time to load it

    truth = np.arange(odds.shape[1]) == labels[:, None]

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        scale, offset = math.exp(line[0]), line[1]
        values = scale * odds + offset
        error = expit(values) - truth
        slope = np.array([(error * odds).sum() * scale, error.sum()]) + line / _LINE_DEVIATION**2
        prior = (line**2).sum() / (2 * _LINE_DEVIATION**2)
        return float((np.logaddexp(0, values) - truth * values).sum() + prior), slope

    best = minimize(cost, np.zeros(2), jac=True, method="L-BFGS-B").x
    return math.exp(best[0]), float(best[1])


def limits(first: np.ndarray, second: np.ndarray, *, rate: float) -> tuple[float, float]:
    """For two measures of each picture the limits beyond which a picture is refused by either.

    Both are equally strict, and as strict as they can be for a new picture of the same kind to be refused with a
    probability of about `rate` at most. As in split conformal prediction (Papadopoulos et al. 2002), the new one could
    stand at any rank among them, and with two limits next to either of two pictures. Where there are too few pictures
    for two limits at the rate, the second one is infinite, and with still fewer both are.
    """
    count = len(first)
    allowed = (count + 1) * rate
    ordered = np.sort(first), np.sort(second)
    if allowed < 2:
        return float(ordered[0][-1]) if allowed >= 1 else math.inf, math.inf
    for place in range(count - math.floor(allowed), count):  # the strictest ones first
        pair = float(ordered[0][place]), float(ordered[1][place])
        beyond = ((first > pair[0]) | (second > pair[1])).sum()
        at_or_beyond = ((first >= pair[0]) | (second >= pair[1])).sum()
        if max(beyond + 1, at_or_beyond) <= allowed:
            return pair
    return math.inf, math.inf
