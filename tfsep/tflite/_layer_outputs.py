"""The output of every layer of a model, by the names that `quantize.prepare` knows the layers by."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.types import Layer
from tfsep.layers import DepthwiseSeparableConv
from tfsep.tflite._model_run import ModelRun


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


def called_layer_outputs(run: ModelRun, inputs: Sequence[np.ndarray]) -> LayerOutputs:
    """Run one batch of a model, and return the output of every layer that is called, however deep it is nested.

    A nested model's output is that of its last layer, and is listed once, under the name of that layer.
    """
    keys: dict[int, LayerKey] = {}
    outputs: dict[LayerKey, Any] = {}
    ancestors: dict[LayerKey, set[LayerKey]] = {}
    enclosing: list[Layer] = []

    def leave(layer: Layer, inputs: Any, result: Any) -> None:
        enclosing.pop()
        first = tf.nest.flatten(result)[0]
        if getattr(first, "dtype", None) != tf.float32 or id(first) in keys:
            return
        name = _prepared_name(layer, [outer for outer in enclosing if not isinstance(outer, keras.Model)])
        key = LayerKey(name, sum(other.name == name for other in outputs))
        sources = {keys[id(tensor)] for tensor in tf.nest.flatten(inputs) if id(tensor) in keys}
        # `outputs` keeps the tensors alive, so that no id is used twice.
        keys[id(first)], outputs[key] = key, first
        ancestors[key] = sources.union(*(ancestors[source] for source in sources))

    with watch_layer_calls(enclosing.append, leave):
        run.step(inputs, eager=True)
    return LayerOutputs({key: np.asarray(output) for key, output in outputs.items()}, ancestors)


def _prepared_name(layer: Layer, enclosing: list[Layer]) -> str:
    """The name that `quantize.prepare` knows a layer by, given the composite layers that call it."""
    match enclosing:
        case []:
            return str(layer.name)
        case [DepthwiseSeparableConv() as block]:
            return f"{block.name}_{layer.name}"
    return str(enclosing[0].name)
