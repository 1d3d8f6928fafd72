"""The results inside a prepared model, by the names of the layers that it was prepared from."""

from typing import NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Model
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._built_layers import Rearranged
from tfsep.quantize._dequantize import Dequantize
from tfsep.quantize._function_table import FunctionTable
from tfsep.quantize._operations import OPERATIONS
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._quantized_slopes import QuantizedSlopes

ON_THE_WAY = (Dequantize, FunctionTable, QuantizedMatmul, QuantizedSlopes, Rearranged)
"""Layers of a prepared model whose results are no layer's of the float model."""


class Result(NamedTuple):
    """A result inside a prepared model.

    Attributes:
        name: name of the float model's layer, as `Config.float_layers` takes it.
        tensor: the symbolic tensor in the prepared model.
        before: positions in the list of results of all those that it is computed from.
    """

    name: str
    tensor: keras.KerasTensor
    before: frozenset[int]


def results_of(model: Model) -> list[Result]:
    """Return the results of a prepared model's layers, each behind those that it is computed from.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> layers = [keras.layers.Dense(3, name="first"), keras.layers.ReLU(), keras.layers.Dense(2, name="second")]
        >>> [result.name for result in results_of(prepare(keras.Sequential([keras.Input((4,)), *layers])))]
        ['first', 'second']
    """
    found: list[Result] = []
    # For each tensor, the positions of the results that it is computed from, its own included.
    places: dict[int, frozenset[int]] = {}
    for call in calls_behind(model.outputs):
        before = frozenset[int]().union(*(places[id(tensor)] for tensor in call.inputs))
        name = _name(call)
        if name is not None:
            found.append(Result(name, call.outputs[0], before))
            before |= {len(found) - 1}
        places |= dict.fromkeys(map(id, call.outputs), before)
    return found


def _name(call: Call) -> str | None:
    """The name of the layer whose result a call returns; None for a call on the way to a result."""
    if isinstance(call.operation, ActivationQuantizer):
        return None if not OPERATIONS[call.kwargs["operation"]].is_result else call.kwargs["layer_name"]
    return None if isinstance(call.operation, (keras.layers.InputLayer, *ON_THE_WAY)) else call.operation.name
