"""Convolutions of images and sequences, as functions on tensors; a sequence is an image of one row.

The public ops take strides, padding and rate as a caller writes them. Below them, `convolve`, `convolve_depthwise` and
`convolve_separable` take a parsed `Window` too, for images and sequences (`rank`): a layer parses its window once and
calls these. Their counterparts are `convolve_transpose`, `convolve_depthwise_transpose` and
`convolve_separable_transpose` in `_conv_transpose`, with a `Transposed` geometry, and `convolve_deformable` in
`_deform_conv`. All take ``(x, *filters, window, data_format, rank)`` and check the tensors.
"""

from tfsep._keras.types import Tensor, TensorLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.ops import _arguments as arguments
from tfsep.ops import _lowering as lowering
from tfsep.ops._arguments import WindowArguments, WindowLike
from tfsep.ops._export_context import without_autograph
from tfsep.ops._window_arithmetic import POINTWISE

__all__ = ["conv1d", "conv2d", "depthwise_conv1d", "depthwise_conv2d", "separable_conv1d", "separable_conv2d"]


def conv2d(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Standard 2-D convolution, grouped where the filter has fewer channels than the image.

    ``y[n, i, j, f] = sum over di, dj, c of x[n, i·s + di·r, j·s + dj·r, c] · filter[di, dj, c, f]``, a cross-
    correlation. With ``groups = C / filter.shape[2]``, output channel ``f`` depends on the channels of its group only.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``. If C is unknown in a
            graph, one group is assumed, C = filter.shape[2], and checked when the graph runs.
        filter: (kh, kw, C / groups, F), of x's dtype; F must be a multiple of groups.
        strides: step of the window, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: dilation, an int or a pair (rows, columns); any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Note:
        A Jacobian with respect to a grouped filter needs ``tape.jacobian(..., experimental_use_pfor=False)``:
        TensorFlow vectorizes the gradient op wrongly, for ``tf.nn.conv2d`` too.

    Raises:
        ValueError: for a wrong rank, groups that do not divide, sizes under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Examples:
        >>> conv2d(tf.ones((1, 1, 1, 4)), tf.ones((1, 1, 2, 8))).shape
        TensorShape([1, 1, 1, 8])
    """
    return convolve(x, filter, WindowArguments(strides, padding, rate), data_format, 2)


def depthwise_conv2d(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Depthwise 2-D convolution: each channel with M filters of its own.

    ``y[n, i, j, c·M + m] = sum over di, dj of x[n, i·s + di·r, j·s + dj·r, c] · filter[di, dj, c, m]``. Unlike
    ``tf.nn.depthwise_conv2d`` it is right for a stride combined with a rate, and for an empty batch.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        filter: (kh, kw, C, M), of x's dtype; M is the depth multiplier.
        strides: step of the window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: dilation, an int or a pair (rows, columns); any stride goes with any rate.
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
    return convolve_depthwise(x, filter, WindowArguments(strides, padding, rate), data_format, 2)


def separable_conv2d(
    x: TensorLike,
    depthwise_filter: TensorLike,
    pointwise_filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Separable 2-D convolution: a depthwise convolution, then a 1×1 (pointwise) one.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        depthwise_filter: (kh, kw, C, M), of x's dtype.
        pointwise_filter: (1, 1, C·M, F), of x's dtype.
        strides: step of the depthwise window, an int or a pair (rows, columns).
        padding: padding of the depthwise part: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or
            ``((top, bottom), (left, right))``.
        rate: dilation of the depthwise part, an int or a pair (rows, columns); any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Raises:
        ValueError: for a wrong rank, channels that do not match, a pointwise filter that is not (1, 1, C·M, F), sizes
            under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between the three.

    Examples:
        >>> separable_conv2d(tf.ones((1, 4, 4, 2)), tf.ones((3, 3, 2, 2)), tf.ones((1, 1, 4, 5))).shape
        TensorShape([1, 2, 2, 5])
    """
    return convolve_separable(
        x, depthwise_filter, pointwise_filter, WindowArguments(strides, padding, rate), data_format, 2
    )


def conv1d(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Standard 1-D convolution, grouped where the filter has fewer channels than the sequence.

    ``y[n, i, f] = sum over di, c of x[n, i·s + di·r, c] · filter[di, c, f]``. With ``groups = C / filter.shape[1]``,
    output channel ``f`` depends on the channels of its group only.

    Args:
        x: floating tensor (N, L, C), or (N, C, L) with ``data_format="channels_first"``.
        filter: (k, C / groups, F), of x's dtype; F must be a multiple of groups.
        strides: step of the window.
        padding: ``"valid"``, ``"same"`` (TensorFlow's), ``"causal"``, an int, or ``(before, after)``. ``"causal"`` is
            ``((k - 1)·r, 0)``: no output depends on a later input.
        rate: dilation; any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, L', F) of x's dtype, or (N, F, L').

    Raises:
        ValueError: for a wrong rank, groups that do not divide, sizes under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Source: causal padding is that of A. van den Oord et al., "WaveNet" (arXiv 1609.03499), section 2.1.

    Examples:
        >>> conv1d(tf.ones((32, 15, 256)), tf.ones((3, 256, 128))).shape
        TensorShape([32, 13, 128])
    """
    return convolve(x, filter, WindowArguments(strides, padding, rate), data_format, 1)


def depthwise_conv1d(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Depthwise 1-D convolution: each channel with M filters of its own.

    ``y[n, i, c·M + m] = sum over di of x[n, i·s + di·r, c] · filter[di, c, m]``.

    Args:
        x: floating tensor (N, L, C), or (N, C, L) with ``data_format="channels_first"``.
        filter: (k, C, M), of x's dtype; M is the depth multiplier.
        strides: step of the window.
        padding: ``"valid"``, ``"same"`` (TensorFlow's), ``"causal"``, an int, or ``(before, after)``. ``"causal"`` is
            ``((k - 1)·r, 0)``: no output depends on a later input.
        rate: dilation; any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, L', C·M) of x's dtype, or (N, C·M, L').

    Raises:
        ValueError: for a wrong rank, channels that do not match, sizes under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Examples:
        >>> depthwise_conv1d(tf.ones((1, 8, 3)), tf.ones((3, 3, 2)), strides=2, rate=2, padding="causal").shape
        TensorShape([1, 4, 6])
    """
    return convolve_depthwise(x, filter, WindowArguments(strides, padding, rate), data_format, 1)


def separable_conv1d(
    x: TensorLike,
    depthwise_filter: TensorLike,
    pointwise_filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Separable 1-D convolution: a depthwise convolution, then a pointwise one of width 1.

    Args:
        x: floating tensor (N, L, C), or (N, C, L) with ``data_format="channels_first"``.
        depthwise_filter: (k, C, M), of x's dtype.
        pointwise_filter: (1, C·M, F), of x's dtype.
        strides: step of the depthwise window.
        padding: padding of the depthwise part: ``"valid"``, ``"same"`` (TensorFlow's), ``"causal"``, an int, or
            ``(before, after)``. ``"causal"`` is ``((k - 1)·r, 0)``: no output depends on a later input.
        rate: dilation of the depthwise part; any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, L', F) of x's dtype, or (N, F, L').

    Raises:
        ValueError: for a wrong rank, channels that do not match, a pointwise filter that is not (1, C·M, F), sizes
            under 1, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between the three.

    Examples:
        >>> separable_conv1d(tf.ones((1, 4, 2)), tf.ones((3, 2, 2)), tf.ones((1, 4, 5))).shape
        TensorShape([1, 2, 5])
    """
    return convolve_separable(
        x, depthwise_filter, pointwise_filter, WindowArguments(strides, padding, rate), data_format, 1
    )


@without_autograph
def convolve(x: TensorLike, filter: TensorLike, window: WindowLike, data_format: str, rank: int) -> Tensor:
    """Standard convolution of images (rank 2) or sequences (rank 1) with a window, parsed or not."""
    x, filter = arguments.standard_operands(x, filter, data_format, rank)
    window = arguments.checked_window(x, filter, window, rank)
    return arguments.from_nhwc(lowering.conv2d(x, filter, window), data_format, rank)


@without_autograph
def convolve_depthwise(x: TensorLike, filter: TensorLike, window: WindowLike, data_format: str, rank: int) -> Tensor:
    """Depthwise convolution of images (rank 2) or sequences (rank 1) with a window, parsed or not."""
    x, filter = arguments.depthwise_operands(x, filter, data_format, rank)
    window = arguments.checked_window(x, filter, window, rank)
    return arguments.from_nhwc(lowering.depthwise_conv2d(x, filter, window), data_format, rank)


@without_autograph
def convolve_separable(
    x: TensorLike,
    depthwise_filter: TensorLike,
    pointwise_filter: TensorLike,
    window: WindowLike,
    data_format: str,
    rank: int,
) -> Tensor:
    """Separable convolution of images (rank 2) or sequences (rank 1) with a window, parsed or not."""
    x, depthwise, pointwise = arguments.separable_operands(x, depthwise_filter, pointwise_filter, data_format, rank)
    window = arguments.checked_window(x, depthwise, window, rank)
    y = lowering.conv2d(lowering.depthwise_conv2d(x, depthwise, window), pointwise, POINTWISE)
    return arguments.from_nhwc(y, data_format, rank)
