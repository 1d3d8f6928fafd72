"""Activations as a caller gives them, and one that Keras has not."""

from collections.abc import Callable
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, Tensor
from tfsep._utils.arguments import short_repr


def activation_function(value: ActivationLike, name: str) -> Callable[..., Any]:
    """Return an activation's function.

    Args:
        value: the caller's argument: a name, a function, or None for the identity.
        name: name of the argument, which an error starts with.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> activation_function("relu", "activation").__name__
        'relu'
    """
    try:
        function: Callable[..., Any] = keras.activations.get(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected the name of a Keras activation, a function or None, got {short_repr(value)}"
        ) from error
    return function


@keras.saving.register_keras_serializable(package="tfsep")
def slim_hard_sigmoid(x: Tensor) -> Tensor:
    """Return relu6(x + 3) · 0.16667, the gate of TF-slim's squeeze-and-excite.

    Args:
        x: tensor of any shape.

    Examples:
        >>> float(slim_hard_sigmoid(keras.ops.convert_to_tensor(9.0))) > 1
        True
    """
    return keras.ops.relu6(x + 3.0) * 0.16667
