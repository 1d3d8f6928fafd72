"""Convolutions of sequences, as functions on tensors: convolutions of images with one row."""

from tfsep._keras.types import Tensor, TensorLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.ops._arguments import WindowArguments
from tfsep.ops._conv2d import convolve, convolve_depthwise, convolve_separable

__all__ = ["conv1d", "depthwise_conv1d", "separable_conv1d"]


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
        padding: of the depthwise part: ``"valid"``, ``"same"`` (TensorFlow's), ``"causal"``, an int, or ``(before,
            after)``. ``"causal"`` is ``((k - 1)·r, 0)``: no output depends on a later input.
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
