"""Ranges of a prepared model from data, without training."""

from typing import Any

from tfsep._keras.backend import tf
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.model_io import inputs_of
from tfsep._keras.types import Data, Model
from tfsep._utils.arguments import number_in_range, short_repr
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._inference_mode import observing
from tfsep.quantize._prepared_model import require_prepared


def observe(model: Model, data: Data, batch_size: int = 32) -> Model:
    """Set the ranges of a prepared model to the data that it is shown; weights and statistics stay as they are.

    Training sets ranges by itself. For a trained model, `observe` alone is quantization after training, and gives
    fine-tuning a better start.

    Args:
        model: a prepared model.
        data: an array (N, ...) of its input, a tuple or dict of arrays for several inputs, or a ``tf.data.Dataset`` of
            batches, with labels or without; or a function without arguments that returns an iterable of batches, as the
            converter's ``representative_dataset`` does.
        batch_size: samples of an array per step.

    Returns:
        The model.

    Raises:
        TypeError: if the model is no Keras model, or the data no arrays of samples.
        ValueError: if `prepare` did not make the model; for data of another shape, with NaN or infinity, without
            samples, or that give a layer only zeros.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> model = prepare(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        >>> _ = observe(model, np.ones((8, 4), "float32"))
        >>> model.layers[1].range()
        (0.0, 1.0)
    """
    require_prepared(model)
    size = number_in_range(batch_size, "batch_size", int, 1)
    # A function without arguments is the converter's own form, and yields batches.
    batches = data() if callable(data) else data if isinstance(data, tf.data.Dataset) else _sliced(data).batch(size)
    samples = 0
    with observing(), foreign_state_kept(model):
        run = tf.function(lambda inputs: model(inputs, training=False), autograph=False)
        for batch in batches:
            inputs = _inputs_in(batch, model)
            samples += int(tf.shape(tf.nest.flatten(inputs)[0])[0])
            run(inputs)
    if not samples:
        raise ValueError("data: expected at least one sample, got none")
    for layer in model.layers:
        if isinstance(layer, ActivationQuantizer) and layer.range() == (0.0, 0.0):
            raise ValueError(f"data: expected samples that give each layer a range, got only zeros in {layer.name!r}")
    return model


def _sliced(data: Data) -> tf.data.Dataset:
    """Arrays as a data set of samples."""
    try:
        return tf.data.Dataset.from_tensor_slices(data)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"data: expected arrays of as many samples, or a tf.data.Dataset, got {short_repr(data)}"
        ) from error


def _inputs_in(batch: Any, model: Model) -> Any:
    """The inputs of a batch, in the structure in which a model takes them."""
    structure = inputs_of(model)
    fields = tf.nest.flatten(structure)
    if isinstance(batch, tuple) and len(batch) == 2 and (len(fields) == 1 or tf.nest.is_nested(batch[0])):
        batch = batch[0]
    given = tf.nest.flatten(batch)
    if len(given) != len(fields):
        names = ", ".join(field.name for field in fields)
        raise ValueError(f"data: expected {len(fields)} inputs ({names}), got {len(given)}")
    for field, array in zip(fields, given, strict=True):
        if not tf.TensorShape(field.shape).is_compatible_with(array.shape):
            shape = ", ".join("any" if side is None else str(side) for side in field.shape[1:])
            raise ValueError(f"data: expected batches of shape (N, {shape}) for {field.name}, got {tuple(array.shape)}")
        if not bool(tf.reduce_all(tf.math.is_finite(tf.cast(array, "float32")))):
            raise ValueError(f"data: expected finite numbers for {field.name}, got NaN or infinity")
    cast = [tf.cast(array, field.dtype) for field, array in zip(fields, given, strict=True)]
    return tf.nest.pack_sequence_as(structure, cast)
