"""A model as a list of calls of plain layers, in order: nested models are opened, and composite layers taken apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.model_graph import calls_behind, operation_of, plain_model
from tfsep.quantize._built_layers import filled, one_tap
from tfsep.quantize._transposed_lowering import TRANSPOSED, transposed_parts

_PLAIN = (
    *(keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.Softmax, keras.layers.Add),
    *(keras.layers.Multiply, keras.layers.Concatenate, keras.layers.Reshape, keras.layers.Flatten),
    *(keras.layers.Permute, keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.AveragePooling1D),
    *(keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
    *(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D, keras.layers.ZeroPadding1D),
    *(keras.layers.ZeroPadding2D, keras.layers.Cropping1D, keras.layers.Cropping2D),
)
"""Layers without weights, of which two that are alike compute the same."""

_TakeApart = Callable[[Any, tuple[int | None, ...]], Iterator[Any]]


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        layer: that is called; None of an input of the model.
        sources: the numbers of the calls whose results it takes.
        options: what it is called with beside them.
        shape: of its result, the batch and what is not known None.
        within: the names of the nested models, and of the composite layer, that it is a part of.
    """

    layer: Any
    sources: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int | None, ...] = ()
    within: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """The names that a user may call the layer by."""
        return set() if self.layer is None else {self.layer.name, *self.within}


@dataclass(frozen=True)
class Graph:
    """The calls of a model, each behind those that it needs; which are its outputs, in the model's own order."""

    calls: tuple[Call, ...]
    outputs: tuple[int, ...]


def graph_of(model: Any) -> Graph:
    """Return the calls of a Functional or Sequential model.

    Raises:
        TypeError, ValueError: for another model, one that was not built, or a call that no list can hold.
    """
    model = plain_model(model)
    calls = _Calls([Call(None, shape=tuple(tensor.shape)) for tensor in model.inputs], {}, {})
    outputs = _open(model, list(range(len(calls.made))), calls, ())
    return Graph(tuple(calls.made), tuple(outputs))


class _Calls(NamedTuple):
    """The calls so far, the parts of each layer, so that one called twice has them once, and the results of calls.

    Where a layer, or another one like it without weights, is called twice on the same tensors, the converter keeps one
    of the two, and so does this list; of dropout too, which is nothing at inference.
    """

    made: list[Call]
    parts: dict[int, list[Any]]
    results: dict[tuple[Any, ...], list[int]]


def _open(model: Any, given: list[int], calls: _Calls, within: tuple[str, ...]) -> list[int]:
    """Add the calls of a model whose inputs are the results of the calls `given`; return those of its outputs."""
    model = plain_model(model)
    known = {id(tensor): number for tensor, number in zip(model.inputs, given, strict=True)}
    for call in filter(lambda call: call.inputs, calls_behind(model.outputs)):
        sources = tuple(_result(source, known) for source in call.inputs)
        options = _options(call.operation.name, call.kwargs)
        results = _add(Call(call.operation, sources, options, tuple(call.outputs[0].shape), within), calls)
        known |= zip(map(id, call.outputs), results, strict=False)
    return [_result(output, known) for output in model.outputs]


def _result(tensor: keras.KerasTensor, known: dict[int, int]) -> int:
    """The number of the call whose result a tensor is."""
    if id(tensor) not in known:
        raise ValueError(
            f"model: expected layers of one result each, got {operation_of(tensor).name!r}, of which another is taken"
        )
    return known[id(tensor)]


def _options(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a layer is called with beside tensors, without what says nothing."""
    if any(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten(kwargs)):
        raise ValueError(f"model: expected layers that take tensors by position, got {name!r}, which takes one by name")
    if kwargs.get("training") not in (None, False):
        raise ValueError(f"model: expected layers that training=True is not given to, got {name!r}")
    return {key: value for key, value in kwargs.items() if key not in ("training", "mask")}


def _add(call: Call, calls: _Calls) -> list[int]:
    """Add a call, or those of which it consists; return the numbers of its results."""
    layer, inside = call.layer, (*call.within, call.layer.name)
    same = _kind(call), call.sources, repr(sorted(call.options.items()))
    if same in calls.results and not isinstance(layer, keras.Model):
        return calls.results[same]
    if isinstance(layer, keras.Model):
        results = _open(layer, list(call.sources), calls, inside)
    else:
        if id(layer) not in calls.parts:
            alike = len({len(calls.made[source].shape) for source in call.sources}) == 1
            calls.parts[id(layer)] = _parts(call, alike)
        sources = call.sources
        for part in calls.parts[id(layer)]:
            # The result of a part has the shape of the last one's but for its sizes, which nothing asks for.
            calls.made.append(replace(call, layer=part, sources=sources, within=inside))
            sources = (len(calls.made) - 1,)
        results = list(sources)
    calls.results[same] = results
    return results


def _kind(call: Call) -> Any:
    """What two calls have in common of which the converter keeps one: the layer, or all of a plain one but its name."""
    if (type(call.layer), len(call.sources)) in _operators():
        return type(call.layer)
    if not isinstance(call.layer, _PLAIN):
        return id(call.layer)
    return type(call.layer), repr({name: value for name, value in call.layer.get_config().items() if name != "name"})


def _parts(call: Call, alike: bool) -> list[Any]:
    """The plain layers that the layer of a call is a chain of: itself, of most; the layer that an operator is.

    Operators on tensors that are not `alike` in rank go by other axes than layers do, and are no layer.
    """
    take_apart = next((parts for kinds, parts in _COMPOSITE if isinstance(call.layer, kinds)), None)
    if take_apart is not None:
        made = list(take_apart(call.layer, call.shape))
        for part in made:
            part.trainable = part.trainable and call.layer.trainable
        return made
    layer_of = _operators().get((type(call.layer), len(call.sources))) if alike else None
    return [call.layer if layer_of is None else layer_of(name=call.layer.name)]


@cache
def _operators() -> dict[tuple[type, int], Callable[..., Any]]:
    """By the class of an operator, which Keras does not export, and its number of tensors: the layer that it is."""
    number = keras.Input((1,))
    return {
        (type(operation_of(operator(*(number,) * count))), count): layer_of
        for operator, count, layer_of in (
            (keras.ops.add, 2, keras.layers.Add),
            (keras.ops.multiply, 2, keras.layers.Multiply),
            (keras.ops.relu, 1, keras.layers.ReLU),
            (keras.ops.relu6, 1, partial(keras.layers.ReLU, 6.0)),
            (keras.ops.sigmoid, 1, partial(keras.layers.Activation, "sigmoid")),
            (keras.ops.tanh, 1, partial(keras.layers.Activation, "tanh")),
            (keras.ops.hard_sigmoid, 1, partial(keras.layers.Activation, "hard_sigmoid")),
            (keras.ops.hard_silu, 1, partial(keras.layers.Activation, "hard_silu")),
        )
    }


def _separable_block(block: Any, _: Any) -> Iterator[Any]:
    for name, convolution, normalization in (
        ("depthwise", block.depthwise, block.depthwise_bn),
        ("pointwise", block.pointwise, block.pointwise_bn),
    ):
        yield renamed(convolution, f"{block.name}_{name}")
        if normalization is not None:
            yield renamed(normalization, f"{block.name}_{name}_bn")
        yield keras.layers.Activation(block.activation, name=f"{block.name}_{name}_activation")


def _separable(depthwise: type, pointwise: type) -> _TakeApart:
    def parts(layer: Any, _: Any) -> Iterator[Any]:
        kernel = layer.depthwise_kernel
        first = depthwise(
            layer.kernel_size,
            layer.strides,
            layer.padding,
            layer.depth_multiplier,
            layer.data_format,
            layer.dilation_rate,
            use_bias=False,
            depthwise_regularizer=layer.depthwise_regularizer,
            depthwise_constraint=layer.depthwise_constraint,
            name=f"{layer.name}_depthwise",
        )
        second = pointwise(
            layer.filters,
            1,
            data_format=layer.data_format,
            activation=layer.activation,
            use_bias=layer.use_bias,
            kernel_regularizer=layer.pointwise_regularizer,
            bias_regularizer=layer.bias_regularizer,
            kernel_constraint=layer.pointwise_constraint,
            bias_constraint=layer.bias_constraint,
            name=layer.name,
        )
        ones = (None,) * (len(kernel.shape) - 2)
        bias = [] if layer.bias is None else [layer.bias]
        yield filled(first, (None, *ones, kernel.shape[-2]), [kernel])
        yield filled(second, (None, *ones, layer.pointwise_kernel.shape[-2]), [layer.pointwise_kernel, *bias])

    return parts


def _rescaling(layer: Any, shape: tuple[int | None, ...]) -> Iterator[Any]:
    """``x · scale + offset`` as a depthwise convolution of one tap, which is what integer kernels have for it."""
    convolution, channels = one_tap(len(shape), layer.name), shape[-1]
    if convolution is None or channels is None:
        yield layer
        return
    scale, offset = (np.broadcast_to(value, (channels,)) for value in (layer.scale, layer.offset))
    kernel = scale.reshape(*(1,) * (len(shape) - 3), 1, channels, 1)
    yield filled(convolution, (*(None,) * (len(shape) - 1), channels), [kernel, offset])


_COMPOSITE: tuple[tuple[Any, _TakeApart], ...] = (
    (layers.DepthwiseSeparableConv, _separable_block),
    (
        (keras.layers.SeparableConv2D, layers.SeparableConv2D),
        _separable(layers.DepthwiseConv2D, layers.Conv2D),
    ),
    (
        (keras.layers.SeparableConv1D, layers.SeparableConv1D),
        _separable(layers.DepthwiseConv1D, layers.Conv1D),
    ),
    (keras.layers.Rescaling, _rescaling),
    (TRANSPOSED, transposed_parts),
)
"""Layers that are chains of others, and how they are taken apart."""


def renamed(layer: Any, name: str) -> Any:
    """Return a copy of a built layer under another name, with the same weights."""
    copy = type(layer).from_config({**layer.get_config(), "name": name})
    build = layer.get_build_config()
    copy.build(build["input_shape"] if build else None)
    copy.set_weights(layer.get_weights())
    return copy
