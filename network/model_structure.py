"""Checks the structure of a network for LiteRT before LiteRT opens it.

LiteRT checks that what it reads lies inside the file, but not that the values of a tensor have its size, and it accepts
any operator. The parser is the one of its package, which FlatBuffers has generated.
"""

import math
from collections.abc import Iterator

from ai_edge_litert import schema_py_generated as schema

SIGNATURE = "serving_default"  # images → raw, scores, distance and, of an ensemble, agreement
HEAT_MAPS = "heat_maps"  # features, middle, classes → heat_maps
HEAT_MAP_INPUTS = ("features", "middle")  # further outputs of the first signature, if there is the second

_OUTPUTS = {"raw", "scores", "distance"}
_OF_ENSEMBLE = "agreement"  # a further one

# The type of a tensor, with its bytes for each value.
_ITEM_SIZES = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT32: 4,
    schema.TensorType.INT64: 8,
    schema.TensorType.UINT8: 1,
    schema.TensorType.BOOL: 1,
}
# Operators that do more than to compute values from values.
_KINDS = ("CUSTOM", "DELEGATE", "CALL", "IF", "WHILE", "VAR_", "READ_VAR", "ASSIGN_VAR", "HASHTABLE", "STABLEHLO_")
_REFUSED = {code for name, code in vars(schema.BuiltinOperator).items() if name.startswith(_KINDS)}


def check_structure(content: bytes, *, shape: tuple[int, int, int], classes: int) -> None:
    """Raises ValueError, or another error of the parser, if this cannot be a network of this toolkit.

    Args:
        content: of a model file.
        shape: of an image: (height, width, color_channels).
        classes: how many there are.
    """
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError("it is not a TFLite file")
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        if code.CustomCode() or max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in _REFUSED:
            raise ValueError("it has operators that this toolkit does not use")
    for i in range(model.SubgraphsLength()):
        _check_subgraph(model, model.Subgraphs(i))
    _check_signatures(model, shape, classes)


def _check_subgraph(model: schema.Model, graph: schema.SubGraph) -> None:
    count = graph.TensorsLength()
    for i in range(count):
        tensor = graph.Tensors(i)
        item_size = _ITEM_SIZES.get(tensor.Type())
        sizes = _shape(tensor)
        if item_size is None or tensor.IsVariable() or min(sizes, default=0) < 0:
            raise ValueError("it has tensors that this toolkit does not use")
        buffer = model.Buffers(tensor.Buffer()) if 0 <= tensor.Buffer() < model.BuffersLength() else None
        if buffer is None or buffer.Offset() or buffer.DataLength() not in (0, math.prod(sizes) * item_size):
            raise ValueError("a tensor has not the size of its values")
    operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    if any(not 0 <= operator.OpcodeIndex() < model.OperatorCodesLength() for operator in operators):
        raise ValueError("it refers to operators that it does not have")
    indices = [*_all(graph, "Inputs"), *_all(graph, "Outputs")]
    for operator in operators:
        indices += [index for index in _all(operator, "Inputs") if index != -1]  # -1: an optional one is left out
        indices += [*_all(operator, "Outputs"), *_all(operator, "Intermediates")]
    if any(not 0 <= index < count for index in indices):
        raise ValueError("it refers to tensors that it does not have")


def _shape(tensor: schema.Tensor) -> list[int]:
    return [tensor.Shape(i) for i in range(tensor.ShapeLength())]


def _all(table: schema.SubGraph | schema.Operator, name: str) -> Iterator[int]:
    """Yields the tensor indices in a field of a table."""
    return map(getattr(table, name), range(getattr(table, f"{name}Length")()))


def _check_signatures(model: schema.Model, shape: tuple[int, int, int], classes: int) -> None:
    found = {}
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        if not 0 <= signature.SubgraphIndex() < model.SubgraphsLength():
            raise ValueError("it refers to graphs that it does not have")
        graph = model.Subgraphs(signature.SubgraphIndex())
        inputs = {signature.Inputs(j).Name(): signature.Inputs(j) for j in range(signature.InputsLength())}
        outputs = {signature.Outputs(j).Name(): signature.Outputs(j) for j in range(signature.OutputsLength())}
        if any(not 0 <= entry.TensorIndex() < graph.TensorsLength() for entry in (*inputs.values(), *outputs.values())):
            raise ValueError("it refers to tensors that it does not have")
        if b"images" in inputs:
            images = graph.Tensors(inputs[b"images"].TensorIndex())
            if images.Type() != schema.TensorType.UINT8 or _shape(images)[1:] != list(shape):
                raise ValueError("its images have another size than network.json says")
        for name in {b"raw", b"scores"} & outputs.keys():
            scores = graph.Tensors(outputs[name].TensorIndex())
            if scores.Type() != schema.TensorType.FLOAT32 or _shape(scores)[1:] != [classes]:
                raise ValueError("its outputs have another number of classes than network.json says")
        found[signature.SignatureKey().decode()] = (
            {name.decode() for name in inputs},
            {name.decode() for name in outputs} - {_OF_ENSEMBLE},
        )
    answers = {SIGNATURE: ({"images"}, _OUTPUTS)}
    explains = {
        SIGNATURE: ({"images"}, {*_OUTPUTS, *HEAT_MAP_INPUTS}),
        HEAT_MAPS: ({*HEAT_MAP_INPUTS, "classes"}, {HEAT_MAPS}),
    }
    if found not in (answers, explains):
        raise ValueError("its inputs and outputs are not those of this toolkit")
