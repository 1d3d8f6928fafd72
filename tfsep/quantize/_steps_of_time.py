"""`keras.layers.TimeDistributed` as its layer, called once: the steps of all samples are samples of it."""

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import Call, operation_of
from tfsep._keras.types import Model


def steps_as_samples(call: Call) -> Model | None:
    """Return a model that computes a call of `TimeDistributed`, on the layer inside it; None where there is none.

    Normalizations inside train on the statistics of all steps together, which inference does not show.

    Args:
        call: a call of the layer, without a mask, on a tensor (N, steps, ...) of known sizes.
    """
    wrapper, tensors = call.operation, call.inputs
    masked = any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)
    if masked or len(tensors) > 1 or None in tensors[0].shape[1:]:
        return None
    count, *rest = tensors[0].shape[1:]
    given = keras.Input(batch_shape=tensors[0].shape, dtype=tensors[0].dtype)
    steps = keras.ops.reshape(given, (-1, *rest))
    made = wrapper.layer(steps)
    result = keras.ops.reshape(made, (-1, count, *made.shape[1:]))
    for tensor, what in ((steps, "steps"), (result, "result")):
        operation_of(tensor).name = f"{wrapper.name}_{what}"
    return keras.Model(given, result, name=wrapper.name)
