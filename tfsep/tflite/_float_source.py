"""A model in floats as the source of its file: outputs and weights are equal up to rounding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from os import PathLike
from typing import Self

import numpy as np

from tfsep._flatbuffer.reader import unpack
from tfsep.tflite._layer_outputs import LayerOutputs, called_layer_outputs
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._model_signature import ModelSignature
from tfsep.tflite._proof import prove
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._tflite_converter import float32_file
from tfsep.tflite._undefined_numbers import undefined_operator
from tfsep.tflite._verify_report import VerifyReport
from tfsep.tflite._weight_check import compare_weights, stored_weights


@dataclass(frozen=True)
class FloatSource:
    """A model in floats; see `SourceModel`."""

    signature: ModelSignature
    reference_kernels: bool = False

    def sized_as(self, file: LiteRTModel) -> Self:
        """Return this model with the sizes of a file."""
        return replace(self, signature=self.signature.sized_as(file.inputs, file.outputs, file.output_order()))

    def require_exportable(self, recipe: Recipe, has_calibration: bool) -> None:
        """Raise unless there is calibration data where the recipe needs some."""
        if recipe.needs_calibration and not has_calibration:
            raise ValueError(f"calibration: expected samples for recipe {recipe.name!r}, got None")

    def finished(self, content: bytes) -> bytes:
        """Return the file as it is."""
        return content

    def element_counter(self, file: LiteRTModel) -> "_NoCounter":
        """Return a counter that counts nothing: elements may differ."""
        del file
        return _NoCounter()

    def check_weights(
        self, file: LiteRTModel, path: str | PathLike[str], report: VerifyReport, samples: ModelSamples
    ) -> tuple[VerifyReport, str]:
        """Return the report with the error of the weights and the proof of the operators, and the worst weight."""
        del path
        reference = float32_file(self.signature)
        weights = stored_weights(unpack(reference, self.signature.model.name))
        found = compare_weights(weights, stored_weights(file.flatbuffer))
        report = replace(report, weights=found.compared, weight_error=found.error)
        if found.error > 1:
            # Without the model's weights nothing is proven.
            return report, found.name
        proof = prove(samples, file, reference, found.numbers)
        if samples.undefined is not None:
            order = self.signature.input_order(file.inputs)
            inputs = [samples.undefined[place] for place in order]
            report = replace(report, undefined=undefined_operator(self.signature.model, file, inputs, found.numbers))
        if proof.missing and found.saturated:
            return replace(report, weight_error=inf, proof=proof), found.saturated[0]
        return replace(report, proof=proof), found.name

    def comparable(self, file: LiteRTModel, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the inputs as they are."""
        del file
        return tuple(inputs)

    def notes(self, report: VerifyReport, file: LiteRTModel) -> list[str]:
        """Return no remark."""
        del report, file
        return []

    def layer_outputs(self, run: ModelRun) -> Callable[[Sequence[np.ndarray]], LayerOutputs]:
        """Return a function from samples to the output of every layer that is called, in the batches of the file."""
        return called_layer_outputs(run)


class _NoCounter:
    """A counter of elements that counts nothing."""

    def add(self, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Count nothing."""

    def complete(self, report: VerifyReport) -> VerifyReport:
        """Return the report as it is."""
        return report
