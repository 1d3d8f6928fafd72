"""The 8-bit kernels of XNNPACK (``runtime="xnnpack"``), bit by bit, in TensorFlow: one function for each.

A kernel takes integers from the zero point, whole numbers in float32, each followed by its scale, and last the scale of
the result. It returns integers from the zero point of the result, before they are clipped to 8 bits. XNNPACK multiplies
by float32 scales and rounds once, half to even, except in addition and LeakyReLU, which have fixed-point multipliers.

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
    return lambda x, x_scale, scale: tf.round(function(x * x_scale) / scale)


def quantize(x: Tensor, scale: Tensor) -> Tensor:
    """Return numbers as integers: multiplied by the reciprocal of the scale, and halves rounded to even ones."""
    return tf.round(tf.cast(x, "float32") * (1.0 / scale))


def requantize(sums: Tensor, accumulator_scale: Tensor, scale: Tensor) -> Tensor:
    """Return the sums of a convolution or dense layer as integers of the result."""
    return tf.round(sums * (tf.cast(accumulator_scale, "float32") / scale))


def add(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, scale: Tensor) -> Tensor:
    """Return a + b."""
    ratios = a_scale / scale, b_scale / scale
    # The larger of the two multipliers has 21 bits.
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.maximum(*ratios), "int32"), 23) - 127
    shift = 20 - exponent
    total = tf.bitwise.left_shift(1, shift - 1)
    for x, ratio in zip((a, b), ratios, strict=True):
        total += tf.cast(x, "int32") * tf.cast(tf.round(ratio * _power_of_two(shift)), "int32")
    return tf.cast(tf.bitwise.right_shift(total, shift), "float32")


def multiply(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, scale: Tensor) -> Tensor:
    """Return a · b."""
    return tf.round(a * b * (a_scale * b_scale / scale))


def mean(x: Tensor, x_scale: Tensor, scale: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """Return the mean over some axes."""
    sums, count = sum_and_count(x, axes, keepdims)
    return tf.round(sums * (x_scale * tf.constant(1 / count, "float32") / scale))


def leaky_relu(x: Tensor, x_scale: Tensor, scale: Tensor, slope: float) -> Tensor:
    """Return x where it is positive, and slope · x elsewhere."""
    ratio = x_scale / scale
    positive, negative = (tf.cast(tf.round(256 * part), "int32") for part in (ratio, slope * ratio))
    whole = tf.cast(x, "int32")
    # Eight bits behind the point; half goes up.
    product = tf.where(whole >= 0, whole * positive, whole * negative)
    return tf.cast(tf.bitwise.right_shift(product + 128, 8), "float32")


def _power_of_two(exponent: Tensor) -> Tensor:
    """2 to a whole number, exactly, as float32."""
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), "float32")
