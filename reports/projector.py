"""The data of TensorBoard's projector: how the network arranges the validation pictures."""

from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.plugins import projector

from answers.evaluation import Evaluation
from answers.predictions import BATCH_SIZE
from answers.trained_network import TrainedNetwork
from network.backend import keras
from reports.run import Run
from reports.sheets import thumbnails
from system.files import write_atomically
from system.terminal import printable

_MAX_PICTURES = 2000
_SIDE = 64  # pixels of a thumbnail; the picture of all of them has at most 2,880


def write_projector(folder: Path, run: Run, network: TrainedNetwork, evaluation: Evaluation) -> None:
    """Writes the features of at most 2,000 validation pictures, with thumbnails, classes, predictions and file names.

    TensorBoard finds them in the folder of a run, and only beside its event files.
    """
    count = len(evaluation.labels)
    chosen = np.linspace(0, count - 1, min(count, _MAX_PICTURES)).astype(int)
    images = run.validation.images[chosen]
    names, predicted = evaluation.class_names, evaluation.predictions.predicted
    rows = [("class", "predicted", "correct", "file")]
    for i in chosen:
        correct = "yes" if evaluation.correct[i] else "no"
        rows.append((names[evaluation.labels[i]], names[predicted[i]], correct, evaluation.paths[i]))
    table = "\n".join("\t".join(map(printable, row)) for row in rows)
    write_atomically(folder / "pictures.tsv", table.encode())
    lines = ("\t".join(f"{value:.4g}" for value in row) for row in _features(network, images))
    write_atomically(folder / "features.tsv", "\n".join(lines).encode())
    Image.fromarray(thumbnails(images, side=_SIDE)).save(folder / "thumbnails.jpg", quality=85)
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name, embedding.tensor_path = "validation pictures", "features.tsv"
    embedding.metadata_path = "pictures.tsv"
    embedding.sprite.image_path = "thumbnails.jpg"
    embedding.sprite.single_image_dim.extend([_SIDE, _SIDE])
    projector.visualize_embeddings(str(folder), config)


def _features(network: TrainedNetwork, images: np.ndarray) -> np.ndarray:
    """Returns the values behind the first fully connected layer: float (count, 1024), 0 or more."""
    model = network.model
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    until_first = keras.Model(model.input, first.output)
    views = 2 if network.model_config.random_mirror else 1
    batches = []
    for start in range(0, len(images), BATCH_SIZE):
        values = np.maximum(until_first(images[start : start + BATCH_SIZE], training=False), 0)
        batches.append(values.reshape(views, -1, values.shape[1]).mean(axis=0))
    return np.concatenate(batches)
