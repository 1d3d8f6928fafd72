"""From a Keras model to a ``.tflite`` file that was run beside it before it was kept."""

import hashlib
import os
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._utils.arguments import as_path, positive_int, positive_number
from tfsep._utils.atomic_files import atomic_files
from tfsep.data import Preprocessing
from tfsep.quantize import is_prepared, runtime_of
from tfsep.tflite._calibration import MAX_SAMPLES, Calibration, check_range, read_calibration
from tfsep.tflite._calibration_check import unlike_training
from tfsep.tflite._comparison import compare
from tfsep.tflite._converter import convert, weights_of
from tfsep.tflite._export_report import ExportReport
from tfsep.tflite._inspect import inspect
from tfsep.tflite._interpreter import Runner, tensor_info
from tfsep.tflite._model_signature import Interface, interface_of
from tfsep.tflite._prepared_export import require_exportable, require_same_numbers
from tfsep.tflite._recipes import Recipe, get_recipe
from tfsep.tflite._sample_reader import Field, Reader
from tfsep.tflite._verify_report import VerifyReport, require

RANDOM_SAMPLES = 8


def export(
    model: Any,
    path: str | PathLike[str],
    recipe: str | Recipe = "float32",
    calibration: Any = None,
    *,
    data: Any = None,
    batch_size: int = 1,
    input_shape: tuple[int, ...] | None = None,
    allow_flex: bool = False,
    tolerance: float | None = None,
    max_calibration_samples: int = MAX_SAMPLES,
    preprocessing: Preprocessing | None = None,
) -> ExportReport:
    """Write a model as a ``.tflite`` file and prove that the file computes what the model computes.

    Shapes are static. Convolutions of this library become one builtin operator each, whatever their strides, rates and
    groups; a transposed one is several where TFLite has no operator for its padding, rate or groups. The file is run
    beside the model before it is kept, and is written whole or not at all; the report is kept beside it as JSON.

    Args:
        model: a built Keras model; every variable is frozen as it is now.
        path: of the file, ``.tflite``, in a folder that exists.
        recipe: ``"float32"``, ``"float16"``, ``"dynamic_int8"``, ``"int8"`` or ``"int16x8"``, see `RECIPES`; or a
            `Recipe` of one's own.
        calibration: samples to measure ranges of activations on, as `verify` takes data; required for ``"int8"`` and
            ``"int16x8"``, some hundred for good ranges. They should come from the training set. None for a model of
            `tfsep.quantize.prepare`, which has its ranges: its recipe is ``"int8"``, and its file's numbers are held to
            be its own, every kernel, bias, scale and output.
        data: what to verify the file on, as in `verify`; None for the calibration samples, or, without those, a few
            seeded random ones; the report notes where calibration data are all that vouches for their range.
        batch_size: of the file's inputs.
        input_shape: without the batch, for a model of one input that leaves sizes open.
        allow_flex: whether operators may need TensorFlow on the device. A file that has such operators is kept without
            verification, as nothing in Python runs them, and its report says so.
        tolerance: largest relative RMS error; None for the recipe's, see `VerifyReport`.
        max_calibration_samples: how many are read at most.
        preprocessing: how images are prepared for the model, for the report beside the file; nothing is done by it.

    Returns:
        Size, operators, delegated nodes, error against the model, top-1 agreement, and more.

    Raises:
        VerificationError: if the file is off by more than the tolerance, or a weight of it is not the model's; nothing
            is kept then.
        CalibrationError: if the calibration data cannot calibrate.
        ValueError, TypeError: for an unknown recipe, a model that cannot be converted, or data that do not fit it.
        FileNotFoundError: if the folder does not exist.
        OSError: if it cannot be written to.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export(model, f"{folder}/model.tflite")
        >>> report.ops, report.max_error < 1e-5
        ({'CONV_2D': 1}, True)
    """
    chosen = get_recipe(recipe)
    path = _require_target(as_path(path, "path"))
    batch_size = positive_int(batch_size, "batch_size")
    if tolerance is not None:
        tolerance = positive_number(tolerance, "tolerance")
    interface = interface_of(model, input_shape)
    _require_static(interface)
    if is_prepared(model):
        require_exportable(model, chosen, calibration)
    elif chosen.needs_calibration and calibration is None:
        raise ValueError(f"calibration: expected samples for recipe {chosen.name!r}, got None")
    measured = None
    if calibration is not None:
        reader = Reader(interface.fields, "calibration")
        measured = read_calibration(
            calibration, reader, positive_int(max_calibration_samples, "max_calibration_samples")
        )

    content = convert(interface, chosen, batch_size, measured, allow_flex)
    source, samples = _verification_data(interface.fields, data, measured)
    with atomic_files((path, path.with_suffix(".json")), "path") as (file, sidecar):
        file.write_bytes(content)
        report = _prove(interface, file, path, chosen, measured, source, samples, tolerance)
        report = replace(report, preprocessing=None if preprocessing is None else preprocessing.to_dict())
        sidecar.write_text(report.to_json())
    return report


def _require_target(path: Path) -> Path:
    if path.suffix != ".tflite":
        raise ValueError(f"path: expected a name that ends in .tflite, got {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in a folder that exists, got {path}")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"path: expected a folder that can be written to, got {path.parent}")
    return path


def _require_static(interface: Interface) -> None:
    for field in interface.fields:
        if None in field.shape:
            raise ValueError(
                f"input_shape: expected the sizes that {interface.model.name!r} leaves open, {field.shape}, got None"
            )


def _verification_data(fields: tuple[Field, ...], data: Any, calibration: Calibration | None) -> tuple[str, Any]:
    if data is not None:
        return "given", data
    if calibration is not None:
        return "calibration", dict(zip((f.name for f in fields), calibration.arrays(), strict=True))
    rng = np.random.default_rng(0)
    return "random", {f.name: _random(rng, f) for f in fields}


def _random(rng: np.random.Generator, field: Field) -> np.ndarray:
    shape = (RANDOM_SAMPLES, *(side or 1 for side in field.shape))
    if np.dtype(field.dtype).kind == "f":
        return rng.normal(size=shape).astype(field.dtype)
    return rng.integers(0, 2, shape).astype(field.dtype)


def _prove(
    interface: Interface,
    file: Path,
    path: Path,
    recipe: Recipe,
    calibration: Calibration | None,
    source: str,
    samples: Any,
    tolerance: float | None,
) -> ExportReport:
    """Run the file beside the model, and return the report if it passes."""
    found = inspect(file)
    flex = [name for name in found.op_counts if name.startswith("Flex")]
    notes = [interface.note] if interface.note else []
    if calibration is not None and recipe.needs_calibration:
        notes += calibration.notes() + _range_notes(interface, calibration, source)
    if flex:
        # Neither LiteRT's package nor TensorFlow's has the runtime of these operators: nothing in Python can run them.
        notes.append(f"not verified: {', '.join(flex)} need TensorFlow on the device, and do not run here")
        verification, delegated = None, 0
        inputs, outputs = (tuple(map(tensor_info, found.role(role))) for role in ("input", "output"))
    else:
        reference_kernels = runtime_of(interface.model) == "reference"
        runner = Runner(file, known_as=path, reference=reference_kernels, own=True)
        prepared = is_prepared(interface.model)
        reference = None if prepared else weights_of(interface)
        verification, weight = compare(interface, runner, samples, recipe, tolerance, reference)
        if calibration is not None and source == "given":
            check_range(calibration, verification.low, verification.high)
        if prepared:
            require_same_numbers(interface.model, runner, path, verification)
        require(verification, path, weight)
        notes += _notes(verification, recipe, tolerance)
        if source == "random":
            notes.append(
                f"verified on {verification.samples} samples of random numbers only, which say little of the numbers "
                "that the model is for: give data"
            )
        if prepared and verification.elements is None:
            notes.append("no element is counted, as no output is quantized; kernels, biases and grids are the model's")
        # What XNNPACK takes is told of every file; the reference kernels leave it out.
        delegated = len((Runner(file, known_as=path, own=True) if reference_kernels else runner).delegated())
        inputs, outputs = runner.inputs, runner.outputs
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
        data=None if flex else source,
        calibration=None if calibration is None else calibration.summary(),
        inputs=inputs,
        outputs=outputs,
        notes=tuple(notes),
        versions={name: version(name) for name in ("tfsep", "tensorflow", "keras", "ai-edge-litert")},
    )


def _range_notes(interface: Interface, calibration: Calibration, source: str) -> list[str]:
    """What can be said of the range of the calibration data, when the model itself does not say what it takes."""
    notes = [unlike_training(interface, calibration)]
    if source == "calibration":
        notes.append(
            f"calibration data range {calibration.range()}, and nothing else was given to check that range on: "
            "the file is right only for inputs of that range"
        )
    return [note for note in notes if note is not None]


def _notes(verification: VerifyReport, recipe: Recipe, tolerance: float | None) -> list[str]:
    notes = verification.notes()
    if tolerance is None and verification.tolerance > 2 * recipe.tolerance:
        notes.append("the model's output varies by little more than one step of the file's: the comparison says little")
    if verification.saturated:
        share = "under 0.01%" if verification.saturated < 1e-4 else f"{verification.saturated:.2%}"
        notes.append(f"{share} of the input elements are outside the range that the file stores")
    return notes
