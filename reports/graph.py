"""The graph of a network as TensorBoard draws it: a few boxes, which open into layers and operations.

Drawn as it is, the graph of TensorFlow is a strip of 20 small boxes. Keras's own conceptual graph has no dimensions.
"""

import re
from collections import defaultdict

from network.backend import keras, tf

_OUTPUT = "magnitudes/raw"

_Nodes = dict[str, tf.compat.v1.NodeDef]  # by their names


def graph_of(model: keras.Model) -> tf.compat.v1.GraphDef:
    """Returns the operations of one prediction, in boxes named block_1, block_2, …, fully_connected.

    The dimensions are those of one image, without the batch. Parts that are only used in training are not there.
    """
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(images).graph
    nodes = {node.name: node for node in graph.as_graph_def(add_shapes=True).node}
    (output,) = graph.outputs
    nodes = _needed(nodes, output.op.name)
    names = _names(nodes, model)
    names[output.op.name] = _OUTPUT
    nodes = _renamed(nodes, names)
    for node in nodes.values():
        for shape in node.attr["_output_shapes"].list.shape:
            if shape.dim and shape.dim[0].size == -1:
                del shape.dim[0]
    _show_dimensions(nodes)
    return tf.compat.v1.GraphDef(node=nodes.values())


def _source(tensor: str) -> str:
    """Returns the name of the node that computes a tensor."""
    return tensor.partition(":")[0]


def _needed(nodes: _Nodes, output: str) -> _Nodes:
    """Returns the nodes that the output is computed from, in the same order."""
    needed, waiting = set(), [output]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        node = nodes[name]
        inputs = [tensor for tensor in node.input if not tensor.startswith("^")]  # those only order side effects
        node.input[:] = inputs[:1] if node.op == "Reshape" else inputs  # the second one is a shape
        waiting += map(_source, node.input)
    return {name: node for name, node in nodes.items() if name in needed}


def _names(nodes: _Nodes, model: keras.Model) -> dict[str, str]:
    """Returns a new name for each node: box/layer/operation."""
    # The scope of the whole model is not needed. Keras opens the scope of a layer twice, first to build it, so
    # TensorFlow appends a number to the one that holds its operations.
    boxes = _boxes(model)
    layers = "|".join(map(re.escape, boxes))
    model_scope, numbered = re.compile(rf"^{model.name}(_\d+)?/"), re.compile(rf"^({layers})_\d+(?=/)")
    names = {name: numbered.sub(r"\1", model_scope.sub("", name)) for name in nodes}
    for node in nodes.values():  # Keras converts the inputs of a layer outside of its scope
        for name in map(_source, node.input):
            if nodes[name].op == "Cast" and "/" not in names[name]:
                names[name] = f"{names[node.name].partition('/')[0]}/inputs/{names[name]}"
    return {name: f"{boxes.get(new.partition('/')[0], '')}{new}" for name, new in names.items()}


def _boxes(model: keras.Model) -> dict[str, str]:
    """Returns the box of each layer: one for what comes first, for each convolution and what follows it, and for what
    follows the flattening."""
    boxes, box, blocks = {}, "input/", 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            blocks += 1
            box = f"block_{blocks}/"
        elif isinstance(layer, keras.layers.Flatten):
            box = "fully_connected/"
        boxes[layer.name] = box
    return boxes


def _renamed(nodes: _Nodes, names: dict[str, str]) -> _Nodes:
    for node in nodes.values():
        node.name = names[node.name]
        node.input[:] = [tensor.replace(_source(tensor), names[_source(tensor)], 1) for tensor in node.input]
    return {node.name: node for node in nodes.values()}


def _show_dimensions(nodes: _Nodes) -> None:
    """Puts a node between two boxes that is named like the dimensions of the tensor: 50x50x16.

    TensorBoard writes them beside the line, too, but in letters of 6 pixels. And a line that enters a box once never
    reads "2 tensors" in their place.
    """
    users = defaultdict(list)
    for node in nodes.values():
        for tensor in node.input:
            if _box(node.name) != _box(tensor):
                users[tensor].append(node)
    for tensor, inside in users.items():
        shape = nodes[_source(tensor)].attr["_output_shapes"].list.shape[0]
        name = "x".join(str(dimension.size) for dimension in shape.dim)
        while name in nodes:
            name += "."
        # Without a shape of its own, since the thickness of a line follows from it, and one to the next box would cover
        # the name.
        nodes[name] = tf.compat.v1.NodeDef(name=name, op="Identity", input=[tensor])
        for node in inside:
            node.input[:] = [name if source == tensor else source for source in node.input]


def _box(name: str) -> str:
    return name.partition("/")[0]
