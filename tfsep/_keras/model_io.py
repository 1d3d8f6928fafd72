"""Symbolic inputs and outputs of a Keras model, Sequential, Functional or subclassed."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer, Model


def layers_in(layer: Layer) -> list[Layer]:
    """Return a layer and all layers inside it; Keras has no public name for them."""
    return list(layer._flatten_layers())


def inputs_of(model: Model) -> Any:
    """Return a model's symbolic inputs in the structure that it takes; None for a model that was built without them."""
    if isinstance(model, keras.Sequential):
        # One that was built without a graph has no inputs, and raises.
        tensors = getattr(model, "inputs", None) if model.built else None
        return tensors[0] if tensors else None
    return model.input if getattr(model, "inputs", None) else None


def outputs_of(model: Model) -> Any:
    """Return a model's symbolic outputs in the structure that it returns."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def output_names(model: Model) -> list[str]:
    """Return the names of a model's outputs, in the order of ``tf.nest.flatten``."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    return sorted(model.output) if isinstance(model.output, dict) else list(model.output_names)
