"""Outputs of a file beside those of its model: sums over any amount of data, of which nothing else is kept."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from tfsep._keras.sample_reader import Batch
from tfsep._keras.types import Data
from tfsep.quantize._output_agreement import is_row_of_classes
from tfsep.tflite._channel_errors import ChannelLimit, ChannelSummary, OutputErrors
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._source_model import SourceModel
from tfsep.tflite._verify_report import VerifyReport

_PROOF_SAMPLES = 8
"""Samples of which operators are compared one by one: all tensors of the file are in memory."""


def _require_labels(labels: np.ndarray, classes: int) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"data: expected labels as ints, got {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"data: expected labels of the model's classes, 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )


class _OutputComparison:
    """Sums over the batches of a comparison."""

    def __init__(self, file: LiteRTModel) -> None:
        self._refusal = file.refusal
        self._file = file
        self.samples = self._agreed = self._right = self._model_right = self._labelled = 0
        self._saturated = self._input_elements = 0
        self._low, self._high = np.inf, -np.inf
        self._has_classes = True
        self._errors = [OutputErrors(grid, grid.scale) for grid in file.output_grids]

    def add(self, batch: Batch, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Add one batch, in the order of the file's inputs: the model's outputs and the file's."""
        self.samples += batch.size
        for error, ours, theirs in zip(self._errors, expected, actual, strict=True):
            error.add(ours, theirs)
        for info, array in zip(self._file.input_grids, batch.inputs, strict=True):
            self._saturated += info.saturated(array)
            self._input_elements += array.size
            self._low, self._high = min(self._low, float(array.min())), max(self._high, float(array.max()))
        self._count_classes(batch, expected[0], actual[0])

    def _count_classes(self, batch: Batch, expected: np.ndarray, actual: np.ndarray) -> None:
        self._has_classes &= is_row_of_classes(expected)
        if not self._has_classes:
            return
        file_classes, model_classes = np.argmax(actual, axis=1), np.argmax(expected, axis=1)
        self._agreed += int(np.sum(file_classes == model_classes))
        if batch.labels is not None:
            _require_labels(batch.labels, expected.shape[1])
            self._labelled += batch.size
            self._right += int(np.sum(file_classes == batch.labels))
            self._model_right += int(np.sum(model_classes == batch.labels))

    def report(self, recipe: Recipe, tolerance: float | None, samples: ModelSamples) -> VerifyReport:
        """Return the measures, against a tolerance or, where there is none, the recipe's."""
        errors = [error.relative_rms() for error in self._errors]
        allowed = [
            recipe.tolerance + error.relative_rounding() if tolerance is None else tolerance for error in self._errors
        ]
        # The output that is furthest past its tolerance, or nearest to it; NaN is past every tolerance.
        worst = max(range(len(errors)), key=lambda i: np.nan_to_num(errors[i] / allowed[i], nan=np.inf))
        labelled = self._has_classes and self._labelled == self.samples
        return VerifyReport(
            samples=self.samples,
            max_error=float(np.max([error.max_error for error in self._errors])),
            rms_error=errors[worst],
            tolerance=allowed[worst],
            top1_agreement=self._agreed / self.samples if self._has_classes else None,
            accuracy=self._right / self.samples if labelled else None,
            model_accuracy=self._model_right / self.samples if labelled else None,
            saturated=self._saturated / self._input_elements,
            low=self._low,
            high=self._high,
            may_be_lossy=tolerance is None,
            is_float32=recipe.weights == "float32",
            refusal=self._refusal,
            channels=self._channels(
                ChannelLimit(recipe.tolerance if tolerance is None else tolerance, adds_rounding=tolerance is None),
                samples,
            ),
        )

    def _channels(self, limit: ChannelLimit, samples: ModelSamples) -> ChannelSummary:
        """Judge the channels; where some are past the tolerance by their noise, for which the model runs again."""
        found = ChannelSummary.joined([error.summary(limit) for error in self._errors], limit)
        if found.passes and not found.dead and not found.coarse:
            return found
        parts = zip(self._errors, samples.roughness, strict=True)
        return ChannelSummary.joined([error.summary(limit, roughness=rough) for error, rough in parts], limit)


def compare_outputs(
    source: SourceModel, run: ModelRun, file: LiteRTModel, data: Data, recipe: Recipe, tolerance: float | None
) -> tuple[VerifyReport, ModelSamples]:
    """Run a model and its file side by side on all the data.

    Args:
        source: the model, its sizes those of the file.
        run: run of the model.
        file: file of the model.
        data: samples as `verify` takes them.
        recipe: recipe of the file; its tolerance holds where none is given, plus half a step of quantized outputs.
        tolerance: largest relative RMS error, or None.

    Returns:
        The measures of the outputs, those of the weights left open; and some of the samples.

    Raises:
        ValueError: if there is no data.
    """
    order = run.signature.input_order(file.inputs)
    comparison, counter = _OutputComparison(file), source.element_counter(file)
    samples: ModelSamples | None = None
    reader, made = run.signature.reader(), sum(prod(info.shape[1:]) for info in file.outputs)
    for batch in reader.chunks(data, reader.chunk_size(made, max(_PROOF_SAMPLES, 2 * file.batch_size))):
        inputs = source.comparable(file, batch.inputs)
        if samples is None:
            first = [array[: max(_PROOF_SAMPLES, file.batch_size)].copy() for array in inputs]
            samples = ModelSamples(run, first, file.outputs)
        file_batch = batch._replace(inputs=tuple(inputs[i] for i in order))
        expected, actual = run(inputs), file(file_batch.inputs)
        comparison.add(file_batch, expected, actual)
        counter.add(inputs, expected, actual)
        samples.note(inputs, expected, actual)
    if samples is None:
        raise ValueError("data: expected at least one sample, got none")
    report = replace(counter.complete(comparison.report(recipe, tolerance, samples)), mixing=run.mixing)
    # What is compared next are the weights, as they were before.
    run.restore()
    return report, samples
