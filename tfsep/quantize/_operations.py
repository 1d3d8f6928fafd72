"""What a tensor of 8 bits can come out of, as data: in real numbers, and as integer kernels compute it."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from tfsep._keras.backend import keras, tf
from tfsep.layers import leaky_relu
from tfsep.quantize._integer_kernels import Kernels
from tfsep.quantize._qparams import steps


class Operation(NamedTuple):
    """A way in which numbers come about that are then rounded to a grid.

    Attributes:
        real: (tensors, options) → real numbers, as training and the converter compute them.
        exact: (kernels, scale, tensors, options) → whole steps of the result from its zero, as a runtime has them.
        range: the grid's low and high end where the runtime fixes them.
        function: the name among `Kernels.functions`, of a function of one tensor.
    """

    real: Callable[..., Any]
    exact: Callable[..., Any]
    range: tuple[float, float] | None = None
    function: str | None = None


def _pair(tensors: Any) -> tuple[Any, Any, Any, Any]:
    """Steps and scale of the first, then of the second."""
    a, a_grid, b, b_grid = tensors
    return steps(a, a_grid), a_grid[0], steps(b, b_grid), b_grid[0]


def _mean(kernels: Kernels, scale: Any, tensors: Any, options: Any) -> Any:
    x, grid = tensors
    count = prod(x.shape[axis] for axis in options["axes"])
    sums = tf.reduce_sum(steps(x, grid), options["axes"], keepdims=options["keepdims"])
    return kernels.mean(sums, count, grid[0], scale)


def _leaky(kernels: Kernels, scale: Any, tensors: Any, options: Any) -> Any:
    x, grid = tensors
    return kernels.leaky(steps(x, grid), options["slope"], grid[0], scale)


def _function(name: str, real: Callable[[Any], Any], ends: tuple[float, float] | None = None) -> Operation:
    def exact(kernels: Kernels, scale: Any, tensors: Any, options: Any) -> Any:  # noqa: ARG001
        x, grid = tensors
        return kernels.functions[name](steps(x, grid), grid[0], scale)

    return Operation(lambda tensors, options: real(tensors[0]), exact, ends, name)  # noqa: ARG005


def _hard_silu(x: Any) -> Any:
    # The form that the converter knows.
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


OPERATIONS = {
    "input": Operation(
        lambda tensors, options: tensors[0],  # noqa: ARG005
        lambda kernels, scale, tensors, options: tf.round(tensors[0] / scale),  # noqa: ARG005
    ),
    "linear": Operation(
        lambda tensors, options: tensors[0],  # noqa: ARG005
        lambda kernels, scale, tensors, options: kernels.scaled(*tensors, scale),  # noqa: ARG005
    ),
    "dense": Operation(
        lambda tensors, options: tensors[0],  # noqa: ARG005
        lambda kernels, scale, tensors, options: kernels.dense(*tensors, scale),  # noqa: ARG005
    ),
    "clip": Operation(
        lambda tensors, options: tensors[0],  # noqa: ARG005
        lambda kernels, scale, tensors, options: steps(*tensors),  # noqa: ARG005
    ),
    "add": Operation(
        lambda tensors, options: tensors[0] + tensors[2],  # noqa: ARG005
        lambda kernels, scale, tensors, options: kernels.add(*_pair(tensors), scale),  # noqa: ARG005
    ),
    "multiply": Operation(
        lambda tensors, options: tensors[0] * tensors[2],  # noqa: ARG005
        lambda kernels, scale, tensors, options: kernels.multiply(*_pair(tensors), scale),  # noqa: ARG005
    ),
    "mean": Operation(
        lambda tensors, options: tf.reduce_mean(tensors[0], options["axes"], keepdims=options["keepdims"]), _mean
    ),
    "leaky_relu": Operation(lambda tensors, options: tf.nn.leaky_relu(tensors[0], options["slope"]), _leaky),
    "hard_silu": _function("hard_silu", _hard_silu),
    "sigmoid": _function("sigmoid", tf.nn.sigmoid, (0.0, 255 / 256)),
    "tanh": _function("tanh", tf.nn.tanh, (-1.0, 127 / 128)),
    "softmax": _function("softmax", tf.nn.softmax, (0.0, 255 / 256)),
}


class Clip(NamedTuple):
    """A rectifier, which integer kernels have as the ends of what they write.

    Attributes:
        real: on real numbers.
        low, high: its ends; None for none.
    """

    real: Callable[[Any], Any]
    low: float | None
    high: float | None


CLIPS = {
    "linear": Clip(lambda x: x, None, None),
    "relu": Clip(tf.nn.relu, 0.0, None),
    "relu6": Clip(tf.nn.relu6, 0.0, 6.0),
}


class Activation(NamedTuple):
    """An activation, as integer kernels have it.

    Attributes:
        clip: a rectifier, by its name in `CLIPS`.
        operation: a function of its own, by its name in `OPERATIONS`.
        options: of the operation.
        limit: the most that the rectifier lets through, where `clip` has no such end: its grid ends there.
        affine: what it multiplies by and adds in front of the rectifier, which is a convolution of one tap.
    """

    clip: str = "linear"
    operation: str | None = None
    options: dict[str, Any] | None = None
    limit: float | None = None
    affine: tuple[float, float] = (1.0, 0.0)

    @property
    def fuses(self) -> bool:
        """Whether it is the end of what the operator in front of it writes."""
        return self.operation is None and self.affine == (1.0, 0.0)


LINEAR = Activation()

_FUNCTIONS = {
    keras.activations.linear: LINEAR,
    keras.activations.relu: Activation(clip="relu"),
    keras.activations.relu6: Activation(clip="relu6"),
    keras.activations.hard_sigmoid: Activation(clip="relu", limit=1.0, affine=(1 / 6, 0.5)),
    keras.activations.sigmoid: Activation(operation="sigmoid"),
    keras.activations.tanh: Activation(operation="tanh"),
    keras.activations.softmax: Activation(operation="softmax"),
    keras.activations.hard_silu: Activation(operation="hard_silu"),
    keras.activations.leaky_relu: Activation(operation="leaky_relu", options={"slope": 0.2}),
    leaky_relu: Activation(operation="leaky_relu", options={"slope": 0.1}),
}


def activation_of(function: Any) -> Activation | None:
    """Return how an activation function is quantized; None where it is not."""
    return _FUNCTIONS.get(function)


def activation_of_layer(layer: Any) -> Activation | None:
    """Return how an activation layer is quantized; None for another layer."""
    match layer:
        case keras.layers.Activation():
            return activation_of(layer.activation)
        case keras.layers.ReLU() if not layer.threshold:
            return _rectifier(layer.max_value, float(layer.negative_slope))
        case keras.layers.LeakyReLU():
            return _rectifier(None, float(layer.negative_slope))
        case keras.layers.Softmax() if layer.axis == -1:
            return Activation(operation="softmax")
    return None


def _rectifier(high: float | None, slope: float) -> Activation | None:
    if slope:
        return None if high is not None else Activation(operation="leaky_relu", options={"slope": slope})
    return Activation(clip="relu6") if high == 6 else Activation(clip="relu", limit=high)
