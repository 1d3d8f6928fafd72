"""The 8-bit kernels of XNNPACK (``runtime="xnnpack"``), bit by bit, in TensorFlow: one function for each.

A kernel takes integers from the zero point, whole numbers in float32, each followed by its quantization parameters, and
last those of the result. It returns integers from the zero point of the result, before they are clipped to 8 bits.
XNNPACK multiplies by float32 scales and rounds once, half to even, except in addition and LeakyReLU, which have
fixed-point multipliers. Means and squares are rounded with the zero point added, which an odd one shows in halves, and
every one in the last place of float32.

The rows of `_operations` name the kernels. HardSwish, which XNNPACK has not in 8 bits, is in `_reference_kernels`;
average pooling, the same in both runtimes, is in `_quantized_average_pooling`.

Source: XNNPACK's kernels (``qs8-*``), as LiteRT runs them. The tests compare them with LiteRT.
"""

from collections.abc import Callable, Sequence

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.quantize._fixed_point import sum_and_count


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
