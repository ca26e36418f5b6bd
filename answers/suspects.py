"""Pictures whose class is doubtful: in the wrong class folder, of two classes, or of none."""

from typing import NamedTuple

import numpy as np

from answers.evaluation import Evaluation
from answers.label_errors import class_thresholds, label_errors
from answers.predictions import short_float

KINDS = MISLABELED, BOTH, NEITHER = "mislabeled", "both", "neither"
_MIN_LIKELY = 0.4  # score of a class that is likely; two classes can be


class Suspect(NamedTuple):
    """A picture whose class is doubtful."""

    index: int  # in the evaluation
    kind: str  # "mislabeled", "both" or "neither"
    other: int  # the most likely class but that of its label


def find_suspects(evaluation: Evaluation) -> list[Suspect]:
    """Returns the pictures whose class is doubtful, each once: kind by kind, most suspicious first.

    - Probably mislabeled: those of `label_errors`.
    - May show both: not unknown, and both the label and another class are likely and have at least the mean score that
      pictures of this class have for it. A low margin alone means little: of pictures that were put together from two
      classes, no more have one than of ordinary pictures.
    - May show neither: unknown, since they are unlike the training pictures.

    Like `label_errors`, this assumes that the network was not trained on the pictures.
    """
    own, unknown = evaluation.true_scores, evaluation.predictions.unknown
    errors = label_errors(evaluation)
    is_free = np.ones(len(own), bool)
    is_free[errors] = False
    both = np.flatnonzero(is_free & ~unknown & _reaches(own, evaluation.labels, evaluation))
    others, lower = _others(evaluation, both)
    is_both = _reaches(lower, others, evaluation)
    both, lower = both[is_both], np.minimum(lower, own[both])[is_both]
    neither = np.flatnonzero(is_free & unknown)
    ordered = {
        MISLABELED: errors,
        BOTH: both[np.argsort(-lower, kind="stable")],
        NEITHER: neither[np.argsort(own[neither], kind="stable")],
    }
    return [
        Suspect(index, kind, other)
        for kind, indices in ordered.items()
        for index, other in zip(indices.tolist(), _others(evaluation, indices)[0].tolist(), strict=True)
    ]


def _reaches(scores: np.ndarray, classes: np.ndarray, evaluation: Evaluation) -> np.ndarray:
    """Returns whether scores are as high as those of pictures of these classes are on average, and likely ones."""
    return scores >= np.maximum(class_thresholds(evaluation)[classes], _MIN_LIKELY)


def _others(evaluation: Evaluation, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the most likely class of pictures but that of their label, and its score: int and float (indices,)."""
    scores = evaluation.predictions.scores[indices]
    rows = np.arange(len(indices))
    scores[rows, evaluation.labels[indices]] = -1
    others = scores.argmax(axis=1)
    return others, scores[rows, others]


def suspect_row(evaluation: Evaluation, suspect: Suspect) -> dict:
    """Returns a suspect as it is written for other programs."""
    index, names = suspect.index, evaluation.class_names
    return {
        "picture": evaluation.paths[index],
        "kind": suspect.kind,
        "label": names[evaluation.labels[index]],
        "score_of_label": short_float(evaluation.true_scores[index]),
        "other": names[suspect.other],
        "score_of_other": short_float(evaluation.predictions.scores[index, suspect.other]),
    }
