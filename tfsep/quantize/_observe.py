"""Ranges of a prepared model from data, without training."""

import logging
from functools import partial
from typing import Any

from tfsep._keras.backend import tf
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.sample_reader import SampleReader
from tfsep._keras.symbolic_call import symbolic_call
from tfsep._keras.training_statistics import Convolved, range_of, unlike_training
from tfsep._keras.types import Data, Layer, Model
from tfsep._utils.arguments import number_in_range
from tfsep._utils.batch_filling import batches
from tfsep.quantize._first_batches import FirstBatchesEager
from tfsep.quantize._inference_mode import observing
from tfsep.quantize._prepared_model import require_input_ranges, require_prepared
from tfsep.quantize._quantized_matmul import QuantizedMatmul

_logger = logging.getLogger(__name__)


def observe(model: Model, data: Data, batch_size: int = 32) -> Model:
    """Set the ranges of a prepared model to the data that it is shown; weights and statistics stay as they are.

    Training sets ranges by itself. For a trained model, `observe` alone is quantization after training, and gives
    fine-tuning a better start.

    Args:
        model: a prepared model.
        data: an array (N, ...) of its input, a tuple, list or dict of arrays for several inputs; an iterable of such
            batches, a ``tf.data.Dataset`` or a generator, with labels or without; or a function without arguments that
            returns one, as the converter's ``representative_dataset`` does.
        batch_size: samples per step; a model with a batch of its own takes that.

    Returns:
        The model.

    Raises:
        TypeError: if the model is no Keras model, or the data no arrays of samples.
        ValueError: if `prepare` did not make the model; for data of another shape, with NaN or infinity, without
            samples, or of only zeros for an input.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> model = prepare(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        >>> _ = observe(model, np.ones((8, 4), "float32"))
        >>> model.layers[1].range()
        (0.0, 1.0)
    """
    require_prepared(model)
    size = number_in_range(batch_size, "batch_size", int, 1)
    call = symbolic_call(model)
    assert call is not None, "prepare makes Functional models"
    form, specs, structures, own = call
    reader = SampleReader(specs, structures=structures, with_labels=False, batched=True)
    run = FirstBatchesEager(lambda *inputs: model(*form.arguments(inputs)[0], training=False), specs)
    samples = 0
    with observing(), foreign_state_kept(model):
        for chunk in reader.chunks(data, own or size):
            # A model of its own batch gets the last one filled with its last sample, which changes no range.
            for inputs, _ in batches(chunk.inputs, own or chunk.size):
                show = partial(run, *map(tf.constant, inputs))
                if samples:
                    show()
                elif note := unlike_training(show, f"data, {range_of(inputs)}", _convolved):
                    _logger.warning(note)
                samples += len(inputs[0])
    if not samples:
        raise ValueError("data: expected at least one sample, got none")
    require_input_ranges(model)
    return model


def _convolved(layer: Layer, inputs: Any, outputs: Any) -> Convolved | None:
    """A call of a layer, as `unlike_training` takes it."""
    if isinstance(layer, QuantizedMatmul):
        return Convolved(layer.layer, inputs[0], layer.normalization, outputs[0])
    return None
