"""Slim's pooling, over space and over channels."""

from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras
from tfsep._keras.tf_functions import DATA_FORMATS, IMAGE_FORMATS, VOLUME_FORMATS, channels
from tfsep._keras.types import Tensor
from tfsep._utils.arguments import integer, positive_int
from tfsep.geometry import PaddingLike, PairLike
from tfsep.geometry._sizes import sides
from tfsep.slim._arguments import named_padding
from tfsep.slim._graph import graph_of
from tfsep.slim._ops import apply_named
from tfsep.slim._types import Collections, ScopeLike

_LAYERS = {
    "AVG": (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D),
    "MAX": (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
}


def _pool(
    pooling_type: str,
    rank: int,
    inputs: Tensor,
    kernel_size: PairLike,
    stride: PairLike,
    padding: PaddingLike,
    order: str,
    outputs_collections: Collections,
    scope: ScopeLike,
    default_name: str,
) -> Any:
    axes = rank - 2
    size, strides, window = (
        sides(kernel_size, "kernel_size", axes),
        sides(stride, "stride", axes),
        named_padding(padding),
    )
    return apply_named(
        lambda name: _LAYERS[pooling_type][axes - 1](tuple(size), tuple(strides), window, order, name=name),
        inputs,
        scope,
        default_name,
        outputs_collections,
        minimum_rank=rank,
    )


@add_arg_scope
def avg_pool2d(
    inputs: Tensor,
    kernel_size: PairLike,
    stride: PairLike = 2,
    padding: PaddingLike = "VALID",
    data_format: str = "NHWC",
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
) -> Tensor:
    """Average over a window.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        kernel_size: rows and columns of the window, an int or a pair.
        stride: rows and columns of a step, an int or a pair.
        padding: ``"VALID"`` or ``"SAME"``; the mean is over pixels inside the image.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``AvgPool2D``. One that is taken gets a number.

    Returns:
        Keras tensor (N, H', W', C), or (N, C, H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for inputs of another rank, or an argument out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.avg_pool2d(keras.Input((7, 7, 16)), [7, 7]).shape
        (None, 1, 1, 16)
    """
    order = channels(data_format, IMAGE_FORMATS)
    return _pool("AVG", 4, inputs, kernel_size, stride, padding, order, outputs_collections, scope, "AvgPool2D")


@add_arg_scope
def max_pool2d(
    inputs: Tensor,
    kernel_size: PairLike,
    stride: PairLike = 2,
    padding: PaddingLike = "VALID",
    data_format: str = "NHWC",
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
) -> Tensor:
    """Take the maximum over a window.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        kernel_size: rows and columns of the window, an int or a pair.
        stride: rows and columns of a step, an int or a pair.
        padding: ``"VALID"`` or ``"SAME"``.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``MaxPool2D``. One that is taken gets a number.

    Returns:
        Keras tensor (N, H', W', C), or (N, C, H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for inputs of another rank, or an argument out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.max_pool2d(keras.Input((8, 8, 16)), 3, padding="SAME").shape
        (None, 4, 4, 16)
    """
    order = channels(data_format, IMAGE_FORMATS)
    return _pool("MAX", 4, inputs, kernel_size, stride, padding, order, outputs_collections, scope, "MaxPool2D")


@add_arg_scope
def avg_pool3d(
    inputs: Tensor,
    kernel_size: PairLike,
    stride: PairLike = 2,
    padding: PaddingLike = "VALID",
    data_format: str = "NDHWC",
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
) -> Tensor:
    """Average over a window of volumes.

    Args:
        inputs: Keras tensor (N, D, H, W, C), or (N, C, D, H, W) with ``"NCDHW"``.
        kernel_size: sides of the window, an int or three.
        stride: sides of a step, an int or three.
        padding: ``"VALID"`` or ``"SAME"``; the mean is over what is inside the volume.
        data_format: ``"NDHWC"`` or ``"NCDHW"``.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``AvgPool3D``. One that is taken gets a number.

    Returns:
        Keras tensor (N, D', H', W', C), or (N, C, D', H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for inputs of another rank, or an argument out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.avg_pool3d(keras.Input((4, 8, 8, 3)), [1, 2, 2], [1, 2, 2]).shape
        (None, 4, 4, 4, 3)
    """
    order = channels(data_format, VOLUME_FORMATS)
    return _pool("AVG", 5, inputs, kernel_size, stride, padding, order, outputs_collections, scope, "AvgPool3D")


@add_arg_scope
def max_pool3d(
    inputs: Tensor,
    kernel_size: PairLike,
    stride: PairLike = 2,
    padding: PaddingLike = "VALID",
    data_format: str = "NDHWC",
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
) -> Tensor:
    """Take the maximum over a window of volumes.

    Args:
        inputs: Keras tensor (N, D, H, W, C), or (N, C, D, H, W) with ``"NCDHW"``.
        kernel_size: sides of the window, an int or three.
        stride: sides of a step, an int or three.
        padding: ``"VALID"`` or ``"SAME"``.
        data_format: ``"NDHWC"`` or ``"NCDHW"``.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``MaxPool3D``. One that is taken gets a number.

    Returns:
        Keras tensor (N, D', H', W', C), or (N, C, D', H', W').

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for inputs of another rank, or an argument out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.max_pool3d(keras.Input((4, 8, 8, 3)), 2).shape
        (None, 2, 4, 4, 3)
    """
    order = channels(data_format, VOLUME_FORMATS)
    return _pool("MAX", 5, inputs, kernel_size, stride, padding, order, outputs_collections, scope, "MaxPool3D")


@add_arg_scope
def pool(
    inputs: Tensor,
    kernel_size: PairLike,
    pooling_type: str,
    padding: PaddingLike = "VALID",
    data_format: str | None = None,
    dilation_rate: PairLike = 1,
    stride: PairLike = 1,
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
) -> Tensor:
    """Pool sequences, images or volumes.

    Args:
        inputs: Keras tensor (N, L, C), (N, H, W, C) or (N, D, H, W, C), or with C second with ``"NCHW"``.
        kernel_size: sides of the window, an int or one for each axis.
        pooling_type: ``"AVG"`` or ``"MAX"``.
        padding: ``"VALID"`` or ``"SAME"``; a mean is over what is inside the image.
        data_format: ``"NHWC"`` or ``"NCHW"``, or the same of another rank, such as ``"NCW"``; None is ``"NHWC"``.
        dilation_rate: only 1, slim's default.
        stride: sides of a step, an int or one for each axis.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``avg_pool`` or ``max_pool``. One that is taken gets a number.

    Returns:
        Keras tensor of the same rank.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for inputs of another rank, or an argument out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.pool(keras.Input((16, 3)), 4, "MAX", stride=2).shape
        (None, 7, 3)
    """
    graph_of(inputs)  # raises for what is no Keras tensor
    if not 3 <= inputs.ndim <= 5:
        raise ValueError(f"inputs: expected rank 3 to 5, got shape {tuple(inputs.shape)}")
    if set(sides(dilation_rate, "dilation_rate", inputs.ndim - 2)) != {1}:
        raise ValueError(f"dilation_rate: expected 1, as Keras's layers pool no other, got {dilation_rate!r}")
    kind = pooling_type.upper() if isinstance(pooling_type, str) else pooling_type
    if kind not in _LAYERS:
        raise ValueError(f"pooling_type: expected 'AVG' or 'MAX', got {pooling_type!r}")
    order, default_name = channels(data_format, DATA_FORMATS), f"{kind.lower()}_pool"
    return _pool(
        kind, inputs.ndim, inputs, kernel_size, stride, padding, order, outputs_collections, scope, default_name
    )


@add_arg_scope
def maxout(inputs: Tensor, num_units: int, axis: int = -1, scope: ScopeLike = None) -> Tensor:
    """Take the maximum over groups of channels.

    As in slim, an axis before the last is split by a reshape of the whole tensor to (..., `num_units`, ..., k).

    Args:
        inputs: Keras tensor of rank 2 or more, of which one size at most is unknown beside the batch.
        num_units: number of groups, a divisor of the channels.
        axis: axis of the channels, not the first.
        scope: name of the layer; None for ``MaxOut``. One that is taken gets a number.

    Returns:
        Keras tensor with `num_units` channels.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for an axis that is not there, or a number that does not divide it.

    Source: I. Goodfellow et al., "Maxout Networks" (arXiv 1302.4389).

    Examples:
        >>> from tfsep import slim
        >>> slim.maxout(keras.Input((8, 8, 16)), 4).shape
        (None, 8, 8, 4)
    """
    graph_of(inputs)  # raises for what is no Keras tensor
    shape = list(inputs.shape)
    place = integer(axis)
    if place is None or place not in {*range(1, len(shape)), *range(1 - len(shape), 0)}:
        raise ValueError(f"axis: expected one of the {len(shape)} axes behind the batch's, got {axis!r}")
    size = shape[place]
    if size is None or size % positive_int(num_units, "num_units"):
        raise ValueError(f"num_units: expected a divisor of the {size} channels, got {num_units}")
    shape[place] = num_units
    if shape[1:].count(None) > 1:
        raise ValueError(f"inputs: expected one unknown size at most, got shape {tuple(inputs.shape)}")
    target = tuple(-1 if side is None else side for side in shape[1:])
    split = apply_named(
        lambda name: keras.layers.Reshape((*target, size // num_units), name=name), inputs, scope, "MaxOut", None
    )
    return keras.ops.max(split, axis=-1)
