"""The results inside a prepared model, by the names of the layers that it was prepared from."""

from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.model_io import origin
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
    # Of each call, the places of what its result is made of, itself included.
    places: dict[Any, frozenset[int]] = {}
    waiting = list(model.outputs)[::-1]
    while waiting:
        operation, node = origin(waiting[-1])
        sources = [origin(tensor)[1] for tensor in node.input_tensors]
        if node in places:
            waiting.pop()
        elif any(source not in places for source in sources):
            waiting += node.input_tensors[::-1]
        else:
            before = frozenset[int]().union(*(places[source] for source in sources))
            name = _name(operation, node.arguments.kwargs)
            if name is not None:
                found.append(Result(name, node.output_tensors[0], before))
                before |= {len(found) - 1}
            places[node] = before
    return found


def _name(operation: Any, options: dict[str, Any]) -> str | None:
    """The layer whose result a call has; None of one that only leads there."""
    if isinstance(operation, QuantizedOutput):
        return None if options["operation"] == "input" else options["of"]
    leads = isinstance(operation, keras.layers.InputLayer | QuantizedLinear | Dequantized)
    return None if leads else operation.name
