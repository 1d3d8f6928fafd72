"""The results inside a prepared model, by the names of the layers that it was prepared from."""

from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import Call, calls_behind
from tfsep.quantize._activation_quantizer import Dequantized, QuantizedOutput
from tfsep.quantize._quantized_matmul import QuantizedLinear


class Result(NamedTuple):
    """A result inside a prepared model.

    Attributes:
        name: of the layer of the model that was prepared, as `Config.float_layers` takes it.
        tensor: symbolic, of the prepared model.
        before: places in the list of the results that it is made of.
    """

    name: str
    tensor: Any
    before: frozenset[int]


def results_of(model: Any) -> list[Result]:
    """Return what the layers of a prepared model computed, each behind those that it is made of.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> layers = [keras.layers.Dense(3, name="first"), keras.layers.ReLU(), keras.layers.Dense(2, name="second")]
        >>> [result.name for result in results_of(prepare(keras.Sequential([keras.Input((4,)), *layers])))]
        ['first', 'second']
    """
    found: list[Result] = []
    # By tensor, the places of the results that it is made of, its own included.
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
    if isinstance(call.operation, QuantizedOutput):
        return None if call.kwargs["operation"] == "input" else call.kwargs["of"]
    leads = isinstance(call.operation, keras.layers.InputLayer | QuantizedLinear | Dequantized)
    return None if leads else call.operation.name
