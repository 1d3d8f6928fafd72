"""Activation functions that `keras.activations` has not."""

from tfsep._keras.backend import keras
from tfsep._keras.types import Tensor, TensorLike

__all__ = ["leaky_relu"]


@keras.saving.register_keras_serializable(package="tfsep")
def leaky_relu(x: TensorLike) -> Tensor:
    """Return ``max(x, 0.1·x)``: LeakyReLU with the usual slope of depthwise separable blocks.

    Args:
        x: tensor of any shape.

    Examples:
        >>> [round(float(v), 1) for v in leaky_relu(np.array([-1.0, 2.0], "float32"))]
        [-0.1, 2.0]
    """
    return keras.activations.leaky_relu(x, negative_slope=0.1)
