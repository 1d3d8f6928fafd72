"""What runtimes compute on 8-bit numbers, to the last bit: the arithmetic of their kernels in TensorFlow.

Every function takes steps from zero, whole numbers in float32, and the scales of what goes in and comes out, and
returns steps from the zero of the result, before they are held to 8 bits. XNNPACK multiplies sums by float32 scales and
rounds once, half to even, but for addition and LeakyReLU, which have fixed-point multipliers. The reference kernels, as
TensorFlow Lite for Microcontrollers has them, multiply by 31-bit integers and round twice.

Sources: XNNPACK's kernels (``qs8-*``), as LiteRT runs them; B. Jacob et al. (arXiv 1712.05877), section 2.2, and its
implementation in gemmlowp; both are compared with LiteRT in the tests, the dense layers of the reference kernels with
what TensorFlow Lite for Microcontrollers returned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tfsep._keras.backend import tf
from tfsep.quantize._fixed_point import ONE, hard_silu, multiplier_of, times, times_fixed, times_once
from tfsep.quantize._fixed_point_exp import sigmoid, softmax

Kernel = Callable[..., Any]


class Kernels(NamedTuple):
    """The kernels of a runtime.

    Attributes:
        scaled: (sums, real worth of one, scale) → steps: what convolutions end with.
        dense: the same of dense layers.
        add, multiply: (a, scale of a, b, scale of b, scale) → steps.
        mean: (sums, their count, scale of the input, scale) → steps.
        leaky: (x, negative slope, scale of x, scale) → steps.
        functions: by name, (x, scale of x, scale) → steps.
    """

    scaled: Kernel
    dense: Kernel
    add: Kernel
    multiply: Kernel
    mean: Kernel
    leaky: Kernel
    functions: dict[str, Kernel]


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


def _fixed(x: Any, real: Any) -> Any:
    return tf.cast(times(tf.cast(x, "int64"), real), "float32")


def _real(*scales: Any) -> list[Any]:
    return [tf.cast(scale, "float64") for scale in scales]


def _reference_scaled(sums: Any, worth: Any, scale: Any) -> Any:
    return _fixed(sums, worth / tf.cast(scale, "float64"))


def _litert_dense(sums: Any, worth: Any, scale: Any) -> Any:
    return tf.cast(times_once(tf.cast(sums, "int64"), worth / tf.cast(scale, "float64")), "float32")


def _reference_add(a: Any, a_scale: Any, b: Any, b_scale: Any, scale: Any) -> Any:
    first, second, result = _real(a_scale, b_scale, scale)
    twice = 2 * tf.maximum(first, second)
    bits = 2**20
    total = sum(times(tf.cast(x, "int64") * bits, own / twice) for x, own in ((a, first), (b, second)))
    return _fixed(total, twice / (bits * result))


def _reference_multiply(a: Any, a_scale: Any, b: Any, b_scale: Any, scale: Any) -> Any:
    first, second, result = _real(a_scale, b_scale, scale)
    return _fixed(a * b, first * second / result)


def _reference_mean(sums: Any, count: int, x_scale: Any, scale: Any) -> Any:
    source, result = _real(x_scale, scale)
    multiplier, exponent = multiplier_of(source / result)
    # The multiplier is divided by the count, and cut off, with as many bits in front as the count has behind its first.
    bits = tf.minimum(tf.minimum(ONE * (count.bit_length() - 1), 32), 31 + exponent)
    shared = tf.bitwise.left_shift(multiplier, bits) // count
    return tf.cast(times_fixed(tf.cast(sums, "int64"), shared, exponent - bits), "float32")


def _reference_leaky(x: Any, slope: float, x_scale: Any, scale: Any) -> Any:
    source, result = _real(x_scale, scale)
    slope64 = tf.cast(tf.constant(slope, "float32"), "float64")
    return tf.where(x >= 0, _fixed(x, source / result), _fixed(x, slope64 * source / result))


def _rounded_once(function: Callable[[Any], Any]) -> Kernel:
    """A function that is computed in float32, of each of the 256 numbers or of all."""
    return lambda x, x_scale, scale: tf.round(function(x * x_scale) / scale)


KERNELS = {
    "xnnpack": Kernels(
        _xnnpack_scaled,
        _xnnpack_scaled,
        _xnnpack_add,
        _xnnpack_multiply,
        _xnnpack_mean,
        _xnnpack_leaky,
        {
            "sigmoid": _rounded_once(tf.nn.sigmoid),
            "tanh": _rounded_once(tf.nn.tanh),
            "softmax": _rounded_once(tf.nn.softmax),
            "hard_silu": hard_silu,
        },
    ),
    "reference": Kernels(
        _reference_scaled,
        _reference_scaled,
        _reference_add,
        _reference_multiply,
        _reference_mean,
        _reference_leaky,
        {"softmax": softmax, "sigmoid": sigmoid, "hard_silu": hard_silu},
    ),
}

LITERT = {**KERNELS, "reference": KERNELS["reference"]._replace(dense=_litert_dense)}
"""The same as LiteRT has them, which rounds once at the end of a dense layer where microcontrollers round twice."""
