"""Activations as a caller gives them."""

from collections.abc import Callable
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike
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
