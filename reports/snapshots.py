"""Pictures, histograms and curves for TensorBoard, written with the default writer of `tf.summary`."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from tensorboard.plugins.pr_curve import summary as pr_curves

from answers.evaluation import Evaluation, largest_confusions
from answers.explain import overlay
from answers.suspects import find_suspects
from answers.trained_network import TrainedNetwork
from network.backend import keras, tf
from pictures.duplicates import same_photos, some_of
from pictures.manifest import Picture
from reports.run import Run
from reports.sheets import COLUMNS, MAX_MATRIX, Tile, confusion_image, drawable, drawable_class, sheet
from reports.summaries import UNKNOWN, write_raw, write_scalars
from reports.suspects import suspects_sheet
from system.terminal import printable
from training.batches import transformed

CONFUSION = "pictures/confusion"  # it is in every snapshot
_FINAL = "precision and recall"
_ROWS = 4  # of a sheet, at most
_NOTHING = np.full((1, 1, 3), 255, np.uint8)  # where there is no picture
_MAX_WEIGHTS = 10_000  # of a layer, in its histogram


def is_final(tag: str) -> bool:
    """Returns whether a tag is only written at the end of a run."""
    return tag.startswith(_FINAL)


# ---- before the training ----


def write_data_sheets(run: Run) -> None:
    """Writes how pictures are transformed, and which of them show the same photo."""
    rng = np.random.default_rng(run.config.seed)
    tiles = []
    for image in run.typical_images(_ROWS):
        copies = transformed(np.repeat(image[None], COLUMNS - 1, axis=0), run.config, rng=rng)
        tiles += [Tile(image, ["original"]), *(Tile(copy, ["transformed"]) for copy in copies)]
    _write_sheet(
        "training",
        tiles,
        "What the network sees in training: originals on the left, and random transforms of each. If a transform "
        "changes what a picture shows, as mirroring changes letters, switch it off (`--random_mirror False`).",
    )
    photos = same_photos(run.pictures)
    tiles = []
    for photo in photos[: _ROWS * COLUMNS // 2]:
        is_mixed = len({picture.class_name for picture in photo}) > 1
        tiles += [
            Tile(run.image_of(picture), [_class_of(picture, run), _file_name(picture.path)], is_mixed)
            for picture in some_of(photo, 2)
        ]
    if tiles:
        _write_sheet(
            "duplicates",
            tiles,
            f"Pairs of files that show the same photo, of which there are {len(photos)}. They are on one side of the "
            "split. Red: they are in the folders of several classes, of which at most one can be right.",
        )


# ---- of a network ----


def write_snapshot(run: Run, network: TrainedNetwork, evaluation: Evaluation) -> None:
    """Writes what a network gets right and wrong on the validation pictures, and its weights."""
    if network.calibration:
        write_scalars([(UNKNOWN, float(evaluation.predictions.unknown.mean()), tf.summary.experimental.get_step())])
    _write_confusions(run, evaluation)
    _write_mistakes(run, network, evaluation)
    _write_label_errors(run, evaluation)
    tf.summary.histogram(
        "scores of the true class",
        evaluation.true_scores,
        buckets=20,
        description="The score of the true class of each validation picture. The more of them are near 1, the better.",
    )
    for layer in network.model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            weights = layer.kernel.numpy().ravel()
            tf.summary.histogram(
                f"weights/{layer.name}",
                weights[:: -(-len(weights) // _MAX_WEIGHTS)],
                description="The weights of this layer. They become wider in training; very large ones mean that the "
                "learning rate is too high. A step shows the best network so far, so two may be the same.",
            )


def _write_confusions(run: Run, evaluation: Evaluation) -> None:
    matrix, names = evaluation.confusion_matrix, evaluation.class_names
    if len(names) <= MAX_MATRIX:
        description = (
            "How many validation pictures of the class of a row are predicted as the class of a column. Blue: correct. "
            "Red: mistakes. A red cell in a row of few pictures needs more pictures of that class."
        )
        tf.summary.image(CONFUSION, confusion_image(matrix, names)[None], description=description)
        return
    tiles = []
    for true, other in largest_confusions(matrix, _ROWS * COLUMNS // 2):
        examples = evaluation.example(true=true, predicted=other), evaluation.best_recognized(other)
        captions = f"is {drawable_class(true, names)}", f"{matrix[true, other]} x {drawable_class(other, names)}"
        for index, caption, is_wrong in zip(examples, captions, (True, False), strict=True):
            image = _NOTHING if index is None else run.validation_image(index)
            tiles.append(Tile(image, [caption], is_wrong))
    _write_sheet(
        "confusion",
        tiles,
        "The most frequent confusions. Left: a validation picture that is predicted wrongly, with its true class. "
        "Right: the class that it is predicted as, with the picture of it that is recognized best, and how many "
        "pictures of the left class are predicted as it.",
    )


def _write_mistakes(run: Run, network: TrainedNetwork, evaluation: Evaluation) -> None:
    worst = evaluation.mistakes[: _ROWS * COLUMNS // 2]
    tiles = []
    if len(worst):
        images = run.validation.images[worst]
        heat_maps = network.heat_maps(images, evaluation.predictions.predicted[worst])
        for index, image, heat_map in zip(worst, images, heat_maps, strict=True):
            true, wrong = (
                drawable_class(classes[index], evaluation.class_names)
                for classes in (evaluation.labels, evaluation.predictions.predicted)
            )
            score = f"score {evaluation.top_scores[index]:.2f}"
            tiles += [
                Tile(image, [f"is {true}", _file_name(evaluation.paths[index])]),
                Tile(overlay(image, heat_map), [wrong, score], is_wrong=True),
            ]
    _write_sheet(
        "mistakes",
        tiles,
        "The worst mistakes on validation pictures, highest score first: the picture with its true class, and a heat "
        "map with the predicted class in red. Warm colors mark what speaks for that class (Grad-CAM). If they mark the "
        "background, the network has learned it: vary the backgrounds.",
    )


def _write_label_errors(run: Run, evaluation: Evaluation) -> None:
    suspects = find_suspects(evaluation)
    image = suspects_sheet(evaluation, suspects, run.validation_image, rows=_ROWS) if suspects else sheet([])
    description = (
        "Validation pictures that may lie in the folder of the wrong class (confident learning), or show two classes "
        "or none; most suspicious first, with the scores of their class and of another one. Look at each: move it "
        "if its class is wrong, and keep it if it is only difficult. All of them are in suspects.csv."
    )
    tf.summary.image("pictures/label errors", image[None], description=description)


def _write_sheet(name: str, tiles: Sequence[Tile], description: str) -> None:
    tf.summary.image(f"pictures/{name}", sheet(tiles)[None], description=description)


def _file_name(path: str) -> str:
    return drawable(PurePath(path).stem, "")  # few names fit with their suffix


def _class_of(picture: Picture, run: Run) -> str:
    names = run.model_config.class_names
    return drawable_class(names.index(picture.class_name), names)


# ---- at the end ----


def write_final(evaluation: Evaluation) -> None:
    """Writes the precision-recall curve of each class."""
    for label, name in enumerate(evaluation.class_names):
        curve = pr_curves.pb(
            f"{_FINAL}/{printable(name)}",
            labels=evaluation.labels == label,
            predictions=evaluation.predictions.scores[:, label].astype(np.float32),
            num_thresholds=101,
            description="For every threshold of the score of this class: of the pictures above it, the fraction that "
            "belong to the class (precision), and of those that belong to it, the fraction above it (recall).",
        )
        write_raw(curve)
