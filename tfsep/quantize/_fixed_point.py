"""Fixed-point arithmetic below the integer kernels: that of gemmlowp, on int64 tensors in place of C's integers.

Multipliers, roundings and shifts; and exp and 1 / (1 + x), without floats, of numbers in 32 bits: with k integer bits,
the value is ``raw · 2^(k − 31)``. The kernels are in `_xnnpack_kernels` and `_reference_kernels`.

Source: B. Jacob et al. (arXiv 1712.05877), section 2.2 and appendix B, and the functions of gemmlowp's
``fixedpoint.h`` (``exp_on_negative_values``, ``one_over_one_plus_x_for_x_in_0_1`` and those that are named below). The
tests compare them with LiteRT.
"""

from collections.abc import Sequence
from math import exp, prod

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

# Not a tensor: the first tensor starts TensorFlow, and the importer may still have devices to set up.
ONE = np.int64(1)

LARGEST = 2**31 - 1
"""The largest number of 32 bits: one, with no integer bits."""


def multiplier_of(real: Tensor) -> tuple[Tensor, Tensor]:
    """Return a positive float64 as a 31-bit multiplier and an exponent: ``multiplier · 2^(exponent − 31)``."""
    exponent = tf.bitwise.right_shift(tf.bitcast(real, "int64"), 52) - 1022
    power = tf.bitcast(tf.bitwise.left_shift(1023 - exponent, 52), "float64")
    multiplier = tf.cast(tf.floor(real * power * 2.0**31 + 0.5), "int64")
    full = multiplier == 2**31
    return tf.where(full, multiplier // 2, multiplier), tf.where(full, exponent + 1, exponent)


def high_product(a: Tensor, b: Tensor | np.int64, bits: int = 32) -> Tensor:
    """``SaturatingRoundingDoublingHighMul`` of integers of `bits`: the upper half of twice their product, rounded."""
    product, half = a * b, 2 ** (bits - 2)
    nudged = product + tf.where(product >= 0, ONE * half, ONE - half)
    return _toward_zero(nudged, bits - 1)


def truncated_product(a: Tensor, b: Tensor) -> Tensor:
    """The upper half of twice the product of 16-bit integers, truncated."""
    return _toward_zero(a * b, 15)


def _toward_zero(x: Tensor, bits: int) -> Tensor:
    """x / 2^bits, truncated, as C divides."""
    return tf.sign(x) * tf.bitwise.right_shift(tf.abs(x), ONE * bits)


def shift_right(x: Tensor, bits: Tensor | np.int64 | int) -> Tensor:
    """``RoundingDivideByPOT``: x / 2^bits, halves away from zero."""
    mask = tf.bitwise.left_shift(ONE, bits) - 1
    threshold = tf.bitwise.right_shift(mask, ONE) + tf.cast(x < 0, "int64")
    return tf.bitwise.right_shift(x, bits) + tf.cast(tf.bitwise.bitwise_and(x, mask) > threshold, "int64")


def shift_left(x: Tensor, bits: Tensor | np.int64, width: int) -> Tensor:
    """``SaturatingLeftShift``: x · 2^bits, clipped to integers of `width` bits."""
    limit = 2 ** (width - 1)
    return tf.clip_by_value(tf.bitwise.left_shift(x, bits), -limit, limit - 1)


def times(x: Tensor, real: Tensor) -> Tensor:
    """Integers times a positive real number, rounded twice."""
    return times_fixed(x, *multiplier_of(real))


def times_fixed(x: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    """``MultiplyByQuantizedMultiplier``: integers times a number given as `multiplier_of` returns it, rounded twice."""
    left, right = tf.maximum(exponent, 0), tf.maximum(-exponent, 0)
    return shift_right(high_product(tf.bitwise.left_shift(x, left), multiplier), right)


def multiplier16_of(real: Tensor) -> tuple[Tensor, Tensor]:
    """Return a positive float32 as a 15-bit multiplier and an exponent."""
    multiplier, exponent = multiplier_of(tf.cast(real, "float64"))
    return tf.minimum(tf.bitwise.right_shift(multiplier + 2**15, ONE * 16), 2**15 - 1), exponent


def times_once(x: Tensor, real: Tensor) -> Tensor:
    """Integers times a positive real number, rounded once, halves up."""
    multiplier, exponent = multiplier_of(real)
    bits = 31 - exponent
    return tf.bitwise.right_shift(x * multiplier + tf.bitwise.left_shift(ONE, bits - 1), bits)


def sum_and_count(x: Tensor, axes: Sequence[int], keepdims: bool) -> tuple[Tensor, int]:
    """Return the sums over some axes, and the number of integers in each."""
    return tf.reduce_sum(x, axes, keepdims=keepdims), prod(x.shape[axis] for axis in axes)


def _constant(real: float, integer_bits: int = 0) -> np.int64:
    return ONE * round(real * 2 ** (31 - integer_bits))


def _near_zero(x: Tensor) -> Tensor:
    """exp of x in [−1/4, 0): a polynomial of degree 4 around −1/8."""
    x += _constant(1 / 8)
    square = high_product(x, x)
    cube, fourth = high_product(square, x), high_product(square, square)
    higher = high_product(shift_right(fourth, ONE * 2) + cube, _constant(1 / 3)) + square
    middle = _constant(exp(-1 / 8))
    return middle + high_product(middle, x + shift_right(higher, ONE))


def exp_of_negative(x: Tensor, integer_bits: int) -> Tensor:
    """Return exp of x ≤ 0, with no integer bits: exp of the remainder under 1/4, times one factor per further bit."""
    fraction_bits = 31 - integer_bits
    quarter = ONE * 2 ** (fraction_bits - 2)
    small = tf.bitwise.bitwise_and(x, quarter - 1) - quarter
    result = _near_zero(shift_left(small, ONE * integer_bits, 32))
    rest = small - x
    for exponent in range(-2, integer_bits):
        bit = tf.bitwise.bitwise_and(rest, ONE * 2 ** (fraction_bits + exponent))
        result = tf.where(bit != 0, high_product(result, _constant(exp(-(2.0**exponent)))), result)
    return tf.where(x == 0, ONE * LARGEST, result)


def inverse_of_one_plus(x: Tensor) -> Tensor:
    """Return 1 / (1 + x) for x in [0, 1), both with no integer bits."""
    return shift_left(_twice_inverse_of_one_plus(x), ONE, 32)


def quotient_of_one_minus(x: Tensor) -> Tensor:
    """Return (1 − x) / (1 + x) for x in [0, 1), both with no integer bits."""
    return shift_left(_twice_inverse_of_one_plus(x) - _constant(1.0, 2), ONE * 2, 32)


def _twice_inverse_of_one_plus(x: Tensor) -> Tensor:
    """2 / (1 + x) for x in [0, 1), with two integer bits: three of Newton's steps."""
    half = tf.bitwise.right_shift(x + LARGEST + 1, ONE)
    y = _constant(48 / 17, 2) + high_product(half, _constant(-32 / 17, 2))
    for _ in range(3):
        rest = _constant(1.0, 2) - high_product(half, y)
        y += shift_left(high_product(y, rest), ONE * 2, 32)
    return y


def rescaled(x: Tensor, scale: Tensor, integer_bits: int) -> tuple[Tensor, Tensor]:
    """Return integers as numbers with integer bits, and the largest integer that these hold."""
    real = tf.minimum(tf.cast(scale, "float64") * 2.0 ** (31 - integer_bits), LARGEST * 1.0)
    multiplier, exponent = multiplier_of(real)
    left = tf.maximum(exponent, 0)
    most = tf.floor(
        (2**integer_bits - 1) * 2.0 ** (31 - integer_bits) / tf.cast(tf.bitwise.left_shift(ONE, left), "float64")
    )
    product = high_product(tf.bitwise.left_shift(x, left), multiplier)
    return shift_right(product, tf.maximum(-exponent, 0)), tf.cast(most, "int64")
