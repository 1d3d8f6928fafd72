"""Transposed convolutions, as functions on tensors: the gradient to x of `_lowering`, as an op of its own.

Below the public ops, `convolve_transpose`, `convolve_depthwise_transpose`, `convolve_separable_transpose` and
`upsample_depthwise`, the op of `tfsep.layers.DepthwiseConv2DTranspose`, take a parsed `Transposed` geometry too, for
layers, which parse it once.
"""

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.ops import _arguments as arguments
from tfsep.ops import _lowering as lowering
from tfsep.ops._arguments import TransposedArguments, TransposedLike
from tfsep.ops._export_context import without_autograph
from tfsep.ops._window_arithmetic import POINTWISE

__all__ = ["conv1d_transpose", "conv2d_transpose", "depthwise_conv2d_transpose", "separable_conv2d_transpose"]


def conv1d_transpose(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    groups: int = 1,
    output_padding: PairLike | None = None,
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Transposed 1-D convolution, from C channels to F.

    `conv1d` with this filter, strides, padding, rate and groups maps sequences of F channels to sequences of C channels
    and is linear, y = Ax; its transpose x' = Aᵀy is also its gradient to x. Each input element adds its multiple of the
    filter to the outputs: ``y[n, i·s + di·r - p, f] += x[n, i, c] · filter[di, f, c]``, with p the padding before.

    With ``k' = (k - 1)·r + 1`` the output has a length of

    - ``"valid"``: ``(i - 1)·s + max(k', s)``, or ``(i - 1)·s + k' + output_padding`` where that is given;
    - ``"same"``: ``i·s``, or ``(i - 1)·s + k' - 2·(k' // 2) + output_padding``;
    - elements: ``(i - 1)·s + k' - before - after + output_padding``.

    The first two are those of `keras.layers.Conv1DTranspose`, the last is PyTorch's.

    Args:
        x: floating tensor (N, L, C), or (N, C, L) with ``data_format="channels_first"``.
        filter: (k, F / groups, C), of x's dtype: a filter of the `conv1d` that is transposed.
        strides: step of the window in the result.
        padding: ``"valid"``, ``"same"``, an int, or ``(before, after)``, of the `conv1d` that is transposed: elements
            of padding are cropped from the result. Causal padding is refused: its transpose depends on later inputs.
        groups: channels and filters are split into this many groups, each convolved on its own; the result has
            F = groups · filter.shape[1] channels.
        output_padding: additional elements at the end of the result, less than the stride: a strided `conv1d` maps
            several lengths to L, and this chooses one.
        rate: dilation; any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, L', F) of x's dtype, or (N, F, L').

    Raises:
        ValueError: for a wrong rank, groups that do not divide C, sizes under 1, causal padding, an output_padding that
            is not less than the stride, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (arXiv 1603.07285), section 4.

    Examples:
        >>> conv1d_transpose(tf.ones((1, 7, 4)), tf.ones((3, 8, 4)), 2, padding=1, output_padding=1).shape
        TensorShape([1, 14, 8])
    """
    geometry = TransposedArguments(strides, padding, rate, output_padding)
    return convolve_transpose(x, filter, geometry, data_format, 1, groups)


def conv2d_transpose(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    groups: int = 1,
    output_padding: PairLike | None = None,
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Transposed 2-D convolution, from C channels to F.

    `conv2d` with this filter, strides, padding, rate and groups maps images of F channels to images of C channels and
    is linear, y = Ax; its transpose x' = Aᵀy is also its gradient to x. Each input pixel adds its multiple of the
    filter to the outputs: ``y[n, i·s + di·r - p, j·s + dj·r - p, f] += x[n, i, j, c] · filter[di, dj, f, c]``, with p
    the padding before.

    With ``k' = (k - 1)·r + 1`` the output has, along each axis,

    - ``"valid"``: ``(i - 1)·s + max(k', s)``, or ``(i - 1)·s + k' + output_padding`` where that is given;
    - ``"same"``: ``i·s``, or ``(i - 1)·s + k' - 2·(k' // 2) + output_padding``;
    - pixels: ``(i - 1)·s + k' - before - after + output_padding``.

    The first two are those of `keras.layers.Conv2DTranspose`, the last is PyTorch's.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        filter: (kh, kw, F / groups, C), of x's dtype: a filter of the `conv2d` that is transposed.
        strides: step of the window in the result, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``, of the `conv2d`
            that is transposed: pixels of padding are cropped from the result.
        groups: channels and filters are split into this many groups, each convolved on its own; the result has
            F = groups · filter.shape[2] channels.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride: a strided `conv2d` maps several sizes to H and W, and this chooses one.
        rate: dilation, an int or a pair (rows, columns); any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Raises:
        ValueError: for a wrong rank, groups that do not divide C, sizes under 1, an output_padding that is not less
            than the stride, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (arXiv 1603.07285), section 4.

    Examples:
        >>> conv2d_transpose(tf.ones((1, 7, 7, 4)), tf.ones((3, 3, 8, 4)), 2, padding=1, output_padding=1).shape
        TensorShape([1, 14, 14, 8])
    """
    geometry = TransposedArguments(strides, padding, rate, output_padding)
    return convolve_transpose(x, filter, geometry, data_format, 2, groups)


def depthwise_conv2d_transpose(
    x: TensorLike,
    filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    output_padding: PairLike | None = None,
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Transposed depthwise 2-D convolution, from C·M channels to C: the transpose of `depthwise_conv2d`.

    With M = 1 each channel is up-sampled by a filter of its own; with a larger M the results of the M channels of a
    group are summed, as the transpose requires. To make M channels of each, as
    `tfsep.layers.DepthwiseConv2DTranspose` does, use `conv2d_transpose` with as many groups as channels.

    Args:
        x: floating tensor (N, H, W, C·M), or (N, C·M, H, W) with ``data_format="channels_first"``.
        filter: (kh, kw, C, M), of x's dtype: a filter of the `depthwise_conv2d` that is transposed.
        strides: step of the window in the result, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``, of the convolution
            that is transposed: pixels of padding are cropped from the result.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
        rate: dilation, an int or a pair (rows, columns); any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', C) of x's dtype, or (N, C, H', W').

    Raises:
        ValueError: for a wrong rank, channels that do not match, sizes under 1, an output_padding that is not less than
            the stride, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Examples:
        >>> depthwise_conv2d_transpose(tf.ones((1, 4, 4, 6)), tf.ones((3, 3, 3, 2)), strides=2, padding="same").shape
        TensorShape([1, 8, 8, 3])
    """
    geometry = TransposedArguments(strides, padding, rate, output_padding)
    return convolve_depthwise_transpose(x, filter, geometry, data_format)


def separable_conv2d_transpose(
    x: TensorLike,
    depthwise_filter: TensorLike,
    pointwise_filter: TensorLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    output_padding: PairLike | None = None,
    rate: PairLike = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """Separable up-sampling: each channel with M transposed filters of its own, then a 1×1 convolution.

    Its filters are those of `separable_conv2d`, and each channel makes M. It is not the transpose of
    `separable_conv2d`, which would mix channels first, at the low resolution, and sum over M. The first part is
    ``conv2d_transpose(x, transposed filter (kh, kw, M, C), groups=C)``.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        depthwise_filter: (kh, kw, C, M), of x's dtype; filter m of channel c makes channel c·M + m.
        pointwise_filter: (1, 1, C·M, F), of x's dtype.
        strides: step of the depthwise window in the result, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``, of the depthwise
            convolution that is transposed: pixels of padding are cropped from the result.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
        rate: dilation of the depthwise part, an int or a pair (rows, columns); any stride goes with any rate.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x and of the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Raises:
        ValueError: for a wrong rank, channels that do not match, a pointwise filter that is not (1, 1, C·M, F), sizes
            under 1, an output_padding that is not less than the stride, or an output of no size.
        TypeError: for a dtype that is not floating, or that differs between the three.

    Examples:
        >>> separable_conv2d_transpose(tf.ones((1, 4, 4, 2)), tf.ones((3, 3, 2, 2)), tf.ones((1, 1, 4, 5)), 2).shape
        TensorShape([1, 9, 9, 5])
    """
    geometry = TransposedArguments(strides, padding, rate, output_padding)
    return convolve_separable_transpose(x, depthwise_filter, pointwise_filter, geometry, data_format)


@without_autograph
def convolve_transpose(
    x: TensorLike, filter: TensorLike, geometry: TransposedLike, data_format: str, rank: int = 2, groups: int = 1
) -> Tensor:
    """Transposed convolution of images (rank 2) or sequences (rank 1) with a geometry, parsed or not."""
    x, filter = arguments.transposed_operands(x, filter, groups, data_format, rank)
    geometry = arguments.checked_transposed(x, filter, geometry, rank)
    return arguments.from_nhwc(lowering.conv2d_transpose(x, filter, geometry, groups), data_format, rank)


@without_autograph
def convolve_depthwise_transpose(
    x: TensorLike, filter: TensorLike, geometry: TransposedLike, data_format: str
) -> Tensor:
    """Transposed depthwise convolution of images with a geometry, parsed or not."""
    x, filter = arguments.depthwise_transposed_operands(x, filter, data_format)
    geometry = arguments.checked_transposed(x, filter, geometry)
    return arguments.from_nhwc(lowering.depthwise_conv2d_transpose(x, filter, geometry), data_format)


def upsample_depthwise(
    x: TensorLike, filter: TensorLike, geometry: TransposedLike, data_format: str, rank: int = 2
) -> Tensor:
    """Depthwise up-sampling with a geometry, parsed or not: each channel by M filters of its own (..., C, M).

    It makes C·M channels, as one group of a transposed convolution for each channel, and sums none of them, unlike the
    transpose of a depthwise convolution.
    """
    transposed = tf.linalg.matrix_transpose(filter)
    return convolve_transpose(x, transposed, geometry, data_format, rank, groups=transposed.shape[-1])


@without_autograph
def convolve_separable_transpose(
    x: TensorLike,
    depthwise_filter: TensorLike,
    pointwise_filter: TensorLike,
    geometry: TransposedLike,
    data_format: str,
    rank: int = 2,
) -> Tensor:
    """Separable up-sampling of images (rank 2) or sequences (rank 1) with a geometry, parsed or not."""
    x, depthwise, pointwise = arguments.separable_operands(x, depthwise_filter, pointwise_filter, data_format, rank)
    geometry = arguments.checked_transposed(x, depthwise, geometry, rank)
    y = lowering.conv2d_transpose(x, tf.linalg.matrix_transpose(depthwise), geometry, x.shape[3])
    return arguments.from_nhwc(lowering.conv2d(y, pointwise, POINTWISE), data_format, rank)
