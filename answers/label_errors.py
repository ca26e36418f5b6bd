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
    wrong = np.flatnonzero(~evaluation.correct)
    scores = evaluation.predictions.scores[wrong]
    reached = np.where(scores >= _thresholds(evaluation), scores, -np.inf)
    is_candidate = np.isfinite(reached).any(axis=1) & (reached.argmax(axis=1) != evaluation.labels[wrong])
    candidates = wrong[is_candidate]
    margins = evaluation.true_scores - evaluation.top_scores
    return candidates[np.argsort(margins[candidates], kind="stable")]


def _thresholds(evaluation: Evaluation) -> np.ndarray:
    """Returns the mean score of each class for the pictures labeled as it, or infinity if there are none."""
    count = len(evaluation.class_names)
    pictures = np.bincount(evaluation.labels, minlength=count)
    sums = np.bincount(evaluation.labels, weights=evaluation.true_scores, minlength=count)
    return np.where(pictures > 0, sums / np.maximum(pictures, 1), np.inf)
