"""Checks, when the graph runs, of what is unknown when it is traced: sizes below a kernel, an empty batch."""

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.geometry import Pair, Transposed, Window
from tfsep.ops import _window_arithmetic as windows
from tfsep.ops._pixel_layout import Size, are_known, batch_size, spatial_size
from tfsep.ops._window_arithmetic import ONE


def check_input_size(x: Tensor, window: Window) -> Tensor:
    """Return x, with a check when the graph runs that its size, if unknown, leaves an output.

    For a known size `Window.output_size` has checked it. The check is needed: with oneDNN, TensorFlow's kernels return
    an output of no size in the input's shape, filled with uninitialised memory.
    """
    if are_known(*spatial_size(x)):
        return x
    outputs = windows.output_size(spatial_size(x), window)
    size = f"the effective kernel {window.as_given(window.effective_kernel)}"
    return _assert_at_least(x, outputs, ONE, size, window)


def check_transposed_size(x: Tensor, geometry: Transposed) -> Tensor:
    """Return x, with a check when the graph runs that its size, if unknown, leaves an output."""
    if are_known(*spatial_size(x)):
        return x
    size = str(geometry.window.as_given(geometry.smallest))
    return _assert_at_least(x, spatial_size(x), geometry.smallest, size, geometry.window)


def check_batch(x: Tensor) -> Tensor:
    """Return x, with a check when the graph runs that its batch, if unknown, is not empty."""
    if x.shape[0] is not None:
        return x
    count = batch_size(x)
    return _checked(x, count > 0, "batch: expected one image or more, got", count)


def _assert_at_least(x: Tensor, value: Size, least: Pair, size: str, window: Window) -> Tensor:
    """Return x, with a check when the graph runs that `value` is at least `least`; `size` is the size expected of x."""
    expected = f"input size: expected at least {size} under padding {window.as_given(window.padding)}, got"
    return _checked(x, tf.reduce_all(tf.stack(value) >= least), expected, tf.shape(x)[3 - window.rank : 3])


def _checked(x: Tensor, condition: Tensor, expected: str, given: Tensor) -> Tensor:
    """Return x, with a check when the graph runs; a file converter leaves it out."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [expected, given])]):
        return tf.identity(x)
