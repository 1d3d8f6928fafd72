"""TensorFlow's own convolution kernels, three for each kind, and what a kind's filter looks like from the other side.

Each takes NHWC tensors and a `Window` whose padding is ``"same"`` or ``"valid"``: a depthwise op with explicit padding
kills the process when its graph is optimized (TensorFlow 2.21, a failed check in the op's shape function), and dilated
gradients refuse it. Which of the kernels a build has, and has right, differs: `_probe` finds out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfsep._keras.backend import tf
from tfsep.geometry import Window
from tfsep.ops._pixel_layout import images, sides

Correlation = Callable[[Any, Any, Window], Any]
"""(x, filter, window) -> y."""


class Kind(NamedTuple):
    """A kind of convolution, as TensorFlow computes it.

    Attributes:
        name: of the kind.
        forward: (x, filter, window) -> y.
        to_x: (upstream, filter, window, shape of x) -> gradient to x.
        to_filter: (x, upstream, window, shape of the filter) -> gradient to the filter.
        back: (correlation, upstream, filter, window, groups) -> the correlation with the filter turned about, from y's
            channels to x's.
        tap: (image, weights of one tap) -> what that tap adds to y, pixel by pixel.
        tap_to_filter: (image, upstream) -> gradient to the weights of one tap.
    """

    name: str
    forward: Correlation
    to_x: Callable[[Any, Any, Window, Any], Any]
    to_filter: Callable[[Any, Any, Window, Any], Any]
    back: Callable[[Correlation, Any, Any, Window, int], Any]
    tap: Callable[[Any, Any], Any]
    tap_to_filter: Callable[[Any, Any], Any]


def _options(window: Window) -> dict[str, Any]:
    return {
        "strides": [1, *window.strides, 1],
        "dilations": [1, *window.rate, 1],
        "padding": str(window.padding).upper(),
    }


def _depthwise(x: Any, filter: Any, window: Window) -> Any:
    return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=filter, **_options(window))


def _depthwise_to_x(upstream: Any, filter: Any, window: Window, shape: Any) -> Any:
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=shape, filter=filter, out_backprop=upstream, **_options(window)
    )


def _depthwise_to_filter(x: Any, upstream: Any, window: Window, shape: Any) -> Any:
    return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=x, filter_sizes=shape, out_backprop=upstream, **_options(window)
    )


def _depthwise_back(correlate: Correlation, upstream: Any, filter: Any, window: Window, _: int) -> Any:
    rows, columns, channels, multiplier = filter.shape
    turned = tf.reshape(tf.reverse(filter, [0, 1]), [rows, columns, channels * multiplier, 1])
    x = correlate(upstream, turned, window)
    return x if multiplier == 1 else tf.reduce_sum(_by_multiplier(x, channels, multiplier), axis=4)


def _depthwise_tap(x: Any, weights: Any) -> Any:
    channels, multiplier = weights.shape
    if multiplier == 1:
        return x * weights[:, 0]
    return tf.reshape(x[..., None] * weights, [images(x), *sides(x), channels * multiplier])


def _depthwise_tap_to_filter(x: Any, upstream: Any) -> Any:
    channels = x.shape[3]
    return tf.reduce_sum(
        x[..., None] * _by_multiplier(upstream, channels, upstream.shape[3] // channels), axis=[0, 1, 2]
    )


def _by_multiplier(y: Any, channels: int, multiplier: int) -> Any:
    return tf.reshape(y, [images(y), *sides(y), channels, multiplier])


def _dense(x: Any, filter: Any, window: Window) -> Any:
    return tf.raw_ops.Conv2D(input=x, filter=filter, **_options(window))


def _dense_to_x(upstream: Any, filter: Any, window: Window, shape: Any) -> Any:
    return tf.raw_ops.Conv2DBackpropInput(input_sizes=shape, filter=filter, out_backprop=upstream, **_options(window))


def _dense_to_filter(x: Any, upstream: Any, window: Window, shape: Any) -> Any:
    if window.kernel == window.strides == (1, 1) and x.shape[3] == shape[2]:
        # The same numbers by another name: a matrix product takes a fifth less time than the gradient of a 1×1 filter.
        return tf.reshape(_tap_product(x, upstream), shape)
    return tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=shape, out_backprop=upstream, **_options(window))


def _dense_back(correlate: Correlation, upstream: Any, filter: Any, window: Window, groups: int) -> Any:
    rows, columns, per_group, filters = filter.shape
    turned = tf.reshape(tf.reverse(filter, [0, 1]), [rows, columns, per_group, groups, filters // groups])
    turned = tf.transpose(turned, [0, 1, 4, 3, 2])
    return correlate(upstream, tf.reshape(turned, [rows, columns, filters // groups, groups * per_group]), window)


def _dense_tap(x: Any, weights: Any) -> Any:
    return tf.tensordot(x, weights, 1)


def _tap_product(x: Any, upstream: Any) -> Any:
    x, upstream = (tf.reshape(value, [-1, value.shape[3]]) for value in (x, upstream))
    return tf.matmul(x, upstream, transpose_a=True)


DEPTHWISE = Kind(
    "depthwise",
    _depthwise,
    _depthwise_to_x,
    _depthwise_to_filter,
    _depthwise_back,
    _depthwise_tap,
    _depthwise_tap_to_filter,
)
DENSE = Kind("dense", _dense, _dense_to_x, _dense_to_filter, _dense_back, _dense_tap, _tap_product)
