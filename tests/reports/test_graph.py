"""The graph that TensorBoard shows: a few boxes with their dimensions, and nothing that is not consistent."""

import pytest

from model import generate_model
from network.backend import keras
from network.device import configure_device
from reports.graph import graph_of
from tests.helpers.checkpoints import model_config


def network(**changes) -> keras.Model:
    return generate_model(model_config(width=24, color_channels=1, class_names=["ant", "bee", "wasp"], **changes))


def shapes(definition) -> dict[str, list[tuple[int, ...]]]:
    """Returns the dimensions of the outputs of each node."""
    return {
        node.name: [tuple(d.size for d in shape.dim) for shape in node.attr["_output_shapes"].list.shape]
        for node in definition.node
    }


def top_level(definition) -> list[str]:
    """Returns the boxes and nodes that are seen at first, in the order of the data."""
    return list(dict.fromkeys(node.name.split("/")[0] for node in definition.node))


BOXES = {"input", "block_1", "block_2", "block_3", "fully_connected", "magnitudes"}
DIMENSIONS = {"16x24x1", "8x12x16", "4x6x32", "2x3x64", "3"}  # of the tensors between the boxes


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("random_mirror", [True, False])
@pytest.mark.parametrize("batch_normalization", [True, False])
def test_graph_has_boxes_and_the_dimensions_between_them(precision, random_mirror, batch_normalization):
    configure_device(precision)
    found = graph_of(network(random_mirror=random_mirror, batch_normalization=batch_normalization))
    assert set(top_level(found)) == BOXES | DIMENSIONS


def test_graph_has_every_layer_in_its_box():
    names = {"/".join(node.name.split("/")[:2]) for node in graph_of(network()).node}
    assert names >= {
        *("input/images", "input/mirror_views", "input/scaling"),
        *(f"block_{n}/{layer}_{n}" for n in (1, 2, 3) for layer in ("conv", "pooling", "normalization", "activation")),
        *(f"fully_connected/{layer}" for layer in ("flattening", "fully_connected_1", "activation_4", "logits")),
        "fully_connected/average_views",
    }


def test_graph_shows_the_dimensions_of_one_image():
    found = shapes(graph_of(network()))
    assert found["input/images"] == [(16, 24, 1)]
    assert found["block_1/conv_1/convolution"] == [(16, 24, 16)]
    assert found["block_1/pooling_1/MaxPool2d"] == [(8, 12, 16)]
    assert found["block_3/activation_3/Relu"] == [(2, 3, 64)]
    assert found["fully_connected/flattening/Reshape"] == [(384,)]
    assert found["fully_connected/fully_connected_1/MatMul"] == [(1024,)]
    assert found["magnitudes/raw"] == [(3,)]


def test_graph_is_consistent_after_its_nodes_were_renamed():
    definition = graph_of(network())
    names = [node.name for node in definition.node]
    assert len(set(names)) == len(names)
    sources = {source.split(":")[0] for node in definition.node for source in node.input}
    assert sources <= set(names)
    assert set(names) - sources == {"magnitudes/raw"}  # nothing else is left over


def test_graph_lets_a_tensor_enter_a_box_once():
    """Else TensorBoard writes "2 tensors" on the line, and not the dimensions."""
    definition = graph_of(network())
    box = {node.name: node.name.split("/")[0] for node in definition.node}
    for name in BOXES:
        entering = [
            s for node in definition.node if box[node.name] == name for s in node.input if box[s.split(":")[0]] != name
        ]
        assert len(entering) == (name != "input"), name


def test_graph_of_equal_dimensions_has_a_node_for_each():
    images = keras.Input((8, 8, 4), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255, name="scaling")(images)
    for number in (1, 2):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Flatten(name="flattening")(x))
    found = graph_of(keras.Model(images, logits, name="classifier"))
    assert set(top_level(found)) == {
        *("input", "8x8x4", "block_1", "8x8x4.", "block_2", "8x8x4..", "fully_connected", "2", "magnitudes"),
    }
