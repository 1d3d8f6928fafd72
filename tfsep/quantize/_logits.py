"""The logits of a prepared model, for the loss."""

import operator

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import call_of
from tfsep._keras.types import Model, Tensor
from tfsep._utils.arguments import one_of
from tfsep.quantize._places import Argmax
from tfsep.quantize._prepared_model import require_prepared


def logits_of(model: Model, activation: str = "softmax") -> Model:
    """Return a prepared model without the softmax at its end, on the same weights; the model itself, if it has none.

    Compute the loss from logits: a softmax in units of 1/256 has no gradient where it saturates.

    Args:
        model: a prepared model.
        activation: what is left out at the end of an output: ``"softmax"`` or ``"sigmoid"``.

    Raises:
        TypeError: for anything but a Keras model.
        ValueError: if `prepare` did not make the model, or for another activation.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> last = keras.layers.Dense(2, activation="softmax", name="last")
        >>> logits_of(prepare(keras.Sequential([keras.Input((4,)), last]))).layers[-1].name
        'last_range'
    """
    require_prepared(model)
    logits = outputs_without(model, one_of(activation, "activation", ("softmax", "sigmoid")))
    if all(map(operator.is_, logits, model.outputs)):
        return model
    return keras.Model(model.input, keras.tree.pack_sequence_as(model.output, logits), name=model.name)


def outputs_without(model: Model, activation: str) -> list[Tensor]:
    """Return the outputs of a prepared model; of those that a softmax or a sigmoid makes, its logits.

    Of the places of the largest numbers, these, as a softmax would be left out there.

    Args:
        model: a prepared model.
        activation: ``"softmax"`` or ``"sigmoid"``.
    """
    return [_without(output, activation) for output in model.outputs]


def _without(tensor: Tensor, activation: str) -> Tensor:
    call = call_of(tensor)
    if call is None:
        return tensor
    is_place = activation == "softmax" and isinstance(call.operation, Argmax)
    if is_place or call.kwargs.get("operation") == activation:
        return _without(call.inputs[0], activation) if is_place else call.inputs[0]
    return tensor
