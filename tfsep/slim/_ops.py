"""Slim's layers without variables, and repeated layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tf_slim import add_arg_scope

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Shape, Tensor, TensorLike
from tfsep._utils.arguments import integer, number_in_range, positive_int, short_repr
from tfsep.models._layer_builder import layer_name
from tfsep.slim._arguments import never_trains, require_callable
from tfsep.slim._graph import graph_of
from tfsep.slim._scope import name_in_scope, variable_scope
from tfsep.slim._types import Collections, Function, ScopeLike


def apply_named(
    layer: Function,
    inputs: Tensor,
    scope: ScopeLike,
    default_name: str,
    outputs_collections: Collections = None,
    minimum_rank: int = 2,
) -> Tensor:
    """Call a Keras layer, made by `layer` of its name.

    Raises:
        TypeError: for what is no Keras tensor.
        ValueError: for a lower rank, or a scope that is no name.
    """
    graph = graph_of(inputs)
    if inputs.ndim < minimum_rank:
        raise ValueError(f"inputs: expected rank {minimum_rank} or more, got shape {tuple(inputs.shape)}")
    name = name_in_scope(graph, scope, default_name)
    return graph.add_output(outputs_collections, name, layer(name=layer_name(name))(inputs))


@add_arg_scope
def dropout(
    inputs: Tensor,
    keep_prob: float = 0.5,
    noise_shape: Shape | None = None,
    is_training: bool | None = True,
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
    seed: int | None = None,
) -> Tensor:
    """Drop elements in training, and divide the others by `keep_prob`.

    Args:
        inputs: Keras tensor.
        keep_prob: share of the elements to keep, in [0.001, 1].
        noise_shape: shape of the random mask, broadcast to the input's; None for the input's shape.
        is_training: True or None leave the phase to each call of the model; False never drops.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``Dropout``. One that is taken gets a number.
        seed: seed of the random numbers.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for an argument out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.dropout(keras.Input((8,)), keep_prob=0.8).shape
        (None, 8)
    """
    rate = 1 - number_in_range(keep_prob, "keep_prob", float, 0.001, 1)
    if never_trains(is_training):
        rate = 0.0
    shape = None if noise_shape is None else tuple(noise_shape)
    return apply_named(
        lambda name: keras.layers.Dropout(rate, shape, seed, name=name),
        inputs,
        scope,
        "Dropout",
        outputs_collections,
        minimum_rank=1,
    )


@add_arg_scope
def flatten(inputs: Tensor, outputs_collections: Collections = None, scope: ScopeLike = None) -> Tensor:
    """Reshape (N, ...) to (N, K).

    Args:
        inputs: Keras tensor of rank 2 or more.
        outputs_collections: names of collections for the result, under the layer's name.
        scope: name of the layer; None for ``Flatten``. One that is taken gets a number.

    Returns:
        Keras tensor (N, K).

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for rank 1.

    Examples:
        >>> from tfsep import slim
        >>> slim.flatten(keras.Input((2, 2, 16))).shape
        (None, 64)
    """
    return apply_named(
        lambda name: keras.layers.Flatten("channels_last", name=name), inputs, scope, "Flatten", outputs_collections
    )


@add_arg_scope
def softmax(logits: Tensor, scope: ScopeLike = None) -> Tensor:
    """Return the softmax over the last axis.

    Args:
        logits: Keras tensor of rank 2 or more.
        scope: name of the layer; None for ``softmax``. One that is taken gets a number.

    Returns:
        Keras tensor of the same shape, whose last axis adds up to 1.

    Raises:
        TypeError: if `logits` is no Keras tensor.
        ValueError: for rank 1.

    Examples:
        >>> from tfsep import slim
        >>> slim.softmax(keras.Input((10,))).shape
        (None, 10)
    """
    return apply_named(lambda name: keras.layers.Activation("softmax", name=name), logits, scope, "softmax")


@add_arg_scope
def one_hot_encoding(
    labels: TensorLike,
    num_classes: int,
    on_value: float = 1.0,
    off_value: float = 0.0,
    outputs_collections: Collections = None,
    scope: ScopeLike = None,
) -> Tensor:
    """Return integer labels (N,) as (N, num_classes), with `on_value` at the label and `off_value` elsewhere.

    Args:
        labels: ints (N,): a Keras tensor; where there are no collections, any tensor or array.
        num_classes: number of columns.
        on_value: number at the label.
        off_value: number elsewhere.
        outputs_collections: names of collections for the result.
        scope: name in the collections; None for ``OneHotEncoding``.

    Raises:
        ValueError: if `num_classes` is not a positive int.
        TypeError: for collections with labels that are no Keras tensor.

    Examples:
        >>> one_hot_encoding(np.array([2, 0]), 3).numpy().tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    encoded = keras.ops.one_hot(labels, positive_int(num_classes, "num_classes")) * (on_value - off_value) + off_value
    if not outputs_collections and not keras.utils.is_keras_tensor(labels):
        return encoded
    graph = graph_of(labels)
    return graph.add_output(outputs_collections, name_in_scope(graph, scope, "OneHotEncoding"), encoded)


def _name_of(layer: Function, default: str) -> str:
    """Name of a function, or of the one in a `functools.partial`; the default for others."""
    named = layer if hasattr(layer, "__name__") else getattr(layer, "func", None)
    return str(getattr(named, "__name__", default))


def _in_turn(
    inputs: Tensor,
    layer: Function,
    calls: Iterable[Sequence[Any]],
    default: str,
    scope: ScopeLike,
    arguments: dict[str, Any],
) -> Tensor:
    """Apply a layer once for each tuple of arguments, in numbered scopes."""
    graph_of(inputs)  # raises for what is no Keras tensor
    require_callable(layer, "layer")
    with variable_scope(scope, default, [inputs]):
        name = _name_of(layer, default.lower()) if scope is None else scope
        for position, call in enumerate(calls, 1):
            inputs = layer(inputs, *call, **arguments, scope=f"{name}_{position}")
    return inputs


def repeat(inputs: Tensor, repetitions: int, layer: Function, *args: Any, **kwargs: Any) -> Tensor:
    """Apply the same layer several times, in scopes ``scope/scope_1``, ``scope/scope_2``...

    Args:
        inputs: Keras tensor.
        repetitions: number of applications.
        layer: a function of ``(inputs, *args, **kwargs, scope=...)``.
        *args: positional arguments of the layer.
        **kwargs: keyword arguments of the layer. `scope` is that of all together; None for ``Repeat``, with the name of
            the layer's function for each.

    Returns:
        Keras tensor, the result of the last application.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or `layer` no function.
        ValueError: if `repetitions` is not a positive int.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.repeat(keras.Input((8, 8, 3)), 2, slim.conv2d, 16, [3, 3], scope="conv1")
        >>> list(slim.utils.convert_collection_to_dict("variables"))[2:]
        ['conv1/conv1_2/weights', 'conv1/conv1_2/biases']
    """
    calls = [args] * positive_int(repetitions, "repetitions")
    return _in_turn(inputs, layer, calls, "Repeat", kwargs.pop("scope", None), kwargs)


def stack(inputs: Tensor, layer: Function, stack_args: Sequence[Any], **kwargs: Any) -> Tensor:
    """Apply a layer with one set of arguments after the other, in scopes ``scope/scope_1``, ``scope/scope_2``...

    Args:
        inputs: Keras tensor.
        layer: a function of ``(inputs, *args, **kwargs, scope=...)``.
        stack_args: list of positional arguments, each a tuple or a single one.
        **kwargs: keyword arguments of every call. `scope` is that of all together; None for ``Stack``, with the name of
            the layer's function for each.

    Returns:
        Keras tensor that the layer returns for the last of the arguments.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or `layer` no function.
        ValueError: if `stack_args` is no list or tuple.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.stack(keras.Input((8,)), slim.fully_connected, [32, 64], scope="fc")
        >>> [tuple(v.shape) for v in slim.get_variables_by_name("weights", scope="fc")]
        [(8, 32), (32, 64)]
    """
    if not isinstance(stack_args, list | tuple):
        raise ValueError(f"stack_args: expected a list or a tuple, got {short_repr(stack_args)}")
    calls = [call if isinstance(call, list | tuple) else (call,) for call in stack_args]
    return _in_turn(inputs, layer, calls, "Stack", kwargs.pop("scope", None), kwargs)


@keras.saving.register_keras_serializable(package="tfsep")
class ScaledGradient(keras.layers.Layer):
    """The identity, whose gradient is multiplied by a number or an array.

    Args:
        factor: the number, or nested lists of them, which broadcast to the input.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, factor: Any = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = np.asarray(factor, "float32").tolist()

    def call(self, inputs: Tensor) -> Tensor:
        """Return the inputs."""
        factor = tf.cast(self.factor, inputs.dtype)

        @tf.custom_gradient
        def identity(x: Tensor) -> Any:
            return tf.identity(x), lambda upstream: upstream * factor

        return identity(inputs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "factor": self.factor}


def scale_gradient(inputs: Tensor, gradient_multiplier: TensorLike) -> Tensor:
    """Return the inputs, with their gradient multiplied.

    Args:
        inputs: Keras tensor.
        gradient_multiplier: a number or an array that broadcasts to the inputs.

    Raises:
        TypeError: if `inputs` is no Keras tensor, or the multiplier is no number or array.

    Examples:
        >>> from tfsep import slim
        >>> slim.scale_gradient(keras.Input((8,)), 0.1).shape
        (None, 8)
    """
    if keras.utils.is_keras_tensor(gradient_multiplier):
        raise TypeError(f"gradient_multiplier: expected a number or an array, got {short_repr(gradient_multiplier)}")
    return apply_named(
        lambda name: ScaledGradient(gradient_multiplier, name=name), inputs, None, "ScaleGradient", minimum_rank=0
    )


@add_arg_scope
def unit_norm(inputs: Tensor, dim: int, epsilon: float = 1e-7, scope: ScopeLike = None) -> Tensor:
    """Divide by the length along an axis.

    Args:
        inputs: Keras tensor.
        dim: the axis, counted from 0.
        epsilon: added to the square of the length.
        scope: name of the layer; None for ``UnitNorm``. One that is taken gets a number.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for an axis that is not there.

    Examples:
        >>> from tfsep import slim
        >>> slim.unit_norm(keras.Input((128,)), 1).shape
        (None, 128)
    """
    graph_of(inputs)  # raises for what is no Keras tensor
    if integer(dim) not in range(inputs.ndim):
        raise ValueError(f"dim: expected one of the {inputs.ndim} axes from 0, got {dim!r}")
    inputs = apply_named(
        lambda name: keras.layers.Activation("linear", name=name), inputs, scope, "UnitNorm", minimum_rank=1
    )
    epsilon = number_in_range(epsilon, "epsilon", float, 0)
    return inputs / keras.ops.sqrt(epsilon + keras.ops.sum(keras.ops.square(inputs), axis=int(dim), keepdims=True))


def poincare_normalize(x: Tensor, axis: int = 1, epsilon: float = 1e-5, name: str | None = None) -> Tensor:
    """Project into the ball of radius ``1 - epsilon``, along an axis.

    Args:
        x: Keras tensor.
        axis: the axis of vectors, or several.
        epsilon: distance from the unit sphere.
        name: name of the layer; None for ``poincare_normalize``. One that is taken gets a number.

    Raises:
        TypeError: if `x` is no Keras tensor.

    Source: M. Nickel, D. Kiela, "Poincaré Embeddings for Learning Hierarchical Representations" (arXiv 1705.08039).

    Examples:
        >>> from tfsep import slim
        >>> slim.poincare_normalize(keras.Input((8,))).shape
        (None, 8)
    """
    x = apply_named(
        lambda name: keras.layers.Activation("linear", name=name), x, name, "poincare_normalize", minimum_rank=1
    )
    length = keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=axis, keepdims=True))
    return x * keras.ops.minimum((1.0 - epsilon) / length, 1.0)
