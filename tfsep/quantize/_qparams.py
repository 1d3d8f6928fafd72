"""Grids: the evenly spaced real numbers that 8 bits stand for, chosen as the converter chooses them.

A grid is a tensor (2,): scale and zero point, ``real = scale · (stored − zero)``. The converter computes scales in
float64 and keeps them in float32; so does this file, and the integers agree.

Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(arXiv 1712.05877), section 2.1 and 3.
"""

from typing import Any

from tfsep._keras.backend import tf

LOWEST, HIGHEST = -128, 127
WEIGHT_LIMIT = 127
_SMALLEST = 5e-7
"""What the converter takes the largest weight of a channel for that has only smaller ones."""


def grid_of(low: Any, high: Any) -> Any:
    """Return the grid (2,) of the range [low, high], which has zero in it."""
    low, high = tf.cast(low, "float64"), tf.cast(high, "float64")
    scale = (high - low) / (HIGHEST - LOWEST)
    # Rounded among 0 … 255, halves up.
    zero = tf.clip_by_value(tf.floor(0.5 - low / scale), 0, HIGHEST - LOWEST) + LOWEST
    return tf.cast(tf.stack([scale, zero]), "float32")


def steps(x: Any, grid: Any) -> Any:
    """Return the whole numbers of steps that numbers on a grid are from zero, as float32."""
    return tf.round(x / grid[0])


def rounded(x: Any, step: Any) -> Any:
    """Return x on the multiples of `step`, half to even, with the gradient of x itself."""
    return x + tf.stop_gradient(tf.round(x / step) * step - x)


def weight_scale(kernel: Any, channels: tuple[int, ...]) -> Any:
    """Return the scale of each output channel of a kernel, float64, in the shape `channels` that spreads over it."""
    rank = len(kernel.shape)
    spread = (1,) * (rank - len(channels)) + channels
    axes = [axis for axis, side in enumerate(spread) if side == 1]
    largest = tf.reduce_max(tf.abs(tf.cast(kernel, "float64")), axes)
    return tf.reshape(tf.maximum(largest, _SMALLEST) / WEIGHT_LIMIT, channels)
