"""Proof that a file computes what its model computes: both are run on the same data, side by side."""

from os import PathLike
from typing import Any

import numpy as np

from tfsep.models import load_model
from tfsep.tflite._compare import VerifyReport, compare, require
from tfsep.tflite._data import Reader
from tfsep.tflite._interpreter import Runner
from tfsep.tflite._model import interface_of


def verify(
    model: Any,
    path: str | PathLike[str],
    data: Any,
    *,
    tolerance: float | None = None,
    threads: int = 1,
) -> VerifyReport:
    """Run a file beside its model on the same data, and fail if they differ.

    Data is streamed: memory does not grow with it.

    Args:
        model: the Keras model that the file was made of, or the path of its ``.keras`` file.
        path: of the ``.tflite`` file.
        data: an array (N, ...) of what the model takes; a tuple (x, labels), labels ints (N,); for several inputs a
            tuple or dict of arrays; or an iterable of any of these, a ``tf.data.Dataset`` or a generator.
        tolerance: largest relative RMS error, see `VerifyReport`; None for the default of the file's recipe.
        threads: of LiteRT.

    Returns:
        What was measured.

    Raises:
        VerificationError: if the error is past the tolerance; it carries the report.
        ValueError, TypeError: for data of another shape or dtype, with NaN, or of no sample; for a file of another
            interface, or a damaged one.
        FileNotFoundError: if there is no such file.

    Example:
        >>> verify("missing.keras", "missing.tflite", None)
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras file, got missing.keras, which does not exist
    """
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance: expected a number greater than zero, got {tolerance!r}")
    interface = interface_of(load_model(model) if isinstance(model, str | PathLike) else model)
    runner = Runner(path, threads)
    report = compare(interface, runner, data, tolerance)
    return require(report, path)


def predict(path: str | PathLike[str], data: Any, *, threads: int = 1) -> Any:
    """Run a file on data and return its outputs as real numbers.

    Args:
        path: of the ``.tflite`` file.
        data: as in `verify`; labels are passed over.
        threads: of LiteRT.

    Returns:
        An array (N, ...), float32 where the file has quantized numbers; of several outputs, a dict by name.

    Raises:
        ValueError, TypeError, FileNotFoundError: as `verify`.

    Example:
        >>> predict("missing.tflite", np.zeros((1, 2)))
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    runner = Runner(path, threads)
    parts = [runner(batch.inputs) for batch in Reader(runner.fields()).batches(data) if batch.size]
    if not parts:
        raise ValueError("data: expected at least one sample, got none")
    outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
    if len(outputs) == 1:
        return outputs[0]
    return {info.name: output for info, output in zip(runner.outputs, outputs, strict=True)}
