"""The 8-bit reference kernels (``runtime="reference"``), bit by bit, in TensorFlow: one function for each.

They are those of TensorFlow Lite for Microcontrollers. A kernel takes integers from the zero point, whole numbers in
float32, each followed by its quantization parameters, and last those of the result. It returns integers from the zero
point of the result, before they are clipped to 8 bits. It multiplies by 31-bit integers and rounds twice, with the
arithmetic of `_fixed_point`.

The rows of `_operations` name the kernels. A dense layer has two: LiteRT's own reference kernel rounds once. Average
pooling, the same in both runtimes, is in `_quantized_average_pooling`.

Sources: B. Jacob et al. (arXiv 1712.05877), section 2.2; TensorFlow Lite's reference kernels. The tests compare them
with LiteRT, and the dense layers with recorded results of TensorFlow Lite for Microcontrollers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.quantize._fixed_point import (
    LARGEST,
    ONE,
    exp_of_negative,
    high_product,
    inverse_of_one_plus,
    multiplier16_of,
    multiplier_of,
    quotient_of_one_minus,
    rescaled,
    shift_left,
    shift_right,
    sum_and_count,
    times,
    times_fixed,
    times_once,
    truncated_product,
)
from tfsep.quantize._qparams import rounded_away


def quantize(x: Tensor, qparams: Tensor) -> Tensor:
    """Return numbers as integers."""
    return _rounded(tf.cast(x, "float32") / qparams[0])


def constant(x: Tensor, scale: Tensor, qparams: Tensor) -> Tensor:
    """Return numbers as integers, as the converter rounds constants: by a scale in float64, stored halves from zero."""
    stored = tf.cast(x, "float64") / scale + tf.cast(qparams[1], "float64")
    return _float32(rounded_away(stored)) - qparams[1]


def table(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the kernel of a function of which TensorFlow Lite has a table of 256 numbers, made in float32.

    Under XNNPACK too, which leaves the operator to TensorFlow Lite.
    """
    return lambda x, own, qparams: _rounded(function(x * own[0]) * (1.0 / qparams[0]))


def requantize(sums: Tensor, accumulator_scale: Tensor, qparams: Tensor) -> Tensor:
    """Return the sums of a convolution or dense layer as integers of the result."""
    return _times(sums, accumulator_scale / tf.cast(qparams[0], "float64"))


def litert_requantize_dense(sums: Tensor, accumulator_scale: Tensor, qparams: Tensor) -> Tensor:
    """Return the sums of a dense layer as integers of the result, rounded once, as LiteRT's reference kernel does."""
    return _float32(times_once(tf.cast(sums, "int64"), accumulator_scale / tf.cast(qparams[0], "float64")))


def add(a: Tensor, a_qparams: Tensor, b: Tensor, b_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return a + b."""
    first, second, result = _scales(a_qparams, b_qparams, qparams)
    twice = 2 * tf.maximum(first, second)
    bits = 2**20
    total = sum(times(tf.cast(x, "int64") * bits, own / twice) for x, own in ((a, first), (b, second)))
    return _times(total, twice / (bits * result))


def subtract(a: Tensor, a_qparams: Tensor, b: Tensor, b_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return a − b."""
    return add(a, a_qparams, -b, b_qparams, qparams)


def multiply(a: Tensor, a_qparams: Tensor, b: Tensor, b_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return a · b."""
    first, second, result = _scales(a_qparams, b_qparams, qparams)
    return _times(a * b, first * second / result)


def square(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:
    """Return x · x."""
    return multiply(x, own, x, own, qparams)


def mean(x: Tensor, own: Tensor, qparams: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """Return the mean over some axes."""
    sums, count = sum_and_count(x, axes, keepdims)
    source, result = _scales(own, qparams)
    multiplier, exponent = multiplier_of(source / result)
    # The multiplier, shifted left by the count's bits behind its first, is divided by the count, and truncated.
    bits = tf.minimum(tf.minimum(ONE * (count.bit_length() - 1), 32), 31 + exponent)
    shared = tf.bitwise.left_shift(multiplier, bits) // count
    return _float32(times_fixed(tf.cast(sums, "int64"), shared, exponent - bits))


def leaky_relu(x: Tensor, own: Tensor, qparams: Tensor, slope: float) -> Tensor:
    """Return x where it is positive, and slope · x elsewhere; scales are divided in float64."""
    own_scale, scale = _scales(own, qparams)
    return _by_sign(x, x, own_scale / scale, own_scale * float(np.float32(slope)) / scale)


def litert_leaky_relu(x: Tensor, own: Tensor, qparams: Tensor, slope: float) -> Tensor:
    """Return the same with scales divided in float32, as LiteRT's reference kernel does."""
    return _by_sign(x, x, own[0] / qparams[0], own[0] * tf.constant(slope, "float32") / qparams[0])


def prelu(x: Tensor, own: Tensor, slopes: Tensor, slopes_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return x where it is positive, and slopes · x elsewhere; scales are divided in float64."""
    own_scale, slope_scale, scale = _scales(own, slopes_qparams, qparams)
    return _by_sign(x, x * slopes, own_scale / scale, own_scale * slope_scale / scale)


def litert_prelu(x: Tensor, own: Tensor, slopes: Tensor, slopes_qparams: Tensor, qparams: Tensor) -> Tensor:
    """Return the same with scales divided in float32, as LiteRT's reference kernel does.

    Under XNNPACK too, which leaves the operator to TensorFlow Lite.
    """
    return _by_sign(x, x * slopes, own[0] / qparams[0], own[0] * slopes_qparams[0] / qparams[0])


def _by_sign(x: Tensor, product: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """x times one number where it is positive, and a product times another one elsewhere."""
    return tf.where(x >= 0, _times(x, tf.cast(positive, "float64")), _times(product, tf.cast(negative, "float64")))


def hard_silu(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:
    """Return ``x · relu6(x + 3) / 6`` of integers from the zero point, in 16 bits.

    Under XNNPACK too, which leaves the operator to TensorFlow Lite.
    """
    fine = tf.cast(x, "int64") * 2**7
    fine_scale = own[0] / 128
    out_multiplier, out_exponent = multiplier16_of(fine_scale / qparams[0])
    in_multiplier, in_exponent = multiplier16_of(fine_scale / tf.constant(3 / 32768, "float32"))
    before_shift = high_product(fine, out_multiplier, 16)
    # (x / 3), clipped to [−1, 1), in units of 2^−15.
    gate = shift_left(fine, tf.maximum(in_exponent - 1, 0), 16)
    gate = high_product(gate, in_multiplier, 16)
    gate = shift_left(gate, tf.cast(in_exponent > 0, "int64"), 16)
    gate = shift_right(gate, tf.maximum(-in_exponent, 0))
    gate = tf.bitwise.right_shift(gate + 2**15, ONE)
    product = truncated_product(gate, before_shift)
    return tf.cast(shift_right(product, -out_exponent), "float32")


def bilinear(x: Tensor, own: Tensor, qparams: Tensor, size: Sequence[int], aligned: bool) -> Tensor:  # noqa: ARG001
    """Return images of another size, by bilinear interpolation between the centres of pixels, in 10 bits."""
    stored = tf.cast(x, "int64") + tf.cast(own[1], "int64")
    total = stored
    for axis, length in zip((1, 2), size, strict=True):
        lower, upper, weight = _between_pixels(x.shape[axis], length, aligned)
        weight = tf.reshape(weight, [-1 if each == axis else 1 for each in range(4)])
        total = tf.gather(total, lower, axis=axis) * (2**10 - weight) + tf.gather(total, upper, axis=axis) * weight
    # Halves away from zero.
    half = tf.where(total > 0, ONE * 2**19, -ONE * 2**19)
    return _float32(tf.sign(total) * tf.bitwise.right_shift(tf.abs(total + half), ONE * 20)) - own[1]


def _between_pixels(size: int, length: int, aligned: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `length` pixels, the two of `size` that it is between, and how far from the first, in 1/1024.

    Aligned, the centres of the outermost pixels are the same.
    """
    of, steps = (size - 1, max(length - 1, 1)) if aligned else (size, length)
    step = (2**10 * of + steps // 2) // steps
    places = np.arange(length) * step + (0 if aligned else step // 2 - 2**9)
    # C divides toward zero.
    lower = np.maximum(np.fix(places / 2**10).astype(np.int64), 0)
    upper = np.minimum(np.fix((places + 2**10 - 1) / 2**10).astype(np.int64), size - 1)
    return lower, upper, places - lower * 2**10


def sigmoid(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:  # noqa: ARG001
    """Return the logistic function of integers from the zero point, in units of 1/256."""
    whole = tf.cast(x, "int64")
    scaled, most = rescaled(whole, own[0], 4)
    size = tf.where(tf.abs(whole) < most, tf.abs(scaled), 0)
    upper = inverse_of_one_plus(exp_of_negative(-size, 4))
    result = tf.where(whole > 0, upper, tf.where(whole < 0, LARGEST - upper, ONE * 2**30))
    rounded = shift_right(result, ONE * 23)
    return tf.cast(tf.where(tf.abs(whole) < most, rounded, tf.where(whole > 0, ONE * 255, 0)), "float32")


def tanh(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:  # noqa: ARG001
    """Return tanh of integers from the zero point, in units of 1/128."""
    whole = tf.cast(x, "int64")
    scaled, most = rescaled(whole, own[0], 4)
    is_inside = tf.abs(whole) < most
    # Of twice the number: one more integer bit.
    power = exp_of_negative(-tf.where(is_inside, tf.abs(scaled), 0), 5)
    rounded = tf.sign(whole) * shift_right(quotient_of_one_minus(power), ONE * 24)
    signed = tf.where(is_inside, rounded, tf.sign(whole) * 128)
    return tf.cast(tf.minimum(signed, 127), "float32")


def softmax(x: Tensor, own: Tensor, qparams: Tensor) -> Tensor:  # noqa: ARG001
    """Return the softmax over the last axis of integers from the zero point, in units of 1/256."""
    whole = tf.cast(x, "int64")
    below = whole - tf.reduce_max(whole, -1, keepdims=True)
    scaled, most = rescaled(below, own[0], 5)
    counts = below >= -most
    powers = exp_of_negative(tf.where(counts, scaled, 0), 5)
    total = tf.reduce_sum(tf.where(counts, shift_right(powers, ONE * 12), 0), -1, keepdims=True)
    length = tf.bitwise.right_shift(tf.bitcast(tf.cast(total, "float64"), "int64"), 52) - 1022
    headroom = 32 - length
    inverse = inverse_of_one_plus(tf.bitwise.left_shift(total, headroom) - 2**31)
    result = shift_right(high_product(inverse, powers), 12 - headroom + 31 - 8)
    return tf.cast(tf.where(counts, result, 0), "float32")


def _rounded(x: Tensor) -> Tensor:
    """x, rounded; halves away from zero."""
    size = tf.floor(tf.abs(x))
    return tf.sign(x) * (size + tf.cast(tf.abs(x) - size >= 0.5, "float32"))


def _times(x: Tensor, real: Tensor) -> Tensor:
    """Integers times a positive real number, rounded twice."""
    return _float32(times(tf.cast(x, "int64"), real))


def _float32(x: Tensor) -> Tensor:
    return tf.cast(x, "float32")


def _scales(*qparams: Tensor) -> list[Tensor]:
    return [tf.cast(each[0], "float64") for each in qparams]
