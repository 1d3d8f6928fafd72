"""How well outputs agree with those of the float model, over any number of batches, of which none is kept."""

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np

from tfsep._keras.types import Tensor
from tfsep._utils.class_rows import is_row_of_classes
from tfsep.quantize._calibration_samples import CalibrationSamples


def is_whole(output: np.ndarray) -> bool:
    """Return whether an output is whole numbers, as classes that a model found itself."""
    return output.dtype.kind in "iu"


class OutputAgreement:
    """Sums over batches of outputs, and those that are to be the same; of whole numbers each is the same or is noise.

    Examples:
        >>> found = OutputAgreement()
        >>> found.add([np.array([[3.0, 4.0]])], [np.array([[3.0, 4.5]])])
        >>> found.sqnr, found.error, found.agreement
        (20.0, 0.1, 1.0)
    """

    def __init__(self) -> None:
        self._signal = self._noise = 0.0
        self._samples = self._agreed = 0
        self._has_classes = self._are_whole = True

    def add(self, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Add a batch.

        Args:
            expected: the outputs of the float model.
            actual: the outputs beside them.
        """
        for ours, theirs in zip(expected, actual, strict=True):
            if is_whole(ours):
                self._signal += ours.size
                self._noise += np.count_nonzero(ours != theirs)
                continue
            self._signal += float(np.sum(np.square(ours, dtype="float64")))
            self._noise += float(np.sum(np.square(np.subtract(theirs, ours, dtype="float64"))))
        self._are_whole &= all(map(is_whole, expected))
        self._has_classes &= all(map(is_row_of_classes, expected)) or self._are_whole
        if self._are_whole:
            self._samples += sum(ours.size for ours in expected)
            self._agreed += sum(int(np.sum(a == b)) for a, b in zip(expected, actual, strict=True))
        elif self._has_classes:
            same = [np.argmax(a, 1) == np.argmax(b, 1) for a, b in zip(expected, actual, strict=True)]
            self._samples += len(expected[0])
            self._agreed += int(np.all(same, 0).sum())

    @property
    def error(self) -> float:
        """The root mean square of the error over that of the float model's outputs; infinite where these are zero."""
        if not self._noise:
            return 0.0
        return sqrt(self._noise / self._signal) if self._signal else inf

    @property
    def sqnr(self) -> float:
        """The same as a signal-to-quantization-noise ratio in dB; infinite where nothing differs."""
        if not self._noise:
            return inf
        return float(10 * np.log10(self._signal / self._noise)) if self._signal else -inf

    @property
    def same_class(self) -> float | None:
        """The share of samples with the same largest number in each output, where each is a row of classes.

        Where all are whole numbers, the share of these; None for other outputs.
        """
        return self._agreed / self._samples if self._has_classes else None

    @property
    def agreement(self) -> float:
        """`same_class`, or, for other outputs, 1 − `error`, at least 0."""
        return max(0.0, 1.0 - self.error) if self.same_class is None else self.same_class

    @property
    def unit(self) -> str:
        """What `agreement` is, in words."""
        if self.same_class is None:
            return "1 - relative error"
        return "the same class" if self._are_whole else "samples of the same class"


class ComparedTensors:
    """Tensors of a prepared model, beside what the float model has in their place.

    Args:
        samples: the samples, and the model, which computes what the float model does now.
        tensors: symbolic tensors of the model.
    """

    def __init__(self, samples: CalibrationSamples, tensors: Sequence[Tensor]) -> None:
        self._samples, self._tensors = samples, tensors
        self._expected = list(samples.results(tensors, is_real=True))

    def agreement(self) -> OutputAgreement:
        """Return how well they agree with all in integers, with the weights and ranges of now."""
        found = OutputAgreement()
        for expected, actual in zip(self._expected, self._samples.results(self._tensors, is_real=False), strict=True):
            found.add(expected, actual)
        return found
