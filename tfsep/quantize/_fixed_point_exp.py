"""Softmax and the logistic function of the reference kernels: in 32-bit fixed point, without floats.

Numbers are int64 tensors that hold int32; with k integer bits, their value is ``raw · 2^(k − 31)``.

Source: gemmlowp's ``fixedpoint.h`` (``exp_on_negative_values``, ``one_over_one_plus_x_for_x_in_0_1``, ``logistic``)
and TensorFlow Lite's reference kernels. The tests compare them with LiteRT.
"""

from math import exp

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.quantize._fixed_point import ONE, high_product, multiplier_of, shift_left, shift_right

_ONE = 2**31 - 1
"""One with no integer bits: the largest number."""


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
    return tf.where(x == 0, ONE * _ONE, result)


def inverse_of_one_plus(x: Tensor) -> Tensor:
    """Return 1 / (1 + x) for x in [0, 1), both with no integer bits: three of Newton's steps, in two integer bits."""
    half = tf.bitwise.right_shift(x + _ONE + 1, ONE)
    y = _constant(48 / 17, 2) + high_product(half, _constant(-32 / 17, 2))
    for _ in range(3):
        rest = _constant(1.0, 2) - high_product(half, y)
        y += shift_left(high_product(y, rest), ONE * 2, 32)
    return shift_left(y, ONE, 32)


def _rescaled(x: Tensor, scale: Tensor, integer_bits: int) -> tuple[Tensor, Tensor]:
    """Integers as numbers with integer bits, and the largest integer that these hold."""
    real = tf.minimum(tf.cast(scale, "float64") * 2.0 ** (31 - integer_bits), _ONE * 1.0)
    multiplier, exponent = multiplier_of(real)
    left = tf.maximum(exponent, 0)
    most = tf.floor(
        (2**integer_bits - 1) * 2.0 ** (31 - integer_bits) / tf.cast(tf.bitwise.left_shift(ONE, left), "float64")
    )
    product = high_product(tf.bitwise.left_shift(x, left), multiplier)
    return shift_right(product, tf.maximum(-exponent, 0)), tf.cast(most, "int64")


def softmax(x: Tensor, x_scale: Tensor, scale: Tensor) -> Tensor:  # noqa: ARG001
    """Return the softmax over the last axis of integers from the zero point, in units of 1/256."""
    whole = tf.cast(x, "int64")
    below = whole - tf.reduce_max(whole, -1, keepdims=True)
    scaled, most = _rescaled(below, x_scale, 5)
    counts = below >= -most
    powers = exp_of_negative(tf.where(counts, scaled, 0), 5)
    total = tf.reduce_sum(tf.where(counts, shift_right(powers, ONE * 12), 0), -1, keepdims=True)
    length = tf.bitwise.right_shift(tf.bitcast(tf.cast(total, "float64"), "int64"), 52) - 1022
    headroom = 32 - length
    inverse = inverse_of_one_plus(tf.bitwise.left_shift(total, headroom) - 2**31)
    result = shift_right(high_product(inverse, powers), 12 - headroom + 31 - 8)
    return tf.cast(tf.where(counts, result, 0), "float32")


def sigmoid(x: Tensor, x_scale: Tensor, scale: Tensor) -> Tensor:  # noqa: ARG001
    """Return the logistic function of integers from the zero point, in units of 1/256."""
    whole = tf.cast(x, "int64")
    scaled, most = _rescaled(whole, x_scale, 4)
    size = tf.where(tf.abs(whole) < most, tf.abs(scaled), 0)
    upper = inverse_of_one_plus(exp_of_negative(-size, 4))
    result = tf.where(whole > 0, upper, tf.where(whole < 0, _ONE - upper, ONE * 2**30))
    rounded = shift_right(result, ONE * 23)
    return tf.cast(tf.where(tf.abs(whole) < most, rounded, tf.where(whole > 0, ONE * 255, 0)), "float32")
