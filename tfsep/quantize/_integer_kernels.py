"""The arithmetic of the runtimes' 8-bit kernels, bit by bit, in TensorFlow.

Each function takes integers from the zero point, whole numbers in float32, followed by their scale, and last the scale
of the result. It returns integers from the zero point of the result, before they are clipped to 8 bits. XNNPACK
multiplies by float32 scales and rounds once, half to even, except in addition and LeakyReLU, which have fixed-point
multipliers. The reference kernels, those of TensorFlow Lite for Microcontrollers, multiply by 31-bit integers and round
twice.

Sources: XNNPACK's kernels (``qs8-*``), as LiteRT runs them; B. Jacob et al. (arXiv 1712.05877), section 2.2, and its
implementation in gemmlowp. The tests compare both with LiteRT, and the dense layers of the reference kernels with
recorded results of TensorFlow Lite for Microcontrollers.
"""

from collections.abc import Callable, Sequence
from math import prod

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.quantize._fixed_point import ONE, multiplier_of, times, times_fixed, times_once


def rounded_once(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the kernel of a function that is computed in float32, and then rounded."""
    return lambda x, x_scale, scale: tf.round(function(x * x_scale) / scale)


def xnnpack_requantize(sums: Tensor, accumulator_scale: Tensor, scale: Tensor) -> Tensor:
    """Return the sums of a convolution or dense layer as integers of the result."""
    return tf.round(sums * (tf.cast(accumulator_scale, "float32") / scale))


def reference_requantize(sums: Tensor, accumulator_scale: Tensor, scale: Tensor) -> Tensor:
    """Return the sums of a convolution or dense layer as integers of the result."""
    return _times(sums, accumulator_scale / tf.cast(scale, "float64"))


def litert_reference_requantize_dense(sums: Tensor, accumulator_scale: Tensor, scale: Tensor) -> Tensor:
    """Return the sums of a dense layer as integers of the result, rounded once, as LiteRT's reference kernel does."""
    return _float32(times_once(tf.cast(sums, "int64"), accumulator_scale / tf.cast(scale, "float64")))


def xnnpack_add(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, scale: Tensor) -> Tensor:
    """Return a + b."""
    ratios = a_scale / scale, b_scale / scale
    # The larger of the two multipliers has 21 bits.
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.maximum(*ratios), "int32"), 23) - 127
    shift = 20 - exponent
    total = tf.bitwise.left_shift(1, shift - 1)
    for x, ratio in zip((a, b), ratios, strict=True):
        total += tf.cast(x, "int32") * tf.cast(tf.round(ratio * _power_of_two(shift)), "int32")
    return _float32(tf.bitwise.right_shift(total, shift))


def reference_add(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, scale: Tensor) -> Tensor:
    """Return a + b."""
    first, second, result = _float64(a_scale, b_scale, scale)
    twice = 2 * tf.maximum(first, second)
    bits = 2**20
    total = sum(times(tf.cast(x, "int64") * bits, own / twice) for x, own in ((a, first), (b, second)))
    return _times(total, twice / (bits * result))


def xnnpack_multiply(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, scale: Tensor) -> Tensor:
    """Return a · b."""
    return tf.round(a * b * (a_scale * b_scale / scale))


def reference_multiply(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, scale: Tensor) -> Tensor:
    """Return a · b."""
    first, second, result = _float64(a_scale, b_scale, scale)
    return _times(a * b, first * second / result)


def xnnpack_mean(x: Tensor, x_scale: Tensor, scale: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """Return the mean over some axes."""
    sums, count = _sums(x, axes, keepdims)
    return tf.round(sums * (x_scale * tf.constant(1 / count, "float32") / scale))


def reference_mean(x: Tensor, x_scale: Tensor, scale: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """Return the mean over some axes."""
    sums, count = _sums(x, axes, keepdims)
    source, result = _float64(x_scale, scale)
    multiplier, exponent = multiplier_of(source / result)
    # The multiplier, shifted left by the count's bits behind its first, is divided by the count, and truncated.
    bits = tf.minimum(tf.minimum(ONE * (count.bit_length() - 1), 32), 31 + exponent)
    shared = tf.bitwise.left_shift(multiplier, bits) // count
    return _float32(times_fixed(tf.cast(sums, "int64"), shared, exponent - bits))


def xnnpack_leaky_relu(x: Tensor, x_scale: Tensor, scale: Tensor, slope: float) -> Tensor:
    """Return x where it is positive, and slope · x elsewhere."""
    ratio = x_scale / scale
    positive, negative = (tf.cast(tf.round(256 * part), "int32") for part in (ratio, slope * ratio))
    whole = tf.cast(x, "int32")
    # Eight bits behind the point; half goes up.
    product = tf.where(whole >= 0, whole * positive, whole * negative)
    return _float32(tf.bitwise.right_shift(product + 128, 8))


def reference_leaky_relu(x: Tensor, x_scale: Tensor, scale: Tensor, slope: float) -> Tensor:
    """Return x where it is positive, and slope · x elsewhere."""
    source, result = _float64(x_scale, scale)
    slope64 = tf.cast(tf.constant(slope, "float32"), "float64")
    return tf.where(x >= 0, _times(x, source / result), _times(x, slope64 * source / result))


def _sums(x: Tensor, axes: Sequence[int], keepdims: bool) -> tuple[Tensor, int]:
    """The sums over some axes, and the number of integers in each."""
    return tf.reduce_sum(x, axes, keepdims=keepdims), prod(x.shape[axis] for axis in axes)


def _power_of_two(exponent: Tensor) -> Tensor:
    """2 to a whole number, exactly, as float32."""
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), "float32")


def _times(x: Tensor, real: Tensor) -> Tensor:
    """Integers times a positive real number, rounded twice."""
    return _float32(times(tf.cast(x, "int64"), real))


def _float32(x: Tensor) -> Tensor:
    return tf.cast(x, "float32")


def _float64(*scales: Tensor) -> list[Tensor]:
    return [tf.cast(scale, "float64") for scale in scales]
