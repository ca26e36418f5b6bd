"""The variables of a network as named arrays."""

from pathlib import Path

import numpy as np
import pytest

from model import generate_model
from network.backend import keras
from network.checkpoint_file import Checkpoint
from network.state import by_path, load_state, state_of
from tests.helpers.checkpoints import MODEL_CONFIG


def checkpoint(tensors: dict[str, np.ndarray]) -> Checkpoint:
    return Checkpoint(Path("ckpt-1.safetensors"), 1, "", MODEL_CONFIG, tensors)


def test_state_of_names_arrays_by_part_and_path():
    state = state_of("average", by_path(generate_model(MODEL_CONFIG).weights))
    assert len(state) == 22
    assert state["average/conv_1/kernel"].shape == (5, 5, 3, 16)
    assert state["average/normalization_3/moving_variance"].shape == (64,)
    assert state["average/logits/bias"].tolist() == [0, 0]


def test_load_state_assigns_the_values_of_state_of():
    one, other = generate_model(MODEL_CONFIG), generate_model(MODEL_CONFIG)
    load_state("a", by_path(other.weights), checkpoint(state_of("a", by_path(one.weights))))
    for value, wanted in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"a/x": None},
        {"a/z": np.zeros(2, np.float32)},
        {"a/x": np.zeros(3, np.float32)},
        {"a/x": np.zeros((2, 1), np.float32)},
        {"a/x": np.zeros(2, np.float64)},
        {"a/x": np.zeros(2, np.int32)},
    ],
    ids=["missing", "too many", "size", "shape", "float64", "int32"],
)
def test_load_state_assigns_nothing_if_anything_does_not_fit(change):
    variables = {name: keras.Variable(np.ones(2, np.float32)).value for name in ("x", "y")}
    tensors = {"a/x": np.zeros(2, np.float32), "a/y": np.zeros(2, np.float32), "b/z": np.zeros(9), **change}
    fitting = checkpoint({name: value for name, value in tensors.items() if value is not None})
    with pytest.raises(ValueError, match="its weights do not fit this network"):
        load_state("a", variables, fitting)
    assert [variable.numpy().tolist() for variable in variables.values()] == [[1, 1], [1, 1]]
