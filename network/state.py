"""The variables of a network as named arrays, as they are stored in a checkpoint."""

from collections.abc import Iterable

import numpy as np

from network.backend import keras, tf
from network.checkpoint_file import Checkpoint


def by_path(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    """Returns TensorFlow's variables by the paths that Keras gives them, such as conv_1/kernel."""
    return {variable.path: variable.value for variable in variables}


def state_of(part: str, variables: dict[str, tf.Variable]) -> dict[str, np.ndarray]:
    """Returns copies of the values of variables by <part>/<name>."""
    return {f"{part}/{name}": np.asarray(variable) for name, variable in variables.items()}


def load_state(part: str, variables: dict[str, tf.Variable], checkpoint: Checkpoint) -> None:
    """Assigns the values of a part of a checkpoint to variables: to all of them or, with a ValueError, to none."""
    found = checkpoint.part(part)
    if found.keys() != variables.keys() or any(
        (found[name].shape, found[name].dtype) != (tuple(variable.shape), variable.dtype.as_numpy_dtype)
        for name, variable in variables.items()
    ):
        raise ValueError("its weights do not fit this network")
    for name, variable in variables.items():
        variable.assign(found[name])
