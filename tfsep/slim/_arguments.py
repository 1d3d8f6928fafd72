"""Conversion of slim's arguments to Keras's: data formats, initializers, regularizers, activations, phases."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from tf_slim import has_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._keras.tf_functions import ACTIVATIONS, IMAGE_FORMATS, channels
from tfsep._keras.types import Shape, Tensor
from tfsep._utils.arguments import short_repr
from tfsep.geometry import PaddingLike
from tfsep.geometry._padding import normalize_padding
from tfsep.slim._initializers import XAVIER
from tfsep.slim._types import ActivationLike, Function, InitializerLike, RegularizerLike

_ACTIVATION_NAMES = {
    **{getattr(nn, name): name for nn in (tf.nn, tf.compat.v1.nn) for name in ACTIVATIONS if hasattr(nn, name)},
    tf.identity: "linear",
    tf.compat.v1.identity: "linear",
}


def require_channels(
    inputs: Tensor, data_format: str | None, rank: int | None = None, formats: Sequence[str] = IMAGE_FORMATS
) -> int:
    """Return the axis of the channels.

    Raises:
        ValueError: for a tensor of another rank or of rank 1, or an unknown number of channels.
    """
    axis = -1 if channels(data_format, formats) == "channels_last" else 1
    if (inputs.ndim != rank if rank else inputs.ndim < 2) or inputs.shape[axis] is None:
        raise ValueError(
            f"inputs: expected rank {rank or '2 or more'} and a known number of channels, got shape {inputs.shape}"
        )
    return axis


def named_padding(padding: PaddingLike) -> str:
    """Return a padding by its name in Keras.

    Raises:
        ValueError: for zeros on each side.
    """
    if not isinstance(window := normalize_padding(padding), str):
        raise ValueError(f"padding: expected 'SAME' or 'VALID', got {padding!r}")
    return window


def initializer(value: InitializerLike, name: str) -> InitializerLike:
    """Return an initializer of Keras, slim or TensorFlow (1 or 2) as a new one of Keras.

    In slim, one initializer serves many layers. A Keras initializer draws the same numbers each time: so it is copied,
    and the copy of one without a seed draws others. A function of shape and dtype is called with TensorFlow's dtype.

    Raises:
        ValueError: for a name that Keras does not know.
        TypeError: for what is no initializer.
    """
    if inspect.isclass(value):
        value = value()
    if value is None:
        value = XAVIER
    if isinstance(value, str):
        return _by_name(keras.initializers, value, name)
    if isinstance(value, keras.initializers.Initializer):
        return type(value).from_config(value.get_config())
    if not callable(value):
        raise TypeError(f"{name}: expected an initializer, got {short_repr(value)}")
    kind = getattr(keras.initializers, type(value).__name__, None)
    if kind is not None and hasattr(value, "get_config"):
        config = {k: v for k, v in value.get_config().items() if k != "dtype"}
        if "maxval" in config and config["maxval"] is None:  # TensorFlow 1's default
            config["maxval"] = 1.0
        return kind(**config)

    @functools.wraps(value)
    def draw(shape: Shape, dtype: Any = None) -> Tensor:
        return value(shape, dtype=tf.as_dtype(dtype or keras.config.floatx()))

    return draw


def regularizer(value: RegularizerLike, name: str) -> RegularizerLike:
    """Return a regularizer for Keras: one of its own, a function of the weights, or None.

    Raises:
        ValueError: for a name that Keras does not know.
        TypeError: for what is no regularizer.
    """
    if isinstance(value, str):
        return _by_name(keras.regularizers, value, name)
    if value is not None and not callable(value):
        raise TypeError(f"{name}: expected a regularizer, got {short_repr(value)}")
    return keras.regularizers.get(value)


def bias_options(
    normalizer_fn: Function | None, biases_initializer: InitializerLike, biases_regularizer: RegularizerLike
) -> dict[str, Any]:
    """Return Keras's options of a bias: none where there is a normalizer, or where the initializer is None."""
    if normalizer_fn is not None or biases_initializer is None:
        return {"use_bias": False}
    return {
        "use_bias": True,
        "bias_initializer": initializer(biases_initializer, "biases_initializer"),
        "bias_regularizer": regularizer(biases_regularizer, "biases_regularizer"),
    }


def initializers_by_part(given: Mapping[str, Any] | None, parts: Sequence[str]) -> dict[str, Any]:
    """Return Keras's options, ``beta_initializer`` and so on, of slim's ``param_initializers``.

    Raises:
        ValueError: for a key that is not among the parts.
    """
    return options_by_part(given, parts, "param_initializers", "initializer", initializer)


def options_by_part(
    given: Mapping[str, Any] | None, parts: Sequence[str], name: str, option: str, convert: Function
) -> dict[str, Any]:
    """Return Keras's options, ``beta_initializer`` and so on, of slim's dict by variable.

    Raises:
        ValueError: for a key that is not among the parts.
    """
    for part in given or ():
        if part not in parts:
            raise ValueError(f"{name}: expected keys of {', '.join(parts)}, got {part!r}")
    return {f"{part}_{option}": convert(value, name) for part, value in (given or {}).items()}


def require_defaults(**arguments: tuple[Any, Any]) -> None:
    """Raise unless each argument, a pair (value, default) without a counterpart in Keras, has its default.

    Raises:
        ValueError: for another value.
    """
    for name, (value, default) in arguments.items():
        if value is not default and value != default:
            raise ValueError(
                f"{name}: expected {default}, as Keras's layer has nothing like it, got {short_repr(value)}"
            )


def activate(outputs: Tensor, activation_fn: ActivationLike, name: str) -> Tensor:
    """Apply an activation: a function of tensors, a Keras layer, or a slim function.

    Raises:
        TypeError: for what is no activation.
    """
    if isinstance(activation_fn, keras.layers.Layer) or (callable(activation_fn) and has_arg_scope(activation_fn)):
        return activation_fn(outputs)
    if not callable(activation_fn) and not isinstance(activation_fn, str):
        raise TypeError(f"activation_fn: expected a function or None, got {short_repr(activation_fn)}")
    if isinstance(activation_fn, str):
        activation_fn = _by_name(keras.activations, activation_fn, "activation_fn")
    known = _ACTIVATION_NAMES.get(activation_fn)
    return keras.layers.Activation(known or activation_fn, name=name)(outputs)


def require_callable(value: Any, name: str) -> None:
    """Raise unless a value is a function.

    Raises:
        TypeError: for anything else; the message starts with `name`.
    """
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {short_repr(value)}")


def _by_name(module: Any, value: str, name: str) -> Any:
    """What a module of Keras has under a name."""
    try:
        return module.get(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected a function or a name that Keras knows, got {value!r}") from error


def never_trains(is_training: Any) -> bool:
    """Return whether a layer is never in training, whatever the phase of the model's call.

    Raises:
        ValueError: for a tensor or any other value than True, False and None.
    """
    if is_training is not None and not isinstance(is_training, bool):
        raise ValueError(
            "is_training: expected True or None, with which each call of the model decides, or False, "
            f"got {short_repr(is_training)}"
        )
    return is_training is False
