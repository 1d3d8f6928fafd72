"""Operators in float32 in a file with activations in int16, which TensorFlow Lite has no kernel in int16 for."""

from collections.abc import Sequence

import numpy as np

from tfsep._flatbuffer.constants import real_numbers, scales_of
from tfsep._flatbuffer.reader import operator_name, pack, type_name, unpack
from tfsep._flatbuffer.schema_types import ModelT, OperatorT, SubGraphT
from tfsep._keras.types import Model
from tfsep.tflite._layer_origins import layer_of_operator
from tfsep.tflite._real_numbers import CONVERSIONS

_IN_FLOATS = ("ARG_MAX", "ARG_MIN")
"""Operators without a kernel in int16 to which the converter gives inputs in int16 all the same."""


def with_one_type(content: bytes) -> bytes:
    """Return a file in which what reads or makes float32 reads nothing in int16, as it does in the converter's."""
    model = unpack(content, "content")
    graph = model.subgraphs[0]
    operators: list[OperatorT] = []
    for operator in graph.operators:
        kind = operator_name(model, operator)
        if kind in _IN_FLOATS or (kind not in CONVERSIONS and _has_floats(graph, operator)):
            operator.inputs = list(operator.inputs)
            for place, number in enumerate(operator.inputs):
                if number >= 0 and type_name(graph.tensors[number]) == "int16":
                    operator.inputs[place], conversion = in_float32(model, number)
                    operators += conversion
        operators.append(operator)
    graph.operators = operators
    return pack(model)


def in_float32(model: ModelT, number: int) -> tuple[int, list[OperatorT]]:
    """Return the place of a tensor of the same numbers in float32, and the operator that computes it, if one does.

    Args:
        model: the file, to which the tensor is added; one without scales is returned as it is.
        number: place of a tensor.
    """
    from ai_edge_litert import schema_py_generated as schema

    tensors, copy = model.subgraphs[0].tensors, schema.TensorT()
    tensor = tensors[number]
    if scales_of(tensor) is None:
        return number, []
    copy.name, copy.shape, copy.type = tensor.name, tensor.shape, schema.TensorType.FLOAT32
    tensors.append(copy)
    place, values = len(tensors) - 1, real_numbers(model, tensor)
    if values is None:
        conversion = schema.OperatorT()
        conversion.opcodeIndex = _dequantize(model)
        conversion.inputs, conversion.outputs = [int(number)], [place]
        return place, [conversion]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
    copy.buffer = len(model.buffers)
    model.buffers.append(buffer)
    return place, []


def _dequantize(model: ModelT) -> int:
    """The place of DEQUANTIZE among a file's operator codes."""
    from ai_edge_litert import schema_py_generated as schema

    kind = schema.BuiltinOperator.DEQUANTIZE
    for place, code in enumerate(model.operatorCodes):
        if kind in (code.builtinCode, code.deprecatedBuiltinCode):
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = _DEQUANTIZE_VERSION
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


_DEQUANTIZE_VERSION = 3
"""The first version that takes int16."""


def _has_floats(graph: SubGraphT, operator: OperatorT) -> bool:
    """Whether an operator reads or makes a tensor in float32."""
    tensors = [graph.tensors[number] for number in (*operator.inputs, *operator.outputs) if number >= 0]
    return any(type_name(tensor) == "float32" for tensor in tensors)


def float_operator_notes(model: Model, file: ModelT, ends: Sequence[str]) -> list[str]:
    """Return remarks on what a file with activations in int16 has in float32.

    Args:
        model: the model of the file.
        file: the file.
        ends: which of ``"inputs"`` and ``"outputs"`` were to be in integers.
    """
    graph = file.subgraphs[0]
    layers: dict[str, dict[str, None]] = {}
    for operator in graph.operators or []:
        kind = operator_name(file, operator)
        if kind not in CONVERSIONS and _has_floats(graph, operator):
            layers.setdefault(layer_of_operator(model, file, graph, operator), {})[kind] = None
    tensors = {"inputs": graph.inputs, "outputs": graph.outputs}
    floats = [end for end in ends if any(type_name(graph.tensors[number]) == "float32" for number in tensors[end])]
    named = " and ".join(floats)
    if layers:
        listed = ", ".join(f"{name} ({', '.join(kinds)})" for name, kinds in layers.items())
        said = f"; the {named} of these as well" if floats else ""
        return [f"in float32, where LiteRT has no kernel in int16, and where ids are computed: {listed}{said}"]
    return [f"in float32, as no operator in int16 takes or makes one of them: the {named}"] if floats else []
