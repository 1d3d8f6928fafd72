"""What runtimes compute on 8-bit numbers, to the last bit: the arithmetic of their kernels in TensorFlow.

Every function takes steps from zero, whole numbers in float32, and the scales of what goes in and comes out, and
returns steps from the zero of the result, before they are held to 8 bits. XNNPACK multiplies sums by float32 scales and
rounds once, half to even, but for addition and LeakyReLU, which have fixed-point multipliers. The reference kernels
multiply by 31-bit integers and round twice.

Sources: XNNPACK's kernels (``qs8-*``), as LiteRT runs them; B. Jacob et al. (arXiv 1712.05877), section 2.2, and its
implementation in gemmlowp; both are compared with LiteRT in the tests.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfsep._backend import tf

Kernel = Callable[..., Any]


class Kernels(NamedTuple):
    """The kernels of a runtime.

    Attributes:
        scaled: (sums, real worth of one, scale) → steps: what convolutions and dense layers end with.
        add, multiply: (a, scale of a, b, scale of b, scale) → steps.
        mean: (sums, their count, scale of the input, scale) → steps.
        leaky: (x, negative slope, scale of x, scale) → steps.
        functions: whether a function of one number is computed in float32 and rounded once.
    """

    scaled: Kernel
    add: Kernel
    multiply: Kernel
    mean: Kernel
    leaky: Kernel
    functions: bool


def _xnnpack_scaled(sums: Any, worth: Any, scale: Any) -> Any:
    return tf.round(sums * (tf.cast(worth, "float32") / scale))


def _power_of_two(exponent: Any) -> Any:
    """2 to whole numbers, float32, exactly."""
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), "float32")


def _xnnpack_add(a: Any, a_scale: Any, b: Any, b_scale: Any, scale: Any) -> Any:
    ratios = a_scale / scale, b_scale / scale
    # The larger of the two multipliers has 21 bits.
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.maximum(*ratios), "int32"), 23) - 127
    shift = 20 - exponent
    total = tf.bitwise.left_shift(1, shift - 1)
    for x, ratio in zip((a, b), ratios, strict=True):
        total += tf.cast(x, "int32") * tf.cast(tf.round(ratio * _power_of_two(shift)), "int32")
    return tf.cast(tf.bitwise.right_shift(total, shift), "float32")


def _xnnpack_multiply(a: Any, a_scale: Any, b: Any, b_scale: Any, scale: Any) -> Any:
    return tf.round(a * b * (a_scale * b_scale / scale))


def _xnnpack_mean(sums: Any, count: int, x_scale: Any, scale: Any) -> Any:
    return tf.round(sums * (x_scale * tf.constant(1 / count, "float32") / scale))


def _xnnpack_leaky(x: Any, slope: float, x_scale: Any, scale: Any) -> Any:
    ratio = x_scale / scale
    positive, negative = (tf.cast(tf.round(256 * part), "int32") for part in (ratio, slope * ratio))
    whole = tf.cast(x, "int32")
    # Eight bits behind the point; half goes up.
    product = tf.where(whole >= 0, whole * positive, whole * negative)
    return tf.cast(tf.bitwise.right_shift(product + 128, 8), "float32")


def _fixed_point(real: Any) -> tuple[Any, Any]:
    """A positive float64 as a 31-bit multiplier and an exponent, both int64: ``multiplier · 2^(exponent − 31)``."""
    exponent = tf.bitwise.right_shift(tf.bitcast(real, "int64"), 52) - 1022
    power = tf.bitcast(tf.bitwise.left_shift(1022 + tf.constant(1, "int64") - exponent, 52), "float64")
    multiplier = tf.cast(tf.floor(real * power * 2.0**31 + 0.5), "int64")
    full = multiplier == 2**31
    return tf.where(full, multiplier // 2, multiplier), tf.where(full, exponent + 1, exponent)


def _times(x: Any, real: Any) -> Any:
    """Whole numbers, int64, times a positive real one: a doubling high product rounded, then a rounding shift."""
    one = tf.constant(1, "int64")
    multiplier, exponent = _fixed_point(real)
    left, right = tf.maximum(exponent, 0), tf.maximum(-exponent, 0)
    product = x * tf.bitwise.left_shift(one, left) * multiplier
    nudged = product + tf.where(product >= 0, one * 2**30, 1 - one * 2**30)
    # Toward zero, as integer division in C.
    high = tf.sign(nudged) * tf.bitwise.right_shift(tf.abs(nudged), 31)
    mask = tf.bitwise.left_shift(one, right) - 1
    rest = tf.bitwise.bitwise_and(high, mask)
    threshold = tf.bitwise.right_shift(mask, 1) + tf.cast(high < 0, "int64")
    return tf.bitwise.right_shift(high, right) + tf.cast(rest > threshold, "int64")


def _fixed(x: Any, real: Any) -> Any:
    return tf.cast(_times(tf.cast(x, "int64"), real), "float32")


def _real(*scales: Any) -> list[Any]:
    return [tf.cast(scale, "float64") for scale in scales]


def _reference_scaled(sums: Any, worth: Any, scale: Any) -> Any:
    return _fixed(sums, worth / tf.cast(scale, "float64"))


def _reference_add(a: Any, a_scale: Any, b: Any, b_scale: Any, scale: Any) -> Any:
    first, second, result = _real(a_scale, b_scale, scale)
    twice = 2 * tf.maximum(first, second)
    bits = 2**20
    total = sum(_times(tf.cast(x, "int64") * bits, own / twice) for x, own in ((a, first), (b, second)))
    return _fixed(total, twice / (bits * result))


def _reference_multiply(a: Any, a_scale: Any, b: Any, b_scale: Any, scale: Any) -> Any:
    first, second, result = _real(a_scale, b_scale, scale)
    return _fixed(a * b, first * second / result)


def _reference_mean(sums: Any, count: int, x_scale: Any, scale: Any) -> Any:
    source, result = _real(x_scale, scale)
    return _fixed(sums, source / result / count)


def _reference_leaky(x: Any, slope: float, x_scale: Any, scale: Any) -> Any:
    source, result = _real(x_scale, scale)
    slope64 = tf.cast(tf.constant(slope, "float32"), "float64")
    return tf.where(x >= 0, _fixed(x, source / result), _fixed(x, slope64 * source / result))


KERNELS = {
    "xnnpack": Kernels(
        _xnnpack_scaled, _xnnpack_add, _xnnpack_multiply, _xnnpack_mean, _xnnpack_leaky, functions=True
    ),
    "reference": Kernels(
        _reference_scaled, _reference_add, _reference_multiply, _reference_mean, _reference_leaky, functions=False
    ),
}
