"""From a model's calls to the steps of its quantized form: what is fused with what, and what stays in float32."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep.layers._layer_kinds import LAYER_KINDS
from tfsep.quantize._built_layers import one_tap
from tfsep.quantize._call_list import Call, Graph
from tfsep.quantize._operations import LINEAR, Activation, activation_of, activation_of_layer
from tfsep.quantize._planned_op import Step
from tfsep.quantize._shared_ranges import groups_of
from tfsep.quantize._transposed_lowering import ONE_OPERATOR, Spread
from tfsep.surgery._foldable import is_foldable


@dataclass(frozen=True)
class Plan:
    """The steps, each behind those that it takes; which are inputs and outputs; the first that shares each's grid."""

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    groups: tuple[int, ...]


_KEEP = (
    *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling1D),
    *(keras.layers.GlobalMaxPooling2D, keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute),
    *(keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D),
    *(keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.Cropping1D, keras.layers.Cropping2D),
    *(keras.layers.Identity, keras.layers.Concatenate, Spread),
)
"""Layers that move numbers and compute none: the result is on the grid of what goes in."""

_AVERAGE = (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
_WEIGHTED = tuple(cls for kind in LAYER_KINDS if kind.quantized == "operator" for cls in kind.classes)
_RECTIFIED = (*_WEIGHTED, keras.layers.BatchNormalization, keras.layers.Add, keras.layers.Multiply)
"""Layers whose operators take the rectifier behind them in."""


def plan_of(graph: Graph, float_layers: tuple[str, ...]) -> Plan:
    """Return the steps of a graph.

    Raises:
        ValueError: for a layer that is not quantized, or a name of none.
    """
    unknown = sorted(set(float_layers).difference(*(call.names for call in graph.calls)))
    if unknown:
        raise ValueError(f"float_layers: expected names of the model's layers, got {', '.join(unknown)}")
    planner = _Planner(graph, float_layers)
    for number in range(len(graph.calls)):
        planner.add(number)
    steps = _leaving(planner.steps)
    outputs = tuple(planner.made[number] for number in graph.outputs)
    return Plan(steps, outputs, groups_of(steps))


class _Operator(NamedTuple):
    """The calls that one operator of a file computes: a layer, the normalization and the rectifier behind it."""

    calls: tuple[int, ...]
    normalization: Any = None
    rectifier: Activation | None = None


class _Planner:
    """Makes steps of calls, one operator after the other."""

    def __init__(self, graph: Graph, float_layers: tuple[str, ...]) -> None:
        self.calls, self._floats = graph.calls, set(float_layers)
        self.steps: list[Step] = []
        self.made: dict[int, int] = {}
        """The step that has each call's result."""
        self._quantized: dict[int, int] = {}
        self._one_taps: dict[int, Any] = {}
        self._calls_of: dict[int, list[int]] = {}
        users: dict[int, list[int]] = {}
        for number, call in enumerate(graph.calls):
            self._calls_of.setdefault(id(call.layer), []).append(number)
            for source in call.sources:
                users.setdefault(source, []).append(number)
        self._outputs = set(graph.outputs)
        self._users = {n: u for n, u in users.items() if n not in self._outputs}

    def add(self, number: int) -> None:
        """Make the steps of the operator that a call belongs to, unless an earlier call of it did."""
        if number in self.made:
            return
        call = self.calls[number]
        if call.layer is None:
            self.made[number] = self.step(Step(f"input_{number}", "float", ()))
            return
        operator = self._operator(number)
        if any(self.calls[other].names & self._floats for other in operator.calls):
            for other in operator.calls:
                self._leave(other)
            return
        make = next((make for kinds, make in _MAKERS if isinstance(call.layer, kinds)), None)
        if make is None:
            raise unsupported(call.layer)
        self.made |= dict.fromkeys(operator.calls, make(self, call, operator))

    def _leave(self, number: int) -> None:
        """Make the step of a call that stays in float32."""
        call = self.calls[number]
        if isinstance(call.layer, ONE_OPERATOR):
            raise ValueError(
                f"float_layers: expected no transposed convolution, whose kernel the converter quantizes, got "
                f"{call.layer.name!r}"
            )
        sources = tuple(self.made[source] for source in call.sources)
        for source in set(call.sources) & self._outputs:
            if self.steps[self.made[source]].kind != "float":
                raise ValueError(
                    f"float_layers: expected layers that take no quantized output of the model, which the converter "
                    f"hands on only as integers, got {call.layer.name!r}"
                )
        self.made[number] = self.step(Step(call.layer.name, "float", sources, call.layer, arguments=call.options))

    def step(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def sources(self, call: Call) -> tuple[int, ...]:
        """The steps that a call takes, each on a grid."""
        return tuple(self._on_grid(self.made[source]) for source in call.sources)

    def _on_grid(self, step: int) -> int:
        if self.steps[step].kind != "float":
            return step
        if step not in self._quantized:
            name = f"{self.steps[step].name}_quantized"
            self._quantized[step] = self.step(Step(name, "operation", (step,), operation="input"))
        return self._quantized[step]

    def _operator(self, number: int) -> _Operator:
        layer, taken, normalization = self.calls[number].layer, [number], None
        after = self._after(number)
        if isinstance(layer, _WEIGHTED) and after is not None and self._takes_in(number, after):
            normalization = self.calls[after].layer
            taken.append(after)
            after = self._after(after)
        if after is not None and isinstance(layer, _RECTIFIED) and _own_activation(layer) == LINEAR:
            following = activation_of_layer(self.calls[after].layer)
            if following is not None and following.fuses:
                return _Operator((*taken, after), normalization, following)
        return _Operator(tuple(taken), normalization)

    def _after(self, number: int) -> int | None:
        """The one call that takes a result; None where there are none, or several."""
        users = self._users.get(number, [])
        return users[0] if len(users) == 1 else None

    def _takes_in(self, number: int, after: int) -> bool:
        """Whether a normalization is folded into the layer in front of it: wherever one is called, the other is."""
        layer, normalization = (self.calls[each].layer for each in (number, after))
        if not isinstance(normalization, keras.layers.BatchNormalization) or not is_foldable(layer, normalization):
            return False
        behind = [self._after(call) for call in self._calls_of[id(layer)]]
        return set(behind) == set(self._calls_of[id(normalization)])

    def finish(self, call: Call, operator: _Operator, step: Step) -> int:
        """Add a step whose result gets a grid, with the activation that its layer has, or that follows it."""
        own = operator.rectifier or _own_activation(call.layer)
        if own is None:
            function = keras.activations.serialize(call.layer.activation)
            raise ValueError(
                f"model: expected activations that can be quantized, got {function!r} of {call.layer.name!r} "
                f"({type(call.layer).__name__}): float_layers leaves it in float32"
            )
        if own.fuses:
            return self.step(replace(step, clip=own.clip, limit=own.limit))
        return self.activate(call, f"{step.name}_activation", self.step(step), own)

    def activate(self, call: Call, name: str, source: int, own: Activation) -> int:
        """Add the step of an activation that is an operator of its own: a function, or a rectifier behind one tap."""
        step = Step(name, "operation", (source,), operation=own.operation or "linear", options=own.options)
        if own.operation is None:
            factor, shift = (keras.initializers.Constant(each) for each in own.affine)
            taps = self.one_tap(call, depthwise_initializer=factor, bias_initializer=shift)
            if taps is None:
                raise unsupported(call.layer)
            step = Step(name, "linear", (source,), taps, clip=own.clip, limit=own.limit)
        return self.step(replace(step, of=call.layer.name))

    def one_tap(self, call: Call, **options: Any) -> Any:
        """Return the depthwise convolution of one tap that computes for a layer, whenever that is called."""
        if id(call.layer) not in self._one_taps:
            self._one_taps[id(call.layer)] = one_tap(len(call.shape), f"{call.layer.name}_scale", **options)
        return self._one_taps[id(call.layer)]


_Maker = Callable[[_Planner, Call, _Operator], int]


def _own_activation(layer: Any) -> Activation | None:
    return activation_of(getattr(layer, "activation", keras.activations.linear))


def unsupported(layer: Any) -> ValueError:
    """The error about a layer that is not quantized."""
    return ValueError(
        f"model: expected layers that can be quantized, got {layer.name!r} ({type(layer).__name__}): float_layers "
        "leaves it in float32"
    )


def _linear(planner: _Planner, call: Call, operator: _Operator) -> int:
    layer = call.layer
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError(f"model: expected channels last, which integer kernels have, got {layer.name!r}")
    operation = "dense" if isinstance(layer, keras.layers.Dense) else "linear"
    step = Step(layer.name, "linear", planner.sources(call), layer, operator.normalization, operation)
    return planner.finish(call, operator, step)


def _normalization(planner: _Planner, call: Call, operator: _Operator) -> int:
    """A normalization behind nothing that takes it in is a depthwise convolution of one tap, all ones, with it."""
    layer, rank = call.layer, len(call.shape)
    ones = planner.one_tap(call, use_bias=False, depthwise_initializer="ones")
    if ones is None or layer.axis not in (-1, rank - 1):
        raise unsupported(layer)
    return planner.finish(call, operator, Step(layer.name, "linear", planner.sources(call), ones, layer))


def _activation(planner: _Planner, call: Call, _: _Operator) -> int:
    own = activation_of_layer(call.layer)
    if own is None:
        raise unsupported(call.layer)
    (source,), name = planner.sources(call), call.layer.name
    if own == LINEAR:
        return source
    if own.fuses and own.limit is None:
        return planner.step(Step(name, "operation", (source,), operation="clip", clip=own.clip))
    return planner.activate(call, name, source, own)


def _of_one_rank(planner: _Planner, call: Call) -> list[int]:
    """The steps that a call takes; those of fewer axes get more behind the batch, as in Keras's merging layers."""
    shapes = [planner.calls[source].shape for source in call.sources]
    rank, steps = max(map(len, shapes)), list(planner.sources(call))
    for place, shape in enumerate(shapes):
        if len(shape) < rank:
            if None in shape[1:]:
                raise ValueError(f"model: expected sizes that are known in front of {call.layer.name!r}, got {shape}")
            expanded = keras.layers.Reshape((*(1,) * (rank - len(shape)), *shape[1:]))
            name = f"{call.layer.name}_expanded_{place}"
            steps[place] = planner.step(Step(name, "keep", (steps[place],), expanded))
    return steps


def _pairwise(operation: str) -> _Maker:
    def make(planner: _Planner, call: Call, operator: _Operator) -> int:
        (first, *others), name = _of_one_rank(planner, call), call.layer.name
        for place, other in enumerate(others[:-1]):
            step = Step(f"{name}_{place}", "operation", (first, other), operation=operation, of=name)
            first = planner.step(step)
        return planner.finish(call, operator, Step(name, "operation", (first, others[-1]), operation=operation))

    return make


def _mean(planner: _Planner, call: Call, operator: _Operator) -> int:
    layer, shape = call.layer, planner.calls[call.sources[0]].shape
    axes = list(range(1, len(shape) - 1))
    if None in shape[1:]:
        raise ValueError(f"model: expected sizes that are known in front of {layer.name!r}, got {shape}")
    # The mean of one number is that number, on its grid.
    if all(shape[axis] == 1 for axis in axes):
        return _same_grid("keep")(planner, call, operator)
    options = {"axes": axes, "keepdims": bool(layer.keepdims)}
    return planner.step(Step(layer.name, "operation", planner.sources(call), operation="mean", options=options))


def _same_grid(kind: str) -> _Maker:
    def make(planner: _Planner, call: Call, _: _Operator) -> int:
        return planner.step(Step(call.layer.name, kind, planner.sources(call), call.layer, arguments=call.options))

    return make


_MAKERS: tuple[tuple[Any, _Maker], ...] = (
    (_WEIGHTED, _linear),
    (keras.layers.BatchNormalization, _normalization),
    ((keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.Softmax), _activation),
    (keras.layers.Add, _pairwise("add")),
    (keras.layers.Multiply, _pairwise("multiply")),
    ((keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D), _mean),
    (_AVERAGE, _same_grid("average")),
    (_KEEP, _same_grid("keep")),
)
"""What makes the steps of each kind of layer."""


def _leaving(steps: list[Step]) -> tuple[Step, ...]:
    """The steps, with word of which float ones have quantized ones behind them."""
    leaving: set[int] = set()
    for number, step in reversed(list(enumerate(steps))):
        if step.kind != "float" or number in leaving:
            leaving |= {source for source in step.sources if steps[source].kind == "float"}
    return tuple(replace(step, leaves=number in leaving) for number, step in enumerate(steps))
