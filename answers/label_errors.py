"""Pictures that are probably in the wrong class folder, found by confident learning.

cleanlab, the library of the method's authors, is under the AGPL and needs pandas and scikit-learn for these few lines.

The method: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021
(https://doi.org/10.1613/jair.1.12125). Which of its rules for choosing pictures is used, and why: label_errors.
"""

import numpy as np

from answers.evaluation import Evaluation, confusion_matrix


def label_errors(evaluation: Evaluation) -> np.ndarray:
    """Returns the indices of the pictures whose label is probably wrong: int (candidates,), most probable first.

    This assumes that the network was not trained on the pictures; it would have learned their labels, wrong or not.

    Two rules of the paper must both find a picture: it is off the diagonal of the confident joint, and "prune by class"
    finds it, which means that it is among the pictures of its class with the lowest score of that class, as many as
    are estimated to be mislabeled. Those that are predicted as their label are left out. The lowest score is first.

    With 5 % of the labels exchanged, the first rule alone and any other of the paper's had a lower precision. With two
    classes the first rule decides; with ten, the second removes a third of its pictures, hardly any of them
    mislabeled. The order by the margin between label and predicted class was worse.
    """
    labels, own = evaluation.labels, evaluation.true_scores
    confident = confident_classes(evaluation)
    is_candidate = (confident >= 0) & (confident != labels) & ~evaluation.correct
    is_lowest = np.zeros(len(labels), bool)
    for label, count in enumerate(estimated_errors(evaluation, confident)):
        pictures = np.flatnonzero(labels == label)
        is_lowest[pictures[np.argsort(own[pictures], kind="stable")[:count]]] = True
    candidates = np.flatnonzero(is_candidate & is_lowest)
    return candidates[np.argsort(own[candidates], kind="stable")]


def confident_classes(evaluation: Evaluation) -> np.ndarray:
    """Returns which class each picture surely belongs to: int (count,), -1 where none.

    Of the classes whose score reaches their threshold, it is the one with the highest score. Scores are calibrated for
    each class and need not sum to 1. They are compared as they are: divided by their sum, a picture that is like no
    class would look like a sure one.
    """
    scores = evaluation.predictions.scores
    reached = np.where(scores >= class_thresholds(evaluation), scores, -np.inf)
    return np.where(np.isfinite(reached).any(axis=1), reached.argmax(axis=1), -1)


def confident_joint(evaluation: Evaluation, confident: np.ndarray) -> np.ndarray:
    """Returns how many pictures with the label of a row surely belong to the class of a column: int (classes, classes).

    Args:
        evaluation: of all pictures.
        confident: as from `confident_classes`.
    """
    is_sure = confident >= 0
    return confusion_matrix(evaluation.labels[is_sure], confident[is_sure], classes=len(evaluation.class_names))


def estimated_errors(evaluation: Evaluation, confident: np.ndarray) -> list[int]:
    """Returns how many pictures of each label are estimated to be mislabeled, 0 if none of them is sure.

    That is the fraction of its row of the confident joint that is off the diagonal, times the pictures with the label.
    """
    joint = confident_joint(evaluation, confident)
    sure, own = joint.sum(axis=1), joint.diagonal()
    pictures = np.bincount(evaluation.labels, minlength=len(joint))
    return np.rint(pictures * (sure - own) / np.maximum(sure, 1)).astype(int).tolist()


def class_thresholds(evaluation: Evaluation) -> np.ndarray:
    """Returns the mean score of each class for the pictures labeled as it, or infinity if there are none."""
    count = len(evaluation.class_names)
    pictures = np.bincount(evaluation.labels, minlength=count)
    sums = np.bincount(evaluation.labels, weights=evaluation.true_scores, minlength=count)
    return np.where(pictures > 0, sums / np.maximum(pictures, 1), np.inf)
