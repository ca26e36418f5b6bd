"""How accurate a network is on pictures whose class is known: a report as a dict.

scikit-learn was considered: it would replace 25 lines here and add 9 MB. Its names and definitions are used.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

import numpy as np

from answers.curves import (
    PrecisionRecall,
    ReliabilityBin,
    expected_calibration_error,
    precision_recall_curve,
    reliability_bins,
)
from answers.output import Answer
from answers.predictions import Predictions, short_float

_MAX_MISTAKES = 10  # that are listed
_Z = NormalDist().inv_cdf(0.975)  # of the 95 % interval of a normal distribution


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The predictions of a network for pictures whose class is known."""

    class_names: Sequence[str]  # of the network
    paths: Sequence[str]  # of the pictures, (count,)
    labels: np.ndarray  # int (count,), the indices of their true classes
    predictions: Predictions

    @cached_property
    def correct(self) -> np.ndarray:
        """Which pictures are predicted correctly, unknown or not: bool (count,)."""
        return self.predictions.predicted == self.labels

    @cached_property
    def top_scores(self) -> np.ndarray:
        """The scores of the predicted classes: float (count,), 0..1."""
        return self._scores_of(self.predictions.predicted)

    @cached_property
    def true_scores(self) -> np.ndarray:
        """The scores of the true classes: float (count,), 0..1."""
        return self._scores_of(self.labels)

    def _scores_of(self, classes: np.ndarray) -> np.ndarray:
        return self.predictions.scores[np.arange(len(classes)), classes]

    @cached_property
    def confusion_matrix(self) -> np.ndarray:
        """How many pictures of the class of a row were predicted as that of a column: int (classes, classes)."""
        return confusion_matrix(self.labels, self.predictions.predicted, classes=len(self.class_names))

    @cached_property
    def reliability_bins(self) -> list[ReliabilityBin]:
        """How often predictions are correct, by their score."""
        return reliability_bins(self.top_scores, self.correct)

    @cached_property
    def average_precisions(self) -> list[float | None]:
        """The average precision of each class; None for a class without pictures."""
        curves = map(self.precision_recall, range(len(self.class_names)))  # one at a time: all may be gigabytes
        return [curve and curve.average_precision for curve in curves]

    def precision_recall(self, label: int) -> PrecisionRecall | None:
        """Returns the precision-recall curve of a class; None if it has no pictures."""
        return precision_recall_curve(self.predictions.scores[:, label], self.labels == label)

    @cached_property
    def mistakes(self) -> np.ndarray:
        """The indices of the pictures that are predicted wrongly, highest score first: int (mistakes,)."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.top_scores[wrong], kind="stable")]

    def example(self, *, true: int, predicted: int) -> int | None:
        """Returns the index of the picture of a class that is predicted as a class with the highest score, if any."""
        indices = np.flatnonzero((self.labels == true) & (self.predictions.predicted == predicted))
        return int(indices[self.top_scores[indices].argmax()]) if len(indices) else None

    def best_recognized(self, label: int) -> int | None:
        """Returns the index of the picture of a class with the highest score for it; None if it has no pictures."""
        indices = np.flatnonzero(self.labels == label)
        return int(indices[self.true_scores[indices].argmax()]) if len(indices) else None


def evaluation_of(
    answers: Sequence[Answer], classes: Mapping[Path, str], class_names: Sequence[str]
) -> Evaluation | None:
    """Returns the answers together with the true classes; None if no picture could be read."""
    read = [answer for answer in answers if not answer.error]
    if not read:
        return None
    values = [(answer.predicted, answer.logits, answer.scores, answer.unknown) for answer in read]
    return Evaluation(
        class_names=class_names,
        paths=[os.fspath(answer.path) for answer in read],
        labels=np.array([class_names.index(classes[Path(answer.path)]) for answer in read]),
        predictions=Predictions(*map(np.array, zip(*values, strict=True))),
    )


def evaluate(evaluation: Evaluation) -> dict:
    """Returns a report, ready for JSON. Pictures called unknown are counted in all other numbers too.

    Raises:
        ValueError: there are no pictures.
    """
    count, class_names = len(evaluation.labels), evaluation.class_names
    if not count:
        raise ValueError("nothing to evaluate")
    correct = int(evaluation.correct.sum())
    classes = class_metrics(evaluation.confusion_matrix)
    return {
        "pictures": count,
        "correct": correct,
        "accuracy": correct / count,
        "accuracy_interval_95": accuracy_interval(correct, count),
        "balanced_accuracy": float(np.mean([row["recall"] for row in classes if row["support"]])),
        "expected_calibration_error": expected_calibration_error(evaluation.top_scores, evaluation.correct),
        "unknown": int(evaluation.predictions.unknown.sum()),
        "classes": dict(zip(class_names, classes, strict=True)),
        "confusion_matrix": evaluation.confusion_matrix.tolist(),
        "worst_mistakes": [
            {
                "picture": evaluation.paths[index],
                "true_class": class_names[evaluation.labels[index]],
                "predicted": class_names[evaluation.predictions.predicted[index]],
                "score": short_float(evaluation.top_scores[index]),
            }
            for index in evaluation.mistakes[:_MAX_MISTAKES]
        ],
    }


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """Returns int (classes, classes): how many pictures of the class of a row were predicted as that of a column."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def largest_confusions(matrix: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Returns the pairs of true and predicted class that are confused most often, at most `limit`."""
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=int))
    largest = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    return [divmod(int(index), len(matrix)) for index in largest if mistakes.flat[index]]


def class_metrics(matrix: np.ndarray) -> list[dict]:
    """Returns for each class: precision (of the pictures predicted as it, the fraction that belong to it), recall (of
    the pictures that belong to it, the fraction that are predicted as it), F1 (their harmonic mean) and support (how
    many belong to it); None where there is nothing to divide by."""

    def fraction(part: int, whole: int) -> float | None:
        return float(part / whole) if whole else None

    return [
        {
            "precision": fraction(hits, predicted),
            "recall": fraction(hits, support),
            "f1": fraction(2 * hits, predicted + support),
            "support": int(support),
        }
        for hits, predicted, support in zip(matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1), strict=True)
    ]


def accuracy_interval(correct: int, count: int) -> list[float]:
    """Returns the 95 % interval of an accuracy, 0..1, which is right for few pictures and near 0 and 1 too.

    The score interval of E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA
    1927. SciPy has it too, but takes as long to load as hundreds of pictures to predict.
    """
    center = (correct + _Z**2 / 2) / (count + _Z**2)
    half = _Z / (count + _Z**2) * math.sqrt(correct * (count - correct) / count + _Z**2 / 4)
    # Without or with only correct ones it ends exactly at 0 or 1, where rounding would leave 1e-17.
    return [center - half if correct else 0.0, center + half if correct < count else 1.0]


def difference_interval(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of the difference of two accuracies on the same pictures, -1..1: `after` - `before`.

    The adjusted Wald interval of Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions", which is right for few pictures too.

    Args:
        before: bool (count,), which pictures the one network predicts correctly.
        after: bool (count,), which ones the other one does.
    """
    better, worse, count = (after & ~before).sum() + 0.5, (before & ~after).sum() + 0.5, len(before) + 2
    difference = (better - worse) / count
    half = _Z * math.sqrt((better + worse) - (better - worse) ** 2 / count) / count
    return float(difference - half), float(difference + half)
