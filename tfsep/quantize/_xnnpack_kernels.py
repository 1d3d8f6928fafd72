"""The 8-bit kernels of XNNPACK (``runtime="xnnpack"``), bit by bit, in TensorFlow: one function for each.

A kernel takes integers from the zero point, whole numbers in float32, each followed by its quantization parameters, and
last those of the result. It returns integers from the zero point of the result, before they are clipped to 8 bits.
XNNPACK multiplies by float32 scales and rounds once, half to even, except in addition, LeakyReLU and interpolation,
which have fixed-point multipliers, and in softmax, which is LiteRT's own. Means and squares are rounded with the zero
point added, which an odd one shows in halves, and every one in the last place of float32.

The rows of `_operations` name the kernels. HardSwish and PReLU, which XNNPACK has not in 8 bits, are in
`_reference_kernels`; average pooling, the same in both runtimes, is in `_quantized_average_pooling`.

Source: XNNPACK's kernels (``qs8-*``), as LiteRT runs them. The tests compare them with LiteRT.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.quantize._fixed_point import sum_and_count
from tfsep.quantize._qparams import rounded_away


def rounded_once(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the kernel of a function that is computed in float32, and then rounded."""
    return lambda x, own, qparams: tf.round(function(x * own[0]) / qparams[0])


def quantize(x: Tensor, qparams: Tensor) -> Tensor:
    """Return numbers as integers: multiplied by the reciprocal of the scale, and halves rounded to even ones."""
    return tf.round(tf.cast(x, "float32") * (1.0 / qparams[0]))


def requantize(sums: Tensor, accumulator_scale: Tensor, qparams: Tensor) -> Tensor:
    """Return the sums of a convolution or dense layer as integers of the result."""
    return tf.round(sums * (tf.cast(accumulator_scale, "float32") / qparams[0]))


def add(a: Tensor, a_qparams: Tensor, b: Tensor, b_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return a + b."""
    ratios = a_qparams[0] / qparams[0], b_qparams[0] / qparams[0]
    # The larger of the two multipliers has 21 bits.
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.maximum(*ratios), "int32"), 23) - 127
    shift = 20 - exponent
    total = tf.bitwise.left_shift(1, shift - 1)
    for x, ratio in zip((a, b), ratios, strict=True):
        total += tf.cast(x, "int32") * tf.cast(tf.round(ratio * _power_of_two(shift)), "int32")
    return tf.cast(tf.bitwise.right_shift(total, shift), "float32")


def subtract(a: Tensor, a_qparams: Tensor, b: Tensor, b_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return a − b."""
    return add(a, a_qparams, -b, b_qparams, qparams)


def bilinear(x: Tensor, own: Tensor, qparams: Tensor, size: Sequence[int], aligned: bool) -> Tensor:  # noqa: ARG001
    """Return images of another size, by bilinear interpolation between the centres of pixels, in 11 bits."""
    rows, columns = (_between_pixels(x.shape[axis], length, aligned) for axis, length in zip((1, 2), size, strict=True))
    stored = tf.cast(x, "int64") + tf.cast(own[1], "int64")
    lower, upper, weight = columns
    weight = tf.reshape(weight, (1, 1, -1, 1))
    left, right = tf.gather(stored, lower, axis=2), tf.gather(stored, upper, axis=2)
    mixed = left * 2**11 + weight * (right - left)
    lower, upper, weight = rows
    weight = tf.reshape(weight, (1, -1, 1, 1))
    above, below = tf.gather(mixed, lower, axis=1), tf.gather(mixed, upper, axis=1)
    total = above * 2**11 + weight * (below - above)
    return tf.cast(tf.bitwise.right_shift(total + 2**21, tf.constant(22, "int64")), "float32") - own[1]


def _between_pixels(size: int, length: int, aligned: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `length` pixels, the two of `size` that it is between, and how far from the first, in 1/2048.

    Aligned, the centres of the outermost pixels are the same.
    """
    places = np.arange(length, dtype=np.float32)
    if aligned:
        places *= np.float32(size - 1) / np.float32(max(length - 1, 1))
    else:
        places = (places + np.float32(0.5)) * (np.float32(size) / np.float32(length)) - np.float32(0.5)
    places = np.clip(places, 0, size - 1)
    lower = places.astype(np.int64)
    return lower, np.minimum(lower + 1, size - 1), np.rint((places - lower.astype(np.float32)) * 2048).astype(np.int64)


def multiply(a: Tensor, a_qparams: Tensor, b: Tensor, b_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return a · b."""
    return tf.round(a * b * (a_qparams[0] * b_qparams[0] / qparams[0]))


def square(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:
    """Return x · x, which has a kernel of its own: a table, made in float32."""
    real, zero = x * own[0], qparams[1]
    return tf.round(real * real * (1.0 / qparams[0]) + zero) - zero


def mean(x: Tensor, own: Tensor, qparams: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """Return the mean over some axes."""
    sums, count = sum_and_count(x, axes, keepdims)
    ratio, zero = own[0] / qparams[0] * tf.constant(1 / count, "float32"), qparams[1]
    # What is summed are the stored numbers; their zero points come off with the result's added.
    zeros = count * own[1]
    return tf.round((sums + zeros) * ratio + (zero - zeros * ratio)) - zero


def softmax(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:
    """Return softmax over the last axis: exponentials from a table, added up one after the other in float32."""
    below = x - tf.reduce_max(x, -1, keepdims=True)
    # As C computes them, without an error.
    exponentials = tf.cast(tf.exp(tf.cast(below * own[0], "float64")), "float32")
    # Cumulative sums are in order, others in any.
    total = tf.cumsum(exponentials, -1)[..., -1:]
    # XNNPACK has no such kernel: LiteRT's own rounds halves away from zero.
    return tf.cast(rounded_away(tf.cast(exponentials * (1.0 / (total * qparams[0])), "float64")), "float32")


def leaky_relu(x: Tensor, own: Tensor, qparams: Tensor, slope: float) -> Tensor:
    """Return x where it is positive, and slope · x elsewhere."""
    ratio = own[0] / qparams[0]
    positive, negative = (tf.cast(tf.round(256 * part), "int32") for part in (ratio, slope * ratio))
    whole = tf.cast(x, "int32")
    # Eight bits behind the point; half goes up.
    product = tf.where(whole >= 0, whole * positive, whole * negative)
    return tf.cast(tf.bitwise.right_shift(product + 128, 8), "float32")


def _power_of_two(exponent: Tensor) -> Tensor:
    """2 to a whole number, exactly, as float32."""
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), "float32")
