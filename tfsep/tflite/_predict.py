"""Outputs of a file on data."""

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsep._keras.sample_reader import SampleReader
from tfsep.tflite._litert_model import LiteRTModel

if TYPE_CHECKING:
    from tfsep._keras.types import Data


def predict(path: str | PathLike[str], data: "Data", *, threads: int = 1) -> Any:
    """Run a file on data and return its outputs as real numbers.

    Args:
        path: path of the ``.tflite`` file.
        data: an array (N, ...) of the file's input, floats where the file has quantized numbers; for several inputs a
            tuple of arrays in the file's order, which `export` makes the model's own, or a dict by name; or an iterable
            of any of these, a ``tf.data.Dataset`` or a generator. Labels are ignored.
        threads: number of LiteRT's threads.

    Returns:
        An array (N, ...), float32 where the file has quantized numbers; of several outputs, a dict by name.

    Raises:
        ValueError, TypeError: for data of another shape or dtype, with NaN, or of no sample; for a damaged file.
        FileNotFoundError: if there is no such file.

    Examples:
        >>> predict("missing.tflite", np.zeros((1, 2)))
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    return outputs_of(LiteRTModel(path, threads), data)


def outputs_of(file: LiteRTModel, data: "Data") -> Any:
    """Run an opened file on data, and return its outputs; see `predict`. What it keeps from run to run begins anew.

    Args:
        file: the file.
        data: the data.
    """
    file.interpreter.reset_all_variables()
    parts = [
        file(batch.inputs) for batch in SampleReader(file.input_specs(), with_labels=False).batches(data) if batch.size
    ]
    if not parts:
        raise ValueError("data: expected at least one sample, got none")
    outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
    if len(outputs) == 1:
        return outputs[0]
    return {info.name: output for info, output in zip(file.outputs, outputs, strict=True)}
