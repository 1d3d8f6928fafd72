"""From a traced Keras model to the bytes of a file."""

import itertools
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tfsep import ops
from tfsep._flatbuffer.reader import unpack
from tfsep._keras.backend import tf
from tfsep.tflite._calibration import Calibration
from tfsep.tflite._keras_layer_lowering import keras_layers_lowered
from tfsep.tflite._model_signature import Interface
from tfsep.tflite._recipes import Recipe, get_recipe
from tfsep.tflite._sample_reader import Field
from tfsep.tflite._weight_check import Weight, stored_weights


def convert(
    interface: Interface, recipe: Recipe, batch_size: int, calibration: Calibration | None, allow_flex: bool
) -> bytes:
    """Return the bytes of a file of this model; its inputs and outputs are in the model's own order.

    A prepared model brings its ranges with it and is not calibrated.

    Raises:
        ValueError: if the model cannot be converted.
    """
    function = _trace(interface, batch_size)
    if recipe.needs_calibration and calibration is not None and _has_loop(function):
        raise ValueError(
            f"model: expected one without loops for recipe {recipe.name!r}, which no converter calibrates through, got "
            f"{interface.model.name!r}: give its recurrent layers unroll=True, or take another recipe"
        )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    flags, builtins = recipe.converter_flags, tf.lite.OpsSet.TFLITE_BUILTINS
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if flags.optimize else []
    converter.target_spec.supported_types = [tf.dtypes.as_dtype(name) for name in flags.supported_types]
    if recipe.needs_calibration and calibration is not None:
        builtins = tf.lite.OpsSet[flags.operators]
        converter.representative_dataset = lambda: _representative(interface.fields, calibration, batch_size)
    converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(recipe.interface)
    converter.target_spec.supported_ops = [builtins, *([tf.lite.OpsSet.SELECT_TF_OPS] if allow_flex else [])]
    with warnings.catch_warnings(), _tensorflow_at_warning():
        # The converter calibrates with TensorFlow's own deprecated interpreter, and says so.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated", UserWarning)
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected", UserWarning)
        try:
            content = converter.convert()
        except Exception as error:
            raise ValueError(
                f"model: expected one that converts in recipe {recipe.name!r}, got {interface.model.name!r}: "
                f"{_reason(error)}"
            ) from error
    return _in_order(bytearray(content), [field.name for field in interface.fields], interface.outputs_in_order)


def _in_order(content: bytearray, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return a file with its lists of inputs and outputs in this order, which the converter does not keep.

    The signature goes by name and the operators by number, so nothing else depends on it.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    signature, graph = model.SignatureDefs(0), model.Subgraphs(0)
    for names, entry, length, numbers in (
        (inputs, signature.Inputs, signature.InputsLength(), graph.InputsAsNumpy()),
        (outputs, signature.Outputs, signature.OutputsLength(), graph.OutputsAsNumpy()),
    ):
        by_name = {entry(i).Name().decode(): entry(i).TensorIndex() for i in range(length)}
        # A view of the bytes themselves.
        numbers[:] = [by_name[name] for name in names]
    return bytes(content)


def weights_of(interface: Interface) -> list[Weight]:
    """Return a model's weights as its conversion in float32 stores them, normalization folded in.

    Raises:
        ValueError: if the model cannot be converted.
    """
    content = convert(interface, get_recipe("float32"), 1, None, False)
    return stored_weights(unpack(content, interface.model.name))


@contextmanager
def _tensorflow_at_warning() -> Iterator[None]:
    """Keep the converter from announcing scratch files, and that outputs in float32 stay so."""
    loggers = [(tf.get_logger(), logging.WARNING), (logging.getLogger("absl"), logging.ERROR)]
    levels = [logger.level for logger, _ in loggers]
    for logger, least in loggers:
        logger.setLevel(max(logger.level, least))
    try:
        yield
    finally:
        for (logger, _), level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_LOOPS = {"While", "StatelessWhile"}


def _reason(error: Exception) -> str:
    """The part of a converter's error that says what is wrong, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = (
        [line for line in lines if "error:" in line or "custom op" in line.lower()] or lines or [type(error).__name__]
    )
    return telling[0][:300]


def _trace(interface: Interface, batch_size: int) -> Any:
    """Return the model as a concrete function of static shapes, with its variables as constants.

    A variable that stays one becomes a resource in the file, which is neither folded nor quantized.
    """
    model = interface.model
    trainable = [tf.constant(variable.numpy()) for variable in model.trainable_variables]
    others = [tf.constant(variable.numpy()) for variable in model.non_trainable_variables]
    names = [field.name for field in interface.fields]

    def frozen(**inputs: Any) -> dict[str, Any]:
        structure = interface.structure([inputs[name] for name in names])
        outputs, _ = model.stateless_call(trainable, others, structure)
        return dict(zip(interface.output_names, interface.arrange(outputs), strict=True))

    specs = {
        field.name: tf.TensorSpec((batch_size, *field.shape), field.dtype, field.name) for field in interface.fields
    }
    with ops.exporting(), keras_layers_lowered():
        return tf.function(frozen, autograph=False).get_concrete_function(**specs)


def _has_loop(function: Any) -> bool:
    """Whether a function runs others as often as its data say; the converter's calibration crashes on that."""
    graph = function.graph.as_graph_def()
    nodes = itertools.chain(graph.node, *(inner.node_def for inner in graph.library.function))
    return any(node.op in _LOOPS for node in nodes)


def _representative(
    fields: tuple[Field, ...], calibration: Calibration, batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the calibration samples in the file's batches, the last one filled up from the first samples."""
    arrays = calibration.arrays()
    total = len(arrays[0])
    for start in range(0, total, batch_size):
        chosen = np.arange(start, start + batch_size) % total
        yield {field.name: array[chosen] for field, array in zip(fields, arrays, strict=True)}
