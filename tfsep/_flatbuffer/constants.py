"""The constants of a ``.tflite`` file, as stored numbers and as real ones."""

from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import type_name
from tfsep._flatbuffer.schema_types import ModelT, TensorT

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
    """Return the stored numbers of a constant tensor, in its shape; None for a computed one, or for another type."""
    data, kind = model.buffers[tensor.buffer].data, type_name(tensor)
    if data is None or not len(data) or kind not in (*FLOATS, *INTEGERS):
        return None
    shape = [int(side) for side in tensor.shape] if tensor.shape is not None else []
    return np.frombuffer(bytes(data), np.dtype(kind)).reshape(shape)


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
