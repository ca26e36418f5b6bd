"""Evaluations of hand-made predictions."""

from collections.abc import Collection, Sequence

import numpy as np

from answers.evaluation import Evaluation, evaluate
from answers.predictions import Predictions

Answer = tuple[str, str, Sequence[float]]  # path, true class, scores


def evaluation_of(
    answers: Sequence[Answer], class_names: Sequence[str] = ("ant", "bee"), unknown: Collection[str] = ()
) -> Evaluation:
    """Returns the evaluation of answers; `unknown` are the paths of those called unknown."""
    scores = np.array([scores for *_, scores in answers], float)
    predictions = Predictions(
        predicted=scores.argmax(axis=1),
        logits=scores.astype(np.float32),
        scores=scores,
        unknown=np.array([path in unknown for path, *_ in answers]),
    )
    labels = np.array([class_names.index(true) for _, true, _ in answers])
    paths = [path for path, *_ in answers]
    return Evaluation(class_names=class_names, paths=paths, labels=labels, predictions=predictions)


def report_on(
    answers: Sequence[Answer], class_names: Sequence[str] = ("ant", "bee"), unknown: Collection[str] = ()
) -> dict:
    """Returns the report on the evaluation of the same arguments."""
    return evaluate(evaluation_of(answers, class_names, unknown))


FIVE = [
    ("1.png", "ant", (0.9, 0.1)),
    ("2.png", "ant", (0.8, 0.3)),
    ("3.png", "ant", (0.35, 0.75)),
    ("4.png", "bee", (0.2, 0.9)),
    ("5.png", "bee", (0.95, 0.1)),
]
