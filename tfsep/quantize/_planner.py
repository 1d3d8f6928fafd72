"""Plans one operator after the other: what is fused with what, and what stays in float32, with the reason."""

from collections.abc import Callable, Container, Hashable
from dataclasses import replace
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer
from tfsep.layers._layer_kinds import LayerKind, kind_of
from tfsep.quantize._activations import (
    LINEAR,
    Activation,
    activation_name,
    activation_of,
    function_name,
)
from tfsep.quantize._built_layers import as_rows, one_tap
from tfsep.quantize._call_list import CallList, LayerCall
from tfsep.quantize._config import Config
from tfsep.quantize._decompositions import transposed_chain
from tfsep.quantize._float_ids import ids_in_floats
from tfsep.quantize._float_operators import prepares
from tfsep.quantize._operations import finds_places, moves, operation_for, overridden, quantization_of
from tfsep.quantize._planned_op import Fusion, PlannedOp
from tfsep.quantize._refusals import FASTER_IN_FLOAT, Refusal, unsupported
from tfsep.quantize._shared_inputs import merged_by, tensor_of, tensors_in_float
from tfsep.quantize._traced_kinds import traced_kind
from tfsep.surgery._foldable import is_foldable

NAMED = "named in float_layers"
"""The reason of a layer that has an integer kernel, perhaps."""


class Planner:
    """Plans one operator after the other.

    Attributes:
        calls: calls of the model.
        ops: planned so far.
        op_of: for each call, the number of the operation that has its result.
        origins: for each operation, the number of the call that it was planned for.
        refusals: of calls that stay in float32, as they have no integer kernel.
        runtime: the runtime whose kernels are emulated.
        makes_tables: whether functions without an operator in integers are tables: not where float32 is faster.

    Args:
        calls: calls of the model, and its outputs.
        config: the settings.
        apart: calls, and places among their sources, of tensors that cannot share the range of the others, which shows
            in the whole plan only.
        shared_inputs: calls of inputs that are quantized for layers in float32, too.
        plans: the function from a call in integers to the one that plans it.
    """

    def __init__(
        self,
        calls: CallList,
        config: Config,
        apart: Container[tuple[int, int]],
        shared_inputs: Container[int],
        plans: "Callable[[LayerCall], Plans]",
    ) -> None:
        self.calls = calls.calls
        self.ops: list[PlannedOp] = []
        self.op_of: dict[int, int] = {}
        self.origins: list[int] = []
        self.refusals: list[Refusal] = []
        self.runtime, self._float_layers, self._plans = config.runtime, frozenset(config.float_layers), plans
        self.makes_tables = config.runtime != "xnnpack" or config.unsupported == "error"
        self._apart, self._shared_inputs = apart, shared_inputs
        self._planned = 0
        self._keys: list[Hashable] = []
        self._quantized: dict[int, int] = {}
        self._again: dict[int, int] = {}
        self._dtypes: dict[int, str] = {}
        self._made: dict[tuple[int, str], list[Layer]] = {}
        self._calls_of: dict[int, list[int]] = {}
        users: dict[int, list[int]] = {}
        for number, call in enumerate(self.calls):
            self._calls_of.setdefault(id(call.layer), []).append(number)
            for source in call.sources:
                users.setdefault(source, []).append(number)
        self._ids = ids_in_floats(self.calls, users)
        self._outputs = set(calls.outputs)
        self._users = {number: used for number, used in users.items() if number not in self._outputs}

    def add(self, number: int) -> None:
        """Plan the operator that a call belongs to, unless an earlier call of it did."""
        if number in self.op_of:
            return
        self._planned = number
        call = self.calls[number]
        if call.layer is None:
            made = self.append_plain(PlannedOp(f"input_{number}", "float", ()), call)
            self.op_of[number] = self._quantize(made) if number in self._shared_inputs else made
            return
        if call.result and self.ops[self.op_of[call.sources[0]]].kind == "float":
            self._add_float(number, "")
            return
        fusion = self._fusion(number)
        if named := [
            self.calls[other] for other in fusion.calls if not self._float_layers.isdisjoint(self.calls[other].names)
        ]:
            reason = NAMED
        elif self._is_in_front(call):
            reason = "prepares the input"
        else:
            try:
                self._add_quantized(number, call, fusion)
            except Refusal as refusal:
                self.refusals.append(refusal)
                reason = refusal.reason
            else:
                return
        for other in fusion.calls:
            fused = other != number and self.calls[other] not in named
            self._add_float(other, f"fused with {call.layer.name}" if fused else reason)

    def _add_quantized(self, number: int, call: LayerCall, fusion: Fusion) -> None:
        """Plan an operator in integers; nothing of it where a part of it is refused."""
        count, quantized, refused = len(self.ops), dict(self._quantized), len(self.refusals)
        try:
            self._require_plain(call)
            self._require_real(number)
            self.op_of |= dict.fromkeys(fusion.calls, self._plans(call)(self, call, fusion))
        except Refusal:
            del self.ops[count:], self.origins[count:], self._keys[count:], self.refusals[refused:]
            self._quantized = quantized
            for each in fusion.calls:
                self.op_of.pop(each, None)
            raise

    def _require_plain(self, call: LayerCall) -> None:
        """Refuse a call of several results, unless they are parts, or with tensors by name."""
        if call.results > 1 and not moves(call.layer):
            raise unsupported(call.layer, " of several results")
        if call.takes_named:
            raise unsupported(call.layer, " with tensors by name")

    def _is_in_front(self, call: LayerCall) -> bool:
        """Whether a call prepares an input, in front of all that is quantized, by a layer that cannot be."""
        return prepares(call.layer) and all(self.ops[self.op_of[source]].kind == "float" for source in call.sources)

    def _require_real(self, number: int) -> None:
        """Raise for a computation with integers, for which quantized real numbers would not stand."""
        call = self.calls[number]
        given = [self.calls[source].has_integers for source in call.sources]
        moved = moves(call.layer) and all(given) and number not in self._outputs
        made = call.has_integers and not finds_places(call.layer)
        if (made or any(given)) and not call.casts and not moved:
            raise unsupported(call.layer, " of integers")
        if call.has_integers and call.casts:
            raise unsupported(call.layer, f" to {call.dtype}")
        if number in self._ids:
            raise unsupported(call.layer, " of ids")

    def _add_float(self, number: int, reason: str) -> None:
        """Plan a call that stays in float32."""
        call = self.calls[number]
        layer: Layer = call.layer
        sources = tuple(self.op_of[source] for source in call.sources)
        if call.result:
            op = PlannedOp(f"{layer.name}_{call.result}", "float", sources, layer, result=call.result)
            self.op_of[number] = self.append_plain(op, call)
            return
        op = PlannedOp(
            layer.name, "float", sources, layer, positional=call.positional, arguments=call.arguments, reason=reason
        )
        kind = kind_of(layer)
        if kind is not None and kind.quantized is not None and kind.transposed and not overridden(layer):
            # The converter quantizes the kernel of a transposed convolution; a plain one it leaves as it is.
            *first, last = self.made_once(layer, "chain", lambda: list(transposed_chain(layer)))
            for part in first:
                op = PlannedOp(part.name, "float", sources, part, reason=reason)
                sources = (self.append_plain(op, call),)
            op = PlannedOp(layer.name, "float", sources, last, reason=reason)
        self.op_of[number] = self.append_plain(op, call)

    def append_plain(self, op: PlannedOp, call: LayerCall) -> int:
        """Add an operation whose result is not quantized, with the type of that."""
        number = self.append(op)
        self._dtypes[number] = call.dtype
        return number

    def inputs_of_both(self) -> set[int]:
        """The calls of inputs that layers in float32 take and others quantize: the converter makes these integers."""
        floats = {source for op in self.ops if op.kind == "float" for source in op.sources}
        quantized = {source for source, made in self._quantized.items() if self.ops[made].operation == "quantize"}
        return {self.origins[source] for source in floats & quantized if not self.ops[source].sources}

    def slopes_beside_floats(self) -> set[tuple[int, int]]:
        """The calls of functions by slopes, and their places, of tensors that layers in float32 take, too.

        The converter would merge negations of both, and take the function apart.
        """
        floats = tensors_in_float(self.ops)
        return {
            (origin, 0)
            for op, origin in zip(self.ops, self.origins, strict=True)
            if op.operation == "prelu" and tensor_of(self.ops, op.sources[0]) in floats
        }

    def output(self, number: int) -> int:
        """The operation with a result as an output of the model.

        The converter hands an output on as integers only. Where a layer in float32 takes it, too, the output is
        quantized once more, to the same integers.
        """
        made = self.op_of[number]
        op = self.ops[made]
        if not op.is_quantized or tensor_of(self.ops, made) not in tensors_in_float(self.ops):
            return made
        if made not in self._again:
            real = self.append(PlannedOp(f"{op.name}_again", "float", (made,)))
            again = PlannedOp(f"{op.name}_output", "operation", (real,), operation="quantize_operator", range_of=made)
            self._again[made] = self.append(again)
        return self._again[made]

    @property
    def results_of_layer(self) -> range:
        """The calls that are the results of the planned one's layer."""
        call = self.calls[self._planned]
        first = self._planned - call.result
        return range(first, first + call.results)

    def is_used(self, number: int) -> bool:
        """Whether a call's result is taken, or an output."""
        return number in self._outputs or any(not self.calls[user].result for user in self._users.get(number, []))

    def is_output(self, number: int) -> bool:
        """Whether the tensor of a planned operation is an output, too."""
        made = [self.op_of[output] for output in self._outputs if output in self.op_of]
        return tensor_of(self.ops, number) in (tensor_of(self.ops, each) for each in made)

    def append(self, op: PlannedOp) -> int:
        """Add an operation, and return its number; that of an equal one, which the converter would merge with it.

        Raises:
            Refusal: for one that the converter would merge with another one of another range.
        """
        key = merged_by(self.ops, op)
        if key is not None and key in self._keys:
            number = self._keys.index(key)
            known = self.ops[number]
            if replace(op, name=known.name, result_of=known.result_of) == known:
                return number
            raise Refusal(op.layer_name, op.operation, f" beside {known.layer_name!r}, of which it has a part")
        self.ops.append(op)
        self.origins.append(self._planned)
        self._keys.append(key)
        return len(self.ops) - 1

    def sources(self, call: LayerCall) -> tuple[int, ...]:
        """The operations that a call takes, all quantized."""
        quantized = [self._quantize(self.op_of[source]) for source in call.sources]
        return tuple(self._requantized(place, source) for place, source in enumerate(quantized))

    def _requantized(self, place: int, source: int) -> int:
        """What the planned call takes in a place: a tensor, or its integers on a range of their own."""
        if (self._planned, place) not in self._apart:
            return source
        name = f"{self.ops[source].name}_requantized"
        return self.append(PlannedOp(name, "operation", (source,), operation="requantize"))

    def _quantize(self, number: int) -> int:
        """The number of the operation that has a result quantized: the same, or one behind it."""
        op = self.ops[number]
        if op.is_quantized:
            return number
        if number not in self._quantized:
            operation = quantization_of(self._dtypes[number], op.layer is None)
            quantized = PlannedOp(f"{op.name}_quantized", "operation", (number,), operation=operation)
            self._quantized[number] = self.append(quantized)
        return self._quantized[number]

    def _fusion(self, number: int) -> Fusion:
        layer, fused, normalization = self.calls[number].layer, [number], None
        after = self._after(number)
        if matmul_kind(layer) is not None and after is not None and self._folds(number, after):
            normalization = self.calls[after].layer
            fused.append(after)
            after = self._after(after)
        if after is not None and _fuses_activation(layer) and _own_activation(layer) == LINEAR:
            following = self.calls[after].activation
            if following is not None and following.is_fusible:
                return Fusion((*fused, after), normalization, following)
        return Fusion(tuple(fused), normalization)

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

    def finish(self, layer: Layer, call: LayerCall, fusion: Fusion, op: PlannedOp) -> int:
        """Add an operation with a range of its own, and the activation that its layer has, or that follows it."""
        own, name = fusion.rectifier or _own_activation(layer), activation_name(layer)
        if own is None or name in self._float_layers:
            return self._activate_otherwise(layer, call, self.append(op))
        if own.is_fusible:
            return self.append(replace(op, fused_activation=own.fused, max_value=own.max_value))
        return self.activate(layer, call, name, self.append(op), own)

    def activate(self, layer: Layer, call: LayerCall, name: str, source: int, own: Activation) -> int:
        """Add an activation that is an operator of its own: a function, or a convolution of one tap and a rectifier."""
        if own.operation is not None:
            sources: tuple[int, ...] = (source,)
            if own.gate is not None:
                gate = PlannedOp(f"{name}_gate", "operation", sources, operation=own.gate, result_of=layer.name)
                sources += (self.append(gate),)
            op = PlannedOp(
                name, "operation", sources, operation=own.operation, options=own.options, max_value=own.max_value
            )
        else:
            factor, offset = (keras.initializers.Constant(each) for each in own.affine)

            def tap(taps: Layer, rows: int) -> int:
                op = PlannedOp(name, "matmul", (rows,), taps, None, "convolution", own.fused, max_value=own.max_value)
                return self.append(replace(op, result_of=layer.name))

            return self.tapped(layer, call, source, tap, depthwise_initializer=factor, bias_initializer=offset)
        return self.append(replace(op, result_of=layer.name))

    def _activate_otherwise(self, layer: Layer, call: LayerCall, source: int) -> int:
        """Add the activation that a layer has as a table, or in float32 behind the layer in integers."""
        name = activation_name(layer)
        reason = NAMED
        [own] = self.made_once(layer, "activation", lambda: [keras.layers.Activation(layer.activation, name=name)])
        if name not in self._float_layers:
            is_function = traced_kind(LayerCall(own, shape=call.shape), [call.shape], self.runtime) == "function"
            if is_function and self.makes_tables:
                table = PlannedOp(name, "operation", (source,), own, operation="table", result_of=layer.name)
                return self.append(table)
            function = function_name(layer.activation)
            self.refusals.append(Refusal(layer.name, type(layer).__name__, f" with the activation {function!r}"))
            reason = Refusal(name, function, FASTER_IN_FLOAT if is_function else "").reason
        return self.append_plain(PlannedOp(name, "float", (source,), own, reason=reason), call)

    def tapped(
        self, layer: Layer, call: LayerCall, source: int, plan: Callable[[Layer, int], int], **options: Any
    ) -> int:
        """Plan a layer as a depthwise convolution of one tap, the same for all its calls, on rows where it needs these.

        Args:
            layer: the layer.
            call: a call of it.
            source: the operation that it takes.
            plan: the function from the convolution, and the operation that it takes, to the one that is planned.
            **options: arguments of the convolution.
        """
        [taps] = self.made_once(layer, "tap", lambda: [one_tap(len(call.shape), f"{layer.name}_scale", **options)])
        try:
            rows = as_rows(call.shape, layer.name)
        except ValueError as error:
            raise unsupported(layer, f" of {error}") from None
        if rows is None:
            return plan(taps, source)
        before, behind = (PlannedOp(each.name, "same_qparams", (), each) for each in rows)
        made = plan(taps, self.append(replace(before, sources=(source,))))
        return self.append(replace(behind, sources=(made,)))

    def made_once(self, layer: Layer, role: str, make: Callable[[], list[Layer]]) -> list[Layer]:
        """Return the layers that compute a layer, or a part of it, the same for all its calls."""
        if (id(layer), role) not in self._made:
            self._made[id(layer), role] = make()
        return self._made[id(layer), role]


Plans = Callable[[Planner, LayerCall, Fusion], int]
"""Plans a call, with what is fused to it, and returns the number of the operation that has its result."""


def matmul_kind(layer: Layer | None) -> LayerKind | None:
    """The row of a layer that an integer operator computes with weights; None for other layers."""
    kind = kind_of(layer)
    return kind if kind is not None and kind.quantized == "operator" else None


def _fuses_activation(layer: Layer | None) -> bool:
    """Whether a layer's operator can include the rectifier behind it."""
    if matmul_kind(layer) is not None or isinstance(layer, keras.layers.BatchNormalization):
        return True
    operation = operation_for(layer)
    return operation is not None and operation.plan == "pairwise"


def _own_activation(layer: Layer | None) -> Activation | None:
    return activation_of(getattr(layer, "activation", keras.activations.linear))
