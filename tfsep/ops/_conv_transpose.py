"""Transposed convolutions of images, as functions on tensors: the other way through the products of `_lowering`."""

from typing import Any

from tfsep._keras.backend import tf
from tfsep.geometry import Transposed, Window, positive
from tfsep.ops import _arguments as arguments
from tfsep.ops import _lowering as lowering
from tfsep.ops._pixel_layout import with_channels


def conv2d_transpose(
    x: Any,
    filter: Any,
    strides: Any = 1,
    padding: Any = "valid",
    groups: int = 1,
    output_padding: Any = None,
    rate: Any = 1,
    data_format: str = "channels_last",
) -> Any:
    """Convolve images with the transpose of the convolution that goes the other way.

    `conv2d` with this filter, strides, padding, rate and groups takes images of F channels to images of C channels, and
    is linear: y = Ax. This is x' = Aᵀy, which is also the gradient of the one to its x. Each input pixel adds its
    multiple of the filter to the outputs: ``y[n, i·s + di·r - p, j·s + dj·r - p, f] += x[n, i, j, c] · filter[di, dj,
    f, c]``, with p the padding before.

    With ``k' = (k - 1)·r + 1`` the size of the result is, a side,

    - ``"valid"``: ``(i - 1)·s + max(k', s)``, or ``(i - 1)·s + k' + output_padding`` where that is given;
    - ``"same"``: ``i·s``, or ``(i - 1)·s + k' - 2·(k' // 2) + output_padding``;
    - pixels: ``(i - 1)·s + k' - before - after + output_padding``.

    The first two are those of `keras.layers.Conv2DTranspose`, the last is PyTorch's.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        filter: (kh, kw, F / groups, C), of x's dtype: what `conv2d` takes the other way.
        strides: step of the window in the result, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``: of the convolution
            that goes the other way, so pixels are taken from the result.
        groups: channels and filters are split into this many groups, each convolved on its own; the result has
            F = groups · filter.shape[2] channels.
        output_padding: rows and columns more at the end of the result, an int or a pair, each less than the stride: of
            the sizes that the other convolution takes to H and W, which one.
        rate: dilation, an int or a pair; any stride goes with any rate.
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
    x = arguments.image(x, data_format)
    filter = arguments.kernel(filter, "filter", "F / groups, C", x)
    x = with_channels(x, filter.shape[3])
    if x.shape[3] != filter.shape[3]:
        raise ValueError(f"filter: expected (kh, kw, F / groups, C) with C = {x.shape[3]}, got {tuple(filter.shape)}")
    if x.shape[3] % positive(groups, "groups"):
        raise ValueError(f"groups: expected a divisor of C = {x.shape[3]}, got {groups}")
    geometry = _geometry(x, filter, strides, padding, output_padding, rate)
    return arguments.restore(lowering.conv2d_transpose(x, filter, geometry, groups), data_format)


def depthwise_conv2d_transpose(
    x: Any,
    filter: Any,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = None,
    rate: Any = 1,
    data_format: str = "channels_last",
) -> Any:
    """Convolve images with the transpose of `depthwise_conv2d`, which takes C channels to C·M: from C·M channels to C.

    Where M is 1 each channel is up-sampled by a filter of its own. Where it is not, the results of the M channels that
    `depthwise_conv2d` makes of one are added up, as a transpose must. To make M channels of one, as
    `tfsep.layers.DepthwiseConv2DTranspose` does, is `conv2d_transpose` with as many groups as channels.

    Args:
        x: floating tensor (N, H, W, C·M), or (N, C·M, H, W) with ``data_format="channels_first"``.
        filter: (kh, kw, C, M), of x's dtype: what `depthwise_conv2d` takes the other way.
        strides, padding, output_padding, rate, data_format: as in `conv2d_transpose`.

    Returns:
        A tensor (N, H', W', C) of x's dtype, or (N, C, H', W').

    Raises:
        ValueError: for a wrong rank, channels that do not match, and as `conv2d_transpose`.
        TypeError: for a dtype that is not floating, or that differs between x and filter.

    Examples:
        >>> depthwise_conv2d_transpose(tf.ones((1, 4, 4, 6)), tf.ones((3, 3, 3, 2)), strides=2, padding="same").shape
        TensorShape([1, 8, 8, 3])
    """
    x = arguments.image(x, data_format)
    filter = arguments.kernel(filter, "filter", "C, M", x)
    channels = filter.shape[2] * filter.shape[3]
    x = with_channels(x, channels)
    if x.shape[3] != channels:
        raise ValueError(f"filter: expected (kh, kw, C, M) with C·M = {x.shape[3]}, got {tuple(filter.shape)}")
    geometry = _geometry(x, filter, strides, padding, output_padding, rate)
    return arguments.restore(lowering.depthwise_conv2d_transpose(x, filter, geometry), data_format)


def separable_conv2d_transpose(
    x: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = None,
    rate: Any = 1,
    data_format: str = "channels_last",
) -> Any:
    """Up-sample each channel by its own M filters, then mix the results with a 1×1 convolution.

    It stands where `separable_conv2d` stands, with the same two filters, and each channel makes M: so it is no
    transpose of `separable_conv2d`, which would mix first, at the low resolution, and add up instead of spreading. The
    first part is ``conv2d_transpose(x, transposed filter (kh, kw, M, C), groups=C)``.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        depthwise_filter: (kh, kw, C, M), of x's dtype; filter m of channel c makes channel c·M + m.
        pointwise_filter: (1, 1, C·M, F), of x's dtype.
        strides, padding, output_padding, rate, data_format: as in `conv2d_transpose`; they are the depthwise part's.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W').

    Raises:
        ValueError: for a wrong rank, channels that do not match, a pointwise filter that is not (1, 1, C·M, F), and as
            `conv2d_transpose`.
        TypeError: for a dtype that is not floating, or that differs between the three.

    Examples:
        >>> separable_conv2d_transpose(tf.ones((1, 4, 4, 2)), tf.ones((3, 3, 2, 2)), tf.ones((1, 1, 4, 5)), 2).shape
        TensorShape([1, 9, 9, 5])
    """
    x, filter = arguments.depthwise(depthwise_filter, "depthwise_filter", arguments.image(x, data_format))
    mixed = arguments.pointwise(pointwise_filter, filter, x)
    geometry = _geometry(x, filter, strides, padding, output_padding, rate)
    y = lowering.conv2d_transpose(x, tf.transpose(filter, [0, 1, 3, 2]), geometry, x.shape[3])
    return arguments.restore(lowering.conv2d(y, mixed, Window.of(1)), data_format)


def _geometry(x: Any, filter: Any, strides: Any, padding: Any, output_padding: Any, rate: Any) -> Transposed:
    """The geometry of the transposed convolution of an NHWC `x`, having checked that its result has a size."""
    with arguments.naming_shapes(x, filter):
        made = Transposed.of(Window.of(tuple(filter.shape[:2]), strides, padding, rate), output_padding)
        made.output_size((x.shape[1], x.shape[2]))
    return made
