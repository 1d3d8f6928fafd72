"""From a model's calls to the steps of its quantized form: what is fused with what, and which results share a grid."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tfsep import layers
from tfsep._backend import keras
from tfsep.quantize._graph import Call, Graph
from tfsep.quantize._kinds import KINDS
from tfsep.quantize._operations import OPERATIONS, Activation, activation_of, activation_of_layer
from tfsep.surgery import is_foldable


@dataclass(frozen=True)
class Step:
    """One result in the quantized model.

    Attributes:
        name: of the layer that it comes from.
        kind: ``"operation"``, whose result gets a grid of its own; ``"linear"``, an operation with weights;
            ``"keep"``, whose result stays on its source's grid; ``"average"``, the same after rounding; or
            ``"float"``, without a grid.
        sources: the numbers of the steps that it takes.
        layer: that computes it, where one does.
        normalization: that is folded into the layer.
        operation, clip, options: as `QuantizedOutput` is called.
        arguments: what the layer is called with beside tensors.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    layer: Any = None
    normalization: Any = None
    operation: str = "linear"
    clip: str = "linear"
    options: dict[str, Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


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
    *(keras.layers.Identity, keras.layers.Concatenate),
)
"""Layers that move numbers and compute none: the result is on the grid of what goes in."""

_AVERAGE = (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)


def plan_of(graph: Graph, float_layers: tuple[str, ...]) -> Plan:
    """Return the steps of a graph.

    Raises:
        ValueError: for a layer that is not quantized, or a name of none.
    """
    planner = _Planner(graph, float_layers)
    for number in range(len(graph.calls)):
        planner.add(number)
    planner.require_names()
    _require_at_an_end(planner.steps)
    outputs = tuple(planner.made[number] for number in graph.outputs)
    return Plan(tuple(planner.steps), outputs, _groups(planner.steps))


class _Planner:
    """Makes steps of calls, one after the other."""

    def __init__(self, graph: Graph, float_layers: tuple[str, ...]) -> None:
        self.calls, self.float_layers = graph.calls, float_layers
        self.steps: list[Step] = []
        self.made: dict[int, int] = {}
        """The step that has each call's result."""
        self._found: set[str] = set()
        self._quantized: dict[int, int] = {}
        users: dict[int, list[int]] = {}
        for number, call in enumerate(graph.calls):
            for source in call.sources:
                users.setdefault(source, []).append(number)
        self._users = {n: u for n, u in users.items() if n not in graph.outputs}
        self._times = Counter(id(call.layer) for call in graph.calls if call.layer is not None)

    def add(self, number: int) -> None:
        """Make the step of a call, unless an earlier one has taken it in."""
        if number in self.made:
            return
        call = self.calls[number]
        if call.layer is None:
            self.made[number] = self.step(Step(f"input_{number}", "float", ()))
        elif call.layer.name in self.float_layers:
            self._found.add(call.layer.name)
            sources = tuple(self.made[source] for source in call.sources)
            self.made[number] = self.step(Step(call.layer.name, "float", sources, call.layer, arguments=call.options))
        else:
            make = next((make for kinds, make in _MAKERS if isinstance(call.layer, kinds)), None)
            if make is None:
                raise unsupported(call.layer)
            make(self, number, call)

    def require_names(self) -> None:
        """Raise for a name of no layer."""
        unknown = sorted(set(self.float_layers) - self._found)
        if unknown:
            raise ValueError(f"float_layers: expected names of the model's layers, got {', '.join(unknown)}")

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

    def after(self, number: int) -> int | None:
        """The one call that takes a result; None where there are none, or several, or it stays in float32."""
        users = self._users.get(number, [])
        return users[0] if len(users) == 1 and self.calls[users[0]].layer.name not in self.float_layers else None

    def once(self, number: int) -> bool:
        """Whether the layer of a call is called only here."""
        return self._times[id(self.calls[number].layer)] == 1

    def finish(self, number: int, step: Step, activation: Any = keras.activations.linear) -> int:
        """Add a step whose result gets a grid, with the activation that it has, or that follows it."""
        own, taken = activation_of(activation), [number]
        if own is None:
            raise unsupported(self.calls[number].layer)
        if own.clip == "linear":
            after = self.after(number)
            following = None if after is None else activation_of_layer(self.calls[after].layer)
            if after is not None and following is not None and following.clip is not None:
                own = following
                taken.append(after)
        if own.clip is not None:
            made = self.step(replace(step, clip=own.clip))
        else:
            made = self.step(_activated(f"{step.name}_activation", self.step(step), own))
        self.made |= dict.fromkeys(taken, made)
        return made


def _activated(name: str, source: int, own: Activation) -> Step:
    assert own.operation is not None
    return Step(name, "operation", (source,), operation=own.operation, options=own.options)


def unsupported(layer: Any) -> ValueError:
    """The error about a layer that is not quantized."""
    return ValueError(
        f"model: expected layers that can be quantized, got {layer.name!r} ({type(layer).__name__}): "
        "float_layers leaves it in float32"
    )


def _linear(planner: _Planner, number: int, call: Call) -> None:
    layer = call.layer
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError(f"model: expected channels last, which integer kernels have, got {layer.name!r}")
    if getattr(layer, "groups", 1) > 1 and isinstance(layer, layers.Conv2DTranspose):
        raise unsupported(layer)
    normalization, last, after = None, number, planner.after(number)
    if after is not None and planner.once(number) and planner.once(after):
        following = planner.calls[after].layer
        if isinstance(following, keras.layers.BatchNormalization) and is_foldable(layer, following):
            normalization, last = following, after
    operation = "dense" if isinstance(layer, keras.layers.Dense) else "linear"
    step = Step(layer.name, "linear", planner.sources(call), layer, normalization, operation)
    planner.made[number] = planner.finish(last, step, layer.activation)


def _normalization(planner: _Planner, number: int, call: Call) -> None:
    """A normalization behind nothing that takes it in is a depthwise 1×1 convolution of ones, with it."""
    layer = call.layer
    rank = layer.input_spec.ndim
    if rank != 4 or layer.axis not in (-1, 3):
        raise unsupported(layer)
    channels = layer.moving_mean.shape[0]
    ones = layers.DepthwiseConv2D(
        1, use_bias=False, depthwise_initializer="ones", name=f"{layer.name}_scale", trainable=False
    )
    ones.build((None, None, None, channels))
    planner.finish(number, Step(layer.name, "linear", planner.sources(call), ones, layer))


def _activation(planner: _Planner, number: int, call: Call) -> None:
    own = activation_of_layer(call.layer)
    if own is None:
        raise unsupported(call.layer)
    sources, name = planner.sources(call), call.layer.name
    if own.clip == "linear":
        planner.made[number] = sources[0]
    elif own.clip is not None:
        planner.made[number] = planner.step(Step(name, "operation", sources, operation="clip", clip=own.clip))
    else:
        planner.made[number] = planner.step(_activated(name, sources[0], own))


def _pairwise(operation: str) -> Callable[[_Planner, int, Call], None]:
    def make(planner: _Planner, number: int, call: Call) -> None:
        first, *others = planner.sources(call)
        for place, other in enumerate(others[:-1]):
            name = f"{call.layer.name}_{place}"
            first = planner.step(Step(name, "operation", (first, other), operation=operation))
        planner.finish(number, Step(call.layer.name, "operation", (first, others[-1]), operation=operation))

    return make


def _mean(planner: _Planner, number: int, call: Call) -> None:
    layer = call.layer
    axes = list(range(1, len(layer.input.shape) - 1))
    if None in layer.input.shape[1:]:
        raise ValueError(
            f"model: expected sizes that are known in front of {layer.name!r}, got {tuple(layer.input.shape)}"
        )
    # The mean of one number is that number, on its grid.
    if all(layer.input.shape[axis] == 1 for axis in axes):
        _same_grid("keep")(planner, number, call)
        return
    options = {"axes": axes, "keepdims": bool(layer.keepdims)}
    step = Step(layer.name, "operation", planner.sources(call), operation="mean", options=options)
    planner.made[number] = planner.step(step)


def _same_grid(kind: str) -> Callable[[_Planner, int, Call], None]:
    def make(planner: _Planner, number: int, call: Call) -> None:
        step = Step(call.layer.name, kind, planner.sources(call), call.layer, arguments=call.options)
        planner.made[number] = planner.step(step)

    return make


_MAKERS: tuple[tuple[Any, Callable[[_Planner, int, Call], None]], ...] = (
    (tuple(cls for kind in KINDS for cls in kind.classes), _linear),
    (keras.layers.BatchNormalization, _normalization),
    ((keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.Softmax), _activation),
    (keras.layers.Add, _pairwise("add")),
    (keras.layers.Multiply, _pairwise("multiply")),
    ((keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D), _mean),
    (_AVERAGE, _same_grid("average")),
    (_KEEP, _same_grid("keep")),
)
"""What makes the steps of each kind of layer."""


def _require_at_an_end(steps: list[Step]) -> None:
    """Raise for a float layer between two grids, which the converter would quantize all the same."""
    for step in steps:
        if step.kind == "operation" and step.operation == "input":
            source = steps[step.sources[0]]
            if any(steps[number].kind != "float" for number in source.sources):
                raise ValueError(
                    f"float_layers: expected layers with float layers in front or behind, got {source.name!r}, "
                    "which stands between quantized ones"
                )


def _groups(steps: list[Step]) -> tuple[int, ...]:
    """The first of the steps that share each one's grid: through layers that keep it, and into concatenations."""
    first = list(range(len(steps)))

    def root(number: int) -> int:
        while first[number] != number:
            number = first[number]
        return number

    for number, step in enumerate(steps):
        if step.kind in ("keep", "average") or step.operation == "clip":
            for source in step.sources:
                low, high = sorted((root(source), root(number)))
                first[high] = low
    groups = tuple(root(number) for number in range(len(steps)))
    ranges: dict[int, Any] = {}
    for step, group in zip(steps, groups, strict=True):
        if step.kind in ("operation", "linear") and step.operation != "clip":
            own = OPERATIONS[step.operation].range
            if ranges.setdefault(group, own) != own:
                raise ValueError(
                    f"model: expected results that can share a grid where they are concatenated, got that of "
                    f"{step.name!r}, whose range is {own or 'free'}, where another's is {ranges[group] or 'free'}"
                )
    return groups
