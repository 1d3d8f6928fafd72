"""A Keras model's symbolic inputs and outputs, whichever kind of model it is."""

from typing import Any

from tfsep._backend import keras


def inputs_of(model: Any) -> Any:
    """Return the inputs in the structure in which the model takes them; None for one that was not built on any."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built and model.inputs else None
    return model.input if getattr(model, "inputs", None) else None


def output_names(model: Any) -> list[str]:
    """Return the outputs' names, in the order in which ``tf.nest`` flattens them."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    return sorted(model.output) if isinstance(model.output, dict) else list(model.output_names)
