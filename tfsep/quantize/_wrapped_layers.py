"""Layers that wrap another one, as models of it: what they do beside it is nothing at inference."""

from collections.abc import Callable

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import Call, operation_of
from tfsep._keras.types import Layer, Model


def unwrapped(call: Call) -> Model | None:
    """Return a model that computes a call of a wrapper on the layer inside it; None for another call.

    Args:
        call: a call of a layer in a graph.
    """
    compute = _WRAPPERS.get(type(call.operation))
    masked = any(getattr(tensor, "_keras_mask", None) is not None for tensor in call.inputs)
    if compute is None or masked or len(call.inputs) > 1:
        return None
    given = keras.Input(batch_shape=call.inputs[0].shape, dtype=call.inputs[0].dtype)
    result = compute(call.operation, given)
    return None if result is None else keras.Model(given, result, name=call.operation.name)


def _at_all_steps(wrapper: Layer, given: keras.KerasTensor) -> keras.KerasTensor | None:
    """`TimeDistributed`, of known sizes: the steps of all samples are samples.

    Normalizations inside train on the statistics of all steps together, which inference does not show.
    """
    count, *rest = given.shape[1:]
    if None in (count, *rest):
        return None
    steps = keras.ops.reshape(given, (-1, *rest))
    made = wrapper.layer(steps)
    result = keras.ops.reshape(made, (-1, count, *made.shape[1:]))
    for tensor, what in ((steps, "steps"), (result, "result")):
        operation_of(tensor).name = f"{wrapper.name}_{what}"
    return result


_WRAPPERS: dict[type[Layer], Callable[[Layer, keras.KerasTensor], keras.KerasTensor | None]] = {
    keras.layers.TimeDistributed: _at_all_steps,
    # Training divides the kernel by its norm for good.
    keras.layers.SpectralNormalization: lambda wrapper, given: wrapper.layer(given),
}
