"""A model as a list of calls of plain layers, in order: nested models and composite layers are opened or decomposed."""

import inspect
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.composite_layers import Unopened, body_of, is_composite
from tfsep._keras.model_graph import Call, calls_behind, operation_of, plain_model
from tfsep._keras.types import Layer, Model, Shape
from tfsep.layers._layer_kinds import kind_of
from tfsep.quantize._activations import Activation, activation_of_layer, is_pure, layers_of_operators
from tfsep.quantize._decompositions import decomposed, layers_of
from tfsep.quantize._operations import moves, operation_for, overridden
from tfsep.quantize._to_float import ToFloat
from tfsep.quantize._wrapped_layers import unwrapped


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer.

    Attributes:
        layer: the layer, or an operator without one; None for an input of the model.
        sources: the numbers of the calls whose results it takes.
        positional: the arguments by position, with the model's tensors in their places; empty for the tensors alone.
        arguments: the arguments by name, likewise.
        shape: shape of its result; None for the batch and for sizes that are not known.
        dtype: type of its result.
        casts: whether it casts integers to float32.
        within: the names of the nested models, and of the composite layers, that it is a part of.
        obstacle: of a composite layer that stays closed, the reason, as a relative clause.
        results: the number of its results.
        result: which of them this is; the calls of all but the first one have the first one's as their source.
    """

    layer: Layer | None
    sources: tuple[int, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shape: Shape = ()
    dtype: str = "float32"
    casts: bool = False
    within: tuple[str, ...] = ()
    positional: tuple[Any, ...] = ()
    obstacle: str = ""
    results: int = 1
    result: int = 0

    @property
    def names(self) -> set[str]:
        """The names that `Config.float_layers` can give for it."""
        if self.layer is None:
            return set()
        return {self.layer.name, *self.within, *(f"{self.layer.name}_{place}" for place in range(1, self.results))}

    @property
    def activation(self) -> Activation | None:
        """How it is quantized as an activation; None for another call, as that of a function of two tensors."""
        return activation_of_layer(self.layer) if len(self.sources) == 1 else None

    @property
    def takes_named(self) -> bool:
        """Whether it takes tensors by name, as masks."""
        return any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten(self.arguments))

    @property
    def has_integers(self) -> bool:
        """Whether its result is no floating-point number."""
        return "float" not in self.dtype


@dataclass(frozen=True)
class CallList:
    """The calls of a model.

    Attributes:
        calls: each behind its sources.
        outputs: the numbers of the calls whose results are the model's outputs, in the model's order.
    """

    calls: tuple[LayerCall, ...]
    outputs: tuple[int, ...]


def call_list_of(model: Model, closed: Container[str] = ()) -> CallList:
    """Return the calls of a Functional or Sequential model, within `calls_forgotten`.

    Args:
        model: the model.
        closed: the names of composite layers that stay single calls.

    Raises:
        TypeError: for another kind of model.
        ValueError: for a model that was not built.
    """
    model = plain_model(model)
    calls = _Calls(
        [LayerCall(None, shape=tuple(tensor.shape), dtype=tensor.dtype) for tensor in model.inputs], {}, {}, closed
    )
    outputs = _open(model, list(range(len(calls.made))), calls, ())
    return CallList(tuple(calls.made), tuple(outputs))


_SCALING = (keras.layers.Rescaling, keras.layers.Normalization)
"""Layers that cast integers themselves; one that stays in float32 is no convolution, which would take none."""


class _Calls(NamedTuple):
    """The calls so far.

    Where a layer, or another one of the same config without weights, is called twice on the same tensors, the converter
    merges the two calls, and so does this list; of dropout too, which is an identity at inference.

    Attributes:
        made: the calls.
        parts: for each layer, the layers that it was decomposed to, so that a shared layer has them once.
        results: for each call, the numbers of its results.
        closed: the names of layers that stay single calls, composite ones and those that scale.
    """

    made: list[LayerCall]
    parts: dict[int, list[Layer]]
    results: dict[Hashable, list[int]]
    closed: Container[str]


def _open(model: Model, given: list[int], calls: _Calls, within: tuple[str, ...]) -> list[int]:
    """Add the calls of a model on the results of the calls `given`; return the numbers of its outputs."""
    model = plain_model(model)
    known = {id(tensor): number for tensor, number in zip(model.inputs, given, strict=True)}
    for call in filter(lambda call: call.inputs, calls_behind(model.outputs)):
        sources = [known[id(source)] for source in call.inputs]
        body, obstacle = _body(call, calls.closed)
        if body is None:
            results = _add(_layer_call(call, tuple(sources), within, obstacle), calls, call.outputs)
        else:
            results = _open(body, sources, calls, (*within, call.operation.name))
        known |= zip(map(id, call.outputs), results, strict=True)
    return [known[id(output)] for output in model.outputs]


def _body(call: Call, closed: Container[str]) -> tuple[Model | None, str]:
    """The model of the layers inside a composite or repeated layer, for one call of it, or None and the reason."""
    layer = call.operation
    if layer.name not in closed and (inside := unwrapped(call)) is not None:
        return inside, ""
    known = not overridden(layer) and (operation_for(layer) is not None or kind_of(layer) is not None)
    if known or not is_composite(layer) or layer.name in closed:
        return None, ""
    try:
        return body_of(layer, [call]), ""
    except Unopened as reason:
        return None, str(reason)


def _layer_call(call: Call, sources: tuple[int, ...], within: tuple[str, ...], obstacle: str) -> LayerCall:
    """A call of a layer, as a model's graph has it."""
    result, args = call.outputs[0], call.args
    # Keras's predict overrides training=True of a call, so a call has it for nothing.
    arguments = {name: value for name, value in call.kwargs.items() if name != "training" and value is not None}
    first = next(iter(inspect.signature(call.operation.call).parameters), "")
    if not args and first in arguments:
        args = (arguments.pop(first),)
    # The first argument by position may have had others in front of it, by the letters of their names.
    numbers = dict(zip(map(id, call.inputs), sources, strict=True))
    leaves = [leaf for leaf in keras.tree.flatten((args, arguments)) if isinstance(leaf, keras.KerasTensor)]
    return LayerCall(
        layer=call.operation,
        sources=tuple(numbers[id(leaf)] for leaf in leaves),
        arguments=arguments,
        shape=tuple(result.shape),
        dtype=result.dtype,
        within=within,
        positional=args,
        obstacle=obstacle,
        results=len(call.outputs),
    )


def _add(call: LayerCall, calls: _Calls, outputs: Sequence[keras.KerasTensor]) -> list[int]:
    """Add a call, or those that it consists of; return the numbers of its results, which are the outputs."""
    layer: Layer = call.layer
    inside = (*call.within, layer.name)
    given = [leaf for leaf in keras.tree.flatten(call.positional) if not isinstance(leaf, keras.KerasTensor)]
    named = [(name, _constants(value)) for name, value in sorted(call.arguments.items())]
    same = _identity_key(layer, len(call.sources)), call.sources, repr((given, named))
    if same in calls.results and not isinstance(layer, keras.Model):
        return calls.results[same]
    if isinstance(layer, keras.Model):
        results = _open(layer, list(call.sources), calls, inside)
    else:
        if id(layer) not in calls.parts:
            scales = isinstance(layer, _SCALING) or not isinstance(layer, keras.layers.Layer)
            stays = scales and any(name in calls.closed for name in inside)
            stays |= call.takes_named
            before = [calls.made[source] for source in call.sources]
            calls.parts[id(layer)] = [layer] if stays else _parts(layer, call, before)
        sources = call.sources
        call = replace(call, casts=isinstance(layer, (*_SCALING, _cast_operator())))
        if moves(layer) and all(calls.made[source].has_integers for source in sources):
            # A merging layer of Keras says float32 there.
            call = replace(call, dtype=calls.made[sources[0]].dtype)
        for part in calls.parts[id(layer)]:
            # The result of each part has the rank of the last one's; its sizes, which may differ, are not used.
            positional = call.positional if part is layer else ()
            calls.made.append(replace(call, layer=part, sources=sources, within=inside, positional=positional))
            sources = (len(calls.made) - 1,)
        results = list(sources)
        for place, output in enumerate(outputs[1:], 1):
            own = {"shape": tuple(output.shape), "dtype": output.dtype, "result": place}
            calls.made.append(replace(calls.made[results[0]], sources=(results[0],), **own))
            results.append(len(calls.made) - 1)
    calls.results[same] = results
    return results


def _constants(value: Any) -> Any:
    """An argument without its tensors, which the sources of a call say."""
    return keras.tree.map_structure(lambda leaf: "tensor" if isinstance(leaf, keras.KerasTensor) else leaf, value)


def _identity_key(layer: Layer, count: int) -> Hashable:
    """A key that two layers share if the converter merges their calls on the same tensors.

    It is the layer's identity, or, for a pure layer, its class and config without the name.
    """
    if (layer_of := layers_of_operators().get((type(layer), count))) is not None:
        layer = layer_of(layer)
    if not is_pure(layer):
        return id(layer)
    return id(type(layer)), repr({name: value for name, value in layer.get_config().items() if name != "name"})


def _parts(layer: Layer, call: LayerCall, before: list[LayerCall]) -> list[Layer]:
    """The plain layers that the layer of a call is a chain of, behind other calls; the one layer that an operator is.

    Operators broadcast tensors of different ranks along other axes than layers do, and are no layer then.
    """
    if isinstance(layer, _cast_operator()) and call.dtype == "float32":
        return [ToFloat(name=layer.name)]
    found = None if before[0].has_integers else layers_of(layer, call.positional, before[0].shape, call.shape)
    if found is not None:
        return found
    if isinstance(layer, keras.layers.Average) and not overridden(layer):
        scaling = keras.layers.Rescaling(1 / len(before), name=layer.name)
        return [keras.layers.Add(name=f"{layer.name}_sum"), *decomposed(scaling, call.shape, call.shape)]
    same_rank = len({len(each.shape) for each in before}) == 1
    layer_of = layers_of_operators().get((type(layer), len(before))) if same_rank else None
    return decomposed(layer if layer_of is None else layer_of(layer), before[0].shape, call.shape)


@cache
def _cast_operator() -> type[keras.Operation]:
    """The class of `keras.ops.cast` in a graph, which Keras does not export."""
    return type(operation_of(keras.ops.cast(keras.Input((1,)), "int32")))
