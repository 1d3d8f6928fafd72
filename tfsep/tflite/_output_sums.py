"""Sums over outputs of a file beside what they should be, of any amount of data, of which nothing else is kept."""

from collections.abc import Callable, Sequence

import numpy as np

from tfsep._keras.sample_reader import Batch
from tfsep._utils.class_rows import is_row_of_classes
from tfsep.tflite._channel_errors import ChannelLimit, ChannelSummary, OutputErrors
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._verify_report import VerifyReport


def _require_labels(labels: np.ndarray, classes: int) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"data: expected labels as ints, got {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"data: expected labels of the model's classes, 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )


class OutputSums:
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

    def report(
        self, recipe: Recipe, tolerance: float | None, roughness: Callable[[], Sequence[OutputErrors]] | None = None
    ) -> VerifyReport:
        """Return the measures, against a tolerance or, where there is none, the recipe's.

        Args:
            recipe: recipe of the file.
            tolerance: largest relative RMS error, or None.
            roughness: returns what of each output is noise, where a channel is past the tolerance; None to take all of
                it for numbers.
        """
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
                roughness,
            ),
        )

    def _channels(self, limit: ChannelLimit, roughness: Callable[[], Sequence[OutputErrors]] | None) -> ChannelSummary:
        """Judge the channels; where some are past the tolerance by their noise, for which the model runs again."""
        found = ChannelSummary.joined([error.summary(limit) for error in self._errors], limit)
        if roughness is None or (found.passes and not found.dead and not found.coarse):
            return found
        parts = zip(self._errors, roughness(), strict=True)
        return ChannelSummary.joined([error.summary(limit, roughness=rough) for error, rough in parts], limit)
