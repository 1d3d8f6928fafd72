"""Convolutions of images, as functions on tensors."""

from typing import Any

from tfsep.geometry import Window
from tfsep.ops import _arguments as arguments
from tfsep.ops import _lowering as lowering
from tfsep.ops._export_context import unconverted


def conv2d(
    x: Any,
    filter: Any,
    strides: Any = 1,
    padding: Any = "valid",
    rate: Any = 1,
    data_format: str = "channels_last",
) -> Any:
    """Convolve images with filters, in groups where the filter has fewer channels than the image.

    ``y[n, i, j, f] = sum over di, dj, c of x[n, i·s + di·r, j·s + dj·r, c] · filter[di, dj, c, f]``: the cross-
    correlation that the field calls convolution. With ``groups = C / filter.shape[2]``, output ``f`` sees the channels
    of its own group only.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``. Where a graph does not
            know C, it is taken to be filter.shape[2], one group, and checked when the graph runs.
        filter: (kh, kw, C / groups, F), of x's dtype; F must be a multiple of groups.
        strides: step of the window, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: dilation, an int or a pair; any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Note:
        A Jacobian to a filter in groups takes ``tape.jacobian(..., experimental_use_pfor=False)``: TensorFlow
        vectorizes the op of its gradient wrongly, that of ``tf.nn.conv2d`` too.

    Raises:
        ValueError: for a wrong rank, groups that do not divide, sizes under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Examples:
        >>> conv2d(tf.ones((1, 1, 1, 4)), tf.ones((1, 1, 2, 8))).shape
        TensorShape([1, 1, 1, 8])
    """
    return convolve(x, filter, strides, padding, rate, data_format, 2)


def depthwise_conv2d(
    x: Any,
    filter: Any,
    strides: Any = 1,
    padding: Any = "valid",
    rate: Any = 1,
    data_format: str = "channels_last",
) -> Any:
    """Convolve each channel of images with M filters of its own.

    ``y[n, i, j, c·M + m] = sum over di, dj of x[n, i·s + di·r, j·s + dj·r, c] · filter[di, dj, c, m]``. Unlike
    ``tf.nn.depthwise_conv2d`` it is right for strides and rates together, and for an empty batch.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        filter: (kh, kw, C, M), of x's dtype; M is the depth multiplier.
        strides: step of the window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: dilation, an int or a pair; any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', C·M) of x's dtype, or (N, C·M, H', W').

    Raises:
        ValueError: for a wrong rank, channels that do not match, sizes under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Examples:
        >>> depthwise_conv2d(tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 2)), strides=2, rate=2, padding="same").shape
        TensorShape([1, 4, 4, 6])
    """
    return convolve_depthwise(x, filter, strides, padding, rate, data_format, 2)


def separable_conv2d(
    x: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any = 1,
    padding: Any = "valid",
    rate: Any = 1,
    data_format: str = "channels_last",
) -> Any:
    """Convolve each channel with its own filters, then mix the results with a 1×1 convolution.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        depthwise_filter: (kh, kw, C, M), of x's dtype.
        pointwise_filter: (1, 1, C·M, F), of x's dtype.
        strides, padding, rate, data_format: as in `depthwise_conv2d`; they are the depthwise part's.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Raises:
        ValueError: as `depthwise_conv2d`, and for a pointwise filter that is not (1, 1, C·M, F).
        TypeError: for a dtype that is not floating, or that differs between the three.

    Examples:
        >>> separable_conv2d(tf.ones((1, 4, 4, 2)), tf.ones((3, 3, 2, 2)), tf.ones((1, 1, 4, 5))).shape
        TensorShape([1, 2, 2, 5])
    """
    return convolve_separable(x, depthwise_filter, pointwise_filter, strides, padding, rate, data_format, 2)


@unconverted
def convolve(x: Any, filter: Any, strides: Any, padding: Any, rate: Any, data_format: str, rank: int) -> Any:
    """`conv2d`, of sequences where the rank is 1."""
    x, filter = arguments.full(filter, arguments.image(x, data_format, rank), rank)
    window = arguments.window(x, filter, strides, padding, rate, rank)
    return arguments.restore(lowering.conv2d(x, filter, window), data_format, rank)


@unconverted
def convolve_depthwise(x: Any, filter: Any, strides: Any, padding: Any, rate: Any, data_format: str, rank: int) -> Any:
    """`depthwise_conv2d`, of sequences where the rank is 1."""
    x, filter = arguments.depthwise(filter, "filter", arguments.image(x, data_format, rank), rank)
    window = arguments.window(x, filter, strides, padding, rate, rank)
    return arguments.restore(lowering.depthwise_conv2d(x, filter, window), data_format, rank)


@unconverted
def convolve_separable(
    x: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any,
    data_format: str,
    rank: int,
) -> Any:
    """`separable_conv2d`, of sequences where the rank is 1."""
    x, filter = arguments.depthwise(depthwise_filter, "depthwise_filter", arguments.image(x, data_format, rank), rank)
    mixed = arguments.pointwise(pointwise_filter, filter, x, rank)
    window = arguments.window(x, filter, strides, padding, rate, rank)
    y = lowering.conv2d(lowering.depthwise_conv2d(x, filter, window), mixed, Window.of(1))
    return arguments.restore(y, data_format, rank)
