"""What reports are about, from answers by hand."""

from collections.abc import Collection, Sequence

import numpy as np

from answers.classifier import Classifier, Predictions
from answers.evaluation import Evaluation
from config import TrainConfig
from model import generate_model
from pictures.manifest import KEPT, VALIDATION, Picture
from reports.contents import run_contents
from reports.run import Run
from tests.helpers.checkpoints import metrics, model_config
from training.batches import Samples

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


def classifier_for(class_names: Sequence[str] = ("ant", "bee"), **changes) -> Classifier:
    """Returns a network for images of 16×16 pixels that was never trained."""
    config = model_config(class_names=list(class_names), **changes)
    return Classifier(generate_model(config), config)


def contents_of(evaluation: Evaluation, *, epochs: int = 3, extra: Sequence[Picture] = (), **settings) -> dict:
    """Returns the contents of the report on a run whose last epoch was the best.

    Args:
        evaluation: of its validation pictures.
        epochs: how many it has.
        extra: rows of its manifest, beside the validation pictures.
        settings: those that differ from their defaults.
    """
    names = [evaluation.class_names[label] for label in evaluation.labels]
    validating = [
        Picture(class_name=name, source=path, photo=path, path=path, status=KEPT, split=VALIDATION)
        for path, name in zip(evaluation.paths, names, strict=True)
    ]
    nothing = Samples(np.zeros((0, 16, 16, 3), np.uint8), np.zeros(0, np.int32))
    run = Run(
        config=TrainConfig(**settings),
        model_config=model_config(class_names=list(evaluation.class_names)),
        device="CPU with 2 cores; float32",
        pictures=[*extra, *validating],
        training=[],
        validating=validating,
        train=nothing,
        validation=nothing,
    )
    history = [metrics(0.5 + 0.5 * number / epochs) for number in range(epochs)]
    return run_contents(run, evaluation, history=history, epoch=epochs)


def image_of(index: int, channels: int = 3) -> np.ndarray:
    """Returns a different image for each index, 16×16 pixels."""
    return np.random.default_rng(index).integers(0, 256, (16, 16, channels), np.uint8)
