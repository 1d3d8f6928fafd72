"""How a convolution is computed: the one place that chooses between TensorFlow's ways of doing it.

Everything here takes arguments that were checked (`_arguments`), tensors in NHWC, and a `Window`.

===================  ==========================================  ==============================================
operation            case                                        lowering
===================  ==========================================  ==============================================
conv2d               all, where the build differentiates it      ``tf.nn.conv2d``, groups, strides, dilations
conv2d               groups or rate, where it does not           each group by space-to-batch at stride 1, sliced
depthwise_conv2d     being exported                              native op with dilations: one builtin op
depthwise_conv2d     stride 1, or rate 1 with equal strides      ``tf.nn.depthwise_conv2d``
depthwise_conv2d     stride with rate, or unequal strides        the same at stride 1, then every s-th result
both                 batch of no or of unknown size              as above, masked and reshaped
both                 rows or columns unknown                     as above, their number asserted when it runs
===================  ==========================================  ==============================================

Why not ``tf.nn.depthwise_conv2d`` for all: with stride and rate together it returns wrong numbers and only warns,
and without oneDNN it refuses unequal strides.
Why not the native op for all: its registered gradient ignores the dilation, so it only ever describes an exported
graph, which nobody differentiates.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from typing import Any

from tfsep._backend import tf
from tfsep.geometry import Pair, Window

Lowering = Callable[[Any, Any, Window], Any]

_EXPORTING: ContextVar[bool] = ContextVar("exporting", default=False)


@contextmanager
def exporting() -> Iterator[None]:
    """While open, convolutions are traced in the form that the ``.tflite`` converter turns into one builtin op.

    What is traced is to be exported: its gradient is wrong.

    Example:
        >>> from tfsep.ops import depthwise_conv2d
        >>> run = tf.function(lambda x: depthwise_conv2d(x, tf.ones((3, 3, 2, 1)), strides=2, rate=2))
        >>> with exporting():
        ...     graph = run.get_concrete_function(tf.TensorSpec((1, 8, 8, 2))).graph
        >>> [op.type for op in graph.get_operations() if "Depthwise" in op.type or "Space" in op.type]
        ['DepthwiseConv2dNative']
    """
    token = _EXPORTING.set(True)
    try:
        yield
    finally:
        _EXPORTING.reset(token)


def conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve x (N, H, W, C) with filter (kh, kw, C / groups, F)."""
    return _images_or_none(_conv2d, x, filter, window, filter.shape[3])


def depthwise_conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve each channel of x (N, H, W, C) with its own filters (kh, kw, C, M): (N, H', W', C·M)."""
    if _EXPORTING.get():
        return _native_depthwise(x, filter, window)
    return _images_or_none(_depthwise, x, filter, window, filter.shape[2] * filter.shape[3])


def _conv2d(x: Any, filter: Any, window: Window) -> Any:
    groups = 1 if x.shape[3] is None else x.shape[3] // filter.shape[2]
    if (groups == 1 and window.rate == (1, 1)) or _EXPORTING.get() or _has_native_gradients(x.dtype.name):
        x, padding = _explicit_padding(x, window)
        return tf.nn.conv2d(x, filter, strides=window.strides, padding=padding, dilations=window.rate)
    pairs = zip(tf.split(x, groups, axis=3), tf.split(filter, groups, axis=3), strict=True)
    return tf.concat([_dilated_conv2d(part, kernel, window) for part, kernel in pairs], axis=3)


def _dilated_conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve one group by TensorFlow's space-to-batch, at stride 1, and take every s-th result."""
    x = _pad(x, _pads(x, window))
    y = tf.nn.convolution(x, filter, padding="VALID", dilations=window.rate)
    return y[:, :: window.strides[0], :: window.strides[1], :]


@cache
def _has_native_gradients(dtype: str) -> bool:
    """Whether this build differentiates a grouped, dilated ``tf.nn.conv2d``: found out once, by doing it.

    oneDNN's kernels do, and there are none for float64, nor on a build or machine without oneDNN.
    """
    window = {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": [1, 2, 2, 1]}
    with tf.init_scope():
        x, filter, upstream = (tf.ones(shape, dtype) for shape in ((1, 3, 3, 2), (2, 2, 1, 2), (1, 1, 1, 2)))
        try:
            to_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=filter, out_backprop=upstream, **window)
            to_filter = tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=filter.shape, out_backprop=upstream, **window
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
        corners = tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]], dtype)[None, ..., None]
        return bool(tf.reduce_all(to_x == corners) and tf.reduce_all(to_filter == filter))


def _native_depthwise(x: Any, filter: Any, window: Window) -> Any:
    x, padding = _explicit_padding(x, window)
    strides, rate = [1, *window.strides, 1], [1, *window.rate, 1]
    return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=filter, strides=strides, padding=padding, dilations=rate)


def _depthwise(x: Any, filter: Any, window: Window) -> Any:
    down, across = window.strides
    if (down, across) == (1, 1) or (window.rate == (1, 1) and down == across):
        x, padding = _explicit_padding(x, window)
        return tf.nn.depthwise_conv2d(x, filter, [1, down, across, 1], padding, dilations=window.rate)
    x = _pad(x, _pads(x, window))
    y = tf.nn.depthwise_conv2d(x, filter, [1, 1, 1, 1], "VALID", dilations=window.rate)
    return y[:, ::down, ::across, :]


def _images_or_none(lowered: Lowering, x: Any, filter: Any, window: Window, channels: int) -> Any:
    """Convolve a batch that may turn out to have no image in it.

    TensorFlow's ops then return a wrong shape, and a filter gradient of uninitialised memory. Both mends cost nothing
    for a batch that has images: the result is reshaped to what it should be, and the gradient is masked where it passes
    the filter. A batch that is known to have images is left alone.
    """
    x = _large_enough(x, window)
    if x.shape[0] is not None and x.shape[0] > 0:
        return lowered(x, filter, window)
    rows, columns = _output_size(x, window)
    count = tf.shape(x)[0]
    filter = tf.where(count > 0, filter, tf.zeros_like(filter))
    return tf.reshape(lowered(x, filter, window), [count, rows, columns, channels])


def _large_enough(x: Any, window: Window) -> Any:
    """Return x, with its size checked when the graph runs where it is not known before.

    An output of no size is an error for a size that is known (`Window.output_size`), and must be one here: with oneDNN,
    TensorFlow's kernels return it in the input's shape, filled with uninitialised memory.
    """
    if _static_size(x) is not None:
        return x
    expected = f"at least the effective kernel {window.effective_kernel} under padding {window.padding}"
    some = tf.reduce_all(tf.stack(_output_size(x, window)) > 0)
    check = tf.debugging.Assert(some, [f"input size: expected {expected}, got", tf.shape(x)[1:3]])
    with tf.control_dependencies([check]):
        return tf.identity(x)


def _explicit_padding(x: Any, window: Window) -> tuple[Any, str]:
    """Return x, padded where TensorFlow's op could not do it itself, and the padding left to the op.

    Padding in pixels that is just SAME for an input of this size stays with the op: one op less in an exported graph.
    """
    if isinstance(window.padding, str):
        return x, window.padding.upper()
    if window.padding == ((0, 0), (0, 0)):
        return x, "VALID"
    size = _static_size(x)
    if size is not None and window.padding == replace(window, padding="same").pads(size):
        return x, "SAME"
    return _pad(x, window.padding), "VALID"


def _pad(x: Any, pads: Any) -> Any:
    return tf.pad(x, [(0, 0), *pads, (0, 0)])


def _static_size(x: Any) -> Pair | None:
    rows, columns = x.shape[1], x.shape[2]
    return None if rows is None or columns is None else (rows, columns)


def _pads(x: Any, window: Window) -> Any:
    """The padding in pixels: ints where the size is known or does not matter, tensors where it is not known."""
    size = _static_size(x)
    if window.padding != "same" or size is not None:
        return window.pads(size or (1, 1))
    outputs, strides = tf.stack(_output_size(x, window)), tf.constant(window.strides)
    total = tf.maximum((outputs - 1) * strides + tf.constant(window.effective_kernel) - tf.shape(x)[1:3], 0)
    return tuple((total[axis] // 2, total[axis] - total[axis] // 2) for axis in (0, 1))


def _output_size(x: Any, window: Window) -> tuple[Any, Any]:
    """Rows and columns of the result: ints where the size is known, tensors where it is not."""
    size = _static_size(x)
    if size is not None:
        return window.output_size(size)
    given, strides = tf.shape(x)[1:3], tf.constant(window.strides)
    if window.padding == "same":
        outputs = -(-given // strides)
    else:
        around = tf.reduce_sum(tf.constant(window.pads((1, 1))), axis=1)
        outputs = (given + around - tf.constant(window.effective_kernel)) // strides + 1
    return outputs[0], outputs[1]
