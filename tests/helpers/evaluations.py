"""Reports on hand-made predictions."""

import numpy as np

from answers.classifier import Predictions
from answers.evaluation import Evaluation, evaluate


def report_on(answers: list[tuple], class_names=("ant", "bee"), unknown=()) -> dict:
    """Returns the report on answers (path, true class, scores); `unknown` are the paths of those called unknown."""
    predicted = np.array([np.argmax(scores) for *_, scores in answers])
    predictions = Predictions(
        predicted=predicted,
        logits=np.zeros((len(answers), len(class_names)), np.float32),
        scores=np.array([scores for *_, scores in answers], float),
        unknown=np.array([name in unknown for name, *_ in answers]),
    )
    labels = np.array([class_names.index(true) for _, true, _ in answers])
    paths = [name for name, *_ in answers]
    return evaluate(Evaluation(class_names=class_names, paths=paths, labels=labels, predictions=predictions))


FIVE = [
    ("1.png", "ant", (0.9, 0.1)),
    ("2.png", "ant", (0.8, 0.3)),
    ("3.png", "ant", (0.35, 0.75)),
    ("4.png", "bee", (0.2, 0.9)),
    ("5.png", "bee", (0.95, 0.1)),
]
