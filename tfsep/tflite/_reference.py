"""Verification by stored outputs, without the model: on a board, in an app's tests."""

import zipfile
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from tfsep._keras.sample_reader import Batch, SampleReader
from tfsep._utils.arguments import as_found, as_path, positive_number
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._output_sums import OutputSums
from tfsep.tflite._recipe_of_file import recipe_of_file
from tfsep.tflite._tensor_info import TensorInfo
from tfsep.tflite._verify_report import VerifyReport, require_passed


def verify_reference(
    path: str | PathLike[str],
    reference: str | PathLike[str],
    *,
    tolerance: float | None = None,
    threads: int = 1,
    strict: bool = False,
) -> VerifyReport:
    """Run a file on stored inputs, compare its outputs with stored ones, and fail if they differ.

    It needs neither the model nor TensorFlow. Without the model, what is past the tolerance cannot be told to be
    rounding: it fails. Outputs that the same file made elsewhere differ by nothing, or by float32 arithmetic.

    Args:
        path: path of the ``.tflite`` file.
        reference: path of an ``.npz`` file of ``x``, samples (N, ...) of the file's one input, and ``y``, its output
            for them in real numbers, such as ``np.savez("reference.npz", x=x, y=model.predict(x))``. For several inputs
            or outputs, arrays named as these, ``inputs/NAME`` and ``outputs/NAME``; ``labels``, ints (N,), where there
            are any.
        tolerance: largest relative RMS error, see `VerifyReport`; None for that of the recipe in `RECIPES` that has
            the file's types.
        threads: number of LiteRT's threads.
        strict: whether a file fails in which rounding of the output explains an error past the tolerance.

    Returns:
        The errors of the outputs.

    Raises:
        VerificationError: if outputs differ by more; it carries the report.
        ValueError, TypeError: for a damaged file, or arrays of other names, shapes or types.
        FileNotFoundError: if there is no such file.

    Examples:
        >>> verify_reference("missing.tflite", "missing.npz")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    tolerance = None if tolerance is None else positive_number(tolerance, "tolerance")
    file = LiteRTModel(path, threads)
    stored = _read(as_path(reference, "reference"))
    inputs = _named(stored, file.inputs, "x", "inputs")
    expected = _named(stored, file.outputs, "y", "outputs")
    labels = stored.get("labels")
    reader = SampleReader(file.input_specs(), "reference")
    samples = inputs[0] if len(inputs) == 1 else tuple(inputs)
    data = samples if labels is None else (samples, labels)
    sums, place = OutputSums(file), 0
    for batch in reader.chunks(data):
        actual = file(batch.inputs)
        ours = [_part(array, place, batch, found) for array, found in zip(expected, actual, strict=True)]
        sums.add(batch, ours, actual)
        place += batch.size
    if not place:
        raise ValueError("reference: expected at least one sample, got none")
    report = sums.report(recipe_of_file(file), tolerance)
    return require_passed(replace(report, may_be_lossy=False), path, "", strict)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name."""
    if not path.is_file():
        raise FileNotFoundError(f"reference: expected an .npz file, got {as_found(path)}")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (AttributeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"reference: expected a whole .npz file of arrays, got {path} ({error})") from error


def _named(stored: dict[str, np.ndarray], tensors: tuple[TensorInfo, ...], short: str, kind: str) -> list[np.ndarray]:
    """The arrays of inputs or outputs, in their order: by a short name where there is one, or by those of all."""
    if len(tensors) == 1 and short in stored:
        return [stored[short]]
    names = [f"{kind}/{tensor.name}" for tensor in tensors]
    if lacking := [name for name in names if name not in stored]:
        wanted = short if len(tensors) == 1 else ", ".join(lacking)
        raise ValueError(f"reference: expected arrays named {wanted}, got {', '.join(stored) or 'none'}")
    return [stored[name] for name in names]


def _part(array: np.ndarray, place: int, batch: Batch, actual: np.ndarray) -> np.ndarray:
    """The rows of a batch, where they are of the file's own shape and numbers."""
    rows = array[place : place + batch.size]
    if array.dtype.kind not in "fiub" or rows.shape != actual.shape:
        raise ValueError(
            f"reference: expected outputs as numbers of shape {actual.shape}, got {rows.shape} of {array.dtype}"
        )
    return rows
