"""The graph of a network as TensorBoard draws it: a few boxes, which open into layers and operations.

Drawn as it is, the graph of TensorFlow is a strip of 20 small boxes. Keras's own conceptual graph has no dimensions.
"""

import re
from collections import defaultdict

from network.backend import keras, tf

_OUTPUT = "raw_magnitudes"
_ONE_INPUT = {"Reshape", "IdentityN"}  # the others are a shape, and what only a gradient needs

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
    _join_inputs(nodes)
    for node in nodes.values():
        for shape in node.attr["_output_shapes"].list.shape:
            if shape.dim and shape.dim[0].size == -1:
                del shape.dim[0]
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
        node.input[:] = inputs[:1] if node.op in _ONE_INPUT else inputs
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
    """Returns the box of each layer, with a slash: one for what comes first, for each convolution and what follows it,
    and for what follows the flattening. The images and the average over both views have none."""
    boxes, box, blocks = {}, "input/", 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            blocks += 1
            box = f"block_{blocks}/"
        elif isinstance(layer, keras.layers.Flatten):
            box = "fully_connected/"
        outside = isinstance(layer, keras.layers.InputLayer) or layer.name == "average_views"
        boxes[layer.name] = "" if outside else box
    return boxes


def _renamed(nodes: _Nodes, names: dict[str, str]) -> _Nodes:
    for node in nodes.values():
        node.name = names[node.name]
        node.input[:] = [tensor.replace(_source(tensor), names[_source(tensor)], 1) for tensor in node.input]
    return {node.name: node for node in nodes.values()}


def _join_inputs(nodes: _Nodes) -> None:
    """Lets a tensor enter a box once, else the line would read "2 tensors" in place of the dimensions."""
    entering = defaultdict(list)
    for node in nodes.values():
        box = node.name.rpartition("/")[0].partition("/")[0]
        for tensor in node.input:
            if box and not _source(tensor).startswith(f"{box}/"):
                entering[box, tensor].append(node)
    for (box, tensor), users in entering.items():
        if len(users) > 1:
            source = nodes[_source(tensor)]
            layer = users[0].name.rpartition("/")[0]
            entry = tf.compat.v1.NodeDef(name=f"{layer}/{source.name}", op="Identity", input=[tensor])
            entry.attr["T"].CopyFrom(source.attr["dtype"])
            entry.attr["_output_shapes"].CopyFrom(source.attr["_output_shapes"])
            nodes[entry.name] = entry
            for user in users:
                user.input[:] = [entry.name if name == tensor else name for name in user.input]
