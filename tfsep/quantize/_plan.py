"""From a model's calls to planned operations: how each kind of call is planned in integers."""

from dataclasses import dataclass, replace
from functools import partial

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import operation_of
from tfsep._keras.types import Layer
from tfsep.layers._layer_kinds import kind_of
from tfsep.quantize._activations import (
    LINEAR,
    Activation,
    activation_by_results,
    activation_name,
    activation_of,
)
from tfsep.quantize._built_layers import Rearranged, dense_taps
from tfsep.quantize._call_list import CallList, LayerCall
from tfsep.quantize._config import Config
from tfsep.quantize._operations import ACTIVATION_LAYERS, Operation, operation_for, overridden
from tfsep.quantize._places import Argmax, Argmin
from tfsep.quantize._planned_op import Fusion, PlannedOp
from tfsep.quantize._planner import Planner, Plans
from tfsep.quantize._refusals import FASTER_IN_FLOAT, refused, require_channels_last, unsupported
from tfsep.quantize._shared_inputs import places_on_inputs, tensor_of
from tfsep.quantize._shared_ranges import RangesDiffer, shared_ranges
from tfsep.quantize._traced_kinds import computed, passed_on, returns_all, traced_kind
from tfsep.quantize._unknown_layers import require_known


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


def plan_of(calls: CallList, config: Config) -> Plan:
    """Return the plan of a model, given as a list of calls.

    Raises:
        UnknownLayersError: for a name in `Config.float_layers` that nothing has.
        ValueError: for calls that are not quantized, all in one sentence, where `Config.unsupported` asks for that.
    """
    _require_known(calls, config.float_layers)
    apart: set[tuple[int, int]] = set()
    shared: set[int] = set()
    while True:
        planner = Planner(calls, config, apart, shared, _planner_of)
        for number in range(len(calls.calls)):
            planner.add(number)
        if both := planner.inputs_of_both():
            shared |= both
            continue
        if beside := planner.slopes_beside_floats():
            apart |= beside
            continue
        outputs = tuple(map(planner.output, calls.outputs))
        ops = _with_feeds_quantized(planner.ops)
        try:
            ranges = shared_ranges(ops)
        except RangesDiffer as differ:
            apart |= {(planner.origins[differ.op], place) for place in differ.places}
        else:
            break
    if planner.refusals and config.unsupported == "error":
        raise refused(planner.refusals)
    return Plan(ops, outputs, ranges, places_on_inputs(ops))


def _require_known(calls: CallList, names: tuple[str, ...]) -> None:
    """Raise for a name that no layer, operation or activation has."""
    known: set[str] = set().union(*(call.names for call in calls.calls))
    known |= {activation_name(call.layer) for call in calls.calls if hasattr(call.layer, "activation")}
    require_known(names, known, "float_layers")


def _operation(layer: Layer) -> Operation:
    """The operation of a layer that has one."""
    operation = operation_for(layer)
    assert operation is not None
    return operation


def _matmul(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    layer: Layer = call.layer
    require_channels_last(layer)
    inner, operation = layer, "convolution"
    if isinstance(layer, keras.layers.Dense):
        rank = len(call.shape)
        if layer.kernel.shape[0] == 1 and rank in (3, 4):
            # Of one channel, the converter would make a product of two tensors in float32.
            [inner] = planner.made_once(layer, f"taps of rank {rank}", lambda: [dense_taps(layer, rank)])
        else:
            operation = "dense"
    op = PlannedOp(layer.name, "matmul", planner.sources(call), inner, fusion.normalization, operation)
    return planner.finish(layer, call, fusion, op)


def _normalization(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    """Plan a normalization that is folded into no layer: behind a depthwise convolution of one tap, all ones."""
    layer: Layer = call.layer
    if layer.axis not in (-1, len(call.shape) - 1):
        raise unsupported(layer)
    (source,) = planner.sources(call)
    return planner.tapped(
        layer,
        call,
        source,
        lambda taps, rows: planner.finish(
            layer, call, fusion, PlannedOp(layer.name, "matmul", (rows,), taps, layer, "convolution")
        ),
        use_bias=False,
        depthwise_initializer="ones",
    )


def _activation(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    own = call.activation
    if own is None:
        return _function(planner, call, fusion)
    return _activated(planner, call, own)


def _activated(planner: Planner, call: LayerCall, own: Activation) -> int:
    """Plan an activation that is a call of its own."""
    layer: Layer = call.layer
    (source,) = planner.sources(call)
    if own == LINEAR:
        return source
    if own.is_fusible and own.max_value is None:
        op = PlannedOp(layer.name, "operation", (source,), operation="rectifier", fused_activation=own.fused)
        return planner.append(op)
    return planner.activate(layer, call, layer.name, source, own)


def _function(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    """Plan a function of each number as a table."""
    layer: Layer = call.layer
    shapes = [planner.calls[source].shape for source in call.sources]
    kind = traced_kind(call, shapes, planner.runtime)
    if kind == "moves":
        place = passed_on(call, shapes)
        return _same_qparams(planner, call, fusion) if place is None else planner.sources(call)[place]
    if kind == "other":
        raise unsupported(layer, f", {call.obstacle}" if call.obstacle else "")
    is_layer = isinstance(layer, keras.layers.Layer)
    own = activation_of(layer) if is_layer else activation_by_results(partial(computed, call))
    if own is not None:
        return _activated(planner, call, own)
    if not planner.makes_tables:
        raise unsupported(layer, FASTER_IN_FLOAT)
    op = PlannedOp(layer.name, "operation", planner.sources(call), layer, operation="table", positional=call.positional)
    return planner.append(replace(op, arguments=call.arguments))


def _of_one_rank(planner: Planner, layer: Layer, call: LayerCall) -> list[int]:
    """The operations that a call takes; those of fewer axes get more behind the batch, as Keras's merging layers do."""
    shapes = [planner.calls[source].shape for source in call.sources]
    rank, sources = max(map(len, shapes)), list(planner.sources(call))
    for place, shape in enumerate(shapes):
        if len(shape) < rank:
            if None in shape[1:]:
                raise unsupported(layer, " of sizes that are not known")
            expanded = Rearranged((*(1,) * (rank - len(shape)), *shape[1:]))
            name = f"{layer.name}_expanded_{place}"
            sources[place] = planner.append(PlannedOp(name, "same_qparams", (sources[place],), expanded))
    return sources


def _pairwise(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    """Plan an operation of two tensors; more are taken one after the other."""
    layer: Layer = call.layer
    first, *others, last = _of_one_rank(planner, layer, call)
    for place, other in enumerate(others):
        op = _of_two(planner, layer, f"{layer.name}_{place}", first, other)
        first = planner.append(replace(op, result_of=layer.name))
    return planner.finish(layer, call, fusion, _of_two(planner, layer, layer.name, first, last))


def _of_two(planner: Planner, layer: Layer, name: str, first: int, second: int) -> PlannedOp:
    """An operation of two tensors; a product of a tensor and itself is its square, which has another kernel."""
    operation = _operation(layer).name
    if operation == "multiply" and tensor_of(planner.ops, first) == tensor_of(planner.ops, second):
        return PlannedOp(name, "operation", (first,), operation="square")
    return PlannedOp(name, "operation", (first, second), operation=operation)


def _mean(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    """Plan a mean over the axes that an operation names, or over all between batch and channels."""
    layer: Layer = call.layer
    require_channels_last(layer)
    shape = planner.calls[call.sources[0]].shape
    named = getattr(layer, "axis", range(1, len(shape) - 1))
    axes = sorted(axis % len(shape) for axis in (range(len(shape)) if named is None else named))
    if 0 in axes:
        raise unsupported(layer, " over the batch")
    if None in shape[1:]:
        raise unsupported(layer, " of sizes that are not known")
    # The mean of a single number is that number.
    if all(shape[axis] == 1 for axis in axes):
        return _same_qparams(planner, call, fusion)
    options = {"axes": axes, "keepdims": bool(layer.keepdims)}
    operation = _operation(layer).name
    return planner.append(
        PlannedOp(layer.name, "operation", planner.sources(call), operation=operation, options=options)
    )


def _same_qparams(planner: Planner, call: LayerCall, _: Fusion) -> int:
    """Plan the layer itself, on the quantization parameters of its input."""
    layer: Layer = call.layer
    operation = operation_for(layer)
    if operation is not None and planner.runtime not in operation.runtimes:
        raise unsupported(layer, f" in the runtime {planner.runtime!r}")
    is_identity = operation is not None and operation.name == "identity"
    if not is_identity and returns_all(call, planner.calls[call.sources[0]].shape):
        # The converter drops it, and what it knows of the tensor's users holds for both.
        return planner.sources(call)[0]
    if call.arguments.get("constant_values"):
        raise unsupported(layer, f" by {call.arguments['constant_values']}")
    op = PlannedOp(layer.name, "same_qparams", planner.sources(call), layer, arguments=call.arguments)
    return planner.append(replace(op, positional=call.positional))


def _parts(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    """Plan a part of a tensor: as a result of the layer itself, or as a slice where not all parts are used.

    Else the converter would split a tensor in float32.
    """
    layer: Layer = call.layer
    numbers = planner.results_of_layer
    calls = [planner.calls[number] for number in numbers]
    name = f"{layer.name}_{call.result}" if call.result else layer.name
    if all(map(planner.is_used, numbers)):
        if not call.result:
            return _same_qparams(planner, call, fusion)
        sources = (planner.op_of[numbers[0]],)
        return planner.append(PlannedOp(name, "same_qparams", sources, layer, result=call.result))
    shape = planner.calls[calls[0].sources[0]].shape
    axis = layer.axis % len(shape)
    if not axis:
        raise unsupported(layer, " of the batch")
    start = sum(each.shape[axis] for each in calls[: call.result])
    is_part = len(call.shape) == len(shape)
    key = (slice(None),) * axis + (slice(start, start + call.shape[axis]) if is_part else call.result,)
    given = keras.Input(shape[1:])
    part = operation_of(given[key])
    part.name = name
    op = PlannedOp(name, "same_qparams", planner.sources(calls[0]), part, positional=(given, key))
    return planner.append(op)


def _joined(planner: Planner, call: LayerCall, fusion: Fusion) -> int:
    """Plan the layer itself, on tensors that share their quantization parameters."""
    layer: Layer = call.layer
    if _operation(layer).name == "join":
        return _same_qparams(planner, call, fusion)
    return planner.append(PlannedOp(layer.name, "same_qparams", tuple(_of_one_rank(planner, layer, call)), layer))


def _place(planner: Planner, call: LayerCall, _: Fusion) -> int:
    """Plan the place of an extreme among numbers, which is that among their integers."""
    layer: Layer = call.layer
    rank = len(planner.calls[call.sources[0]].shape)
    if layer.axis is None or not layer.axis % rank:
        raise unsupported(layer, " over the batch")
    if not planner.ops[planner.op_of[call.sources[0]]].is_quantized:
        raise unsupported(layer, " of numbers in float32")
    (source,) = planner.sources(call)
    if planner.ops[source].operation == "softmax" and layer.axis % rank == rank - 1:
        # The converter leaves out a softmax, which moves no place.
        (source,) = planner.ops[source].sources
    if planner.is_output(source):
        # The converter would leave nothing of the tensor but the output.
        name = f"{planner.ops[source].name}_requantized"
        same = PlannedOp(name, "operation", (source,), operation="requantize", range_of=source)
        source = planner.append(same)
    kind = Argmax if type(layer).__name__ == "Argmax" else Argmin
    [own] = planner.made_once(layer, "place", lambda: [kind(layer.axis, layer.keepdims, name=layer.name)])
    return planner.append_plain(PlannedOp(layer.name, "place", (source,), own), call)


def _resize(planner: Planner, call: LayerCall, _: Fusion) -> int:
    """Plan an interpolation, which rounds to the quantization parameters of its input."""
    layer: Layer = call.layer
    require_channels_last(layer)
    if None in (*planner.calls[call.sources[0]].shape[1:3], *call.shape[1:3]):
        raise unsupported(layer, " of sizes that are not known")
    options = {"size": list(call.shape[1:3]), "aligned": getattr(layer, "align_corners", False)}
    return planner.append(
        PlannedOp(layer.name, "operation", planner.sources(call), operation="bilinear", options=options)
    )


def _slopes(planner: Planner, call: LayerCall, _: Fusion) -> int:
    """Plan a function by weights of its layer, which are a second tensor."""
    layer: Layer = call.layer
    (source,) = planner.sources(call)
    slopes = planner.append(PlannedOp(f"{layer.name}_slopes", "slopes", (source,), layer))
    return planner.append(PlannedOp(layer.name, "operation", (source, slopes), operation=_operation(layer).name))


def _average_pooling(planner: Planner, call: LayerCall, _: Fusion) -> int:
    """Plan an average pooling, which rounds to the quantization parameters of its input."""
    layer: Layer = call.layer
    require_channels_last(layer)
    return planner.append(PlannedOp(layer.name, "average_pooling", planner.sources(call), layer))


_PLANS: dict[str, Plans] = {
    "pairwise": _pairwise,
    "mean": _mean,
    "same_qparams": _same_qparams,
    "joined": _joined,
    "parts": _parts,
    "place": _place,
    "resize": _resize,
    "slopes": _slopes,
    "average_pooling": _average_pooling,
}
"""By `Operation.plan`."""


def _planner_of(call: LayerCall) -> Plans:
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
    if isinstance(layer, ACTIVATION_LAYERS) or call.activation is not None:
        return _activation
    return _function


def _with_feeds_quantized(ops: list[PlannedOp]) -> tuple[PlannedOp, ...]:
    """The operations, with `PlannedOp.feeds_quantized` set."""
    feeding: set[int] = set()
    for number, op in reversed(list(enumerate(ops))):
        if op.kind != "float" or number in feeding:
            feeding |= {source for source in op.sources if ops[source].kind == "float"}
    return tuple(replace(op, feeds_quantized=number in feeding) for number, op in enumerate(ops))
