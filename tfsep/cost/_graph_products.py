"""The operators of TensorFlow's graphs that compute products, a row each: their MACs from the shapes of tensors."""

import re
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, TypeAlias

from tfsep._keras.backend import tf

NodeDef: TypeAlias = Any


class Operands(NamedTuple):
    """A node and the shapes of its inputs and of its output; None for a size or shape that is not known."""

    node: NodeDef
    inputs: list[Any]
    output: Any


Product = Callable[[Operands], int]
"""Function that returns the MACs of a node, or raises TypeError for a size that is not known."""


def _matmul(of: Operands) -> int:
    def flag(*names: str) -> bool:
        return any(of.node.attr[name].b for name in names if name in of.node.attr)

    left, right = of.inputs
    if left is not None:
        inner = left[-2 if flag("transpose_a", "adj_x") else -1]
    else:
        inner = right[-1 if flag("transpose_b", "adj_y") else -2]
    return prod(of.output) * inner


def _einsum(of: Operands) -> int:
    """Each output sums over the labels that both inputs have and it has not; without such a label, over one product."""
    inputs, result = of.node.attr["equation"].s.decode().replace(" ", "").split("->")
    if "," not in inputs:
        return 0
    left, right = inputs.split(",")
    summed = (set(left) & set(right)) - set(result) - {"."}

    def size(label: str) -> int:
        for labels, shape in ((left, of.inputs[0]), (right, of.inputs[1])):
            if shape is not None:
                return shape[labels.index(label) - (len(labels) if "." in labels[: labels.index(label)] else 0)]
        raise TypeError

    return prod(of.output) * prod(map(size, summed))


def _convolution(of: Operands) -> int:
    return prod(of.output) * prod(of.inputs[1][:-1])


def _depthwise(of: Operands) -> int:
    return prod(of.output) * prod(of.inputs[1][:-2])


def _transposed(of: Operands) -> int:
    return prod(of.inputs[2]) * prod(of.inputs[1][:-1])


def _depthwise_transposed(of: Operands) -> int:
    return prod(of.inputs[2]) * prod(of.inputs[1][:-2])


def _resized(of: Operands) -> int:
    """Two matrices, as an export computes it; none where a file has an operator, for an enlarged image in lines."""
    (_, rows, columns, channels), (_, to_rows, to_columns, _) = of.inputs[0], of.output
    kernel = of.node.attr["kernel_type"].s if "kernel_type" in of.node.attr else b""
    if kernel == b"triangle" and to_rows >= rows and to_columns >= columns:
        return 0
    return to_rows * columns * channels * (rows + to_columns)


def _cudnn_rnn(of: Operands) -> int:
    """One layer in one direction, as Keras calls it, on (steps, batch, features)."""
    gates = {"lstm": 4, "gru": 3}.get(of.node.attr["rnn_mode"].s.decode(), 1)
    steps, batch, features = of.inputs[0]
    units = of.output[-1]
    return steps * batch * gates * units * (features + units)


PRODUCTS: dict[str, Product] = {
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Einsum": _einsum,
    "Conv": _convolution,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "Conv2DBackpropInputV2": _transposed,
    "Conv3DBackpropInput": _transposed,
    "Conv3DBackpropInputV2": _transposed,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_transposed,
    "ResizeArea": _resized,
    "ResizeBicubic": _resized,
    "ScaleAndTranslate": _resized,
    "CudnnRNN": _cudnn_rnn,
    "CudnnRNNV2": _cudnn_rnn,
    "CudnnRNNV3": _cudnn_rnn,
}
"""By name of the operator."""

_UNKNOWN = re.compile(
    r"FFT|PyFunc|Sparse.*MatMul|MatMulSparse|Quantized.*(Conv|MatMul)|Uniform.*(Conv|Dot)|Risc(Conv|Dot)|"
    r"Xla(Dot|Conv|Call|Launch|Einsum|Svd)|Cholesky|Matrix(Inverse|Solve|Triangular|Exponential|Logarithm|SquareRoot)|"
    r"Determinant|^Svd|^Qr|^Lu|Eig|Tridiagonal|BandedTriangular|^Cross$|"
    r"BlockLSTM|GRUBlock|LSTMBlock|Dilation2D|BackpropFilter|^Fused.*Conv|TPU|TRTEngine"
)
"""Operators of TensorFlow with products that are not counted."""


def is_unknown(node: NodeDef) -> bool:
    """Return whether a node has, or may have, products that are not counted."""
    return _UNKNOWN.search(node.op) is not None or not (hasattr(tf.raw_ops, node.op) or node.op in _OF_GRAPHS)


_OF_GRAPHS = {"_Arg", "_Retval"}
