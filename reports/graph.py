"""The graph of a network, as TensorBoard shows it."""

import re

from network.backend import keras, tf


def graph_of(model: keras.Model) -> tf.compat.v1.GraphDef:
    """Returns the operations of one prediction, named after their layers, with their dimensions."""
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="images")
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(images).graph
    # The scope of the whole model is not needed. Keras opens the scope of a layer twice, first to build it, so
    # TensorFlow appends a number to the one that holds its operations.
    layers = "|".join(re.escape(layer.name) for layer in model.layers)
    model_scope, numbered = re.compile(rf"^{model.name}(_\d+)?/"), re.compile(rf"^({layers})_\d+(?=/)")

    def layer_name(path: str) -> str:
        return numbered.sub(r"\1", model_scope.sub("", path))

    definition = tf.compat.v1.GraphDef()
    for node in graph.as_graph_def(add_shapes=True).node:
        if node.op != "NoOp":  # it only orders side effects, and there are none
            copy = definition.node.add()
            copy.CopyFrom(node)
            copy.name = layer_name(node.name)
            copy.input[:] = [layer_name(source) for source in node.input if not source.startswith("^")]
    return definition
