"""The kernels and biases that a file stores in integers, beside those of a prepared model's layers."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.constants import stored_numbers
from tfsep._flatbuffer.reader import pack, unpack
from tfsep._flatbuffer.schema_types import ModelT, OperatorT, TensorT
from tfsep._keras.types import Model
from tfsep.quantize import QuantizedMatmul

_LAST_PLACE = 2.0**-23
"""Largest relative difference of two neighbours in float32."""

_EXACT = 2**22
"""Under this size the roundings to float32, of a bias and of its scale, are under half a unit. Larger ones, of channels
that normalization scales to almost zero, are off by float32's last place, and so by a unit when they are rounded, which
is far under a step of the output."""


def qparams_of(tensor: TensorT) -> tuple[np.float32, int] | None:
    """Return the one scale and zero point of a tensor, or None."""
    own = tensor.quantization
    if own is None or own.scale is None or len(own.scale) != 1:
        return None
    return np.float32(own.scale[0]), int(own.zeroPoint[0])


class StoredMatmul(NamedTuple):
    """The numbers that an operator of a file computes with.

    Attributes:
        kernel: integers, one row per output channel.
        scales: scales of the kernel, one per output channel.
        bias: integers; zeros where it has none.
        input_scale: scale of its input.
        kernel_tensor: the tensor of the kernel.
        bias_tensor: that of the bias; None where it has none.
    """

    kernel: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    input_scale: np.float32
    kernel_tensor: TensorT
    bias_tensor: TensorT | None

    def is_of(self, layer: QuantizedMatmul) -> bool:
        """Whether these are a layer's numbers."""
        _, bias, _ = (np.asarray(part) for part in layer.stored(self.input_scale))
        left = np.where(np.abs(bias) < _EXACT, 0, 1 + np.abs(bias) * _LAST_PLACE)
        return self.has_kernel_of(layer) and bool(np.all(np.abs(self.bias - bias) <= left))

    def has_kernel_of(self, layer: QuantizedMatmul, by_converter: bool = False) -> bool:
        """Whether kernel and scales are a layer's.

        Args:
            layer: the layer.
            by_converter: whether to ask for those that the converter writes.
        """
        kernel, _, scales = (np.asarray(part) for part in layer.stored(self.input_scale, by_converter))
        # Where the converter widens a scale it goes by the input's in float64, which no file keeps.
        is_near = np.shape(self.scales) == np.shape(scales) and np.allclose(
            self.scales, scales, rtol=_LAST_PLACE, atol=0
        )
        return bool(np.array_equal(self.kernel, kernel) and is_near)


def stored_matmul(model: ModelT, operator: OperatorT) -> Iterator[StoredMatmul]:
    """Yield the numbers of an operator that has a kernel in int8."""
    tensors = [model.subgraphs[0].tensors[index] for index in operator.inputs if index >= 0]
    stored = [(place, tensor, stored_numbers(model, tensor)) for place, tensor in enumerate(tensors)]
    constants = [(place, tensor, array) for place, tensor, array in stored if array is not None]
    kernels = [constant for constant in constants if constant[2].dtype == np.int8 and constant[2].ndim]
    inputs = [found for _, tensor, array in stored if array is None and (found := qparams_of(tensor)) is not None]
    if len(kernels) != 1 or len(inputs) != 1:
        return
    (at, tensor, kernel), (scale, _) = kernels[0], inputs[0]
    own, rows = tensor.quantization, np.moveaxis(kernel, tensor.quantization.quantizedDimension, 0)
    # Behind the kernel: the shape of a transposed convolution's result, in front of it, can be as long as a bias.
    biases = ((array, each) for place, each, array in constants if place > at and array.dtype == np.int32)
    bias, bias_tensor = next(biases, (np.zeros(len(rows), np.int32), None))
    kernel, scales = rows.reshape(len(rows), -1), np.asarray(own.scale, np.float32)
    yield StoredMatmul(kernel, scales, bias, scale, tensor, bias_tensor)


def with_kernel_scales(content: bytes, model: Model) -> bytes:
    """Return a file of the converter's with the kernels and biases of layers that have scales of their own.

    Args:
        content: the file.
        model: the prepared model.

    Raises:
        ValueError: if the file lacks one of these kernels.
    """
    left = [layer for layer in model.layers if isinstance(layer, QuantizedMatmul) and layer.kernel_scales is not None]
    if not left:
        return content
    file = unpack(content, model.name)
    for operator in file.subgraphs[0].operators or []:
        for found in stored_matmul(file, operator):
            layer = next((each for each in left if found.has_kernel_of(each, by_converter=True)), None)
            if layer is not None:
                left.remove(layer)
                _replace(file, found, layer)
    if left:
        raise ValueError(f"model: expected kernels that the converter writes as they are, got {left[0].name!r}")
    return pack(file)


def _replace(file: ModelT, found: StoredMatmul, layer: QuantizedMatmul) -> None:
    """Put the numbers of a layer in the place of the converter's."""
    kernel, bias, scales = (np.asarray(part) for part in layer.stored(found.input_scale))
    axis = found.kernel_tensor.quantization.quantizedDimension
    rows = np.moveaxis(np.empty([int(side) for side in found.kernel_tensor.shape]), axis, 0)
    _store(file, found.kernel_tensor, np.moveaxis(kernel.astype(np.int8).reshape(rows.shape), 0, axis), scales)
    if found.bias_tensor is not None:
        _store(file, found.bias_tensor, bias.astype(np.int32), found.input_scale * scales)


def _store(file: ModelT, tensor: TensorT, numbers: np.ndarray, scales: np.ndarray) -> None:
    file.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(numbers).tobytes(), np.uint8)
    tensor.quantization.scale = scales.astype(np.float32)
