"""Only networks of this toolkit are given to LiteRT."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from network.model_structure import check_structure
from tests.helpers.checkpoints import model_config
from tests.helpers.model_files import tiny_flatbuffer

CONFIG = model_config(class_names=["ant", "bee"])


def changed(change) -> bytes:
    """Returns a network after a change of its parsed form."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tiny_flatbuffer(CONFIG), 0))
    change(model)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def kernel_of(model: schema.ModelT) -> schema.TensorT:
    """Returns the tensor with most values that are in the file."""
    tensors = [tensor for tensor in model.subgraphs[0].tensors if model.buffers[tensor.buffer].data is not None]
    return max(tensors, key=lambda tensor: len(model.buffers[tensor.buffer].data))


def set_custom_code(model):
    model.operatorCodes[0].customCode = b"Evil"


def set_while(model):
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE


def set_stablehlo_while(model):
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.STABLEHLO_WHILE


def set_assign_variable(model):
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.ASSIGN_VARIABLE


def set_larger_kernel(model):
    kernel = kernel_of(model)
    kernel.shape = kernel.shape + 1


def set_shorter_values(model):
    buffer = model.buffers[kernel_of(model).buffer]
    buffer.data = np.array(buffer.data[:-4])


def set_text(model):
    kernel_of(model).type = schema.TensorType.STRING


def set_buffer(model):
    model.subgraphs[0].tensors[0].buffer = 10_000


def set_input(model):
    model.subgraphs[0].operators[0].inputs = np.array([10_000])


def set_output(model):
    model.subgraphs[0].operators[0].outputs = np.array([-1])


def set_operator(model):
    model.subgraphs[0].operators[0].opcodeIndex = 500


def set_graph(model):
    model.signatureDefs[0].subgraphIndex = 5


def set_signature_tensor(model):
    model.signatureDefs[0].outputs[0].tensorIndex = 10_000


def set_signature_name(model):
    model.signatureDefs[0].signatureKey = b"other"


def set_output_name(model):
    model.signatureDefs[0].outputs[0].name = b"other"


def remove_signatures(model):
    model.signatureDefs = []


CHANGES = [value for name, value in list(globals().items()) if name.startswith(("set_", "remove_"))]


def test_check_structure_accepts_a_network_of_this_toolkit():
    check_structure(tiny_flatbuffer(CONFIG), shape=CONFIG.shape, classes=2)
    check_structure(changed(lambda model: None), shape=CONFIG.shape, classes=2)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_check_structure_refuses_what_this_toolkit_does_not_write(change):
    with pytest.raises(ValueError, match="^it|^a tensor"):
        check_structure(changed(change), shape=CONFIG.shape, classes=2)


@pytest.mark.parametrize("shape", [(16, 17, 3), (16, 16, 1)])
def test_check_structure_refuses_another_size_of_images(shape):
    with pytest.raises(ValueError, match="its images have another size"):
        check_structure(tiny_flatbuffer(CONFIG), shape=shape, classes=2)


def test_check_structure_refuses_other_files():
    with pytest.raises(ValueError, match="not a TFLite file"):
        check_structure(b"no network at all", shape=CONFIG.shape, classes=2)
