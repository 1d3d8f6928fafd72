"""Symbolic inputs and outputs of a Keras model, Sequential, Functional or subclassed."""

from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Layer, Model
from tfsep.geometry._sizes import normalize_shape


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


def shape_for(model: Model, input_shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape that a user gives for a model's one input, without the batch, as ints.

    Raises:
        ValueError: for anything but a shape of known sizes that the model takes, and for a model of several inputs.
    """
    shape = normalize_shape(input_shape, "input_shape")
    tensors = tf.nest.flatten(inputs_of(model))
    if len(tensors) > 1:
        raise ValueError(f"input_shape: expected None for a model of {len(tensors)} inputs, got {shape}")
    known = shape if tensors[0] is None else tuple(tensors[0].shape[1:])
    if None in shape or len(known) != len(shape) or any(k not in (None, s) for k, s in zip(known, shape, strict=True)):
        raise ValueError(f"input_shape: expected {known}, as {model.name!r} has it, got {shape}")
    return tuple(side for side in shape if side is not None)


def output_names(model: Model) -> list[str]:
    """Return the names of a model's outputs, in the order of ``tf.nest.flatten``."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    return sorted(model.output) if isinstance(model.output, dict) else list(model.output_names)
