"""From a model's calls to planned operations: what is fused with what, and what stays in float32."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer
from tfsep.layers._layer_kinds import LayerKind, kind_of
from tfsep.quantize._built_layers import one_tap
from tfsep.quantize._call_list import CallList, LayerCall
from tfsep.quantize._operations import (
    ACTIVATION_LAYERS,
    LINEAR,
    Activation,
    Operation,
    activation_of,
    activation_of_layer,
    moves,
    operation_for,
    overridden,
    prepares,
    quantization_of,
)
from tfsep.quantize._planned_op import PlannedOp
from tfsep.quantize._refusals import require_channels_last, unsupported
from tfsep.quantize._shared_inputs import places_on_inputs, tensor_of
from tfsep.quantize._shared_ranges import shared_ranges
from tfsep.surgery._foldable import is_foldable


@dataclass(frozen=True)
class Plan:
    """The operations of a prepared model.

    Attributes:
        ops: each behind its sources.
        outputs: the numbers of the operations that are the model's outputs.
        ranges: for each operation, the number of the first one that shares its range.
        places: for each operation with weights, its layer's place among those on the same input; 0 for the others.
    """

    ops: tuple[PlannedOp, ...]
    outputs: tuple[int, ...]
    ranges: tuple[int, ...]
    places: tuple[int, ...]


def plan_of(calls: CallList, float_layers: tuple[str, ...]) -> Plan:
    """Return the plan of a model, given as a list of calls.

    Raises:
        ValueError: for a layer that is not quantized, or a name in `float_layers` that no layer has.
    """
    unknown = sorted(set(float_layers).difference(*(call.names for call in calls.calls)))
    if unknown:
        raise ValueError(f"float_layers: expected names of the model's layers, got {', '.join(unknown)}")
    planner = _Planner(calls, float_layers)
    for number in range(len(calls.calls)):
        planner.add(number)
    ops = _with_feeds_quantized(planner.ops)
    outputs = tuple(planner.op_of[number] for number in calls.outputs)
    return Plan(ops, outputs, shared_ranges(ops), places_on_inputs(ops))


class _Fusion(NamedTuple):
    """The calls that one operator of a file computes: a layer, and the normalization and rectifier behind it."""

    calls: tuple[int, ...]
    normalization: Layer | None = None
    rectifier: Activation | None = None


class _Planner:
    """Plans one operator after the other.

    Attributes:
        calls: calls of the model.
        ops: planned so far.
        op_of: for each call, the number of the operation that has its result.
    """

    def __init__(self, calls: CallList, float_layers: tuple[str, ...]) -> None:
        self.calls = calls.calls
        self.ops: list[PlannedOp] = []
        self.op_of: dict[int, int] = {}
        self._float_layers = set(float_layers)
        self._quantized: dict[int, int] = {}
        self._dtypes: dict[int, str] = {}
        self._one_taps: dict[int, Layer | None] = {}
        self._calls_of: dict[int, list[int]] = {}
        users: dict[int, list[int]] = {}
        for number, call in enumerate(self.calls):
            self._calls_of.setdefault(id(call.layer), []).append(number)
            for source in call.sources:
                users.setdefault(source, []).append(number)
        self._outputs = set(calls.outputs)
        self._users = {number: used for number, used in users.items() if number not in self._outputs}

    def add(self, number: int) -> None:
        """Plan the operator that a call belongs to, unless an earlier call of it did."""
        if number in self.op_of:
            return
        call = self.calls[number]
        if call.layer is None:
            self.op_of[number] = self._append_float(PlannedOp(f"input_{number}", "float", ()), call)
            return
        fusion = self._fusion(number)
        if self._is_in_front(call) or any(self.calls[other].names & self._float_layers for other in fusion.calls):
            for other in fusion.calls:
                self._add_float(other)
        else:
            self._require_real(number)
            self.op_of |= dict.fromkeys(fusion.calls, _planner_of(call)(self, call, fusion))

    def _is_in_front(self, call: LayerCall) -> bool:
        """Whether a call prepares an input, in front of all that is quantized, by a layer that cannot be."""
        return prepares(call.layer) and all(self.ops[self.op_of[source]].kind == "float" for source in call.sources)

    def _require_real(self, number: int) -> None:
        """Raise for a computation with integers, for which quantized real numbers would not stand."""
        call = self.calls[number]
        integers = call.has_integers or any(self.calls[source].has_integers for source in call.sources)
        if integers and not call.casts and (number in self._outputs or not moves(call.layer)):
            raise unsupported(call.layer, " of integers")
        if call.has_integers and call.casts:
            raise unsupported(call.layer, f" to {call.dtype}")

    def _add_float(self, number: int) -> None:
        """Plan a call that stays in float32."""
        call = self.calls[number]
        layer: Layer = call.layer
        kind = _matmul_kind(layer)
        if kind is not None and kind.transposed:
            raise ValueError(
                f"float_layers: expected no transposed convolution, whose kernel the converter quantizes, got "
                f"{layer.name!r}"
            )
        for source in set(call.sources) & self._outputs:
            if self.ops[self.op_of[source]].kind != "float":
                raise ValueError(
                    f"float_layers: expected layers that take no quantized output of the model, which the converter "
                    f"hands on only as integers, got {layer.name!r}"
                )
        sources = tuple(self.op_of[source] for source in call.sources)
        op = PlannedOp(layer.name, "float", sources, layer, positional=call.positional, arguments=call.arguments)
        self.op_of[number] = self._append_float(op, call)

    def _append_float(self, op: PlannedOp, call: LayerCall) -> int:
        """Add an operation that is not quantized, with the type of its result."""
        number = self.append(op)
        self._dtypes[number] = call.dtype
        return number

    def append(self, op: PlannedOp) -> int:
        """Add an operation, and return its number."""
        self.ops.append(op)
        return len(self.ops) - 1

    def sources(self, call: LayerCall) -> tuple[int, ...]:
        """The operations that a call takes, all quantized."""
        return tuple(self._quantize(self.op_of[source]) for source in call.sources)

    def _quantize(self, number: int) -> int:
        """The number of the operation that has a result quantized: the same, or one behind it."""
        op = self.ops[number]
        if op.kind != "float":
            return number
        if number not in self._quantized:
            operation = quantization_of(self._dtypes[number], op.layer is None)
            quantized = PlannedOp(f"{op.name}_quantized", "operation", (number,), operation=operation)
            self._quantized[number] = self.append(quantized)
        return self._quantized[number]

    def _fusion(self, number: int) -> _Fusion:
        layer, fused, normalization = self.calls[number].layer, [number], None
        after = self._after(number)
        if _matmul_kind(layer) is not None and after is not None and self._folds(number, after):
            normalization = self.calls[after].layer
            fused.append(after)
            after = self._after(after)
        if after is not None and _fuses_activation(layer) and _own_activation(layer) == LINEAR:
            following = activation_of_layer(self.calls[after].layer)
            if following is not None and following.is_fusible:
                return _Fusion((*fused, after), normalization, following)
        return _Fusion(tuple(fused), normalization)

    def _after(self, number: int) -> int | None:
        """The one call that takes a result; None for none or several."""
        users = self._users.get(number, [])
        return users[0] if len(users) == 1 else None

    def _folds(self, number: int, after: int) -> bool:
        """Whether a normalization folds into the layer in front of it: each call of one is next to one of the other."""
        layer, normalization = (self.calls[each].layer for each in (number, after))
        if not isinstance(normalization, keras.layers.BatchNormalization) or not is_foldable(layer, normalization):
            return False
        behind = [self._after(call) for call in self._calls_of[id(layer)]]
        return set(behind) == set(self._calls_of[id(normalization)])

    def finish(self, layer: Layer, call: LayerCall, fusion: _Fusion, op: PlannedOp) -> int:
        """Add an operation with a range of its own, and the activation that its layer has, or that follows it."""
        own = fusion.rectifier or _own_activation(layer)
        if own is None:
            function = keras.activations.serialize(layer.activation)
            raise ValueError(
                f"model: expected activations that can be quantized, got {function!r} of {layer.name!r} "
                f"({type(layer).__name__}): float_layers leaves it in float32"
            )
        if own.is_fusible:
            return self.append(replace(op, fused_activation=own.fused, max_value=own.max_value))
        return self.activate(layer, call, f"{op.name}_activation", self.append(op), own)

    def activate(self, layer: Layer, call: LayerCall, name: str, source: int, own: Activation) -> int:
        """Add an activation that is an operator of its own: a function, or a convolution of one tap and a rectifier."""
        if own.operation is not None:
            op = PlannedOp(name, "operation", (source,), operation=own.operation, options=own.options)
        else:
            factor, offset = (keras.initializers.Constant(each) for each in own.affine)
            taps = self.one_tap(layer, call, depthwise_initializer=factor, bias_initializer=offset)
            op = PlannedOp(name, "matmul", (source,), taps, None, "convolution", own.fused, max_value=own.max_value)
        return self.append(replace(op, result_of=layer.name))

    def one_tap(self, layer: Layer, call: LayerCall, **options: Any) -> Layer:
        """Return the depthwise convolution of one tap that computes a layer, the same for all its calls."""
        if id(layer) not in self._one_taps:
            self._one_taps[id(layer)] = one_tap(len(call.shape), f"{layer.name}_scale", **options)
        made = self._one_taps[id(layer)]
        if made is None:
            raise unsupported(layer)
        return made


_Plan = Callable[[_Planner, LayerCall, _Fusion], int]
"""Plans a call, with what is fused to it, and returns the number of the operation that has its result."""


def _matmul_kind(layer: Layer | None) -> LayerKind | None:
    """The row of a layer that an integer operator computes with weights; None for other layers."""
    kind = kind_of(layer)
    return kind if kind is not None and kind.quantized == "operator" else None


def _fuses_activation(layer: Layer | None) -> bool:
    """Whether a layer's operator can include the rectifier behind it."""
    if _matmul_kind(layer) is not None or isinstance(layer, keras.layers.BatchNormalization):
        return True
    operation = operation_for(layer)
    return operation is not None and operation.plan == "pairwise"


def _operation(layer: Layer) -> Operation:
    """The operation of a layer that has one."""
    operation = operation_for(layer)
    assert operation is not None
    return operation


def _own_activation(layer: Layer | None) -> Activation | None:
    return activation_of(getattr(layer, "activation", keras.activations.linear))


def _matmul(planner: _Planner, call: LayerCall, fusion: _Fusion) -> int:
    layer: Layer = call.layer
    require_channels_last(layer)
    operation = "dense" if isinstance(layer, keras.layers.Dense) else "convolution"
    op = PlannedOp(layer.name, "matmul", planner.sources(call), layer, fusion.normalization, operation)
    return planner.finish(layer, call, fusion, op)


def _normalization(planner: _Planner, call: LayerCall, fusion: _Fusion) -> int:
    """Plan a normalization that is folded into no layer: behind a depthwise convolution of one tap, all ones."""
    layer: Layer = call.layer
    ones = planner.one_tap(layer, call, use_bias=False, depthwise_initializer="ones")
    if layer.axis not in (-1, len(call.shape) - 1):
        raise unsupported(layer)
    op = PlannedOp(layer.name, "matmul", planner.sources(call), ones, layer, "convolution")
    return planner.finish(layer, call, fusion, op)


def _activation(planner: _Planner, call: LayerCall, _: _Fusion) -> int:
    layer: Layer = call.layer
    own = activation_of_layer(layer)
    if own is None:
        raise unsupported(layer)
    (source,) = planner.sources(call)
    if own == LINEAR:
        return source
    if own.is_fusible and own.max_value is None:
        op = PlannedOp(layer.name, "operation", (source,), operation="rectifier", fused_activation=own.fused)
        return planner.append(op)
    return planner.activate(layer, call, layer.name, source, own)


def _of_one_rank(planner: _Planner, layer: Layer, call: LayerCall) -> list[int]:
    """The operations that a call takes; those of fewer axes get more behind the batch, as Keras's merging layers do."""
    shapes = [planner.calls[source].shape for source in call.sources]
    rank, sources = max(map(len, shapes)), list(planner.sources(call))
    for place, shape in enumerate(shapes):
        if len(shape) < rank:
            if None in shape[1:]:
                raise ValueError(f"model: expected sizes that are known in front of {layer.name!r}, got {shape}")
            expanded = keras.layers.Reshape((*(1,) * (rank - len(shape)), *shape[1:]))
            name = f"{layer.name}_expanded_{place}"
            sources[place] = planner.append(PlannedOp(name, "same_qparams", (sources[place],), expanded))
    return sources


def _pairwise(planner: _Planner, call: LayerCall, fusion: _Fusion) -> int:
    """Plan an operation of two tensors; more are taken one after the other."""
    layer: Layer = call.layer
    first, *others, last = _of_one_rank(planner, layer, call)
    for place, other in enumerate(others):
        op = _of_two(planner, layer, f"{layer.name}_{place}", first, other)
        first = planner.append(replace(op, result_of=layer.name))
    return planner.finish(layer, call, fusion, _of_two(planner, layer, layer.name, first, last))


def _of_two(planner: _Planner, layer: Layer, name: str, first: int, second: int) -> PlannedOp:
    """An operation of two tensors; a product of a tensor and itself is its square, which has another kernel."""
    operation = _operation(layer).name
    if operation == "multiply" and tensor_of(planner.ops, first) == tensor_of(planner.ops, second):
        return PlannedOp(name, "operation", (first,), operation="square")
    return PlannedOp(name, "operation", (first, second), operation=operation)


def _mean(planner: _Planner, call: LayerCall, fusion: _Fusion) -> int:
    """Plan a mean over all axes between batch and channels."""
    layer: Layer = call.layer
    require_channels_last(layer)
    shape = planner.calls[call.sources[0]].shape
    axes = list(range(1, len(shape) - 1))
    if None in shape[1:]:
        raise ValueError(f"model: expected sizes that are known in front of {layer.name!r}, got {shape}")
    # The mean of a single number is that number.
    if all(shape[axis] == 1 for axis in axes):
        return _same_qparams(planner, call, fusion)
    options = {"axes": axes, "keepdims": bool(layer.keepdims)}
    operation = _operation(layer).name
    return planner.append(
        PlannedOp(layer.name, "operation", planner.sources(call), operation=operation, options=options)
    )


def _same_qparams(planner: _Planner, call: LayerCall, _: _Fusion) -> int:
    """Plan the layer itself, on the quantization parameters of its input."""
    layer: Layer = call.layer
    return planner.append(PlannedOp(layer.name, "same_qparams", planner.sources(call), layer, arguments=call.arguments))


def _average_pooling(planner: _Planner, call: LayerCall, _: _Fusion) -> int:
    """Plan an average pooling, which rounds to the quantization parameters of its input."""
    layer: Layer = call.layer
    require_channels_last(layer)
    return planner.append(PlannedOp(layer.name, "average_pooling", planner.sources(call), layer))


_PLANS: dict[str, _Plan] = {
    "pairwise": _pairwise,
    "mean": _mean,
    "same_qparams": _same_qparams,
    "average_pooling": _average_pooling,
}
"""By `Operation.plan`."""


def _planner_of(call: LayerCall) -> _Plan:
    """The function that plans a layer's calls."""
    layer: Layer = call.layer
    reason = f", {call.obstacle}" if call.obstacle else ""
    if overridden(layer):
        raise unsupported(layer, reason)
    operation, kind = operation_for(layer), kind_of(layer)
    if operation is not None and operation.plan is not None:
        return _PLANS[operation.plan]
    # Layers with quantized="parts" have become chains, except those in channels_first, which `_matmul` refuses.
    if kind is not None and kind.quantized is not None:
        return _matmul
    if isinstance(layer, keras.layers.BatchNormalization):
        return _normalization
    if isinstance(layer, ACTIVATION_LAYERS):
        return _activation
    raise unsupported(layer, reason)


def _with_feeds_quantized(ops: list[PlannedOp]) -> tuple[PlannedOp, ...]:
    """The operations, with `PlannedOp.feeds_quantized` set."""
    feeding: set[int] = set()
    for number, op in reversed(list(enumerate(ops))):
        if op.kind != "float" or number in feeding:
            feeding |= {source for source in op.sources if ops[source].kind == "float"}
    return tuple(replace(op, feeds_quantized=number in feeding) for number, op in enumerate(ops))
