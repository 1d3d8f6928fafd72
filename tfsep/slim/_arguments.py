"""Slim's arguments in Keras's terms: data formats, initializers, regularizers, activations, phases."""

import functools
import inspect
from typing import Any

from tf_slim import has_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._utils.arguments import short_repr
from tfsep.slim._initializers import xavier_initializer

_DATA_FORMATS = {None: "channels_last", "NHWC": "channels_last", "NCHW": "channels_first"}

_ACTIVATIONS = (
    *("relu", "relu6", "elu", "selu", "leaky_relu", "sigmoid", "tanh", "softplus", "softsign", "swish", "silu", "gelu"),
    *("softmax", "log_softmax"),
)
"""Functions of ``tf.nn`` that Keras has under the same name, with the same defaults."""

_ACTIVATION_NAMES = {
    **{getattr(nn, name): name for nn in (tf.nn, tf.compat.v1.nn) for name in _ACTIVATIONS if hasattr(nn, name)},
    tf.identity: "linear",
    tf.compat.v1.identity: "linear",
}


def channels(data_format: Any) -> str:
    """Return slim's data format as Keras's; slim's None is NHWC.

    Raises:
        ValueError: for one that is not of images.
    """
    if data_format not in _DATA_FORMATS:
        raise ValueError(f"data_format: expected 'NHWC' or 'NCHW', got {data_format!r}")
    return _DATA_FORMATS[data_format]


def require_channels(inputs: Any, data_format: Any, rank: int | None = None) -> int:
    """Return the axis of the channels.

    Raises:
        ValueError: if the tensor is of another rank, or of less than 2, or its number of channels is not known.
    """
    axis = -1 if channels(data_format) == "channels_last" else 1
    if (inputs.ndim != rank if rank else inputs.ndim < 2) or inputs.shape[axis] is None:
        raise ValueError(
            f"inputs: expected rank {rank or '2 or more'} and a known number of channels, got shape {inputs.shape}"
        )
    return axis


def initializer(value: Any, name: str) -> Any:
    """Return an initializer of Keras's, slim's or TensorFlow's (old or new) as a Keras one of its own.

    One object serves many layers in slim. In Keras an initializer draws the same numbers each time, so it is copied,
    and the copy of one without a seed draws others. A function of shape and dtype is called with TensorFlow's dtype.

    Raises:
        ValueError, TypeError: for what is none.
    """
    if inspect.isclass(value):
        value = value()
    if value is None:
        return xavier_initializer()
    if isinstance(value, str):
        return _named(keras.initializers.get, value, name)
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
    def draw(shape: Any, dtype: Any = None) -> Any:
        return value(shape, dtype=tf.as_dtype(dtype or keras.config.floatx()))

    return draw


def regularizer(value: Any, name: str) -> Any:
    """Return a regularizer as Keras takes it: one of Keras's, a function of the weights, or None.

    Raises:
        TypeError: for what is none.
    """
    if value is not None and not callable(value) and not isinstance(value, str):
        raise TypeError(f"{name}: expected a regularizer, got {short_repr(value)}")
    return keras.regularizers.get(value)


def activated(outputs: Any, activation_fn: Any, name: str) -> Any:
    """Return `outputs` behind an activation: a function of tensors, a Keras layer, or a slim function.

    Raises:
        TypeError: for what is none.
    """
    if isinstance(activation_fn, keras.layers.Layer) or (callable(activation_fn) and has_arg_scope(activation_fn)):
        return activation_fn(outputs)
    if not callable(activation_fn) and not isinstance(activation_fn, str):
        raise TypeError(f"activation_fn: expected a function or None, got {short_repr(activation_fn)}")
    if isinstance(activation_fn, str):
        activation_fn = _named(keras.activations.get, activation_fn, "activation_fn")
    known = _ACTIVATION_NAMES.get(activation_fn)
    return keras.layers.Activation(known or activation_fn, name=name)(outputs)


def require_callable(value: Any, name: str) -> None:
    """Raise unless `value` is a function.

    Raises:
        TypeError: naming the argument.
    """
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {short_repr(value)}")


def _named(get: Any, value: str, name: str) -> Any:
    """Return what Keras has under a name."""
    try:
        return get(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected a function or a name that Keras knows, got {value!r}") from error


def never_trains(is_training: Any) -> bool:
    """Return whether slim's code says that a layer is not training, whatever the call of the model says.

    Raises:
        ValueError: for a tensor or anything else that is not known now.
    """
    if is_training is not None and not isinstance(is_training, bool):
        raise ValueError(
            "is_training: expected True or None, with which each call of the model decides, or False, "
            f"got {short_repr(is_training)}"
        )
    return is_training is False
