"""Export: a Keras model becomes a ``.tflite`` file that is kept only if it computes what the model computes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import read_tflite, unpack
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.input_spec import InputSpec
from tfsep._keras.subclassed_call import sample_for
from tfsep._keras.types import Data, InputShapes, Model
from tfsep._utils.arguments import as_path, positive_int, positive_number
from tfsep._utils.atomic_files import atomic_files, parents_made, require_place
from tfsep._utils.installed import version_of
from tfsep._utils.progress import stage
from tfsep.data import Preprocessing
from tfsep.tflite._calibrated_source import calibrated_source
from tfsep.tflite._calibration import Calibration, check_range, read_calibration
from tfsep.tflite._calibration_check import unlike_training
from tfsep.tflite._empty_ranges import SMALLEST_RANGE, operators_without_range
from tfsep.tflite._export_report import ExportReport
from tfsep.tflite._float_operators import float_operator_notes
from tfsep.tflite._inspect import inspect
from tfsep.tflite._layer_origins import float_weight_notes, layer_of_operator
from tfsep.tflite._litert_model import LiteRTModel, OperatorError
from tfsep.tflite._model_run import model_run
from tfsep.tflite._model_signature import ModelSignature, signature_of
from tfsep.tflite._output_comparison import compare_outputs
from tfsep.tflite._recipes import MAX_CALIBRATION_SAMPLES, RECIPES, Recipe, get_recipe
from tfsep.tflite._source_model import SourceModel, source_of
from tfsep.tflite._tensor_info import tensor_info
from tfsep.tflite._tflite_converter import convert_model
from tfsep.tflite._verify_report import VerificationError, VerifyReport, require_passed

_RANDOM_SAMPLES = 8
_MADE_BY = {"tfsep": "tfsep", "tensorflow": "tensorflow", "keras": "keras", "ai-edge-litert": "ai_edge_litert"}
"""Packages that a report names the versions of, and their modules."""


def export(
    model: Model,
    path: str | PathLike[str],
    recipe: str | Recipe = "float32",
    calibration: Data | None = None,
    *,
    data: Data | None = None,
    batch_size: int | None = None,
    input_shape: InputShapes | None = None,
    io: str | None = None,
    allow_flex: bool = False,
    tolerance: float | None = None,
    max_calibration_samples: int | None = None,
    calibrate: str | Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] = (),
    strict: bool = False,
) -> ExportReport:
    """Write a model as a ``.tflite`` file and prove that the file computes what the model computes.

    Shapes are static. Convolutions of this library become one builtin operator each, whatever their strides, rates and
    groups; a transposed one becomes several where TFLite has no operator for its padding, rate or groups. The file runs
    beside the model before it is kept, and is written whole or not at all; the report is kept beside it as JSON.

    Args:
        model: a built Keras model; every variable is frozen at its present value.
        path: path of the file, ``.tflite``; its folder is made if it does not exist.
        recipe: a name in `RECIPES`, or a `Recipe` of one's own.
        calibration: samples of the training set to measure ranges of activations on, in any form that `data` has; some
            hundred give good ranges. Required for recipes with integer activations (`Recipe.needs_calibration`). None
            for a model of `tfsep.quantize.prepare`, which has its ranges: its recipe is ``"int8"``, and every kernel,
            bias, scale and output of the file has to be the model's own.
        data: samples to verify the file on: an array (N, ...) of the model's input; a tuple (x, labels), labels ints
            (N,) from 0; for several inputs a tuple of arrays in the model's own order (``Model([a, b])`` takes
            ``(a, b)``), or a dict by name; or an iterable of any of these, a ``tf.data.Dataset`` or a generator. None
            for the calibration samples, or, without those, for a few seeded random ones; the report notes where nothing
            but the calibration data checks their range.
        batch_size: batch size of the file's inputs; None for that of the model's own inputs, or 1 where they leave it
            open.
        input_shape: shape without the batch, for a model that leaves sizes open; for several inputs a shape of each, as
            a list in the model's own order, a dict by name, or the structure in which it takes them. A subclassed model
            takes a structure of tensors, or an argument for each; None for the shapes that it was built on, or those of
            the data, where it has arguments that Keras does not keep.
        io: type of the file's inputs and outputs where the model has floats: ``"int8"``, ``"uint8"`` or ``"float32"``
            for activations in int8, ``"int16"`` or ``"float32"`` for those in int16, ``"float32"`` for others; the
            converter calls it ``inference_input_type``. None for the recipe's own. Inputs of a model that reads ids in
            floats stay in float32, with a note.
        allow_flex: whether operators may need TensorFlow on the device. A file with such operators is kept without
            verification, as nothing in Python runs them, and its report says so.
        tolerance: largest relative RMS error, see `VerifyReport`; None for the recipe's.
        max_calibration_samples: most samples of `calibration` to read; None for 500, or, with `calibrate`, for its own
            number.
        calibrate: how `tfsep.quantize.calibrate` calibrates the float model on `calibration` first: its method, such as
            ``"best"``, or its arguments by name. The file is then, byte for byte, that of the model which it returns,
            and every element of its outputs is that model's. None for the ranges of the converter.
        preprocessing: how images are prepared for the model, to be recorded in the report; it is not applied.
        class_names: names of the classes, in the order of the model's output, to be recorded likewise.
        strict: whether to refuse a file that is lossy, see `VerifyReport.lossy`; otherwise it is kept with a note.

    Returns:
        Size, operators, delegated nodes, error against the model, top-1 agreement, and more.

    Raises:
        VerificationError: if the error is past the tolerance, or a weight of the file is not the model's; nothing is
            kept then.
        CalibrationError: if the calibration data give no meaningful ranges.
        ValueError, TypeError: for an unknown recipe, a model that cannot be converted, or data that do not fit it.
        OSError: if the folder cannot be made or written to.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export(model, f"{folder}/model.tflite")
        >>> report.ops, report.max_error < 1e-5
        ({'CONV_2D': 1}, True)
    """
    own = get_recipe(recipe)
    chosen = own.with_io(io)
    path = _require_writable(as_path(path, "path"))
    if tolerance is not None:
        tolerance = positive_number(tolerance, "tolerance")
    elif own not in RECIPES.values():
        tolerance = own.tolerance
    batch_size = None if batch_size is None else positive_int(batch_size, "batch_size")
    most = None if max_calibration_samples is None else positive_int(max_calibration_samples, "max_calibration_samples")
    made = None
    if calibrate is not None:
        made = calibrated_source(model, chosen, calibration, calibrate, most)
        model, calibration = made.model, None
    with foreign_state_kept(model):
        sample, data = sample_for(model, data, "data")
        if sample is None:
            sample, calibration = sample_for(model, calibration, "calibration")
        with stage("tracing the model"):
            source = source_of(signature_of(model, input_shape, batch_size, sample=sample))
        _require_static(source.signature)
        source.require_exportable(chosen, calibration is not None)
        measured = None
        if calibration is not None:
            reader = source.signature.reader("calibration", with_labels=False)
            measured = read_calibration(calibration, reader, MAX_CALIBRATION_SAMPLES if most is None else most)

        with _mixed_samples_named(source.signature, measured), stage(f"converting to {chosen.name}"):
            content, ids = convert_model(source.signature, chosen, measured, allow_flex)
        content = source.finished(content)
        samples = _verification_data(source.signature.inputs, data, measured, ids)
        if made is not None and data is None:
            samples = _VerificationData("calibration", made.samples)
        files = path, path.with_suffix(".json")
        with parents_made(path, "path"), atomic_files(files, "path") as (file, sidecar):
            file.write_bytes(content)
            try:
                with _mixed_samples_named(source.signature, measured), stage("comparing the file with the model"):
                    report = _verified_report(
                        source, file, path, _Terms(chosen, measured, samples, tolerance, strict, ids)
                    )
            except OperatorError as error:
                raise _unrunnable(source.signature, content, chosen, error) from error
            how = None if preprocessing is None else preprocessing.to_dict()
            report = replace(report, preprocessing=how, class_names=tuple(class_names))
            if made is not None:
                report = replace(report, calibration=made.summary, notes=(made.note, *report.notes))
            sidecar.write_text(report.to_json(), encoding="utf-8")
        return report


@contextmanager
def _mixed_samples_named(signature: ModelSignature, calibration: Calibration | None) -> Iterator[None]:
    """Name the cause of an error of ranges, where it is that a batch of the file's size leaves no numbers."""
    try:
        yield
    except ValueError as error:
        if calibration is None or isinstance(error, VerificationError):
            raise
        with model_run(signature) as run, suppress(ValueError):  # samples that the model itself does not compute
            run([array[:_RANDOM_SAMPLES] for array in calibration.arrays()])
        if run.mixing is None or not run.mixing.constant:
            raise
        raise ValueError(f"batch_size: {run.mixing.refusal()}") from error


def _require_writable(path: Path) -> Path:
    if path.suffix != ".tflite":
        raise ValueError(f"path: expected a name that ends in .tflite, got {path}")
    require_place(path, "path")
    return path


def _require_static(signature: ModelSignature) -> None:
    open_inputs = [spec for spec in signature.inputs if None in spec.shape]
    if open_inputs:
        shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in open_inputs)
        raise ValueError(
            f"input_shape: expected the sizes that {signature.model.name!r} leaves open, {shapes}, got None"
        )


class _VerificationData(NamedTuple):
    """Samples to verify a file on, and where they come from, as the report says it."""

    origin: str
    samples: Data


def _verification_data(
    inputs: tuple[InputSpec, ...], data: Data | None, calibration: Calibration | None, ids: tuple[str, ...]
) -> _VerificationData:
    if data is not None:
        return _VerificationData("given", data)
    if calibration is not None:
        arrays = dict(zip((spec.name for spec in inputs), calibration.arrays(), strict=True))
        return _VerificationData("calibration", arrays)
    rng = np.random.default_rng(0)
    return _VerificationData("random", {spec.name: _random(rng, spec, spec.name in ids) for spec in inputs})


def _random(rng: np.random.Generator, spec: InputSpec, is_id: bool) -> np.ndarray:
    shape = (_RANDOM_SAMPLES, *(side or 1 for side in spec.shape))
    if np.dtype(spec.dtype).kind == "f" and not is_id:
        return rng.normal(size=shape).astype(spec.dtype)
    return rng.integers(0, 2, shape).astype(spec.dtype)


class _Terms(NamedTuple):
    """What a file is made and verified by, as `export` takes it."""

    recipe: Recipe
    calibration: Calibration | None
    data: _VerificationData
    tolerance: float | None
    strict: bool
    ids: tuple[str, ...]


def _verified_report(source: SourceModel, file: Path, path: Path, terms: _Terms) -> ExportReport:
    """Run the file beside the model, and return the report if it passes."""
    recipe, calibration, data, *_ = terms
    found, signature = inspect(file), source.signature
    flex = [name for name in found.op_counts if name.startswith("Flex")]
    notes = [*signature.notes, *_id_notes(signature, terms)]
    if calibration is not None and recipe.needs_calibration:
        notes += calibration.notes() + _range_notes(signature, calibration, data.origin)
    if recipe.weights == "int8" and not recipe.has_integer_activations:
        notes += float_weight_notes(signature.model, read_tflite(file)[1])
    if recipe.activations == "int16":
        ends = [] if recipe.interface == "float32" else ["outputs"] if terms.ids else ["inputs", "outputs"]
        notes += float_operator_notes(signature.model, read_tflite(file)[1], ends)
    if flex:
        # Neither LiteRT's package nor TensorFlow's has the runtime of these operators.
        notes.append(f"not verified: {', '.join(flex)} need TensorFlow on the device, and do not run here")
        verification, delegated = None, 0
        inputs, outputs = (tuple(map(tensor_info, found.role(role))) for role in ("input", "output"))
    else:
        litert = _opened(source, file, path, recipe)
        try:
            verification = _verify_file(source, litert, path, terms)
        except VerificationError as error:
            raise _with_mixed_inputs(error, litert, terms) from error
        notes += _verification_notes(verification, terms) + source.notes(verification, litert)
        inputs, outputs = litert.inputs, litert.outputs
        if source.reference_kernels:
            # The report counts what XNNPACK takes, which the reference kernels leave out.
            litert = LiteRTModel(file, display_name=path, trusted=True)
        delegated = len(litert.delegated())
    content = file.read_bytes()
    return ExportReport(
        path=path,
        recipe=recipe.name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        ops=found.op_counts,
        delegated=delegated,
        nodes=len(found.operators),
        verification=verification,
        data=None if flex else data.origin,
        calibration=None if calibration is None else calibration.summary(),
        inputs=inputs,
        outputs=outputs,
        notes=tuple(notes),
        versions={name: version_of(module) for name, module in _MADE_BY.items()},
    )


def _opened(source: SourceModel, file: Path, path: Path, recipe: Recipe) -> LiteRTModel:
    """Open a file that was just made; where one of its layers is nothing but zeros, LiteRT may crash on it."""
    model, content = source.signature.model, read_tflite(file)[1]
    empty = operators_without_range(content)
    reason = "so that LiteRT does not run its file"
    try:
        opened = LiteRTModel(file, display_name=path, reference_kernels=source.reference_kernels, trusted=not empty)
        if not (empty and opened.refusal):
            return opened
        reason = "so that LiteRT does not run its file with XNNPACK, its default"
    except ValueError:
        if not empty:
            raise
    layers = dict.fromkeys(repr(layer_of_operator(model, content, content.subgraphs[0], op)) for op in empty)
    raise ValueError(
        f"model: expected layers whose numbers reach {SMALLEST_RANGE} on the samples to calibrate on, got "
        f"{', '.join(list(layers)[:3])} of {model.name!r}, {reason} in recipe {recipe.name!r}: leave such a layer out, "
        "calibrate on other samples, or take a recipe with activations in float32"
    )


def _verify_file(source: SourceModel, file: LiteRTModel, path: Path, terms: _Terms) -> VerifyReport:
    """Compare outputs, range of the data and weights, and return the report if all pass."""
    with model_run(source.signature) as run:
        report, samples = compare_outputs(source, run, file, terms.data.samples, terms.recipe, terms.tolerance)
        if terms.calibration is not None and terms.data.origin == "given":
            check_range(terms.calibration, report.low, report.high)
        report, worst_weight = source.check_weights(file, path, report, samples)
    return require_passed(report, path, worst_weight, terms.strict)


def _unrunnable(signature: ModelSignature, content: bytes, recipe: Recipe, error: OperatorError) -> ValueError:
    """The error of a file that LiteRT does not run on the samples to verify on."""
    name = signature.model.name
    layer = ""
    if error.place is not None:
        file = unpack(content, name)
        graph = file.subgraphs[0]
        layer = f" of {layer_of_operator(signature.model, file, graph, graph.operators[error.place])!r}"
    reason = error.reason
    if error.kind == "DIV" and "zero_point" in reason:
        # LiteRT's words are the condition in its source.
        reason = "a divisor that is 0 in integers"
    return ValueError(
        f"model: expected one whose file in recipe {recipe.name!r} runs on the samples to verify on, got {name!r}: "
        f"LiteRT does not compute {error.kind}{layer} there ({reason}): take another recipe, or other data"
    )


def _id_notes(signature: ModelSignature, terms: _Terms) -> list[str]:
    """A remark on inputs that no recipe quantizes."""
    if not terms.ids or terms.recipe.interface == "float32":
        return []
    others = any(spec.name not in terms.ids and np.dtype(spec.dtype).kind == "f" for spec in signature.inputs)
    rest = f", in which the other inputs can be in {terms.recipe.interface}" if others else ""
    return [
        f"inputs in float32, not {terms.recipe.interface}: the model reads {', '.join(terms.ids)} as whole numbers, "
        f"which steps of a quantized input would change; give such a model keras.Input(dtype='int32'){rest}"
    ]


def _with_mixed_inputs(error: VerificationError, file: LiteRTModel, terms: _Terms) -> VerificationError:
    """An error, with advice where the converter quantized ids, as it does in an input that holds other numbers too."""
    pairs = zip(file.inputs, file.input_grids, strict=True)
    mixed = [info.name for info, grid in pairs if info.name in terms.ids and grid.scale]
    if not mixed:
        return error
    return VerificationError(f"{error}; {mixed[0]!r} holds ids beside other numbers: give them an input", error.report)


def _range_notes(signature: ModelSignature, calibration: Calibration, origin: str) -> list[str]:
    """Remarks on the range of the calibration data, which the model itself does not state."""
    notes = [unlike_training(signature, calibration)]
    if origin == "calibration":
        notes.append(
            f"calibration data range {calibration.range()}, and nothing else was given to check that range on: "
            "the file is right only for inputs of that range"
        )
    return [note for note in notes if note is not None]


def _verification_notes(verification: VerifyReport, terms: _Terms) -> list[str]:
    """Remarks on a verification that passed."""
    notes = verification.notes()
    if terms.tolerance is None and verification.tolerance > 2 * terms.recipe.tolerance:
        notes.append("the model's output varies by little more than one step of the file's: the comparison says little")
    if verification.saturated:
        share = "under 0.01%" if verification.saturated < 1e-4 else f"{verification.saturated:.2%}"
        notes.append(f"{share} of the input elements are outside the range that the file stores")
    if terms.data.origin == "random":
        notes.append(
            f"verified on {verification.samples} samples of random numbers only, which say little of the numbers "
            "that the model is for: give data"
        )
    return notes
