"""TensorFlow's functions on Keras tensors, as slim code calls them between its own."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import calls_behind
from tfsep._keras.types import Tensor
from tfsep.slim._arguments import ACTIVATIONS, channels
from tfsep.slim._graph import graph_of
from tfsep.slim._scope import layer_name, name_in_scope

Operation: TypeAlias = Callable[..., Tensor]
"""A function of the value, the name of a layer, and TensorFlow's other arguments by name."""


def _axes(axis: Any) -> list[int] | None:
    return None if axis is None else [int(each) for each in tf.nest.flatten(axis)]


def _squeeze(value: Tensor, name: str, axis: Any = None, squeeze_dims: Any = None) -> Tensor:
    axes = _axes(squeeze_dims if axis is None else axis)
    ones = [i for i, size in enumerate(value.shape) if size == 1]
    chosen = ones if axes is None else [i % value.ndim for i in axes]
    kept = [size for i, size in enumerate(value.shape) if i not in chosen]
    if 0 in chosen or None in kept[1:] or not set(chosen) <= set(ones):
        return keras.ops.squeeze(value, axes)
    return keras.layers.Reshape(kept[1:], name=name)(value)


def _reshape(value: Tensor, name: str, shape: Any) -> Tensor:
    shape = [int(size) for size in shape]
    if shape[0] == -1 and None not in value.shape[1:] and math.prod(shape[1:]) == math.prod(value.shape[1:]):
        return keras.layers.Reshape(shape[1:], name=name)(value)
    return keras.ops.reshape(value, shape)


def _pad(value: Tensor, name: str, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Tensor:
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
        name: str,
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
    def apply(value: Tensor, name: str, ksize: Any, strides: Any, padding: str, data_format: str | None = None) -> Any:
        order = channels(data_format)
        space = slice(1, 3) if order == "channels_last" else slice(2, 4)
        size, step = ((pair[space] if len(pair) == 4 else pair) for pair in map(_pair, (ksize, strides)))
        return layer(size, step, padding.lower(), order, name=name)(value)

    return apply


def _pair(window: Any) -> tuple[int, ...]:
    numbers = tuple(int(each) for each in tf.nest.flatten(window))
    return numbers * 2 if len(numbers) == 1 else numbers


def _split(value: Tensor, name: str, num_or_size_splits: Any, axis: int = 0, num: int | None = None) -> Any:  # noqa: ARG001
    if isinstance(num_or_size_splits, int):
        return keras.ops.split(value, num_or_size_splits, axis)
    sizes = [int(size) for size in num_or_size_splits]
    return keras.ops.split(value, [sum(sizes[:i]) for i in range(1, len(sizes))], axis)


def _softmax(value: Tensor, name: str, axis: int | None = None, dim: int | None = None) -> Tensor:
    axis = dim if axis is None else axis
    if axis in (None, -1):
        return keras.layers.Activation("softmax", name=name)(value)
    return keras.layers.Softmax(axis, name=name)(value)


def _activation(activation: str) -> Operation:
    def apply(value: Tensor, name: str, **options: Any) -> Tensor:
        if options:  # such as the slope of a leaky rectifier
            return getattr(keras.ops, activation)(value, *options.values())
        return keras.layers.Activation(activation, name=name)(value)

    return apply


def _layer(layer: Callable[..., Any], *options: Any) -> Operation:
    return lambda value, name, **given: layer(*options, *given.values(), name=name)(value)


def _function(function: str) -> Operation:
    return lambda value, name, **given: getattr(keras.ops, function)(value, *given.values())  # noqa: ARG005


_OPERATIONS: dict[str, Operation] = {
    **{name: _activation(name) for name in ACTIVATIONS},
    **{name: _function(name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    **{name: _function(name) for name in ("abs", "exp", "log", "sqrt", "rsqrt", "square", "negative", "transpose")},
    "softmax": _softmax,
    "identity": _layer(keras.layers.Activation, "linear"),
    "squeeze": _squeeze,
    "reshape": _reshape,
    "pad": _pad,
    "concat": _layer(keras.layers.Concatenate),
    "split": _split,
    "add_n": _layer(keras.layers.Add),
    "avg_pool": _pooling(keras.layers.AveragePooling2D),
    "max_pool": _pooling(keras.layers.MaxPooling2D),
    "reduce_mean": _reduction(keras.ops.mean, keras.layers.GlobalAveragePooling2D),
    "reduce_max": _reduction(keras.ops.max, keras.layers.GlobalMaxPooling2D),
    "reduce_sum": _reduction(keras.ops.sum),
}
"""What TensorFlow's functions are on Keras tensors, by their names: layers named as slim's, or functions of Keras."""


class _OnKerasTensors(tf.__internal__.dispatch.GlobalOpDispatcher):
    """What TensorFlow asks for the result of a function that refuses its arguments."""

    def handle(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result on Keras tensors; ``NOT_SUPPORTED`` where there are none."""
        first = next((each for each in tf.nest.flatten([args, kwargs]) if keras.utils.is_keras_tensor(each)), None)
        if first is None:
            return self.NOT_SUPPORTED
        function = op.__name__.removesuffix("_v1").removesuffix("_v2")
        if function not in _OPERATIONS:
            raise TypeError(
                f"tf.{function}: expected a function that slim's code may call on Keras tensors "
                f"({', '.join(sorted(_OPERATIONS))}), got another: there are those of keras.ops"
            )
        bound = inspect.signature(op).bind(*args, **kwargs).arguments
        given = {key: item for key, item in bound.items() if item is not None}
        graph = graph_of(first)
        name = name_in_scope(graph, given.pop("name", None), function)
        value = given.pop("input" if "input" in given else next(iter(given)))
        value = list(value) if isinstance(value, tuple) else value
        result = _OPERATIONS[function](value, layer_name(name), **given)
        results = result if isinstance(result, list) else [result]
        for i, tensor in enumerate(results):
            tensor.name = f"{name}:{i}"
        graph.own(results)
        return result


def _get_shape(self: Tensor) -> tf.TensorShape:
    return tf.TensorShape(self.shape)


def _set_shape(self: Tensor, shape: Any) -> None:
    tf.TensorShape(self.shape).assert_is_compatible_with(shape)


class _Operation(NamedTuple):
    """A call of a layer or an operation, as code that walks TensorFlow's graph sees it."""

    name: str
    outputs: list[Tensor]


class _Operations(NamedTuple):
    """What is behind a tensor, in the place of TensorFlow's graph."""

    tensor: Tensor

    def get_operations(self) -> list[_Operation]:
        """Return the operations in the order of computation, by slim's names."""
        calls = calls_behind([self.tensor])
        return [_Operation(call.operation.name.replace(".", "/"), call.outputs) for call in calls]


def let_tensorflow_take_keras_tensors() -> None:
    """Let TensorFlow's functions take Keras tensors, and these tell shape and graph as TensorFlow's do: errors before.

    TensorFlow has no public way of dispatch to types that are not its own. ``tf.__internal__.dispatch`` is its way for
    Keras.
    """
    _OnKerasTensors().register()
    for name, member in (("get_shape", _get_shape), ("set_shape", _set_shape), ("graph", property(_Operations))):
        if not hasattr(keras.KerasTensor, name):
            setattr(keras.KerasTensor, name, member)
