"""How much memory and disk a run will need, known before its network is built."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from config import MAX_CLASSES, MIN_CLASSES, TrainConfig
from model import generate_model
from network.backend import keras, tf
from network.checkpoint_file import BEST, checkpoint_paths, member_folders
from network.model_config import ModelConfig
from pictures.folders import find_classes, picture_files
from system.cluster import Workers
from system.errors import UserError
from system.resources import format_bytes, require_disk, require_memory, used_memory
from training.batches import epoch_steps, fits_in_memory

# Fitted to the peaks of short runs with 32×32 to 256×256 pixels and batches of 10 to 2048, on Linux without a GPU.
# The weights are in memory as such, as their average, as the two moments of Adam, as gradients and as those of the best
# epoch; the first four parts a second and third time while a checkpoint is written. Converting the network at the
# end takes no more than that.
_BYTES_PER_WEIGHT = 4 * 15
_ACTIVATIONS = 1.25  # of the outputs of all layers, for a batch: there is also what convolutions work with
_MAX_WEIGHTS = 2**31 - 2**24  # bytes of the weights in a model file, whose offsets have 32 bits with a sign
# An ensemble is built from all its networks: they, a file of TensorFlow, and several copies on the way to LiteRT.
_BYTES_PER_WEIGHT_OF_ENSEMBLE = 4 * 10
_COMPILED = 190 * 2**20  # the graphs of training, validation, prediction and conversion


class Need(NamedTuple):
    """What a run takes at its peak, in bytes, in addition to what it has."""

    memory: int
    disk: int


def need_of_run(model: keras.Model, config: TrainConfig, *, count: int, workers: int = 1) -> Need:
    """Returns what a run needs that has not yet loaded its pictures.

    Args:
        model: the network; built in a `tf.Graph` it takes no memory itself.
        config: of the run.
        count: number of training and validation pictures.
        workers: number of machines, of which each has its part of a batch.
    """
    batch_size = -(-config.batch_size // workers)
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    outputs = [layer.output for layer in model.layers]
    activations = sum(int(np.prod(output.shape[1:])) * tf.as_dtype(output.dtype).size for output in outputs)
    image = int(np.prod(config.shape))
    in_memory = count * image if fits_in_memory(count, config) else 0
    batches = (os.cpu_count() or 1) * batch_size * image  # made at the same time
    memory = _COMPILED + weights * _BYTES_PER_WEIGHT + batch_size * activations * _ACTIVATIONS + in_memory + batches
    steps, steps_per_execution = epoch_steps(count, config.batch_size)
    saves = 2 + config.epochs * steps // steps_per_execution  # before the first step, and at most between executions
    kept = min(config.max_to_keep + 1, saves)  # a new file is complete before the oldest one is deleted
    # A checkpoint has four values for each weight, and the best weights before each checkpoint are kept as well. At the
    # end the best ones are written again for LiteRT.
    disk = kept * weights * 4 * 4 + (min(kept, config.epochs) + 1) * weights * 4
    finished = weights * 4 * (4 + 1 + 1)  # one checkpoint, the best weights, and the same for LiteRT
    if config.learning_curve:
        disk += 2 * finished
    if config.folds > 1:
        memory = max(memory, _COMPILED + config.folds * weights * _BYTES_PER_WEIGHT_OF_ENSEMBLE)
        disk += (config.folds - 1) * finished + 2 * config.folds * weights * 4  # an old and a new file with all of them
    return Need(int(memory), disk)


def require_resources(model: keras.Model, config: TrainConfig, *, count: int, workers: Workers | None = None) -> str:
    """Returns one line about what a run needs on this worker. The other arguments are those of `need_of_run`.

    Raises:
        UserError: it is more than this machine has, or than a model file can hold.
    """
    workers = workers or Workers()
    need = need_of_run(model, config, count=count, workers=workers.count)
    memory, disk = format_bytes(need.memory + used_memory()), format_bytes(need.disk)
    smaller = "use a smaller --height and --width"
    require_memory(need.memory, f"{smaller}, --batch_size or --memory_gib")
    size = 4 * config.folds * sum(int(np.prod(weight.shape)) for weight in model.weights)
    if size > _MAX_WEIGHTS:
        settings, network = f"--height {config.height} --width {config.width}", "the network"
        if config.folds > 1:
            settings, network, smaller = f"{settings} --folds {config.folds}", "all networks", f"{smaller}, or --folds"
        raise UserError(
            f"{settings}: {network} would have {format_bytes(size)} of weights, and {format_bytes(_MAX_WEIGHTS)} fit "
            f"into the file that predict.py reads; {smaller}"
        )
    if not workers.is_chief:  # the others save nothing
        return f"needs about {memory} of memory"
    folder = Path(config.model_save_name)
    folders = [folder, *member_folders(folder)]
    parts = [part for outer in folders for part in (outer, outer / BEST)]
    stored = sum(path.stat().st_size for part in parts for path in checkpoint_paths(part))
    require_disk(folder, need.disk - stored, f"free some, or {smaller}, or --max_to_keep")
    return f"needs about {memory} of memory, up to {disk} of disk for checkpoints"


def require_resources_for(config: TrainConfig, workers: Workers) -> str:
    """Returns a line about the memory and disk that the run needs; checked before `data/` is made, which may take long.

    Raises:
        UserError: it is more than this machine has.
    """
    folders = [Path(config.raw_data), Path(config.augmented)]
    if not folders[0].is_dir():
        folders = [Path(config.data_path)]
    names = list(find_classes(folders[0]))
    count = sum(1 for folder in folders for path in find_classes(folder).values() for _ in picture_files(path))
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        return ""  # the pictures will be refused
    model_config = ModelConfig.of_run(config, class_names=names, pictures="")
    with tf.Graph().as_default():  # where a network takes no memory
        return require_resources(generate_model(model_config), config, count=count, workers=workers)
