"""Conversion of a Keras model to the bytes of a file."""

import hashlib
import itertools
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from tfsep import ops
from tfsep._flatbuffer.reader import type_name, unpack
from tfsep._flatbuffer.schema_types import ModelT
from tfsep._keras.backend import keras, tf
from tfsep._keras.id_inputs import id_inputs
from tfsep._keras.types import Model
from tfsep._utils.foreign_errors import cause_of
from tfsep.tflite._calibration import Calibration
from tfsep.tflite._conversion_errors import Trace, explanation, numbered_calls, open_calls
from tfsep.tflite._finite_numbers import require_finite
from tfsep.tflite._fixed_ranges import with_fixed_ranges_in_floats
from tfsep.tflite._float_operators import with_one_type
from tfsep.tflite._graph_corrections import corrected
from tfsep.tflite._graph_extremes import Samples
from tfsep.tflite._graph_parts import joined, parts
from tfsep.tflite._integer_corrections import corrected_for_integers
from tfsep.tflite._keras_layer_lowering import keras_layers_lowered
from tfsep.tflite._model_run import StateScope, effective_state
from tfsep.tflite._model_signature import ModelSignature
from tfsep.tflite._recipes import Recipe, get_recipe


class ConvertedModel(NamedTuple):
    """A file.

    Attributes:
        content: its bytes, with inputs and outputs in the model's own order.
        ids: names of the inputs in floats whose numbers the model reads as whole ones, see `id_inputs`.
    """

    content: bytes
    ids: tuple[str, ...]


def convert_model(
    signature: ModelSignature, recipe: Recipe, calibration: Calibration | None, allow_flex: bool
) -> ConvertedModel:
    """Return a file of this model. Where an input holds ids, a file in integers has its inputs in floats.

    Args:
        signature: signature of the model, with all sizes known; its batch is the file's, 1 where it has none.
        recipe: recipe of the file.
        calibration: samples; None for a recipe in floats, and for a prepared model, which has its ranges.
        allow_flex: whether operators may need TensorFlow on the device.

    Raises:
        ValueError: if the model cannot be converted.
    """
    function, module = _trace(signature)
    floats = [spec.name for spec in signature.inputs if tf.as_dtype(spec.dtype).is_floating]
    ids = id_inputs(function.graph.as_graph_def(), floats)
    if recipe == get_recipe("float32") and not allow_flex:
        # One conversion for the file and for the comparison of its weights.
        return ConvertedModel(_float32_content(function, module, signature), ids)
    return ConvertedModel(_convert(function, module, signature, recipe, calibration, allow_flex, ids), ids)


def _convert(
    function: Any,
    module: tf.Module,
    signature: ModelSignature,
    recipe: Recipe,
    calibration: Calibration | None = None,
    allow_flex: bool = False,
    ids: tuple[str, ...] = (),
) -> bytes:
    """Convert a trace; see `convert_model`."""
    try:
        if calibration is None or not recipe.needs_calibration:
            if recipe.needs_calibration:  # the model is prepared
                function = with_fixed_ranges_in_floats(function)
            content = _content(function, module, recipe, allow_flex=allow_flex, float_inputs=bool(ids))
        else:
            content = _calibrated(function, module, signature, recipe, calibration, allow_flex, ids)
    except _ConverterError as error:
        cause = error.__cause__
        assert isinstance(cause, Exception)
        raise ValueError(
            f"model: expected one that converts in recipe {recipe.name!r}, got {signature.model.name!r}: "
            f"{explanation(cause, _numbered_trace(signature, function, module, allow_flex))}"
        ) from cause
    return _reordered(bytearray(content), signature.input_names, signature.outputs_in_order)


class _ConverterError(Exception):
    """An error of the converter, whatever its cause's class."""


def _calibrated(
    function: Any,
    module: tf.Module,
    signature: ModelSignature,
    recipe: Recipe,
    calibration: Calibration,
    allow_flex: bool,
    ids: tuple[str, ...],
) -> bytes:
    """Convert a trace to a file with activations in integers."""
    if _has_loop(function):
        trace = _numbered_trace(signature, function, module, allow_flex)
        name, layers = repr(signature.model.name), trace.layers(path for path, _ in trace.nodes("While"))
        # The one layer of a SavedModel has its name, and no options.
        advice = (
            "save it with unroll=True in its recurrent layers"
            if layers == f" of {name}"
            else "give recurrent layers unroll=True"
        )
        raise ValueError(
            f"model: expected one without loops for recipe {recipe.name!r}, which no converter calibrates through, got "
            f"{name} with one{layers.removesuffix(f' of {name}')}: {advice}, or take another recipe"
        )
    require_finite(function, signature, calibration, lambda: _float32_content(function, module, signature))
    samples = partial(_representative, signature, calibration)
    found, makers = parts(function, function.structured_input_signature[1], ids), None
    if found is not None:
        makers = _content(found.ids, module, get_recipe("float32"), allow_flex=allow_flex)
        if found.rest is None:
            return makers
        function, samples = found.rest, partial(found.inputs_of, samples)
    function = corrected_for_integers(function, recipe.activations, samples)
    content = _content(function, module, recipe, samples, allow_flex=allow_flex, float_inputs=bool(ids))
    return content if found is None or makers is None else joined(makers, content, found)


def _content(
    function: Any,
    module: tf.Module,
    recipe: Recipe,
    samples: Samples | None = None,
    *,
    allow_flex: bool,
    float_inputs: bool = False,
) -> bytes:
    """Run the converter; what it has no integers for stays in float32, inputs and outputs there as well."""
    flags, builtins = recipe.converter_flags, tf.lite.OpsSet.TFLITE_BUILTINS
    operators = [builtins if samples is None else tf.lite.OpsSet[flags.operators]]
    types = {"input": "float32" if float_inputs else recipe.interface, "output": recipe.interface}

    def run() -> bytes:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if flags.optimize else []
        converter.target_spec.supported_types = [tf.dtypes.as_dtype(name) for name in flags.supported_types]
        converter.representative_dataset = samples
        converter.inference_input_type = tf.dtypes.as_dtype(types["input"])
        converter.inference_output_type = tf.dtypes.as_dtype(types["output"])
        converter.target_spec.supported_ops = [*operators, *([tf.lite.OpsSet.SELECT_TF_OPS] if allow_flex else [])]
        with warnings.catch_warnings(), _quiet_converter():
            # The converter calibrates with TensorFlow's own deprecated interpreter, and says so.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated", UserWarning)
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected", UserWarning)
            return bytes(converter.convert())

    refusal: Exception | None = None
    while True:
        try:
            content = run()
            break
        except Exception as error:
            floats = [end for end in types if types[end] != "float32" and _FLOAT_END.format(end) in str(error)]
            if floats:
                types |= dict.fromkeys(floats, "float32")
            elif refusal is None and _NO_INT16 in str(error):
                refusal = error
                operators.append(builtins)
            else:
                raise _ConverterError from error
    if refusal is None:
        return content
    if not any(type_name(tensor) == "int16" for tensor in unpack(content, "content").subgraphs[0].tensors):
        raise _ConverterError from refusal
    return with_one_type(content)


_NO_INT16 = "Quantization to 16x8-bit not yet supported"
"""What the converter says of an operator without a kernel in int16."""
_FLOAT_END = "Unsupported {} type INT16 for"
"""What it says of an input that no operator in int16 takes, and of an output that none makes."""


def _reordered(content: bytearray, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return a file with its lists of inputs and outputs in this order, which the converter does not keep.

    Nothing else depends on the order: signatures refer to names, and operators to numbers of tensors.
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


class _Conversion(NamedTuple):
    """A file, and the hash of the graph that it was made of."""

    graph: bytes
    content: bytes


_conversions: WeakKeyDictionary[Model, _Conversion] = WeakKeyDictionary()
"""The last conversion of each model to float32: one is often exported in several recipes, and its files verified."""


def float32_file(signature: ModelSignature) -> bytes:
    """Return a model's conversion to float32, with normalization folded in and nothing rounded.

    Raises:
        ValueError: if the model cannot be converted.
    """
    return _float32_content(*_trace(signature), signature)


def _float32_content(function: Any, module: tf.Module, signature: ModelSignature) -> bytes:
    """The conversion of a trace to float32; see `float32_file`."""
    model, recipe = signature.model, get_recipe("float32")
    if module.variables_of_model:
        return _convert(function, module, signature, recipe)
    # Without variables all that a conversion depends on is in the graph, every number of the model too.
    graph = hashlib.sha256(function.graph.as_graph_def().SerializeToString(deterministic=True)).digest()
    known = _conversions.get(model)
    if known is None or known.graph != graph:
        known = _conversions[model] = _Conversion(graph, _convert(function, module, signature, recipe))
    return known.content


@contextmanager
def _quiet_converter() -> Iterator[None]:
    """Silence the converter's messages about scratch files and outputs in float32."""
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


_REAL = (tf.bool, tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int8, tf.uint8, tf.int16, tf.int32, tf.int64)


def _numbered_trace(signature: ModelSignature, plain: Any, module: tf.Module, allow_flex: bool) -> Trace:
    """Trace a model whose trace did not convert once more, with numbers of the calls."""
    with numbered_calls() as calls:
        function, variables = _trace(signature)

    def behind(**inputs: Any) -> dict[str, Any]:
        # The tensor of an output has the output's name, not that of its operator.
        return {
            name: tf.exp(tf.cast(output, "float32")) if output.dtype in _REAL else output
            for name, output in function(**inputs).items()
        }

    def file(function: Any, module: tf.Module) -> ModelT:
        content = _convert(function, module, signature, get_recipe("float32"), allow_flex=allow_flex)
        return unpack(content, signature.model.name)

    def numbered() -> ModelT:
        specs = function.structured_input_signature[1]
        return file(tf.function(behind, autograph=False).get_concrete_function(**specs), variables)

    graph = function.graph.as_graph_def(add_shapes=True)
    return Trace(graph, calls, lambda: file(plain, module), numbered)


def _trace(signature: ModelSignature) -> tuple[Any, tf.Module]:
    """Return the model as a concrete function of static shapes, and the holder of the variables that it reads.

    Variables that the model does not assign are constants: as resources of the file, the converter would neither fold
    nor quantize them. So are those that it assigns without an effect, such as the count of numbers that are drawn in
    vain. The others, the states of recurrent layers, become resources of the file that start at their
    present value. So do those that are hidden from Keras, in a closure or a list, where they are assigned; the
    converter itself makes constants of the rest of these.
    """
    model, module, batch_size = signature.model, tf.Module(), signature.batch_size or 1
    values = {id(variable): (variable, variable.numpy()) for variable in model.variables}
    state: dict[int, tuple[keras.Variable, tf.Variable]] = {}
    known: dict[int, tuple[keras.Variable, Any]] = {}
    assigned: dict[int, tuple[keras.Variable, Any]] = {}

    def frozen(**inputs: Any) -> dict[str, Any]:
        nonlocal assigned, known
        # Made inside: constants from outside would be captured one by one, which takes as long as the trace itself.
        known = {key: (own, tf.constant(value)) for key, (own, value) in values.items()}
        known |= {key: (own, stored.read_value()) for key, (own, stored) in state.items()}
        with StateScope(list(known.values())) as scope:
            outputs = signature.call([inputs[name] for name in signature.input_names])
        assigned = scope.assigned
        for own, stored in state.values():
            stored.assign(scope.get_current_value(own))
        return dict(zip(signature.output_names, outputs, strict=True))

    specs = {spec.name: tf.TensorSpec((batch_size, *spec.shape), spec.dtype, spec.name) for spec in signature.inputs}
    while True:
        with open_calls() as calls:
            try:
                with ops.exporting(), keras_layers_lowered():
                    function = tf.function(frozen, autograph=False).get_concrete_function(**specs)
            except Exception as error:  # whatever a model's own code raises
                raise ValueError(
                    f"model: expected one that runs in batches of {batch_size}, got {model.name!r}, where "
                    f"{calls.words()} fails: {cause_of(error)}"
                ) from error
        reads = {key: value for key, (_, value) in known.items()}
        missing = effective_state(function.graph, assigned, reads) - state.keys()
        if not missing:
            break
        # Which variables are state shows in the trace only, so that such a model is traced twice.
        state |= {
            key: (own, tf.Variable(own.numpy(), trainable=False, name=f"state_{len(state) + i}"))
            for i, (key, (own, _)) in enumerate(assigned.items())
            if key in missing
        }
    module.variables_of_model = list(function.graph.variables)
    return corrected(function, specs), module


def _has_loop(function: Any) -> bool:
    """Whether a function has a loop, on which the converter's calibration crashes."""
    graph = function.graph.as_graph_def()
    nodes = itertools.chain(graph.node, *(inner.node_def for inner in graph.library.function))
    return any(node.op in _LOOPS for node in nodes)


def _representative(signature: ModelSignature, calibration: Calibration) -> Iterator[dict[str, np.ndarray]]:
    """Yield the calibration samples in the file's batches, the last one filled with the first samples."""
    arrays, batch_size = calibration.arrays(), signature.batch_size or 1
    total = len(arrays[0])
    for start in range(0, total, batch_size):
        chosen = np.arange(start, start + batch_size) % total
        yield {spec.name: array[chosen] for spec, array in zip(signature.inputs, arrays, strict=True)}
