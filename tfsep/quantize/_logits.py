"""The logits of a prepared classifier, for the loss."""

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import call_of
from tfsep._keras.types import Model, Tensor
from tfsep.quantize._prepared_model import require_prepared


def logits_of(model: Model) -> Model:
    """Return a prepared model without the softmax at its end, on the same weights; the model itself, if it has none.

    Compute the loss from logits: a softmax in units of 1/256 has no gradient where it saturates.

    Args:
        model: a prepared model of one output.

    Raises:
        TypeError: for anything but a Keras model.
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
    (logits,) = outputs_without_softmax(model)
    return model if logits is model.outputs[0] else keras.Model(model.input, logits, name=model.name)


def outputs_without_softmax(model: Model) -> list[Tensor]:
    """Return the outputs of a prepared model; of those that a softmax makes, its logits.

    Args:
        model: a prepared model.
    """
    calls = map(call_of, model.outputs)
    return [
        output if call is None or call.kwargs.get("operation") != "softmax" else call.inputs[0]
        for output, call in zip(model.outputs, calls, strict=True)
    ]
