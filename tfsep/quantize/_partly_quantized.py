"""A prepared model of which any operations compute in integers, the others in real numbers, without a graph of each.

An operation in integers rounds what it takes and what it returns, as its operator does between float32 ones in a file;
those in real numbers pass each other numbers that nothing rounds.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Model, Tensor
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._covered_calls import covered_calls
from tfsep.quantize._dequantize import Dequantize
from tfsep.quantize._function_table import FunctionTable
from tfsep.quantize._inference_mode import real_numbers
from tfsep.quantize._qparams import INT8_MAX, INT8_MIN, to_integers
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._quantized_slopes import QuantizedSlopes

Values = dict[int, Tensor]
"""By the identity of a symbolic tensor, its numbers for a batch."""


class PartlyQuantized:
    """Computes a prepared model call by call, and so needs no graph for each choice of operations.

    Attributes:
        names: the operations in int8, as `coverage` lists them, in their order.
        result_sizes: by the same names, how many numbers their results have for one sample; 0 for open sizes.

    Args:
        model: a prepared model that was calibrated.
        real_weights: by the names of layers with weights, those with which real numbers are computed, where
            calibration has changed them for integers alone.
    """

    def __init__(self, model: Model, real_weights: Mapping[str, list[np.ndarray]]) -> None:
        self._model = model
        self._calls = list(calls_behind(model.outputs))
        self._qparams = _qparams_in(self._calls)
        self._trains = [_takes_training(call) for call in self._calls]
        self._names: dict[int, str] = {}
        """By the place of a call, the operation in int8 that it belongs to."""
        self.result_sizes: dict[str, int] = {}
        places = {id(output): place for place, call in enumerate(self._calls) for output in call.outputs}
        for own in covered_calls(model):
            if own.row.dtype == "int8":
                name, output = own.row.name, own.call.outputs[0]
                size = 0 if None in output.shape[1:] else int(np.prod(output.shape[1:]))
                self.result_sizes[name] = self.result_sizes.get(name, 0) + size
                self._names[places[id(output)]] = name
                inside = [places[id(tensor)] for tensor in own.call.inputs if id(tensor) in places]
                self._names |= {place: name for place in inside if _is_inside(self._calls[place])}
        self.names = tuple(self.result_sizes)
        self._first = {name: min(self._places(name)) for name in self.names}
        self._freed: dict[int, list[int]] = {}
        last = {id(tensor): place for place, call in enumerate(self._calls) for tensor in call.inputs}
        kept = {*map(id, model.outputs), *self._qparams.values()}
        for tensor, place in last.items():
            if tensor not in kept:
                self._freed.setdefault(place, []).append(tensor)
        self._weights = self._changed_weights(real_weights)

    def outputs(self, inputs: tuple[np.ndarray, ...], quantized: Collection[str]) -> list[np.ndarray]:
        """Return the outputs for a batch, with these operations in integers.

        Args:
            inputs: an array for each input of the model.
            quantized: names of operations.
        """
        return self._finished(self._given(inputs), 0, quantized)

    def outputs_alone(self, inputs: tuple[np.ndarray, ...]) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yield the outputs for a batch with each operation alone in integers, beside its name.

        What is in front of an operation is computed once for all.

        Args:
            inputs: an array for each input of the model.
        """
        values = self._given(inputs)
        starting = {place: name for name, place in self._first.items()}
        self._use_weights(())
        for place in range(len(self._calls)):
            if place in starting:
                yield starting[place], self._finished(dict(values), place, {starting[place]})
                self._use_weights(())
            self._compute(place, values, ())
        self._use_weights(self.names)

    def _given(self, inputs: tuple[np.ndarray, ...]) -> Values:
        given = zip(self._model.inputs, inputs, strict=True)
        return {id(tensor): tf.constant(array, tensor.dtype) for tensor, array in given}

    def _finished(self, values: Values, start: int, quantized: Collection[str]) -> list[np.ndarray]:
        """The outputs, computed from a place on, of values that are there up to it."""
        self._use_weights(quantized)
        for place in range(start, len(self._calls)):
            self._compute(place, values, quantized)
        self._use_weights(self.names)
        return [np.asarray(values[id(output)]) for output in self._model.outputs]

    def _compute(self, place: int, values: Values, quantized: Collection[str]) -> None:
        """Add the results of a call to the values, and forget those that no other call takes."""
        call = self._calls[place]
        if not isinstance(call.operation, keras.layers.InputLayer):
            is_quantized = self._names.get(place) in quantized

            def value(leaf: Any) -> Any:
                if not isinstance(leaf, keras.KerasTensor):
                    return leaf
                qparams = self._qparams.get(id(leaf)) if is_quantized else None
                own = values[id(leaf)]
                return own if qparams is None else _rounded(own, values[qparams])

            args, kwargs = keras.tree.map_structure(value, (call.args, dict(call.kwargs)))
            with nullcontext() if is_quantized else real_numbers():
                made = call.operation(*args, **kwargs, **({"training": False} if self._trains[place] else {}))
            values |= zip(map(id, call.outputs), keras.tree.flatten(made), strict=True)
        for tensor in self._freed.get(place, ()):
            values.pop(tensor, None)

    def _places(self, name: str) -> list[int]:
        return [place for place, own in self._names.items() if own == name]

    def _changed_weights(self, real: Mapping[str, list[np.ndarray]]) -> dict[str, list[tuple[Any, Any, Any]]]:
        """By operation, the variables of which integers have other numbers, with the real ones and these."""
        found: dict[str, list[tuple[Any, Any, Any]]] = {}
        for place, name in self._names.items():
            layer = self._calls[place].operation
            if layer.name not in real:
                continue
            for variable, numbers in zip(layer.weights, real[layer.name], strict=True):
                own = variable.numpy()
                if not np.array_equal(own, numbers):
                    found.setdefault(name, []).append((variable, numbers, own))
        return found

    def _use_weights(self, quantized: Collection[str]) -> None:
        """Give the layers the weights of integers, where these operations are, and of real numbers elsewhere."""
        for name, changed in self._weights.items():
            for variable, real, own in changed:
                variable.assign(own if name in quantized else real)


def _is_inside(call: Call) -> bool:
    """Whether a call computes a part of the operation behind it."""
    if isinstance(call.operation, ActivationQuantizer):
        return bool(call.kwargs["operation"] == "requantize")
    return isinstance(call.operation, (QuantizedMatmul, FunctionTable, QuantizedSlopes))


def _qparams_in(calls: list[Call]) -> dict[int, int]:
    """By the identity of each quantized tensor, that of its quantization parameters."""
    found: dict[int, int] = {}
    for call in calls:
        if isinstance(call.operation, (ActivationQuantizer, QuantizedSlopes)):
            found[id(call.outputs[0])] = id(call.outputs[1])
        elif call.inputs and not isinstance(call.operation, (Dequantize, QuantizedMatmul, FunctionTable)):
            qparams = found.get(id(call.inputs[0]))
            found |= {} if qparams is None else dict.fromkeys(map(id, call.outputs), qparams)
    return found


def _rounded(x: Tensor, qparams: Tensor) -> Tensor:
    """Real numbers as 8 bits hold them."""
    scale, zero = qparams[0], qparams[1]
    return tf.clip_by_value(to_integers(x, qparams), INT8_MIN - zero, INT8_MAX - zero) * scale


def _takes_training(call: Call) -> bool:
    return "training" in inspect.signature(call.operation.call).parameters and "training" not in call.kwargs
