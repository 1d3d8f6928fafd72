"""TensorFlow's own convolution kernels, three for each kind of convolution.

Each takes NHWC tensors and a `Window` whose padding is ``"same"`` or ``"valid"``: a depthwise op with explicit padding
kills the process when its graph is optimized (TensorFlow 2.21, a failed check in the op's shape function), and dilated
gradients refuse it. `WIDE_DEPTHWISE_KERNELS` have a forward op that takes pixels. Which kernels a build has, and
computes correctly, differs: `_kernel_probe` tests them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.geometry import Window
from tfsep.ops._pixel_layout import Length, images_and, spatial_size

Shape: TypeAlias = Sequence[Length] | Tensor
Correlation: TypeAlias = Callable[[Tensor, Tensor, Window], Tensor]
"""(x, filter, window) -> y."""


class ConvolutionKernels(NamedTuple):
    """TensorFlow's kernels of one kind of convolution, standard or depthwise.

    Attributes:
        name: name of the kind.
        forward: (x, filter, window) -> y.
        input_gradient: (upstream, filter, window, shape of x) -> gradient to x.
        filter_gradient: (x, upstream, window, shape of the filter) -> gradient to the filter.
        correlate_flipped: (correlation, upstream, filter, window, groups) -> the correlation of upstream with the
            flipped filter, from y's channels to x's.
        tap_product: (image, weights of one tap) -> the tap's contribution to y, pixel by pixel.
        tap_gradient: (image, upstream) -> gradient to the weights of one tap.
    """

    name: str
    forward: Correlation
    input_gradient: Callable[[Tensor, Tensor, Window, Shape], Tensor]
    filter_gradient: Callable[[Tensor, Tensor, Window, Shape], Tensor]
    correlate_flipped: Callable[[Correlation, Tensor, Tensor, Window, int], Tensor]
    tap_product: Callable[[Tensor, Tensor], Tensor]
    tap_gradient: Callable[[Tensor, Tensor], Tensor]


def _options(window: Window) -> dict[str, Any]:
    return {
        "strides": [1, *window.strides, 1],
        "dilations": [1, *window.rate, 1],
        "padding": str(window.padding).upper(),
    }


def _depthwise(x: Tensor, filter: Tensor, window: Window) -> Tensor:
    return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=filter, **_options(window))


def _depthwise_in_groups(x: Tensor, filter: Tensor, window: Window) -> Tensor:
    """A depthwise convolution, padded in pixels, as a standard one of one channel a group, which takes such padding.

    oneDNN's fast kernel for both takes 4 to 6 columns of padding a side, by what vectors the CPU has, and any rows. So
    all but 4 columns are put around the image first.
    """
    rows, columns = window.pads((1, 1))
    taken = [min(side, 4) for side in columns]
    first = [side - later for side, later in zip(columns, taken, strict=True)]
    return tf.raw_ops.Conv2D(
        input=tf.pad(x, [(0, 0), (0, 0), first, (0, 0)]),
        filter=tf.reshape(filter, [*window.kernel, 1, filter.shape[2] * filter.shape[3]]),
        **{**_options(window), "padding": "EXPLICIT"},
        explicit_paddings=[0, 0, *rows, *taken, 0, 0],
    )


def _depthwise_input_gradient(upstream: Tensor, filter: Tensor, window: Window, shape: Shape) -> Tensor:
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=shape, filter=filter, out_backprop=upstream, **_options(window)
    )


def _depthwise_filter_gradient(x: Tensor, upstream: Tensor, window: Window, shape: Shape) -> Tensor:
    return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=x, filter_sizes=shape, out_backprop=upstream, **_options(window)
    )


def _depthwise_correlate_flipped(
    correlate: Correlation, upstream: Tensor, filter: Tensor, window: Window, _: int
) -> Tensor:
    rows, columns, channels, multiplier = filter.shape
    flipped = tf.reshape(tf.reverse(filter, [0, 1]), [rows, columns, channels * multiplier, 1])
    x = correlate(upstream, flipped, window)
    return x if multiplier == 1 else tf.reduce_sum(_split_channels(x, channels, multiplier), axis=4)


def _depthwise_tap_product(x: Tensor, weights: Tensor) -> Tensor:
    channels, multiplier = weights.shape
    if multiplier == 1:
        return x * weights[:, 0]
    return tf.reshape(x[..., None] * weights, images_and(x, *spatial_size(x), channels * multiplier))


def _depthwise_tap_gradient(x: Tensor, upstream: Tensor) -> Tensor:
    channels = x.shape[3]
    return tf.reduce_sum(
        x[..., None] * _split_channels(upstream, channels, upstream.shape[3] // channels), axis=[0, 1, 2]
    )


def _split_channels(y: Tensor, channels: int, multiplier: int) -> Tensor:
    return tf.reshape(y, images_and(y, *spatial_size(y), channels, multiplier))


def _standard(x: Tensor, filter: Tensor, window: Window) -> Tensor:
    return tf.raw_ops.Conv2D(input=x, filter=filter, **_options(window))


def _standard_input_gradient(upstream: Tensor, filter: Tensor, window: Window, shape: Shape) -> Tensor:
    return tf.raw_ops.Conv2DBackpropInput(input_sizes=shape, filter=filter, out_backprop=upstream, **_options(window))


def _standard_filter_gradient(x: Tensor, upstream: Tensor, window: Window, shape: Shape) -> Tensor:
    if window.kernel == window.strides == (1, 1) and x.shape[3] == shape[2]:
        # The same product as a matrix product, which takes a fifth less time than the gradient of a 1×1 filter.
        return tf.reshape(_standard_tap_gradient(x, upstream), shape)
    return tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=shape, out_backprop=upstream, **_options(window))


def _standard_correlate_flipped(
    correlate: Correlation, upstream: Tensor, filter: Tensor, window: Window, groups: int
) -> Tensor:
    rows, columns, per_group, filters = filter.shape
    flipped = tf.reshape(tf.reverse(filter, [0, 1]), [rows, columns, per_group, groups, filters // groups])
    flipped = tf.transpose(flipped, [0, 1, 4, 3, 2])
    return correlate(upstream, tf.reshape(flipped, [rows, columns, filters // groups, groups * per_group]), window)


def _standard_tap_product(x: Tensor, weights: Tensor) -> Tensor:
    return tf.tensordot(x, weights, 1)


def _standard_tap_gradient(x: Tensor, upstream: Tensor) -> Tensor:
    x, upstream = (tf.reshape(value, [-1, value.shape[3]]) for value in (x, upstream))
    return tf.matmul(x, upstream, transpose_a=True)


DEPTHWISE_KERNELS = ConvolutionKernels(
    "depthwise",
    _depthwise,
    _depthwise_input_gradient,
    _depthwise_filter_gradient,
    _depthwise_correlate_flipped,
    _depthwise_tap_product,
    _depthwise_tap_gradient,
)
STANDARD_KERNELS = ConvolutionKernels(
    "standard",
    _standard,
    _standard_input_gradient,
    _standard_filter_gradient,
    _standard_correlate_flipped,
    _standard_tap_product,
    _standard_tap_gradient,
)
WIDE_DEPTHWISE_KERNELS = DEPTHWISE_KERNELS._replace(name="wide depthwise", forward=_depthwise_in_groups)
"""Depthwise kernels whose forward op takes a padding in pixels, however wide."""
