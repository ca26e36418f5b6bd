"""A small run to report on, without training: its network, its predictions and the contents of its report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from answers.evaluation import Evaluation
from answers.predictions import Predictions
from answers.trained_network import TrainedNetwork
from config import TrainConfig
from model import generate_model
from pictures.manifest import KEPT, TRAIN, VALIDATION, Picture
from reports.contents import run_contents
from reports.run import Run
from system.errors import UserError
from tests.helpers.checkpoints import metrics, model_config
from training.batches import Samples
from training.distribution import Distribution

SIDE = 16  # pixels


def pictures(part: str, labels: list[int], class_names: list[str]) -> list[Picture]:
    """Returns a row of the manifest for each label: rawdata/<class>/<part>0.png and so on."""
    rows = []
    for number, label in enumerate(labels):
        name = class_names[label]
        source = f"{name}/{part}{number}.png"
        row = Picture(class_name=name, source=source, photo=source, path=f"rawdata/{source}", split=part, status=KEPT)
        rows.append(row)
    return rows


def run_in(
    folder: Path,
    *,
    class_names: tuple[str, ...] = ("ant", "bee"),
    per_class: int = 3,
    color_channels: int = 3,
    extra: tuple[Picture, ...] = (),
    **settings,
) -> Run:
    """Returns a run whose checkpoints are in a folder, with noise as images: as many to train on as to validate with.

    `extra` are rows of the manifest that are not used.
    """
    config = TrainConfig(
        model_save_name=str(folder), height=SIDE, width=SIDE, color_channels=color_channels, **settings
    )
    labels = [label for label in range(len(class_names)) for _ in range(per_class)]
    shape = (len(labels), SIDE, SIDE, color_channels)
    images = [np.random.default_rng(seed).integers(0, 256, shape, np.uint8) for seed in (1, 2)]
    train, validation = (Samples(part, np.array(labels, np.int32)) for part in images)
    training, validating = (pictures(part, labels, list(class_names)) for part in (TRAIN, VALIDATION))
    return Run(
        config=config,
        model_config=model_config(class_names=list(class_names), color_channels=color_channels),
        distribution=Distribution(device="CPU"),
        pictures=[*training, *validating, *extra],
        training=training,
        validating=validating,
        train=train,
        validation=validation,
    )


def network_of(run: Run) -> TrainedNetwork:
    return TrainedNetwork(generate_model(run.model_config), run.model_config)


def network_for(class_names: Sequence[str] = ("ant", "bee"), **changes) -> TrainedNetwork:
    """Returns a network for images of 16×16 pixels that was never trained."""
    config = model_config(class_names=list(class_names), **changes)
    return TrainedNetwork(generate_model(config), config)


def no_heat_maps(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Answers like a network whose `model.py` was edited so that it has no heat maps."""
    raise UserError("there are no heat maps")


def predictions(labels: list[int], *, classes: int, scores: list[float] | None = None) -> Predictions:
    """Returns predictions of these labels with a score each, 0.75 by default; the other classes share the rest."""
    count = len(labels)
    given = np.array(scores if scores else [0.75] * count)
    values = np.repeat((1 - given[:, None]) / (classes - 1), classes, axis=1)
    values[np.arange(count), labels] = given
    return Predictions(np.array(labels), np.log(values).astype(np.float32), values, np.zeros(count, bool))


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
        distribution=Distribution(device="CPU with 2 cores; float32"),
        pictures=[*extra, *validating],
        training=[],
        validating=validating,
        train=nothing,
        validation=nothing,
    )
    history = [metrics(0.5 + 0.5 * number / epochs) for number in range(epochs)]
    return run_contents(run, evaluation, history=history, epoch=epochs, source="0123abcd")


def image_of(index: int, channels: int = 3) -> np.ndarray:
    """Returns a different image for each index, 16×16 pixels."""
    return np.random.default_rng(index).integers(0, 256, (16, 16, channels), np.uint8)
