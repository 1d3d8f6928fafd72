"""TensorFlow's functions on symbolic Keras tensors, as layers and operations of Keras that compute the same."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, Self, TypeAlias

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Tensor
from tfsep._utils.context_flag import ContextFlag

_TAKING = ContextFlag("taking_keras_tensors")

IMAGE_FORMATS = ("NHWC", "NCHW")
VOLUME_FORMATS = ("NDHWC", "NCDHW")
DATA_FORMATS = (*IMAGE_FORMATS, *VOLUME_FORMATS, "NWC", "NCW")
"""TensorFlow's orders of the axes: of images, of volumes, of all that has channels."""

ACTIVATIONS = (
    *("relu", "relu6", "elu", "selu", "leaky_relu", "sigmoid", "tanh", "softplus", "softsign", "swish", "silu", "gelu"),
    *("softmax", "log_softmax"),
)
"""Functions with the same name and defaults in ``tf.nn`` and Keras."""

Operation: TypeAlias = Callable[..., Tensor]
"""A function of the value, the name of a layer, and TensorFlow's other arguments by name."""


def channels(data_format: str | None, formats: Sequence[str] = IMAGE_FORMATS) -> str:
    """Return slim's data format as Keras's; None has the channels last.

    Raises:
        ValueError: for a data format that is not among the given ones.
    """
    if data_format not in (None, *formats):
        raise ValueError(f"data_format: expected {' or '.join(map(repr, formats))}, got {data_format!r}")
    return "channels_first" if data_format and data_format.startswith("NC") else "channels_last"


def _axes(axis: Any) -> list[int] | None:
    return None if axis is None else [int(each) for each in tf.nest.flatten(axis)]


def _squeeze(value: Tensor, name: str | None, axis: Any = None, squeeze_dims: Any = None) -> Tensor:
    axes = _axes(squeeze_dims if axis is None else axis)
    ones = [i for i, size in enumerate(value.shape) if size == 1]
    chosen = ones if axes is None else [i % value.ndim for i in axes]
    kept = [size for i, size in enumerate(value.shape) if i not in chosen]
    if 0 in chosen or None in kept[1:] or not set(chosen) <= set(ones):
        return keras.ops.squeeze(value, axes)
    return keras.layers.Reshape(kept[1:], name=name)(value)


def _reshape(value: Tensor, name: str | None, shape: Any) -> Tensor:
    shape = [int(size) for size in shape]
    if shape[0] == -1 and None not in value.shape[1:] and math.prod(shape[1:]) == math.prod(value.shape[1:]):
        return keras.layers.Reshape(shape[1:], name=name)(value)
    return keras.ops.reshape(value, shape)


def _pad(value: Tensor, name: str | None, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Tensor:
    sides = [tuple(int(side) for side in pair) for pair in paddings]
    if mode.upper() != "CONSTANT":
        return keras.ops.pad(value, sides, mode.lower())
    if value.ndim == 4 and sides[0] == sides[3] == (0, 0) and constant_values == 0:
        return keras.layers.ZeroPadding2D(tuple(sides[1:3]), "channels_last", name=name)(value)
    return keras.ops.pad(value, sides, "constant", constant_values)


def _reduction(reduce: Callable[..., Tensor], pool: type | None = None) -> Operation:
    """A reduction; over rows and columns, the pooling layer that equals it, if there is one."""

    def apply(
        value: Tensor,
        name: str | None,
        axis: Any = None,
        keepdims: bool | None = None,
        reduction_indices: Any = None,
        keep_dims: bool | None = None,
    ) -> Tensor:
        axes = _axes(reduction_indices if axis is None else axis)
        kept = bool(keep_dims if keepdims is None else keepdims)
        if pool and value.ndim == 4 and axes is not None and sorted(i % 4 for i in axes) == [1, 2]:
            return pool("channels_last", keepdims=kept, name=name)(value)
        return reduce(value, axes, keepdims=kept)

    return apply


def _pooling(layer: type) -> Operation:
    def apply(
        value: Tensor, name: str | None, ksize: Any, strides: Any, padding: str, data_format: str | None = None
    ) -> Any:
        order = channels(data_format)
        space = slice(1, 3) if order == "channels_last" else slice(2, 4)
        size, step = ((pair[space] if len(pair) == 4 else pair) for pair in map(_pair, (ksize, strides)))
        return layer(size, step, padding.lower(), order, name=name)(value)

    return apply


def _pair(window: Any) -> tuple[int, ...]:
    numbers = tuple(int(each) for each in tf.nest.flatten(window))
    return numbers * 2 if len(numbers) == 1 else numbers


def _split(value: Tensor, name: str | None, num_or_size_splits: Any, axis: int = 0, num: int | None = None) -> Any:  # noqa: ARG001
    if isinstance(num_or_size_splits, int):
        return keras.ops.split(value, num_or_size_splits, axis)
    sizes = [int(size) for size in num_or_size_splits]
    return keras.ops.split(value, [sum(sizes[:i]) for i in range(1, len(sizes))], axis)


def _softmax(value: Tensor, name: str | None, axis: int | None = None, dim: int | None = None) -> Tensor:
    axis = dim if axis is None else axis
    if axis in (None, -1):
        return keras.layers.Activation("softmax", name=name)(value)
    return keras.layers.Softmax(axis, name=name)(value)


def _activation(activation: str) -> Operation:
    def apply(value: Tensor, name: str | None, **options: Any) -> Tensor:
        if options:  # such as the slope of a leaky rectifier
            return getattr(keras.ops, activation)(value, *options.values())
        return keras.layers.Activation(activation, name=name)(value)

    return apply


def _bias_add(value: Tensor, name: str | None, bias: Any, data_format: str | None = None) -> Tensor:  # noqa: ARG001
    by_channel = [-1, *[1] * (value.ndim - 2)] if channels(data_format) == "channels_first" else [-1]
    return keras.ops.add(value, keras.ops.reshape(bias, by_channel))


def _l2_normalize(
    value: Tensor,
    name: str | None,  # noqa: ARG001
    axis: Any = None,
    epsilon: float = 1e-12,
    dim: Any = None,
) -> Tensor:
    squares = keras.ops.sum(keras.ops.square(value), _axes(dim if axis is None else axis), keepdims=True)
    return value * keras.ops.rsqrt(keras.ops.maximum(squares, epsilon))


def _layer(layer: Callable[..., Any], *options: Any) -> Operation:
    return lambda value, name, **given: layer(*options, *given.values(), name=name)(value)


def _function(function: str) -> Operation:
    return lambda value, name, **given: getattr(keras.ops, function)(value, *given.values())  # noqa: ARG005


OPERATIONS: dict[str, Operation] = {
    **{name: _activation(name) for name in ACTIVATIONS},
    **{name: _function(name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    **{name: _function(name) for name in ("abs", "exp", "log", "sqrt", "rsqrt", "square", "negative", "transpose")},
    **{name: _function(name) for name in ("expand_dims", "matmul", "stack")},
    "clip_by_value": lambda value, name, **given: keras.ops.clip(value, *given.values()),  # noqa: ARG005
    "softmax": _softmax,
    "l2_normalize": _l2_normalize,
    "identity": _layer(keras.layers.Activation, "linear"),
    "squeeze": _squeeze,
    "reshape": _reshape,
    "pad": _pad,
    "bias_add": _bias_add,
    "concat": _layer(keras.layers.Concatenate),
    "split": _split,
    "add_n": _layer(keras.layers.Add),
    "avg_pool": _pooling(keras.layers.AveragePooling2D),
    "max_pool": _pooling(keras.layers.MaxPooling2D),
    "reduce_mean": _reduction(keras.ops.mean, keras.layers.GlobalAveragePooling2D),
    "reduce_max": _reduction(keras.ops.max, keras.layers.GlobalMaxPooling2D),
    "reduce_sum": _reduction(keras.ops.sum),
}
"""What TensorFlow's functions are on Keras tensors, by their names: layers, or functions of Keras."""


def public_name(function: Callable[..., Any]) -> str:
    """Return the name by which code calls a function of TensorFlow's.

    Examples:
        >>> public_name(tf.nn.l2_normalize), public_name(tf.compat.v1.image.resize_images), public_name(tf.concat)
        ('tf.nn.l2_normalize', 'tf.compat.v1.image.resize_images', 'tf.concat')
    """
    bare = inspect.unwrap(function)
    for version in ("", "compat.v1."):
        for part in ("", "nn.", "math.", "image.", "linalg.", "signal.", "strings.", "sparse.", "random."):
            place = f"{version}{part}"
            module = attrgetter(place[:-1])(tf) if place else tf
            names = [name for name, thing in vars(module).items() if inspect.unwrap(thing) is bare]
            if names:
                return f"tf.{place}{bare.__name__ if bare.__name__ in names else names[0]}"
    return f"tf.{bare.__name__}"


class FunctionCall(NamedTuple):
    """A call of a function of TensorFlow's.

    Attributes:
        function: its name.
        name: what was given as the name of the result.
        value: its first argument.
        given: its others by name, without those that are None.
    """

    function: str
    name: str | None
    value: Any
    given: dict[str, Any]

    @classmethod
    def of(cls, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Return the call of a function on these arguments."""
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
        given = {key: item for key, item in bound.items() if item is not None}
        name = given.pop("name", None)
        value = given.pop("input" if "input" in given else next(iter(given)))
        own = function.__name__.removesuffix("_v1").removesuffix("_v2")
        return cls(own, name, list(value) if isinstance(value, tuple) else value, given)

    def result(self, name: str | None = None) -> Any:
        """Return the result, of a layer of this name where it is one's; see `OPERATIONS`."""
        return OPERATIONS[self.function](self.value, name, **self.given)


@contextmanager
def taking_keras_tensors() -> Iterator[None]:
    """Let TensorFlow's functions take symbolic Keras tensors, and return those of layers and operations of Keras."""
    _register()
    with _TAKING.set():
        yield


def is_taking_keras_tensors() -> bool:
    """Return whether `taking_keras_tensors` is active."""
    return _TAKING.is_set()


@cache
def _register() -> None:
    """Register with TensorFlow, which has no other public way, once; it is without effect outside of the context."""

    class Dispatcher(tf.__internal__.dispatch.GlobalOpDispatcher):
        """What TensorFlow asks for a function that does not take its arguments."""

        def handle(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not is_taking_keras_tensors():
                return self.NOT_SUPPORTED
            call = FunctionCall.of(op, args, kwargs)
            return call.result() if call.function in OPERATIONS else self.NOT_SUPPORTED

    Dispatcher().register()
