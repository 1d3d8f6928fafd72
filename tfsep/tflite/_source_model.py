"""A Keras model as the source of its file: one interface to models in floats and to those of `quantize.prepare`."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Protocol, Self

import numpy as np

from tfsep._keras.subclassed_call import sample_for
from tfsep._keras.types import Data, Model
from tfsep.models._load_model import as_model
from tfsep.quantize._prepared_model import is_prepared, runtime_of
from tfsep.tflite._float_source import FloatSource
from tfsep.tflite._layer_outputs import LayerOutputs
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._model_signature import ModelSignature, signature_of
from tfsep.tflite._prepared_source import PreparedSource
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._verify_report import VerifyReport


class ElementCounter(Protocol):
    """Counts elements of quantized outputs that differ from the model's."""

    def add(self, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Add a batch: inputs in the model's order, the model's outputs and the file's."""

    def complete(self, report: VerifyReport) -> VerifyReport:
        """Return a report with the counts."""


class SourceModel(Protocol):
    """What export, verification and the comparison of layers ask of a model."""

    @property
    def signature(self) -> ModelSignature:
        """The model's inputs, outputs and function."""

    @property
    def reference_kernels(self) -> bool:
        """Whether the file runs on LiteRT's reference kernels, as the model's rounding is theirs."""

    def sized_as(self, file: LiteRTModel) -> Self:
        """Return this model with open sizes replaced by those of a file.

        Raises:
            ValueError: if the file's inputs and outputs are not the model's.
        """

    def require_exportable(self, recipe: Recipe, has_calibration: bool) -> None:
        """Raise `ValueError` unless the model can become a file of this recipe, with or without calibration data."""

    def finished(self, content: bytes) -> bytes:
        """Return a file of the converter's as it is to be written."""

    def element_counter(self, file: LiteRTModel) -> ElementCounter:
        """Return the counter of elements that differ."""

    def check_weights(
        self, file: LiteRTModel, path: str | PathLike[str], report: VerifyReport, samples: ModelSamples
    ) -> tuple[VerifyReport, str]:
        """Compare the stored numbers, and the operators on some samples, with the model's.

        Args:
            file: the file.
            path: its path, for errors.
            report: report of its outputs.
            samples: some samples, and the run of the model.

        Returns:
            The report, with the error of the weights where these may be off by rounding, and the name of the worst.

        Raises:
            VerificationError: if numbers that have to be equal are not.
        """

    def comparable(self, file: LiteRTModel, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return inputs, in the model's order, that the model and its file round alike."""

    def notes(self, report: VerifyReport, file: LiteRTModel) -> list[str]:
        """Return remarks for the user on a report."""

    def layer_outputs(self, run: ModelRun) -> Callable[[Sequence[np.ndarray]], LayerOutputs]:
        """Return a function from any number of samples to every layer's output."""


def source_of(signature: ModelSignature) -> SourceModel:
    """Return the model of a signature as a source."""
    return PreparedSource(signature) if is_prepared(signature.model) else FloatSource(signature)


def source_and_file(
    model: Model | str | PathLike[str],
    path: str | PathLike[str],
    data: Data,
    threads: int = 1,
    *,
    keep_tensors: bool = False,
) -> tuple[SourceModel, LiteRTModel, Data]:
    """Return a model, or that of a file of Keras's, beside a ``.tflite`` file, on the kernels that the model is for.

    Args:
        model: a built Keras model, or the path of one.
        path: path of the ``.tflite`` file.
        data: samples, of which the first tell how a model without symbolic inputs is called.
        threads: number of LiteRT's threads.
        keep_tensors: whether every tensor of the file can be read; see `LiteRTModel`.

    Returns:
        The model, the file, and the data, of which nothing is lost.

    Raises:
        TypeError, ValueError, FileNotFoundError: if one of them is none, or they do not belong together.
    """
    model = as_model(model)
    reference = not keep_tensors and is_prepared(model) and runtime_of(model) == "reference"
    file = LiteRTModel(path, threads, reference_kernels=reference, keep_tensors=keep_tensors)
    sample, data = sample_for(model, data, "data")
    return source_of(signature_of(model, file_inputs=file.inputs, sample=sample)).sized_as(file), file, data
