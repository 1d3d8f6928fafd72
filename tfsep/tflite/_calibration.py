"""Calibration data: a bounded number of samples, checked before ranges are measured on them."""

import hashlib
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tfsep._keras.sample_reader import SampleReader
from tfsep._keras.types import Data
from tfsep.tflite._recipes import MAX_CALIBRATION_SAMPLES

MIN_SAMPLES = 4
FEW_SAMPLES = 32
_FEW_NUMBERS = 8
"""Most numbers of a sample whose repetition says nothing: a table's row, not an image."""


class CalibrationError(ValueError):
    """Calibration data that would give meaningless ranges."""


@dataclass(frozen=True)
class Calibration:
    """Samples to measure ranges on.

    Attributes:
        samples: a tuple of arrays for each sample, an array for each input, without the batch.
        distinct: number of distinct samples.
        low: smallest of all their numbers.
        high: largest of all their numbers.
    """

    samples: tuple[tuple[np.ndarray, ...], ...]
    distinct: int
    low: float
    high: float

    def summary(self) -> dict[str, Any]:
        """Return the entries of a report."""
        return {"samples": len(self.samples), "distinct": self.distinct, "low": self.low, "high": self.high}

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        if len(self.samples) < FEW_SAMPLES:
            return [f"calibrated on {len(self.samples)} samples; {FEW_SAMPLES} or more give steadier ranges"]
        return []

    def range(self) -> str:
        """Return the range of the numbers in words."""
        return f"from {self.low:.4g} to {self.high:.4g}"

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return all samples as one batch."""
        return tuple(np.stack(arrays) for arrays in zip(*self.samples, strict=True))


def read_calibration(data: Data, reader: SampleReader, max_samples: int = MAX_CALIBRATION_SAMPLES) -> Calibration:
    """Read at most `max_samples` samples and check that they give meaningful ranges.

    A generator may be endless: nothing past the last sample is read, nor more batches than `max_samples`, as batches
    may be empty.

    Raises:
        CalibrationError: for too few samples, for one sample that is repeated, for constant ones.
        TypeError, ValueError: for data that `reader` does not take.
    """
    samples: list[tuple[np.ndarray, ...]] = []
    for batch in islice(reader.batches(data), max_samples):
        samples += zip(*batch.inputs, strict=True)
        if len(samples) >= max_samples:
            break
    samples = samples[:max_samples]
    if len(samples) < MIN_SAMPLES:
        raise CalibrationError(f"calibration: expected at least {MIN_SAMPLES} samples, got {len(samples)}")
    distinct = len({_digest(sample) for sample in samples})
    # Of a few numbers there are few different samples, such as one id of five.
    if 2 * distinct < len(samples) and (distinct == 1 or sum(array.size for array in samples[0]) > _FEW_NUMBERS):
        raise CalibrationError(
            f"calibration: expected samples that differ, got {distinct} distinct of {len(samples)}: "
            "does the generator yield the same image again and again?"
        )
    low = min(float(array.min()) for sample in samples for array in sample)
    high = max(float(array.max()) for sample in samples for array in sample)
    if all(array.size > 1 and array.min() == array.max() for sample in samples for array in sample):
        raise CalibrationError("calibration: expected samples with content, got only constant ones")
    return Calibration(tuple(samples), distinct, low, high)


def _digest(sample: tuple[np.ndarray, ...]) -> bytes:
    state = hashlib.sha256()
    for array in sample:
        state.update(np.ascontiguousarray(array).tobytes())
    return state.digest()


def check_range(calibration: Calibration, low: float, high: float) -> None:
    """Raise unless data of this range was prepared like the calibration data.

    Two samples of the same data have similar ranges; ``[0, 255]`` and ``[-1, 1]`` differ by two orders of magnitude.

    Raises:
        CalibrationError: if one range is over four times as wide as the other.
    """
    ours, theirs = calibration.high - calibration.low, high - low
    if theirs > 4 * ours or ours > 4 * theirs:
        raise CalibrationError(
            f"calibration: expected the range of the data to verify on, [{low:.4g}, {high:.4g}], "
            f"got [{calibration.low:.4g}, {calibration.high:.4g}]: is one of them not preprocessed?"
        )
