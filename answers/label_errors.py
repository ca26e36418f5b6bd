"""Pictures that are probably in the wrong class folder, found by confident learning.

cleanlab, the library of the method's authors, is under the AGPL and needs pandas and scikit-learn for these few lines.
"""

import numpy as np

from answers.evaluation import Evaluation


def label_errors(evaluation: Evaluation) -> np.ndarray:
    """Returns the indices of the pictures whose label is probably wrong: int (candidates,), most probable first.

    This assumes that the network was not trained on the pictures; it would have learned their labels, wrong or not.

    Algorithm: confident learning (Northcutt, Jiang and Chuang 2021, https://doi.org/10.1613/jair.1.12125). The
    threshold of a class is its mean score for the pictures labeled as it. A picture is a candidate if, of the classes
    whose score reaches their threshold, the one with the highest score is not its label. Candidates that are predicted
    as their label are left out, as the authors' library does. The others are ranked by the normalized margin: the score
    of the label minus the highest score of another class, lowest first.
    """
    labels, scores = evaluation.labels, evaluation.predictions.scores
    reached = np.where(scores >= _thresholds(labels, scores), scores, -np.inf)
    is_confident = np.isfinite(reached).any(axis=1)
    candidates = np.flatnonzero(is_confident & (reached.argmax(axis=1) != labels) & ~evaluation.correct)
    return candidates[np.argsort(_margins(labels, scores)[candidates], kind="stable")]


def _thresholds(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the mean score of each class for the pictures labeled as it, or infinity if there are none."""
    counts = np.bincount(labels, minlength=scores.shape[1])
    sums = np.bincount(labels, weights=scores[np.arange(len(labels)), labels], minlength=scores.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def _margins(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    is_label = np.arange(scores.shape[1]) == labels[:, None]
    others = np.where(is_label, -np.inf, scores).max(axis=1)
    return scores[np.arange(len(labels)), labels] - others
