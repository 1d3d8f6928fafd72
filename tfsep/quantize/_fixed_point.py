"""Fixed-point arithmetic as in gemmlowp, on int64 tensors in place of C's smaller integers.

Source: B. Jacob et al. (arXiv 1712.05877), section 2.2 and appendix B, and the functions of gemmlowp's
``fixedpoint.h`` that are named here. The tests compare them with LiteRT.
"""

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

# Not a tensor: the first tensor starts TensorFlow, and the importer may still have devices to set up.
ONE = np.int64(1)


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


def _multiplier16(real: Tensor) -> tuple[Tensor, Tensor]:
    """A positive float32 as a 15-bit multiplier and an exponent."""
    multiplier, exponent = multiplier_of(tf.cast(real, "float64"))
    return tf.minimum(tf.bitwise.right_shift(multiplier + 2**15, ONE * 16), 2**15 - 1), exponent


def times_once(x: Tensor, real: Tensor) -> Tensor:
    """Integers times a positive real number, rounded once, halves up."""
    multiplier, exponent = multiplier_of(real)
    bits = 31 - exponent
    return tf.bitwise.right_shift(x * multiplier + tf.bitwise.left_shift(ONE, bits - 1), bits)


def hard_silu(x: Tensor, x_scale: Tensor, scale: Tensor) -> Tensor:
    """Return ``x · relu6(x + 3) / 6`` of integers from the zero point, in 16 bits: the kernel of TensorFlow Lite."""
    fine = tf.cast(x, "int64") * 2**7
    fine_scale = x_scale / 128
    out_multiplier, out_exponent = _multiplier16(fine_scale / scale)
    in_multiplier, in_exponent = _multiplier16(fine_scale / tf.constant(3 / 32768, "float32"))
    before_shift = high_product(fine, out_multiplier, 16)
    # (x / 3), clipped to [−1, 1), in units of 2^−15.
    gate = shift_left(fine, tf.maximum(in_exponent - 1, 0), 16)
    gate = high_product(gate, in_multiplier, 16)
    gate = shift_left(gate, tf.cast(in_exponent > 0, "int64"), 16)
    gate = shift_right(gate, tf.maximum(-in_exponent, 0))
    gate = tf.bitwise.right_shift(gate + 2**15, ONE)
    product = truncated_product(gate, before_shift)
    return tf.cast(shift_right(product, -out_exponent), "float32")
