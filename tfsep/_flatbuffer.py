"""Reading a ``.tflite`` file's flatbuffer, as data, through the schema that ships with LiteRT.

A file is untrusted: whatever is wrong with it becomes one `ValueError`, before an interpreter, which is less careful,
is given it.
"""

import struct
from functools import cache
from math import prod
from os import PathLike
from typing import Any

import numpy as np

from tfsep._arguments import as_path
from tfsep._flatbuffer_bounds import require_bounded

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_LARGEST = 2**31
"""Offsets are signed and of 32 bits, so no flatbuffer has more bytes."""


def read_tflite(path: str | PathLike[str]) -> tuple[bytes, Any]:
    """Return a file's bytes, and its model as the schema's ``ModelT``.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, or not whole.
    """
    path = as_path(path, "path")
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a .tflite file, got {path}, which does not exist")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"path: expected a .tflite file of at most 2 GiB, got {path} of {path.stat().st_size:,} bytes")
    content = path.read_bytes()
    return content, unpack(content, path)


def unpack(content: bytes, path: str | PathLike[str]) -> Any:
    """Return the model of a file's bytes as the schema's ``ModelT``.

    Raises:
        ValueError: if they are no TFLite model, or not whole; `path` is what the message names.
    """
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != _IDENTIFIER:
        raise ValueError(f"path: expected a .tflite file, got {path} without the identifier {_IDENTIFIER.decode()}")
    try:
        require_bounded(content)
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        _check(model)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"path: expected a whole .tflite file, got {path}, which is damaged ({error})") from error
    return model


def _check(model: Any) -> None:
    """Raise unless every index in the model points at something."""
    if model.version != _SCHEMA_VERSION:
        raise ValueError(f"schema version {model.version}")
    if not model.subgraphs or not model.buffers:
        raise ValueError("no graph")
    for graph in model.subgraphs:
        tensors = graph.tensors if graph.tensors is not None else []
        if any(not 0 <= tensor.buffer < len(model.buffers) for tensor in tensors):
            raise ValueError("a tensor without a buffer")
        used = [graph.inputs, graph.outputs]
        for op in graph.operators or []:
            if not 0 <= op.opcodeIndex < len(model.operatorCodes):
                raise ValueError("an operator without a code")
            used += [op.inputs, op.outputs]
        for indices in used:
            for index in indices if indices is not None else []:
                if not -1 <= index < len(tensors):
                    raise ValueError("an operator of a tensor that is not there")
        for tensor in tensors:
            _check_size(tensor, model.buffers[tensor.buffer])
            _check_scales(tensor)


def _check_size(tensor: Any, buffer: Any) -> None:
    """Raise unless a constant tensor of a plain type has as many bytes as its shape says."""
    width = _WIDTHS.get(type_name(tensor))
    if width is None or buffer.data is None or len(buffer.data) == 0:
        return
    sides = [int(side) for side in tensor.shape] if tensor.shape is not None else []
    if any(side < 0 for side in sides):
        raise ValueError(f"a constant tensor of shape {sides}")
    elements = prod(sides)
    if elements * width != len(buffer.data):
        raise ValueError(f"a tensor of {elements} elements in {len(buffer.data)} bytes")


def _check_scales(tensor: Any) -> None:
    """Raise unless a tensor has one scale and zero point, or one for each of its channels, or none."""
    own = tensor.quantization
    if own is None or own.scale is None or not len(own.scale):
        return
    count, shape = len(own.scale), [] if tensor.shape is None else tensor.shape
    if own.zeroPoint is None or len(own.zeroPoint) != count:
        raise ValueError("scales without zero points")
    channels = shape[own.quantizedDimension] if 0 <= own.quantizedDimension < len(shape) else 1
    if count not in (1, channels):
        raise ValueError(f"{count} scales for {channels} channels")
    if not np.isfinite(own.scale).all():
        raise ValueError("scales that are no numbers")


_WIDTHS = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "bool": 1}


@cache
def _names(enumeration: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    kind = getattr(schema, enumeration)
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator, ``"CONV_2D"``; of a custom one, its own."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _names("BuiltinOperator").get(number, f"UNKNOWN_{number}")
    return code.customCode.decode(errors="replace") if name == "CUSTOM" and code.customCode else name


def type_name(tensor: Any) -> str:
    """Return the name of a tensor's type as NumPy has it, ``"float32"``."""
    return _names("TensorType").get(tensor.type, f"unknown_{tensor.type}").lower()
