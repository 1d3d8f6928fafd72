"""What training a prepared model needs beside `fit`: first ranges, and statistics that are frozen late."""

from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import require_model
from tfsep._keras.model_io import inputs_of
from tfsep._utils.arguments import number_in_range, short_repr
from tfsep.quantize._activation_quantizer import Dequantized, QuantizedOutput
from tfsep.quantize._inference_mode import observing
from tfsep.quantize._quantized_matmul import QuantizedLinear


def is_prepared(model: Any) -> bool:
    """Return whether a model is one that `prepare` made.

    Examples:
        >>> is_prepared(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        False
    """
    return runtime_of(model) is not None


def runtime_of(model: Any) -> str | None:
    """Return the runtime whose rounding a prepared model emulates; None of another model.

    Examples:
        >>> runtime_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    outputs = (layer for layer in getattr(model, "layers", ()) if isinstance(layer, QuantizedOutput))
    return next((output.settings.runtime for output in outputs), None)


def float_layers_of(model: Any) -> tuple[str, ...]:
    """Return the layers of a prepared model that stay in float32 between quantized ones.

    Examples:
        >>> float_layers_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        ()
    """
    leading = (layer for layer in getattr(model, "layers", ()) if isinstance(layer, Dequantized))
    return tuple(dict.fromkeys(layer.to for layer in leading))


def require_prepared(model: Any) -> None:
    """Raise unless `prepare` made a model.

    Raises:
        TypeError: for what is no Keras model.
        ValueError: for another model.

    Examples:
        >>> require_prepared(None)
        Traceback (most recent call last):
        TypeError: model: expected a Keras model, got NoneType
    """
    require_model(model)
    if not is_prepared(model):
        raise ValueError(f"model: expected one that quantize.prepare made, got {model.name!r}")


def observe(model: Any, data: Any, batch_size: int = 32) -> Any:
    """Show a prepared model data, from which its ranges are taken; its weights and statistics stay as they are.

    Training does this by itself. For a trained model this alone is quantization after training, and the better start
    for fine-tuning.

    Args:
        model: a prepared model.
        data: an array (N, ...) of what it takes, a tuple or dict of them for several inputs, or a
            ``tf.data.Dataset`` of batches, with labels or without.
        batch_size: how many samples of an array at once.

    Returns:
        The model.

    Raises:
        TypeError, ValueError: if `prepare` did not make the model; for data of another shape, with NaN or infinity, of
            no sample, or under which a layer's result is nothing but zeros.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> model = prepare(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        >>> _ = observe(model, np.ones((8, 4), "float32"))
        >>> model.layers[1].range()
        (0.0, 1.0)
    """
    require_prepared(model)
    size = number_in_range(batch_size, "batch_size", int, 1)
    batches = data if isinstance(data, tf.data.Dataset) else _sliced(data).batch(size)
    samples = 0
    with observing():
        run = tf.function(model, autograph=False)
        for batch in batches:
            inputs = _inputs_in(batch, model)
            samples += int(tf.shape(tf.nest.flatten(inputs)[0])[0])
            run(inputs)
    if not samples:
        raise ValueError("data: expected at least one sample, got none")
    for layer in model.layers:
        if isinstance(layer, QuantizedOutput) and layer.range() == (0.0, 0.0):
            raise ValueError(f"data: expected samples that give each layer a range, got only zeros in {layer.name!r}")
    return model


def _sliced(data: Any) -> Any:
    """Arrays as a data set of samples."""
    try:
        return tf.data.Dataset.from_tensor_slices(data)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"data: expected arrays of as many samples, or a tf.data.Dataset, got {short_repr(data)}"
        ) from error


def _inputs_in(batch: Any, model: Any) -> Any:
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


def freeze_batch_norm(model: Any, frozen: bool = True) -> None:
    """Let a prepared model normalize by its moving statistics from now on, in training too, as its file does.

    Gamma, beta and the kernels are still trained. It takes effect in a running `fit`.

    Args:
        model: a prepared model.
        frozen: False to let the statistics move again.

    Raises:
        TypeError, ValueError: if `prepare` did not make the model.

    Source: R. Krishnamoorthi (arXiv 1806.08342), section 3.2.2.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> freeze_batch_norm(prepare(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])))
    """
    require_prepared(model)
    for layer in _linears(model):
        if layer.normalization is not None:
            layer.frozen.assign(float(frozen))


class FreezeBatchNorm(keras.callbacks.Callback):
    """Freeze the statistics of a prepared model, see `freeze_batch_norm`, when an epoch begins.

    Args:
        epoch: from 0.

    Examples:
        >>> FreezeBatchNorm(10).epoch
        10
    """

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = number_in_range(epoch, "epoch", int, 0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Freeze them if it is time."""
        if epoch == self.epoch:
            freeze_batch_norm(self.model)


def _linears(model: Any) -> list[QuantizedLinear]:
    return [layer for layer in model.layers if isinstance(layer, QuantizedLinear)]
