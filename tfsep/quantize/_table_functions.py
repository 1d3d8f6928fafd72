"""Functions of which TensorFlow Lite makes a table of 256 numbers, in both runtimes."""

from collections.abc import Callable
from math import pi, sqrt

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor


def _gelu(x: Tensor) -> Tensor:
    return tf.nn.gelu(x, approximate=False)


def _gelu_tanh(x: Tensor) -> Tensor:
    return tf.nn.gelu(x, approximate=True)


def _c_gelu(x: Tensor) -> Tensor:
    """Gelu as C computes it, whose erfc has no error."""
    return 0.5 * x * _exactly(tf.math.erfc, x * np.float32(-sqrt(0.5)))


def _c_gelu_tanh(x: Tensor) -> Tensor:
    """Its approximation as C computes it, whose tanh has no error."""
    return 0.5 * x * (1.0 + _exactly(tf.tanh, np.float32(sqrt(2 / pi)) * (x + 0.044715 * x * x * x)))


def _exactly(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of float32, rounded once."""
    return tf.cast(function(tf.cast(x, "float64")), "float32")


TABLES = {"gelu": (_gelu, _c_gelu), "gelu_tanh": (_gelu_tanh, _c_gelu_tanh), "exp": (tf.exp, tf.exp)}
"""Each as the converter knows it, and as the table has it."""
