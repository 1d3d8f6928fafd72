"""A Keras model's symbolic inputs and outputs, whichever kind of model it is."""

from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep.geometry._sizes import normalize_shape


def layers_in(layer: Any) -> list[Any]:
    """Return a layer and all layers inside it; Keras has no public name for a walk through them."""
    return list(layer._flatten_layers())


def inputs_of(model: Any) -> Any:
    """Return the inputs in the structure in which the model takes them; None for one that was not built on any."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built and model.inputs else None
    return model.input if getattr(model, "inputs", None) else None


def outputs_of(model: Any) -> Any:
    """Return the outputs in the structure in which the model returns them."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def shape_for(model: Any, input_shape: Any) -> tuple[int, ...]:
    """Return a shape that a user gives for a model's one input, without the batch, as ints.

    Raises:
        ValueError: if it is no shape, leaves a size open, or the model takes another or has several inputs.
    """
    shape = normalize_shape(input_shape, "input_shape")
    tensors = tf.nest.flatten(inputs_of(model))
    if len(tensors) > 1:
        raise ValueError(f"input_shape: expected None for a model of {len(tensors)} inputs, got {shape}")
    known = shape if tensors[0] is None else tuple(tensors[0].shape[1:])
    if None in shape or len(known) != len(shape) or any(k not in (None, s) for k, s in zip(known, shape, strict=True)):
        raise ValueError(f"input_shape: expected {known}, as {model.name!r} has it, got {shape}")
    return tuple(side for side in shape if side is not None)


def output_names(model: Any) -> list[str]:
    """Return the outputs' names, in the order in which ``tf.nest`` flattens them."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    return sorted(model.output) if isinstance(model.output, dict) else list(model.output_names)
