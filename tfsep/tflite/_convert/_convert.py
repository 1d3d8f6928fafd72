"""Conversion of a Keras model into a folder for devices: exported, verified, timed and checked for targets."""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.types import Data, InputShapes, Model
from tfsep._utils.arguments import as_path
from tfsep._utils.atomic_files import atomic_files, make_folder
from tfsep._utils.installed import install_command
from tfsep._utils.progress import stage
from tfsep.data import Preprocessing
from tfsep.models._load_model import as_model
from tfsep.quantize._prepared_model import runtime_of
from tfsep.tflite._benchmark import benchmark_all, thread_counts
from tfsep.tflite._convert._header import c_header
from tfsep.tflite._convert._metadata import LABELS, can_describe, channels_of, raw_pixels_off, with_metadata
from tfsep.tflite._convert._report import ConvertReport, readme
from tfsep.tflite._convert._snippets import snippets
from tfsep.tflite._export import export
from tfsep.tflite._export_report import ExportReport
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._targets import Target, check_targets, targets_named
from tfsep.tflite._tensor_info import TensorInfo


def convert(
    model: Model | str | PathLike[str],
    folder: str | PathLike[str],
    recipe: str | Recipe = "int8",
    calibration: Data | None = None,
    *,
    targets: str | Iterable[str] = (),
    data: Data | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    name: str = "model",
    threads: Iterable[int] = (1,),
    input_shape: InputShapes | None = None,
    io: str | None = None,
    tolerance: float | None = None,
    max_calibration_samples: int | None = None,
    calibrate: str | Mapping[str, Any] | None = None,
    strict: bool = False,
) -> ConvertReport:
    """Convert any Keras model into a folder for devices: exported and verified by `export`, timed, checked for targets.

    The folder holds ``<name>.tflite``; ``<name>.json``, the reports; ``<name>.h``, the file as a C array, aligned to
    16 bytes; ``README.md``, with snippets in Kotlin, Swift and Python for this file's types, shapes, scales and
    zero points; and ``labels.txt`` where the first output is a row of classes. With the package ``mediapipe``, the
    extra ``metadata``, the file itself holds the normalization and the labels in the form that task libraries read.
    Each file is written whole, after all checks.

    Args:
        model: a built Keras model, with layers of Keras or of this library, or the path of a ``.keras`` file.
        folder: folder for the files, made if it does not exist.
        recipe: a name in `RECIPES`, or a `Recipe` of one's own.
        calibration: samples of the training set to measure ranges of activations on, in any form that `data` has;
            required for recipes with integer activations, and None for a model of `tfsep.quantize.prepare`.
        targets: a name in `TARGETS` or several. A target that does not take the file is in the report, and the folder
            is written all the same.
        data: samples to verify the file on: an array (N, ...) of the model's input; a tuple (x, labels), labels ints
            (N,) from 0; for several inputs a tuple of arrays in the model's own order, or a dict by name; or an
            iterable of any of these, a ``tf.data.Dataset`` or a generator. None for the calibration samples, or,
            without those, for a few seeded random ones.
        labels: labels of the classes, in order; their numbers where not given.
        preprocessing: how images are prepared for the model, to be recorded in reports, snippets and metadata for
            inputs that may be images; it is not applied. None where that is not known.
        name: name of the files, letters, digits, ``_``, ``-`` and ``.``.
        threads: numbers of threads to time the file with.
        input_shape: shape without the batch, for a model that leaves sizes open; for several inputs a list in the
            model's own order, or a dict by name.
        io: type of the file's inputs and outputs: ``"float32"``, ``"int8"``, ``"uint8"`` or ``"int16"``; None for the
            recipe's own.
        tolerance: largest relative RMS error, see `VerifyReport`; None for the recipe's.
        max_calibration_samples: most samples of `calibration` to read; None for the number of `export`.
        calibrate: how a float model is calibrated first, see `export`; None for the ranges of the converter. Where it
            names no ``runtime``, the rounding is that of the targets, if they have one.
        strict: whether to refuse a lossy file, see `VerifyReport.lossy`; otherwise it is kept with a note.

    Returns:
        The reports of export, benchmark and targets, and the names of the files.

    Raises:
        VerificationError: if the file does not compute what the model computes; nothing is written then.
        CalibrationError: if the calibration data give no meaningful ranges.
        ValueError, TypeError: for an unknown recipe or target, a model that cannot be converted, data that do not fit
            it, labels that are not as many as the classes, or a name with other characters.
        FileNotFoundError: if there is no such ``.keras`` file.
        OSError: if the folder cannot be written to.
        ImportError: for a target whose package is not installed: ``tflite-micro``, the extra ``micro``.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
        >>> images = np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = convert(model, folder, "int8", images, targets="edgetpu")
        >>> report.passed, "model.h" in report.files
        (True, True)
    """
    folder = as_path(folder, "folder")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"folder: expected a folder, got {folder}, which is a file")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(f"name: expected letters, digits, '_', '-' and '.', got {name!r}")
    found = targets_named(targets) if targets else []
    wanted = [target.name for target in found]
    counts = thread_counts(threads)
    if not isinstance(preprocessing, Preprocessing | None):
        raise TypeError(f"preprocessing: expected a Preprocessing or None, got {preprocessing!r}")
    model = as_model(model)
    with tempfile.TemporaryDirectory(prefix="tfsep-") as scratch:
        made = export(
            model,
            Path(scratch) / f"{name}.tflite",
            recipe,
            calibration,
            data=data,
            preprocessing=preprocessing,
            input_shape=input_shape,
            io=io,
            tolerance=tolerance,
            max_calibration_samples=max_calibration_samples,
            calibrate=_with_runtime(calibrate, found),
            class_names=labels or (),
            strict=strict,
        )
        outputs = _outputs_in_file_order(LiteRTModel(made.path, trusted=True))
        for channels in filter(None, map(channels_of, made.inputs)):
            if preprocessing is not None:
                preprocessing.require_channels(channels)
        class_labels, notes = _labels(labels, outputs[0])
        notes += _runtime_notes(runtime_of(model) or (made.calibration or {}).get("runtime"), found)
        described = can_describe()
        notes += _metadata_notes(described, made.inputs, preprocessing)
        if described:
            made = _with_metadata(made, name, outputs, preprocessing, class_labels)
        with stage("timing the file"):
            times = benchmark_all([made.path], counts)
        checked = check_targets(made.path, wanted) if wanted else None
        content = made.path.read_bytes()
    file = f"{name}.tflite"
    report = ConvertReport(
        folder=folder,
        files=(file, f"{name}.json", f"{name}.h", "README.md", *((LABELS,) if class_labels else ())),
        export=replace(made, path=folder / file),
        benchmark=replace(times, reports=tuple(replace(r, path=file) for r in times.reports)),
        targets=None if checked is None else replace(checked, path=file),
        labels=class_labels,
        described=described,
        notes=(*made.notes, *notes),
    )
    facts = [report.facts for report in checked.reports] if checked is not None else []
    arena = next((fact["arena_bytes"] for fact in facts if "arena_bytes" in fact), None)
    texts = [
        report.to_json(),
        c_header(name, content, arena),
        readme(report, snippets(file, made.inputs, outputs, preprocessing), outputs),
        *(["".join(f"{label}\n" for label in class_labels)] if class_labels else []),
    ]
    make_folder(folder, "folder")
    with atomic_files([folder / stored for stored in report.files], "folder") as (tflite_file, *text_files):
        tflite_file.write_bytes(content)
        for text_file, text in zip(text_files, texts, strict=True):
            text_file.write_text(text, encoding="utf-8")
    return report


def _with_runtime(calibrate: str | Mapping[str, Any] | None, targets: Sequence[Target]) -> Any:
    """The arguments of a calibration, with the runtime of all targets that have one."""
    runtimes = {target.runtime for target in targets if target.runtime}
    if not isinstance(calibrate, str | Mapping) or len(runtimes) != 1:
        return calibrate
    options: dict[str, Any] = {"method": calibrate} if isinstance(calibrate, str) else dict(calibrate)
    return options if {"runtime", "config"} & options.keys() else {**options, "runtime": runtimes.pop()}


def _runtime_notes(runtime: str | None, targets: Sequence[Target]) -> list[str]:
    """A remark on targets that round otherwise than a quantized model does."""
    others = [target.name for target in targets if target.runtime not in (None, runtime)]
    if runtime is None or not others:
        return []
    return [
        f"exact in the kernels of runtime {runtime!r}; those of {', '.join(others)} round otherwise, by a step here "
        "and there: a folder for each is exact"
    ]


_MOST_STEPS = 2
"""By so many steps a pixel as it is may differ from the number that the file stores for it: 1 in 100 of the range."""


def _outputs_in_file_order(file: LiteRTModel) -> tuple[TensorInfo, ...]:
    return tuple(info for _, info in sorted(zip(file.output_order(), file.outputs, strict=True)))


def _labels(given: Sequence[str] | None, output: TensorInfo) -> tuple[tuple[str, ...], list[str]]:
    """The labels of a row of classes, and remarks on them."""
    classes = output.shape[1] if len(output.shape) == 2 else None
    if given is None:
        if classes is None:
            return (), []
        return tuple(map(str, range(classes))), [f"labels: none were given, so {LABELS} numbers the classes"]
    lines = [] if isinstance(given, str) else list(given)
    if not lines or not all(isinstance(line, str) and line.strip() and "\n" not in line for line in lines):
        raise ValueError(f"labels: expected a line of text for each class, got {given!r}")
    if len(lines) != classes:
        wanted = "an output that is a row of classes" if classes is None else f"{classes} labels"
        raise ValueError(f"labels: expected {wanted}, got {len(lines)} labels for an output of shape {output.shape}")
    return tuple(lines), []


def _metadata_notes(described: bool, inputs: tuple[TensorInfo, ...], preprocessing: Preprocessing | None) -> list[str]:
    """Remarks on the limits of the metadata."""
    if not described:
        return [f"no metadata in the file: the package mediapipe is not there, {install_command('metadata')}"]
    notes = []
    if any(channels_of(info) and info.dtype not in ("float32", "uint8") for info in inputs):
        notes.append(
            "metadata: MediaPipe's tasks take images in float32 or uint8 only; "
            f"LiteRT's interpreter takes this file's {inputs[0].dtype}"
        )
    if preprocessing is None:
        return notes
    if (off := max(raw_pixels_off(info, preprocessing) for info in inputs)) > _MOST_STEPS:
        notes.append(
            f"metadata: MediaPipe's tasks hand pixels to inputs in uint8 as they are, up to {off} steps off the "
            "(pixel - mean) / std that this file takes: calibrate on images of the whole range, or give the model an "
            "input in uint8 and a Rescaling layer"
        )
    if len(preprocessing.std) > 1:
        notes.append("metadata: MediaPipe's tasks take one mean and deviation for all channels")
    return notes


def _with_metadata(
    made: ExportReport,
    name: str,
    outputs: tuple[TensorInfo, ...],
    preprocessing: Preprocessing | None,
    labels: tuple[str, ...],
) -> ExportReport:
    """Put metadata into a file, and check that it still computes the same."""
    before = LiteRTModel(made.path, trusted=True)
    content = with_metadata(made.path.read_bytes(), name, made.inputs, outputs, preprocessing, labels)
    made.path.write_bytes(content)
    after = LiteRTModel(made.path, trusted=True)
    rng = np.random.default_rng(0)
    sample = [
        rng.uniform(-1, 1, info.shape).astype(field.dtype)
        for info, field in zip(made.inputs, before.input_specs(), strict=True)
    ]
    if not all(map(np.array_equal, before(sample), after(sample))):
        raise ValueError(
            f"model: expected a file that computes the same with metadata in it, got {name}, which does not"
        )
    return replace(made, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
