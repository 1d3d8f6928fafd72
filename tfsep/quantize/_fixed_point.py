"""Fixed-point arithmetic as gemmlowp has it, on int64 tensors that hold what C's smaller integers do.

Source: B. Jacob et al. (arXiv 1712.05877), section 2.2 and appendix B, and the functions of gemmlowp's
``fixedpoint.h`` that are named here; they are compared with LiteRT in the tests.
"""

from typing import Any

import numpy as np

from tfsep._keras.backend import tf

# No tensor: the first one starts TensorFlow, and whoever imports this may still have devices to set up.
ONE = np.int64(1)


def multiplier_of(real: Any) -> tuple[Any, Any]:
    """Return a positive float64 as a 31-bit multiplier and an exponent: ``multiplier · 2^(exponent − 31)``."""
    exponent = tf.bitwise.right_shift(tf.bitcast(real, "int64"), 52) - 1022
    power = tf.bitcast(tf.bitwise.left_shift(1023 - exponent, 52), "float64")
    multiplier = tf.cast(tf.floor(real * power * 2.0**31 + 0.5), "int64")
    full = multiplier == 2**31
    return tf.where(full, multiplier // 2, multiplier), tf.where(full, exponent + 1, exponent)


def high_product(a: Any, b: Any, bits: int = 32) -> Any:
    """``SaturatingRoundingDoublingHighMul``: the upper half of twice a product, rounded, of integers of `bits`."""
    product, half = a * b, 2 ** (bits - 2)
    nudged = product + tf.where(product >= 0, ONE * half, ONE - half)
    return _toward_zero(nudged, bits - 1)


def truncated_product(a: Any, b: Any) -> Any:
    """The same of 16-bit integers, cut off."""
    return _toward_zero(a * b, 15)


def _toward_zero(x: Any, bits: int) -> Any:
    """x over a power of two, as C divides."""
    return tf.sign(x) * tf.bitwise.right_shift(tf.abs(x), ONE * bits)


def shift_right(x: Any, bits: Any) -> Any:
    """``RoundingDivideByPOT``: x over 2 to `bits`, halves away from zero."""
    mask = tf.bitwise.left_shift(ONE, bits) - 1
    threshold = tf.bitwise.right_shift(mask, ONE) + tf.cast(x < 0, "int64")
    return tf.bitwise.right_shift(x, bits) + tf.cast(tf.bitwise.bitwise_and(x, mask) > threshold, "int64")


def shift_left(x: Any, bits: Any, width: int) -> Any:
    """``SaturatingLeftShift``: x times 2 to `bits`, held to integers of `width` bits."""
    limit = 2 ** (width - 1)
    return tf.clip_by_value(tf.bitwise.left_shift(x, bits), -limit, limit - 1)


def times(x: Any, real: Any) -> Any:
    """Whole numbers times a positive real one, rounded twice."""
    return times_fixed(x, *multiplier_of(real))


def times_fixed(x: Any, multiplier: Any, exponent: Any) -> Any:
    """``MultiplyByQuantizedMultiplier``: the same, of a real one as `multiplier_of` returns it."""
    left, right = tf.maximum(exponent, 0), tf.maximum(-exponent, 0)
    return shift_right(high_product(tf.bitwise.left_shift(x, left), multiplier), right)


def _multiplier16(real: Any) -> tuple[Any, Any]:
    """A positive float32 as a 15-bit multiplier and an exponent."""
    multiplier, exponent = multiplier_of(tf.cast(real, "float64"))
    return tf.minimum(tf.bitwise.right_shift(multiplier + 2**15, ONE * 16), 2**15 - 1), exponent


def times_once(x: Any, real: Any) -> Any:
    """Whole numbers times a positive real one, rounded once, halves up."""
    multiplier, exponent = multiplier_of(real)
    bits = 31 - exponent
    return tf.bitwise.right_shift(x * multiplier + tf.bitwise.left_shift(ONE, bits - 1), bits)


def hard_silu(x: Any, x_scale: Any, scale: Any) -> Any:
    """Return the steps of ``x · relu6(x + 3) / 6`` for steps x, in 16 bits: the kernel of TensorFlow Lite itself."""
    fine = tf.cast(x, "int64") * 2**7
    fine_scale = x_scale / 128
    out_multiplier, out_exponent = _multiplier16(fine_scale / scale)
    in_multiplier, in_exponent = _multiplier16(fine_scale / tf.constant(3 / 32768, "float32"))
    before_shift = high_product(fine, out_multiplier, 16)
    # (x / 3), held to [−1, 1), in steps of 2^−15.
    gate = shift_left(fine, tf.maximum(in_exponent - 1, 0), 16)
    gate = high_product(gate, in_multiplier, 16)
    gate = shift_left(gate, tf.cast(in_exponent > 0, "int64"), 16)
    gate = shift_right(gate, tf.maximum(-in_exponent, 0))
    gate = tf.bitwise.right_shift(gate + 2**15, ONE)
    product = truncated_product(gate, before_shift)
    return tf.cast(shift_right(product, -out_exponent), "float32")
