"""The constants of a ``.tflite`` file, as stored numbers and as real ones."""

from math import prod
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep._flatbuffer.schema_types import ModelT, SubGraphT, TensorT
from tfsep._flatbuffer.sparsity import densified

UNPACKING = ("DEQUANTIZE", "DENSIFY")
"""Operators that make a constant out of one that is stored in float16, or without its zeros."""

FLOATS = ("float32", "float16")
INTEGERS = ("int8", "uint8", "int16", "int32", "int64")


class Scales(NamedTuple):
    """Quantization of a tensor, ``real = scale · (stored − zero)``, in a shape that broadcasts to the tensor's.

    Attributes:
        scale: scales, float64.
        zero: zero points, float64.
    """

    scale: np.ndarray
    zero: np.ndarray


def stored_numbers(model: ModelT, tensor: TensorT) -> np.ndarray | None:
    """Return the numbers of a constant tensor, in its shape, the zeros of a sparse one included.

    None for a computed tensor, or for one of another type.
    """
    data, kind = model.buffers[tensor.buffer].data, type_name(tensor)
    if not is_stored(model, tensor) or kind not in (*FLOATS, *INTEGERS):
        return None
    numbers = np.frombuffer(bytes([] if data is None else data), np.dtype(kind))
    if tensor.sparsity is not None:
        return densified(tensor, numbers)
    return numbers.reshape([int(side) for side in tensor.shape] if tensor.shape is not None else [])


def is_stored(model: ModelT, tensor: TensorT) -> bool:
    """Return whether a file stores the numbers of a tensor; of a sparse one it may store none."""
    data = model.buffers[tensor.buffer].data
    return tensor.sparsity is not None or (data is not None and len(data) > 0)


def density_of(model: ModelT, tensor: TensorT) -> float | None:
    """Return the share of a sparse tensor's numbers that a file stores; None for another tensor."""
    if tensor.sparsity is None:
        return None
    data = model.buffers[tensor.buffer].data
    stored = 0 if data is None else len(data) / np.dtype(type_name(tensor)).itemsize
    return float(stored / prod([] if tensor.shape is None else [int(side) for side in tensor.shape]))


def unpacked_constants(model: ModelT, graph: SubGraphT) -> dict[int, int]:
    """Return the constants that operators unpack, by number of the result; LiteRT runs these operators once."""
    found: dict[int, int] = {}
    for op in graph.operators:
        if operator_name(model, op) in UNPACKING and len(op.inputs) and len(op.outputs):
            source = int(op.inputs[0])
            source = found.get(source, source)
            if source >= 0 and is_stored(model, graph.tensors[source]):
                found[int(op.outputs[0])] = source
    return found


def scales_of(tensor: TensorT) -> Scales | None:
    """Return the scales and zero points of a tensor, one for all channels or one for each; None where it has none."""
    own = tensor.quantization
    if own is None or own.scale is None or not len(own.scale):
        return None
    rank = 0 if tensor.shape is None else len(tensor.shape)
    axis = own.quantizedDimension if len(own.scale) > 1 else None
    spread = [-1 if i == axis else 1 for i in range(rank)]
    scale, zero = (np.asarray(numbers, np.float64).reshape(spread) for numbers in (own.scale, own.zeroPoint))
    return Scales(scale, zero)


def real_numbers(model: ModelT, tensor: TensorT) -> np.ndarray | None:
    """Return a constant tensor as real numbers, float64; None for a computed one, or for integers without scales."""
    values, scales = stored_numbers(model, tensor), scales_of(tensor)
    if values is None or (values.dtype.kind != "f" and scales is None):
        return None
    real = values.astype(np.float64)
    return real if scales is None else (real - scales.zero) * scales.scale
