"""The calls of a prepared model that compute its operations, under the names of the float model's layers."""

from collections.abc import Iterator
from typing import NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.composite_layers import Weight
from tfsep._keras.inference_identities import INFERENCE_IDENTITIES
from tfsep._keras.layer_copies import BorrowedLayer
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Layer, Model
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._activations import function_name
from tfsep.quantize._dequantize import Dequantize
from tfsep.quantize._function_table import FunctionTable
from tfsep.quantize._layer_results import ON_THE_WAY
from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._quantized_average_pooling import QuantizedAveragePooling
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._to_float import ToFloat


class CoverageRow(NamedTuple):
    """How one operation of a prepared model is computed.

    Attributes:
        name: the name of the float model's layer, as `Config.float_layers` takes it.
        kind: the layer's class, or the function that it computes.
        dtype: ``"int8"`` or ``"float32"``.
        reason: why it is not computed in int8; empty where it is.
        macs: multiply-accumulates for one sample, of all its calls; None where the sizes of the inputs are open.
    """

    name: str
    kind: str
    dtype: str
    reason: str
    macs: int | None


class CoveredCall(NamedTuple):
    """A call that computes an operation, or a part of it.

    Attributes:
        row: the operation, without multiply-accumulates.
        call: the call.
        counted: the layers whose multiply-accumulates are its.
        is_gated: whether it multiplies a tensor by the sigmoid of it, and is so the whole of that activation.
    """

    row: CoverageRow
    call: Call
    counted: list[Layer]
    is_gated: bool = False


def covered_calls(model: Model) -> Iterator[CoveredCall]:
    """Yield the calls that compute operations of a prepared model, in their order.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> layers = [keras.layers.Conv1D(3, 1, name="a", activation="silu"), keras.layers.Flatten(name="b")]
        >>> [own.row.name for own in covered_calls(prepare(keras.Sequential([keras.Input((4, 2)), *layers])))]
        ['a', 'a_activation', 'a_activation', 'b']
    """
    kinds: dict[str, str] = {}
    made_by: dict[int, Call] = {}
    for call in calls_behind(model.outputs):
        made_by |= dict.fromkeys(map(id, call.outputs), call)
        before = [made_by[id(tensor)] for tensor in call.inputs]
        own = _covered(call, [each.operation for each in before])
        if own is None:
            continue
        row, is_gated = own.row, _is_gated(call, before)
        known = kinds.get(row.name, row.kind)
        # Behind the layer itself; two layers of one name, in nested models, stay in float32 together.
        if not own.counted and known not in (row.kind, "sigmoid" if is_gated else row.kind):
            row = row._replace(name=f"{row.name}_activation")
        row = row._replace(kind="silu") if is_gated else row
        kinds[row.name] = row.kind if is_gated else kinds.get(row.name, row.kind)
        yield own._replace(row=row, is_gated=is_gated)


def _covered(call: Call, sources: list[Layer]) -> CoveredCall | None:
    """A call that is an operation, under the name of its layer; None for another one."""
    layer = call.operation
    if isinstance(layer, (keras.layers.InputLayer, Weight, ToFloat, *ON_THE_WAY, *INFERENCE_IDENTITIES)):
        return None
    if isinstance(layer, ActivationQuantizer):
        if not OPERATIONS[call.kwargs["operation"]].is_result:
            return None
        inside = [source for source in sources[:1] if isinstance(source, QuantizedMatmul)]
        kind = _kind(inside[0].layer) if inside else call.kwargs["operation"]
        if isinstance(sources[0], FunctionTable):
            kind = _kind(sources[0].computation)
        return CoveredCall(CoverageRow(call.kwargs["layer_name"], kind, "int8", "", None), call, inside)
    if isinstance(layer, QuantizedAveragePooling):
        return CoveredCall(CoverageRow(layer.name, _kind(layer.layer), "int8", "", None), call, [layer])
    gate = next((source for source in sources if isinstance(source, Dequantize) and source.to), None)
    if gate is None:
        return CoveredCall(CoverageRow(layer.name, _kind(layer), "int8", "", None), call, [layer])
    return CoveredCall(CoverageRow(gate.to, _kind(layer), "float32", gate.reason, None), call, [layer])


def _is_gated(call: Call, sources: list[Call]) -> bool:
    """Whether a call multiplies a tensor by the sigmoid of it, as one activation of a layer."""
    own = call.kwargs if isinstance(call.operation, ActivationQuantizer) else {}
    others = [each.kwargs for each in sources if isinstance(each.operation, ActivationQuantizer)]
    gates = [each for each in others if each["operation"] == "sigmoid" and each["layer_name"] == own.get("layer_name")]
    return own.get("operation") == "multiply" and bool(gates)


def _kind(layer: Layer) -> str:
    """The class of a layer, or of the one that it borrows its code from; of an activation its function."""
    if isinstance(layer, keras.layers.Activation):
        return function_name(layer.activation)
    return type(layer.borrowed if isinstance(layer, BorrowedLayer) else layer).__name__
