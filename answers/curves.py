"""How good scores are: whether they are true as probabilities, and how well they separate a class from the others.

scikit-learn was considered: it would replace 30 lines here and add 9 MB. Its names and definitions are used.
"""

from typing import NamedTuple

import numpy as np

_BINS = 10  # of the reliability diagram


class ReliabilityBin(NamedTuple):
    """The predictions whose scores are in one bin of a reliability diagram."""

    mean_score: float  # 0..1
    accuracy: float  # fraction of them that are correct, 0..1
    count: int  # at least 1


def reliability_bins(scores: np.ndarray, correct: np.ndarray) -> list[ReliabilityBin]:
    """Returns the bins of a reliability diagram that have predictions in them, by their scores.

    There are 10 equally wide bins; each holds its lower edge, and the last one holds 1 as well.

    Args:
        scores: float (count,), 0..1, of the predicted classes.
        correct: bool (count,).
    """
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    sums = zip(np.bincount(bins, scores, _BINS), np.bincount(bins, correct, _BINS), counts, strict=True)
    return [ReliabilityBin(float(score / n), float(hits / n), int(n)) for score, hits, n in sums if n]


def expected_calibration_error(scores: np.ndarray, correct: np.ndarray) -> float:
    """Returns the mean difference between scores and the fraction of correct predictions, 0..1.

    The differences between the two in each of the `reliability_bins` are averaged over the predictions (Naeini et al.
    2015; Guo et al. 2017, https://arxiv.org/abs/1706.04599). With 200 pictures even perfect scores get about 0.04, by
    chance.
    """
    gaps = [abs(found.mean_score - found.accuracy) * found.count for found in reliability_bins(scores, correct)]
    return sum(gaps) / len(scores)


class PrecisionRecall(NamedTuple):
    """Precision and recall of one class if every picture whose score reaches a threshold were predicted as it."""

    precision: np.ndarray  # float (thresholds + 1,), 0..1; the last is 1
    recall: np.ndarray  # float (thresholds + 1,), from 1 down to 0
    thresholds: np.ndarray  # float (thresholds,), the different scores in ascending order

    @property
    def average_precision(self) -> float:
        """The mean of the precisions, each weighted by the increase in recall since the next higher threshold."""
        return float(-(np.diff(self.recall) * self.precision[:-1]).sum())


def precision_recall_curve(scores: np.ndarray, is_class: np.ndarray) -> PrecisionRecall | None:
    """Returns the curve of one class, as scikit-learn's function of this name does; None if it has no pictures.

    Args:
        scores: float (count,), of the class.
        is_class: bool (count,), whether a picture belongs to it.
    """
    if not is_class.any():
        return None
    order = scores.argsort()
    scores, is_class = scores[order], is_class[order]
    firsts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))  # of each score; the others are its equals
    reach = len(scores) - firsts  # how many pictures have at least this score
    true = is_class[::-1].cumsum()[::-1][firsts]  # and how many of these belong to the class
    return PrecisionRecall(np.append(true / reach, 1), np.append(true / true[0], 0), scores[firsts])
