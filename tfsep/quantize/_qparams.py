"""Quantization parameters: scale and zero point of 8-bit integers, chosen as the converter chooses them.

The parameters of a tensor, ``qparams``, are a tensor (2,): scale and zero point, ``real = scale · (stored − zero)``.
The converter computes scales in float64 and keeps them in float32. These functions do too, so that the integers agree.

Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(arXiv 1712.05877), section 2.1 and 3.
"""

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

INT8_MIN, INT8_MAX = -128, 127
WEIGHT_MAX = 127
_SMALLEST_WEIGHT = 5e-7
"""The least that the converter takes for the largest weight of a channel."""


def scale_of(low: Tensor, high: Tensor) -> Tensor:
    """Return the scale of the range [low, high], in float64."""
    return (tf.cast(high, "float64") - tf.cast(low, "float64")) / (INT8_MAX - INT8_MIN)


def qparams_of(low: Tensor, high: Tensor) -> Tensor:
    """Return the quantization parameters (2,) of the range [low, high], which includes zero."""
    scale = scale_of(low, high)
    # Rounded among 0 … 255, halves up.
    zero = tf.clip_by_value(tf.floor(0.5 - tf.cast(low, "float64") / scale), 0, INT8_MAX - INT8_MIN) + INT8_MIN
    return tf.cast(tf.stack([scale, zero]), "float32")


def to_integers(x: Tensor, qparams: Tensor) -> Tensor:
    """Return quantized real numbers as integers from their zero point, in float32."""
    return tf.round(x / qparams[0])


def round_straight_through(x: Tensor, step: Tensor) -> Tensor:
    """Return x rounded to the multiples of `step`, half to even, with the gradient of x itself."""
    return x + tf.stop_gradient(tf.round(x / step) * step - x)


def rounded_away(x: Tensor) -> Tensor:
    """Return float64 numbers as whole ones, halves away from zero, as the converter rounds constants."""
    return tf.sign(x) * tf.floor(tf.abs(x) + 0.5)


def stored_weights(weights: Tensor, scale: Tensor) -> Tensor:
    """Return weights as whole numbers, float32: the converter divides by the scale in float64.

    Args:
        weights: the weights.
        scale: their scale, float64, in a shape that broadcasts over them.
    """
    whole = rounded_away(tf.cast(weights, "float64") / scale)
    return tf.cast(tf.clip_by_value(whole, -WEIGHT_MAX, WEIGHT_MAX), "float32")


def weight_scale(kernel: Tensor, channel_shape: tuple[int, ...]) -> Tensor:
    """Return the scale of each output channel of a kernel, float64, in a shape that broadcasts over the kernel."""
    rank = len(kernel.shape)
    broadcast = (1,) * (rank - len(channel_shape)) + channel_shape
    axes = [axis for axis, side in enumerate(broadcast) if side == 1]
    largest = tf.reduce_max(tf.abs(tf.cast(kernel, "float64")), axes)
    return tf.reshape(tf.maximum(largest, _SMALLEST_WEIGHT) / WEIGHT_MAX, channel_shape)
