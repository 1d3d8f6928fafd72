"""One row for each activation, and the layers that operators of `keras.ops` are.

To add an activation, add its row to `_ACTIVATIONS`: its function, and the rectifier that kernels include, or the
operation of `_operations` that computes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

from tfsep._keras.activations import slim_hard_sigmoid
from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import operation_of
from tfsep._keras.types import Layer, Tensor
from tfsep.layers import leaky_relu
from tfsep.quantize._operations import ACTIVATION_LAYERS, OPERATIONS, operation_for, overridden


@dataclass(frozen=True)
class FusedActivation:
    """A rectifier that operators include, as the ends of the integers that they write.

    Attributes:
        compute: the function of real numbers.
        low: lower end of the results; None for none.
        high: upper end of the results; None for none.
    """

    compute: Callable[[Tensor], Tensor]
    low: float | None = None
    high: float | None = None


FUSED_ACTIVATIONS = {
    "linear": FusedActivation(lambda x: x),
    "relu": FusedActivation(tf.nn.relu, 0.0),
    "relu6": FusedActivation(tf.nn.relu6, 0.0, 6.0),
}


@dataclass(frozen=True)
class Activation:
    """How an activation is quantized.

    Attributes:
        function: the function of `keras.activations`, or another that layers are given.
        keras_op: the operation of `keras.ops` that computes it.
        fused: name of its rectifier in `FUSED_ACTIVATIONS`.
        operation: name in `OPERATIONS` of an activation that is an operator of its own; None for rectifiers.
        options: arguments of the operation.
        gate: name in `OPERATIONS` of a function by whose result the operation multiplies; None for one of its own.
        max_value: upper end of the range, for a rectifier with a maximum that no fused one has; None for no such end.
        affine: factor and offset in front of the rectifier, computed by a convolution of one tap.
    """

    function: Callable[..., Tensor] | None = None
    keras_op: Callable[..., Tensor] | None = None
    fused: str = "linear"
    operation: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    gate: str | None = None
    max_value: float | None = None
    affine: tuple[float, float] = (1.0, 0.0)

    @property
    def is_fusible(self) -> bool:
        """Whether the operator in front can include it."""
        return self.operation is None and self.affine == (1.0, 0.0)


def gelu_tanh(x: Tensor) -> Tensor:
    """Return the approximation of gelu by tanh."""
    return keras.activations.gelu(x, approximate=True)


LINEAR = Activation(keras.activations.linear)

_ACTIVATIONS = (
    LINEAR,
    Activation(keras.activations.relu, keras.ops.relu, fused="relu"),
    Activation(keras.activations.relu6, keras.ops.relu6, fused="relu6"),
    Activation(
        keras.activations.hard_sigmoid, keras.ops.hard_sigmoid, fused="relu", max_value=1.0, affine=(1 / 6, 0.5)
    ),
    Activation(slim_hard_sigmoid, fused="relu", max_value=1.00002, affine=(0.16667, 0.50001)),
    Activation(keras.activations.sigmoid, keras.ops.sigmoid, operation="sigmoid"),
    Activation(keras.activations.tanh, keras.ops.tanh, operation="tanh"),
    Activation(keras.activations.softmax, operation="softmax"),
    # As files have it.
    Activation(keras.activations.silu, keras.ops.silu, operation="multiply", gate="sigmoid"),
    Activation(keras.activations.gelu, operation="gelu"),
    Activation(gelu_tanh, operation="gelu_tanh"),
    Activation(keras.activations.exponential, keras.ops.exp, operation="exp"),
    Activation(keras.activations.hard_silu, keras.ops.hard_silu, operation="hard_silu"),
    Activation(keras.activations.leaky_relu, operation="leaky_relu", options={"slope": 0.2}),
    Activation(leaky_relu, operation="leaky_relu", options={"slope": 0.1}),
    Activation(tf.square, operation="square"),
)
_BY_FUNCTION: dict[Any, Activation] = {row.function: row for row in _ACTIVATIONS if row.function is not None}


_POINTS = np.concatenate([np.linspace(-12, 11, 1000), [-1e4, -100, 70, 1.5e4]]).reshape(-1, 2).astype(np.float32)
"""Numbers by whose results functions are known: in pairs, which softmax tells apart, and with a mean other than 0."""

_TOLERANCE = 2e-6

_MOST_FUNCTIONS = 64
"""Functions whose rows are kept, and with them what they hold of their models."""


@lru_cache(_MOST_FUNCTIONS)
def activation_of(function: Callable[..., Tensor]) -> Activation | None:
    """Return how an activation function is quantized; None where it is not.

    Those of Keras are known by name; others, such as those of `tf.nn` or ``x * relu6(x + 3) / 6``, by their results.
    """
    return _BY_FUNCTION[function] if function in _BY_FUNCTION else activation_by_results(function)


def activation_by_results(function: Callable[..., Tensor]) -> Activation | None:
    """Return how a function of each number is quantized, by its results; None where it is not."""
    try:
        traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(_POINTS.shape, "float32"))
        results = np.asarray(traced(tf.constant(_POINTS)))
    except Exception:  # the code of whoever wrote it
        return None
    if traced.captured_inputs or results.shape != _POINTS.shape:
        return None
    same = (row for known, row in _BY_FUNCTION.items() if _is_close(results, _results_of(known)))
    return next(same, _rectifier_of(results))


def _rectifier_of(results: np.ndarray) -> Activation | None:
    """The rectifier of any slope and maximum that has these results."""
    slope, most = float(results.flat[-4] / _POINTS.flat[-4]), float(results.flat[-1])
    expected = np.where(_POINTS > 0, np.minimum(_POINTS, most), slope * _POINTS)
    if not most > 0 or not 0 <= slope < 1 or not _is_close(results, expected):
        return None
    return _rectifier(None if most == _POINTS.flat[-1] else most, slope)


def _is_close(results: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(results, expected, _TOLERANCE, _TOLERANCE, equal_nan=True))


@cache
def _results_of(function: Callable[..., Tensor]) -> np.ndarray:
    return np.asarray(function(tf.constant(_POINTS)))


def activation_of_layer(layer: Layer) -> Activation | None:
    """Return how an activation layer is quantized; None for another layer."""
    if overridden(layer):
        return None
    match layer:
        case keras.layers.Activation() | keras.layers.Lambda() if not getattr(layer, "arguments", None):
            return activation_of(layer.function if isinstance(layer, keras.layers.Lambda) else layer.activation)
        case keras.layers.ReLU() if not layer.threshold:
            return _rectifier(layer.max_value, float(layer.negative_slope or 0))
        case keras.layers.LeakyReLU():
            return _rectifier(None, float(layer.negative_slope))
        case keras.layers.Softmax() if layer.axis == -1:
            return Activation(operation="softmax")
    return None


def _rectifier(max_value: float | None, slope: float) -> Activation | None:
    max_value = None if max_value is None else float(max_value)
    if np.float32(slope) == 1:  # which the converter drops
        return LINEAR if max_value is None else None
    if slope:
        return Activation(operation="leaky_relu", options={"slope": slope}, max_value=max_value)
    return Activation(fused="relu6") if max_value == 6 else Activation(fused="relu", max_value=max_value)


@cache
def layers_of_operators() -> dict[tuple[type[keras.Operation], int], Callable[[keras.Operation], Layer]]:
    """Return for each operator, such as ``x + x``, a function from its operation to the equivalent layer.

    The keys are the operator's class, which Keras does not export, and its number of tensors.

    Examples:
        >>> x = keras.Input((1,))
        >>> total = operation_of(x + x)
        >>> type(layers_of_operators()[type(total), 2](total)).__name__
        'Add'
    """
    x = keras.Input((2,))
    found: dict[tuple[type[keras.Operation], int], Callable[[keras.Operation], Layer]] = {}
    for row in OPERATIONS.values():
        if row.keras_op is not None:
            found[type(operation_of(row.keras_op(x, x))), 2] = partial(_named, row.layers[0])
    for activation in _ACTIVATIONS:
        if activation.keras_op is not None:
            made = partial(_named, partial(keras.layers.Activation, activation.function))
            found[type(operation_of(activation.keras_op(x))), 1] = made
    return found | {(type(operation_of(operator(x))), 1): made for operator, made in _WITH_ARGUMENTS.items()}


def _named(make: Callable[..., Layer], operation: keras.Operation) -> Layer:
    """A layer under the name of an operation."""
    return make(name=operation.name)


def _unless_negative(make: Callable[..., Layer], operation: keras.Operation, *numbers: float | None) -> Layer:
    """The layer with the arguments of an operation, or the operation itself where no layer takes these."""
    return operation if any(number and number < 0 for number in numbers) else make(*numbers, name=operation.name)


_WITH_ARGUMENTS: dict[Callable[[keras.KerasTensor], keras.KerasTensor], Callable[[Any], Layer]] = {
    partial(keras.activations.relu, max_value=1.0): lambda relu: _unless_negative(
        keras.layers.ReLU, relu, relu.max_value, relu.negative_slope, relu.threshold
    ),
    keras.ops.leaky_relu: lambda relu: _unless_negative(keras.layers.LeakyReLU, relu, relu.negative_slope),
    keras.ops.softmax: lambda softmax: keras.layers.Softmax(softmax.axis, name=softmax.name),
    keras.ops.gelu: lambda gelu: keras.layers.Activation(
        gelu_tanh if gelu.approximate else keras.activations.gelu, name=gelu.name
    ),
}
"""Operators of one tensor with arguments, and the layers of these operations."""


def is_pure(layer: Layer) -> bool:
    """Return whether another layer of the same class and config computes the same, without weights or chance."""
    operation = operation_for(layer)
    is_activation = isinstance(layer, ACTIVATION_LAYERS) and not overridden(layer)
    return is_activation or (operation is not None and operation.is_pure)


def activation_name(layer: Layer) -> str:
    """Return the name of the activation that a layer has, as an operation of its own."""
    return f"{layer.name}_activation"


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of an activation, as Keras serializes it."""
    config = keras.activations.serialize(function)
    return str(config.get("class_name", "function") if isinstance(config, dict) else config)
