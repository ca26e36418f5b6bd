"""Pictures whose class is doubtful: in the wrong class folder, of two classes, or of none."""

from typing import NamedTuple

import numpy as np

from answers.evaluation import Evaluation
from answers.label_errors import class_thresholds, label_errors
from answers.predictions import short_float

KINDS = MISLABELED, BOTH, NEITHER = "mislabeled", "both", "neither"
MIN_SCORE_OF_BOTH = 0.4  # of the second most likely class


class Suspect(NamedTuple):
    """A picture whose class is doubtful."""

    index: int  # in the evaluation
    kind: str  # "mislabeled", "both" or "neither"
    other: int  # the most likely class but that of its label


def find_suspects(evaluation: Evaluation) -> list[Suspect]:
    """Returns the pictures whose class is doubtful, each once: kind by kind, most suspicious first.

    - Probably mislabeled: those of `label_errors`.
    - May show both: the label and another class have a score of at least 0.4 each, and the picture is not unknown.
    - May show neither: it is called unknown, and the score of its label is below the mean of its class. An unknown
      picture that is surely predicted as its label is one of the ordinary ones that are called unknown by mistake.

    Like `label_errors`, this assumes that the network was not trained on the pictures.
    """
    own, unknown = evaluation.true_scores, evaluation.predictions.unknown
    errors = label_errors(evaluation)
    is_free = np.ones(len(own), bool)
    is_free[errors] = False
    undecided = np.flatnonzero(is_free & ~unknown & (own >= MIN_SCORE_OF_BOTH))
    lower = np.minimum(own[undecided], _other_scores(evaluation, undecided).max(axis=1, initial=0))
    undecided, lower = undecided[lower >= MIN_SCORE_OF_BOTH], lower[lower >= MIN_SCORE_OF_BOTH]
    strange = np.flatnonzero(is_free & unknown & (own < class_thresholds(evaluation)[evaluation.labels]))
    ordered = {
        MISLABELED: errors,
        BOTH: undecided[np.argsort(-lower, kind="stable")],
        NEITHER: strange[np.argsort(evaluation.top_scores[strange], kind="stable")],
    }
    return [suspect for kind, indices in ordered.items() for suspect in _with_others(evaluation, kind, indices)]


def _with_others(evaluation: Evaluation, kind: str, indices: np.ndarray) -> list[Suspect]:
    others = _other_scores(evaluation, indices).argmax(axis=1)
    return [Suspect(index, kind, other) for index, other in zip(indices.tolist(), others.tolist(), strict=True)]


def _other_scores(evaluation: Evaluation, indices: np.ndarray) -> np.ndarray:
    """Returns the scores of some pictures, but -1 for the class of their label: float (indices, classes)."""
    scores = evaluation.predictions.scores[indices]
    scores[np.arange(len(indices)), evaluation.labels[indices]] = -1
    return scores


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
