"""The operators of ``.tflite`` files that compute products, a row each: their MACs from the shapes of their of."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from tfsep._flatbuffer.reader import option
from tfsep._flatbuffer.schema_types import OperatorT


class Operands(NamedTuple):
    """An operator and the shapes of its tensors.

    Attributes:
        op: the operator.
        inputs: shapes; None for one that is left out or not known.
        constant: whether each is a constant.
        output: shape of the first output; None for one that is not known.
    """

    op: OperatorT
    inputs: list[Any]
    constant: list[bool]
    output: Any


class Product(NamedTuple):
    """An operator that computes products.

    Attributes:
        name: name in reports.
        macs: function of the operator that returns its MACs.
        window: function of the operator that returns kernel, stride, rate and groups by name; None for no window.
    """

    name: str
    macs: Callable[[Operands], int]
    window: Callable[[Operands], dict[str, Any]] | None = None


def _at_outputs(of: Operands) -> int:
    """A convolution's weights (F, ..., C / groups) are used at each output position."""
    return prod(of.output) * prod(of.inputs[1][1:])


def _depthwise(of: Operands) -> int:
    return prod(of.output) * prod(of.inputs[1][1:3])


def _at_inputs(of: Operands) -> int:
    """A transposed convolution's inputs are the output's shape, the weights and the image."""
    return prod(of.inputs[2][:-1]) * prod(of.inputs[1])


def _image_first(of: Operands) -> int:
    """As `_at_inputs`, of image, weights and bias."""
    return prod(of.inputs[0][:-1]) * prod(of.inputs[1])


def _conv_3d(of: Operands) -> int:
    """Weights (D, H, W, C / groups, F)."""
    return prod(of.output) * prod(of.inputs[1][:-1])


def _dense(of: Operands) -> int:
    return prod(of.inputs[0]) // of.inputs[1][1] * prod(of.inputs[1])


def _batch_matmul(of: Operands) -> int:
    given = of.inputs[0]
    return prod(of.output) * given[-2 if option(of.op, "adjX") else -1]


def _recurrent(of: Operands) -> int:
    """Each matrix of weights is used at each step of each sequence; states are no constants."""
    matrices = (
        prod(shape)
        for shape, constant in zip(of.inputs[1:], of.constant[1:], strict=True)
        if constant and shape is not None and len(shape) == 2
    )
    return prod(of.inputs[0][:-1]) * sum(matrices)


def _dot_general(of: Operands) -> int:
    summed = option(of.op, "lhsContractingDimensions")
    return prod(of.output) * prod(of.inputs[0][axis] for axis in summed)


def _stablehlo_convolution(of: Operands) -> int:
    weights = of.inputs[1]
    return prod(of.output) * prod(weights) // weights[option(of.op, "kernelOutputFeatureDimension")]


def _window(of: Operands) -> dict[str, Any]:
    weights = of.inputs[1]
    return {
        "kernel": (weights[1], weights[2]),
        "stride": (option(of.op, "strideH"), option(of.op, "strideW")),
        "rate": (option(of.op, "dilationHFactor") or 1, option(of.op, "dilationWFactor") or 1),
    }


def _grouped_window(of: Operands) -> dict[str, Any]:
    return {**_window(of), "groups": of.inputs[0][3] // of.inputs[1][3]}


def _depthwise_window(of: Operands) -> dict[str, Any]:
    return {**_window(of), "groups": of.inputs[0][3]}


def _window_3d(of: Operands) -> dict[str, Any]:
    stride, rate = (
        tuple(option(of.op, f"{name}{side}{end}") for side in "DHW")
        for name, end in (("stride", ""), ("dilation", "Factor"))
    )
    return {"kernel": of.inputs[1][:3], "stride": stride, "rate": rate}


PRODUCTS: dict[str, Product] = {
    "CONV_2D": Product("conv2d", _at_outputs, _grouped_window),
    "DEPTHWISE_CONV_2D": Product("depthwise_conv2d", _depthwise, _depthwise_window),
    "TRANSPOSE_CONV": Product("conv2d_transpose", _at_inputs, _window),
    "CONV_3D": Product("conv3d", _conv_3d, _window_3d),
    "CONV_3D_TRANSPOSE": Product("conv3d_transpose", _at_inputs, _window_3d),
    "FULLY_CONNECTED": Product("dense", _dense),
    "BATCH_MATMUL": Product("batch_matmul", _batch_matmul),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Product("lstm", _recurrent),
    "BIDIRECTIONAL_SEQUENCE_LSTM": Product("bidirectional_lstm", _recurrent),
    "UNIDIRECTIONAL_SEQUENCE_RNN": Product("rnn", _recurrent),
    "BIDIRECTIONAL_SEQUENCE_RNN": Product("bidirectional_rnn", _recurrent),
    "LSTM": Product("lstm_cell", _recurrent),
    "RNN": Product("rnn_cell", _recurrent),
    "SVDF": Product("svdf", _recurrent),
    "Convolution2DTransposeBias": Product("conv2d_transpose", _image_first),  # MediaPipe's
    "STABLEHLO_DOT_GENERAL": Product("dot_general", _dot_general),
    "STABLEHLO_CONVOLUTION": Product("convolution", _stablehlo_convolution),
}
"""By name of the operator."""

UNKNOWN = frozenset(
    {
        "RFFT2D",
        "LSH_PROJECTION",
        "EMBEDDING_LOOKUP_SPARSE",
        "DELEGATE",
        "STABLEHLO_CUSTOM_CALL",
        "STABLEHLO_WHILE",
        "STABLEHLO_CASE",
    }
)
"""Builtin operators whose products, or whose graphs, are not counted."""
