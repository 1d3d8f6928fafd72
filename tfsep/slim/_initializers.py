"""Slim's initializers as Keras initializers."""

from tfsep._keras.backend import keras, tf
from tfsep._utils.arguments import one_of, positive_number

# A normal distribution truncated at two standard deviations has 0.8796² of its variance. Keras corrects for that
# exactly, slim by a factor of 1.3.
_SLIM_TRUNCATED = 1.3 * 0.87962566103423978**2

_MODES = ("FAN_IN", "FAN_OUT", "FAN_AVG")


def variance_scaling_initializer(
    factor: float = 2.0,
    mode: str = "FAN_IN",
    uniform: bool = False,
    seed: int | None = None,
    dtype: tf.DType = tf.float32,
) -> keras.initializers.Initializer:
    """Return an initializer of variance ``factor / n`` with the fan n of `mode`; He's by default.

    The fan-in of a depthwise kernel is kh·kw, as everywhere in this library; slim's is C·kh·kw.

    Args:
        factor: factor of the variance.
        mode: ``"FAN_IN"``, ``"FAN_OUT"`` or ``"FAN_AVG"``.
        uniform: whether the distribution is uniform rather than truncated normal.
        seed: seed of the random numbers.
        dtype: a floating one; values have the dtype of the variable.

    Raises:
        ValueError: for an argument out of range.

    Source: K. He et al., "Delving Deep into Rectifiers" (arXiv 1502.01852).

    Examples:
        >>> weights = variance_scaling_initializer(uniform=True, seed=0)((3, 3, 16, 64))
        >>> round(float(keras.ops.std(weights)) ** 2 * 144, 1)
        2.0
    """
    one_of(mode, "mode", _MODES)
    if not tf.as_dtype(dtype).is_floating:
        raise ValueError(f"dtype: expected a floating dtype, got {dtype!r}")
    scale = positive_number(factor, "factor") * (1.0 if uniform else _SLIM_TRUNCATED)
    return keras.initializers.VarianceScaling(scale, mode.lower(), "uniform" if uniform else "truncated_normal", seed)


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: tf.DType = tf.float32
) -> keras.initializers.Initializer:
    """Return Glorot's initializer, slim's default, of variance one over the mean of fan-in and fan-out.

    Args:
        uniform: whether the distribution is uniform rather than truncated normal.
        seed: seed of the random numbers.
        dtype: a floating one; values have the dtype of the variable.

    Raises:
        ValueError: if `dtype` is not floating.

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.

    Examples:
        >>> weights = xavier_initializer(seed=0)((100, 300))
        >>> round(float(keras.ops.max(weights)), 3)  # sqrt(3 / 200)
        0.122
    """
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer
"""Another name of `xavier_initializer`."""

XAVIER = xavier_initializer()
"""Slim's default of weights; a layer gets a copy, with numbers of its own."""
ZEROS = keras.initializers.Zeros()
"""Slim's default of biases."""
