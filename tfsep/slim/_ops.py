"""Slim's layers without variables, and those that apply others again and again."""

from collections.abc import Callable
from typing import Any

from tf_slim import add_arg_scope

from tfsep._keras.backend import keras
from tfsep._utils.arguments import number_in_range, positive_int, short_repr
from tfsep.geometry._padding import normalize_padding
from tfsep.geometry._sizes import pair
from tfsep.slim._arguments import channels, never_trains, require_callable
from tfsep.slim._graph import graph_of
from tfsep.slim._scope import layer_name, name_in_scope, variable_scope


def _apply(
    layer: Callable[..., Any],
    inputs: Any,
    scope: Any,
    default_name: str,
    outputs_collections: Any = None,
    minimum_rank: int = 2,
) -> Any:
    """Call the Keras layer that `layer` makes of a name."""
    graph = graph_of(inputs)
    if inputs.ndim < minimum_rank:
        raise ValueError(f"inputs: expected rank {minimum_rank} or more, got shape {tuple(inputs.shape)}")
    name = name_in_scope(graph, scope, default_name)
    return graph.add_output(outputs_collections, name, layer(name=layer_name(name))(inputs))


def _pool(
    layer: Any,
    inputs: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    data_format: Any,
    outputs_collections: Any,
    scope: Any,
    default_name: str,
) -> Any:
    if not isinstance(window := normalize_padding(padding), str):
        raise ValueError(f"padding: expected 'SAME' or 'VALID', got {padding!r}")
    size, strides, order = pair(kernel_size, "kernel_size"), pair(stride, "stride"), channels(data_format)
    return _apply(
        lambda name: layer(size, strides, window, order, name=name),
        inputs,
        scope,
        default_name,
        outputs_collections,
        minimum_rank=4,
    )


@add_arg_scope
def avg_pool2d(
    inputs: Any,
    kernel_size: Any,
    stride: Any = 2,
    padding: str = "VALID",
    data_format: str = "NHWC",
    outputs_collections: Any = None,
    scope: Any = None,
) -> Any:
    """Average over a window.

    Args:
        inputs: Keras tensor (N, H, W, C), or (N, C, H, W) with ``"NCHW"``.
        kernel_size, stride: an int or a pair.
        padding: ``"VALID"`` or ``"SAME"``, which leaves what is outside the image out of the mean.
        data_format: ``"NHWC"`` or ``"NCHW"``.
        outputs_collections: as in `convolution`.
        scope: the layer's name; None for ``AvgPool2D``. One that is taken gets a number.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for another rank, or an argument that is out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.avg_pool2d(keras.Input((7, 7, 16)), [7, 7]).shape
        (None, 1, 1, 16)
    """
    return _pool(keras.layers.AveragePooling2D, default_name="AvgPool2D", **locals())


@add_arg_scope
def max_pool2d(
    inputs: Any,
    kernel_size: Any,
    stride: Any = 2,
    padding: str = "VALID",
    data_format: str = "NHWC",
    outputs_collections: Any = None,
    scope: Any = None,
) -> Any:
    """Take the largest of a window; arguments and errors as in `avg_pool2d`, its default name ``MaxPool2D``.

    Examples:
        >>> from tfsep import slim
        >>> slim.max_pool2d(keras.Input((8, 8, 16)), 3, padding="SAME").shape
        (None, 4, 4, 16)
    """
    return _pool(keras.layers.MaxPooling2D, default_name="MaxPool2D", **locals())


@add_arg_scope
def dropout(
    inputs: Any,
    keep_prob: float = 0.5,
    noise_shape: Any = None,
    is_training: bool | None = True,
    outputs_collections: Any = None,
    scope: Any = None,
    seed: int | None = None,
) -> Any:
    """Drop elements while training, and scale those that are kept by ``1 / keep_prob``.

    Args:
        inputs: Keras tensor.
        keep_prob: share that is kept, in [0.001, 1].
        noise_shape: shape of what is drawn, broadcast to the input's; None for an element each.
        is_training: True or None leave the phase to each call of the model; False never drops.
        outputs_collections: as in `convolution`.
        scope: the layer's name; None for ``Dropout``. One that is taken gets a number.
        seed: of the random numbers.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for an argument that is out of range.

    Examples:
        >>> from tfsep import slim
        >>> slim.dropout(keras.Input((8,)), keep_prob=0.8).shape
        (None, 8)
    """
    rate = 1 - number_in_range(keep_prob, "keep_prob", float, 0.001, 1)
    if never_trains(is_training):
        rate = 0.0
    shape = None if noise_shape is None else tuple(noise_shape)
    return _apply(
        lambda name: keras.layers.Dropout(rate, shape, seed, name=name),
        inputs,
        scope,
        "Dropout",
        outputs_collections,
        minimum_rank=1,
    )


@add_arg_scope
def flatten(inputs: Any, outputs_collections: Any = None, scope: Any = None) -> Any:
    """Return (N, ...) as (N, K), in the order in which it is.

    Args:
        inputs: Keras tensor of rank 2 or more.
        outputs_collections: as in `convolution`.
        scope: the layer's name; None for ``Flatten``. One that is taken gets a number.

    Raises:
        TypeError: if `inputs` is no Keras tensor.
        ValueError: for rank 1.

    Examples:
        >>> from tfsep import slim
        >>> slim.flatten(keras.Input((2, 2, 16))).shape
        (None, 64)
    """
    return _apply(
        lambda name: keras.layers.Flatten("channels_last", name=name), inputs, scope, "Flatten", outputs_collections
    )


@add_arg_scope
def softmax(logits: Any, scope: Any = None) -> Any:
    """Return the softmax over the last axis.

    Args:
        logits: Keras tensor of rank 2 or more.
        scope: the layer's name; None for ``softmax``. One that is taken gets a number.

    Raises:
        TypeError: if `logits` is no Keras tensor.
        ValueError: for rank 1.

    Examples:
        >>> from tfsep import slim
        >>> slim.softmax(keras.Input((10,))).shape
        (None, 10)
    """
    return _apply(lambda name: keras.layers.Activation("softmax", name=name), logits, scope, "softmax")


@add_arg_scope
def one_hot_encoding(
    labels: Any,
    num_classes: int,
    on_value: float = 1.0,
    off_value: float = 0.0,
    outputs_collections: Any = None,
    scope: Any = None,
) -> Any:
    """Return integer labels (N,) as (N, num_classes), `on_value` at the label and `off_value` elsewhere.

    Args:
        labels: a Keras tensor, or a tensor or array of integers, which goes into no collection.
        num_classes: length of the result.
        on_value, off_value: numbers.
        outputs_collections: as in `convolution`.
        scope: the name in the collections; None for ``OneHotEncoding``.

    Raises:
        ValueError: if num_classes is no positive int.
        TypeError: if what is no Keras tensor has to go into a collection.

    Examples:
        >>> one_hot_encoding(np.array([2, 0]), 3).numpy().tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    encoded = keras.ops.one_hot(labels, positive_int(num_classes, "num_classes")) * (on_value - off_value) + off_value
    if not outputs_collections and not keras.utils.is_keras_tensor(labels):
        return encoded
    graph = graph_of(labels)
    return graph.add_output(outputs_collections, name_in_scope(graph, scope, "OneHotEncoding"), encoded)


def _name_of(layer: Any, default: str) -> str:
    """The name of a function, of that in a `functools.partial`, or the default."""
    named = layer if hasattr(layer, "__name__") else getattr(layer, "func", None)
    return str(getattr(named, "__name__", default))


def _in_turn(inputs: Any, layer: Any, calls: Any, default: str, scope: Any, arguments: dict[str, Any]) -> Any:
    """Apply `layer` once for every tuple in `calls`, each in a scope with its number."""
    graph_of(inputs)  # which says what is wrong with what is no Keras tensor
    require_callable(layer, "layer")
    with variable_scope(scope, default, [inputs]):
        name = _name_of(layer, default.lower()) if scope is None else scope
        for position, call in enumerate(calls, 1):
            inputs = layer(inputs, *call, **arguments, scope=f"{name}_{position}")
    return inputs


def repeat(inputs: Any, repetitions: int, layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply the same layer with the same arguments several times, in scopes ``scope/scope_1``, ``scope/scope_2``...

    Args:
        inputs: Keras tensor.
        repetitions: how many times.
        layer: a function with arguments ``(inputs, *args, **kwargs, scope=...)``.
        *args, **kwargs: of the layer, but for `scope`, which is that of all; None for ``Repeat``, in which each is
            named by the layer's function.

    Raises:
        ValueError: if repetitions is no positive int.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.repeat(keras.Input((8, 8, 3)), 2, slim.conv2d, 16, [3, 3], scope="conv1")
        >>> list(slim.utils.convert_collection_to_dict("variables"))[2:]
        ['conv1/conv1_2/weights', 'conv1/conv1_2/biases']
    """
    calls = [args] * positive_int(repetitions, "repetitions")
    return _in_turn(inputs, layer, calls, "Repeat", kwargs.pop("scope", None), kwargs)


def stack(inputs: Any, layer: Any, stack_args: Any, **kwargs: Any) -> Any:
    """Apply a layer with one set of arguments after the other, in scopes ``scope/scope_1``, ``scope/scope_2``...

    Args:
        inputs: Keras tensor.
        layer: a function with arguments ``(inputs, *args, **kwargs, scope=...)``.
        stack_args: a list of arguments, each a tuple or a single one.
        **kwargs: of every call, but for `scope`, which is that of all; None for ``Stack``, in which each is named by
            the layer's function.

    Raises:
        ValueError: if stack_args is no list or tuple.

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
