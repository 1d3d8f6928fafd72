"""Files of a few operators, made table by table with the schema that ships with LiteRT."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfsep._flatbuffer.reader import pack

TYPES = {name.lower(): number for name, number in vars(schema.TensorType).items() if isinstance(number, int)}


class Tensor(NamedTuple):
    """A tensor: shape, type, numbers of a constant, (scale, zero point), sparsity."""

    shape: tuple
    dtype: str = "float32"
    data: object = None
    quantization: tuple = ()
    sparsity: object = None


class Op(NamedTuple):
    """An operator: name, inputs and outputs by number, options by name, and the schema's name of their table."""

    name: str
    inputs: list
    outputs: list
    options: Mapping = MappingProxyType({})
    table: str = ""
    second: bool = False


class Graph(NamedTuple):
    """A graph: tensors, operators, inputs and outputs by number."""

    tensors: list
    operators: list
    inputs: list
    outputs: list


def build(*graphs, path=None):
    """Return the bytes of a file of these graphs, and write them to `path`."""
    model = schema.ModelT()
    model.version, model.description = 3, "built"
    model.buffers, model.operatorCodes, model.subgraphs = [schema.BufferT()], [], []
    for graph in graphs:
        table = schema.SubGraphT()
        table.tensors = [_tensor(model, number, each) for number, each in enumerate(graph.tensors)]
        table.operators = [_operator(model, op) for op in graph.operators]
        table.inputs, table.outputs = np.int32(graph.inputs), np.int32(graph.outputs)
        model.subgraphs.append(table)
    content = pack(model)
    if path is not None:
        path.write_bytes(content)
    return content


def _tensor(model, number, given):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = f"t{number}".encode(), np.int32(given.shape), TYPES[given.dtype]
    tensor.buffer, tensor.sparsity = 0, given.sparsity
    if given.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.asarray(given.data, given.dtype).tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    if given.quantization:
        tensor.quantization = schema.QuantizationParametersT()
        scale, zero = given.quantization
        tensor.quantization.scale, tensor.quantization.zeroPoint = np.float32([scale]), np.int64([zero])
    return tensor


def _operator(model, given):
    code = schema.OperatorCodeT()
    builtin = getattr(schema.BuiltinOperator, given.name, schema.BuiltinOperator.CUSTOM)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    code.customCode = given.name.encode() if builtin == schema.BuiltinOperator.CUSTOM else None
    model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = len(model.operatorCodes) - 1
    op.inputs, op.outputs = np.int32(given.inputs), np.int32(given.outputs)
    if given.table:
        options = getattr(schema, f"{given.table}T")()
        for name, value in given.options.items():
            assert hasattr(options, name), name
            setattr(options, name, value)
        kind = "BuiltinOptions2" if given.second else "BuiltinOptions"
        field = kind[0].lower() + kind[1:]
        setattr(op, f"{field}Type", getattr(getattr(schema, kind), given.table))
        setattr(op, field, options)
    return op
