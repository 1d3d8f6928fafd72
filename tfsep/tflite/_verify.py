"""Proof that a file computes what its model computes: both are run on the same data, side by side."""

from os import PathLike
from typing import Any

import numpy as np

from tfsep._utils.arguments import positive_number
from tfsep.models import load_model
from tfsep.quantize import is_prepared, runtime_of
from tfsep.tflite._comparison import compare, recipe_of_file, sized_as
from tfsep.tflite._converter import weights_of
from tfsep.tflite._interpreter import Runner
from tfsep.tflite._model_signature import interface_of
from tfsep.tflite._prepared_export import require_same_numbers
from tfsep.tflite._sample_reader import Reader
from tfsep.tflite._verify_report import VerifyReport, require


def verify(
    model: Any,
    path: str | PathLike[str],
    data: Any,
    *,
    tolerance: float | None = None,
    threads: int = 1,
    weights: bool = True,
) -> VerifyReport:
    """Run a file beside its model on the same data, hold its weights against the model's, and fail if they differ.

    The two checks see different things. The weights' check sees any weight, bias or normalization that differs from the
    model's by more than the file's type rounds: half a step of an int8 kernel, which is 0.4 % of its channel's largest
    number. It converts the model to float32 for that. The outputs' check sees everything else that is computed
    (operators, strides, paddings, activations), but only past its tolerance, which rounding in int8 sets at some tenths
    of the output's deviation: a slightly other activation may pass it. Neither sees what the data do not reach.

    Data is streamed: memory does not grow with it.

    Args:
        model: the Keras model that the file was made of, or the path of its ``.keras`` file.
        path: of the ``.tflite`` file.
        data: an array (N, ...) of what the model takes; a tuple (x, labels), labels ints (N,) from 0; for several
            inputs a tuple of arrays in the model's own order (``Model([a, b])`` takes ``(a, b)``), or a dict by name;
            or an iterable of any of these, a ``tf.data.Dataset`` or a generator.
        tolerance: largest relative RMS error, see `VerifyReport`; None for that of the recipe in
            `RECIPES` that has the file's types.
        threads: of LiteRT.
        weights: whether to compare the weights; False for a file whose weights another tool changed on purpose, by
            pruning or clustering.

    Returns:
        What was measured.

    Raises:
        VerificationError: if the error is past the tolerance, or a weight is not the model's; it carries the report.
        ValueError, TypeError: for data of another shape or dtype, with NaN, or of no sample; for labels that are no
            ints or no classes of the model; for a file of another interface, or a damaged one.
        FileNotFoundError: if there is no such file.

    Examples:
        >>> verify("missing.keras", "missing.tflite", None)
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras file, got missing.keras, which does not exist
    """
    if tolerance is not None:
        tolerance = positive_number(tolerance, "tolerance")
    interface = interface_of(load_model(model) if isinstance(model, str | PathLike) else model)
    runner = Runner(path, threads, reference=runtime_of(interface.model) == "reference")
    interface = sized_as(interface, runner)
    prepared = is_prepared(interface.model)
    reference = weights_of(interface) if weights and not prepared else None
    report, weight = compare(interface, runner, data, recipe_of_file(runner), tolerance, reference)
    if weights and prepared:
        require_same_numbers(interface.model, runner, path, report)
    return require(report, path, weight)


def predict(path: str | PathLike[str], data: Any, *, threads: int = 1) -> Any:
    """Run a file on data and return its outputs as real numbers.

    Args:
        path: of the ``.tflite`` file.
        data: as in `verify`; labels are passed over. A tuple for several inputs is in the order in which the file lists
            them, which `export` makes the model's own.
        threads: of LiteRT.

    Returns:
        An array (N, ...), float32 where the file has quantized numbers; of several outputs, a dict by name.

    Raises:
        ValueError, TypeError, FileNotFoundError: as `verify`.

    Examples:
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
