"""The output of every layer of a model, by the names that `quantize.prepare` knows the layers by."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.types import Layer
from tfsep._utils.batch_filling import batches, without_filled_rows
from tfsep.layers import DepthwiseSeparableConv
from tfsep.tflite._model_run import ModelRun, StateScope, batch_specs, effective_state


class LayerKey(NamedTuple):
    """A result of a layer.

    Attributes:
        name: name of the layer.
        result: 0 for the first result of that name.
    """

    name: str
    result: int


class LayerOutputs(NamedTuple):
    """The outputs of a model's layers on some inputs.

    Attributes:
        arrays: the outputs.
        ancestors: the results that each result is computed from.
    """

    arrays: dict[LayerKey, np.ndarray]
    ancestors: dict[LayerKey, set[LayerKey]]


def outputs_in_batches(
    compute: Callable[[Sequence[np.ndarray]], LayerOutputs], batches: Iterable[tuple[Sequence[np.ndarray], int]]
) -> LayerOutputs:
    """Return the outputs of layers on all samples.

    Args:
        compute: from a batch to its outputs.
        batches: the batches, each with its number of samples without the filling.
    """
    parts = []
    for arrays, count in batches:
        made = compute(arrays)
        size = len(arrays[0])
        parts.append({key: without_filled_rows(array, size, count) for key, array in made.arrays.items()})
    return LayerOutputs({key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, made.ancestors)


def called_layer_outputs(run: ModelRun) -> Callable[[Sequence[np.ndarray]], LayerOutputs]:
    """Return a function from samples to the output of every layer that a model calls, however deep it is nested.

    It runs the file's batches, in which a result that is no batch of samples is the file's too: in a graph, as
    ``predict`` does, where the model has no state. A nested model's output is that of its last layer, and is listed
    once, under the name of that layer. Layers inside of a graph's loop, as a recurrent layer's cell, are left out.
    """
    traced: _Watch

    def watched(tensors: Sequence[Any]) -> list[Any]:
        nonlocal traced
        traced = _Watch.of(lambda: run.signature.call(tensors))
        return list(traced.outputs.values())

    specs = batch_specs(run.signature)
    with StateScope([]) as scope:
        graph = tf.function(watched, autograph=False).get_concrete_function(specs)
    has_state = bool(effective_state(graph.graph, scope.assigned, {}))

    def computed(inputs: Sequence[np.ndarray]) -> LayerOutputs:
        watch = _Watch.of(lambda: run.step(inputs, eager=True)) if has_state else traced
        outputs = watch.outputs.values() if has_state else graph([tf.constant(array) for array in inputs])
        return LayerOutputs(dict(zip(watch.outputs, map(np.asarray, outputs), strict=True)), watch.ancestors)

    return lambda inputs: outputs_in_batches(computed, batches(inputs, run.signature.batch_size or 1))


class _Watch:
    """The outputs of the layers that are called, by their keys, and what each is computed from."""

    def __init__(self) -> None:
        self.outputs: dict[LayerKey, Any] = {}
        self.ancestors: dict[LayerKey, set[LayerKey]] = {}
        self._keys: dict[int, LayerKey] = {}
        self._enclosing: list[Layer] = []
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()

    @classmethod
    def of(cls, call: Callable[[], Any]) -> Self:
        """Return what is seen during a call of a model."""
        watch = cls()
        with watch_layer_calls(watch._enclosing.append, watch._leave):
            call()
        return watch

    def _leave(self, layer: Layer, inputs: Any, result: Any) -> None:
        self._enclosing.pop()
        first = tf.nest.flatten(result)[0]
        elsewhere = getattr(first, "graph", None) is not self._graph  # in a loop, or in another trace
        if getattr(first, "dtype", None) != tf.float32 or id(first) in self._keys or elsewhere:
            return
        name = _prepared_name(layer, [outer for outer in self._enclosing if not isinstance(outer, keras.Model)])
        key = LayerKey(name, sum(other.name == name for other in self.outputs))
        sources = {self._keys[id(tensor)] for tensor in tf.nest.flatten(inputs) if id(tensor) in self._keys}
        # `outputs` keeps the tensors alive, so that no id is used twice.
        self._keys[id(first)], self.outputs[key] = key, first
        self.ancestors[key] = sources.union(*(self.ancestors[source] for source in sources))


def _prepared_name(layer: Layer, enclosing: list[Layer]) -> str:
    """The name that `quantize.prepare` knows a layer by, given the composite layers that call it."""
    match enclosing:
        case []:
            return str(layer.name)
        case [DepthwiseSeparableConv() as block]:
            return f"{block.name}_{layer.name}"
    return str(enclosing[0].name)
