"""The part of a prepared model that a loss is computed from."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import call_of
from tfsep.quantize._prepared_model import require_prepared


def logits_of(model: Any) -> Any:
    """Return the prepared model without the softmax at its end, sharing its weights; as it is, where it has none.

    A loss wants logits: a softmax on the grid of 1/256 has no gradient where it is sure.

    Args:
        model: a prepared model of one output.

    Raises:
        TypeError: for what is no Keras model.
        ValueError: if `prepare` did not make the model, or it has several outputs.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> last = keras.layers.Dense(2, activation="softmax", name="last")
        >>> logits_of(prepare(keras.Sequential([keras.Input((4,)), last]))).layers[-1].name
        'last_range'
    """
    require_prepared(model)
    if len(model.outputs) != 1:
        raise ValueError(f"model: expected one of one output, got {len(model.outputs)} of {model.name!r}")
    call = call_of(model.outputs[0])
    if call is None or call.kwargs.get("operation") != "softmax":
        return model
    return keras.Model(model.inputs, call.inputs[0], name=model.name)
