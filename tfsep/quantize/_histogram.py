"""A histogram of any number of numbers, in memory that does not grow with them."""

from math import floor, frexp

import numpy as np

_MOST_BINS = 4096
"""At least half as many are used: eight for each step of 8 bits."""


class Histogram:
    """Counts of numbers in bins whose width is a power of two, which doubles as their range grows.

    Bins begin at multiples of their width, and doubled ones are pairs of the former. The counts are therefore those of
    all numbers at once, in whatever order and batches they came.

    Attributes:
        low: the least number, 0 at most.
        high: the largest number, 0 at least.
        zeros: how many numbers are 0, which integers of 8 bits store exactly; they are in no bin.
        counts: the number of others in each bin, int64.

    Examples:
        >>> histogram = Histogram()
        >>> histogram.add(np.array([0.0, 0.25, 1.0]))
        >>> histogram.add(np.array([-3.0]))
        >>> histogram.low, histogram.high, histogram.zeros, histogram.counts.sum().item()
        (-3.0, 1.0, 1, 3)
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.zeros = 0
        self.counts = np.zeros(1, np.int64)
        self._first, self._exponent = 0, -1100

    def add(self, numbers: np.ndarray) -> None:
        """Count some numbers, an array of any shape."""
        numbers = np.asarray(numbers, "float64").ravel()
        others = numbers[numbers != 0]
        self.zeros += numbers.size - others.size
        if others.size:
            self._widen(float(others.min()), float(others.max()))
            bins = np.floor(np.ldexp(others, -self._exponent)).astype("int64") - self._first
            self.counts += np.bincount(bins, minlength=len(self.counts))

    @property
    def width(self) -> float:
        """The width of a bin."""
        return 2.0**self._exponent

    @property
    def edges(self) -> np.ndarray:
        """The low end of each bin, and the high end of the last one."""
        return (self._first + np.arange(len(self.counts) + 1)) * self.width

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin."""
        return self.edges[:-1] + self.width / 2

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return self.zeros + int(self.counts.sum())

    def _widen(self, low: float, high: float) -> None:
        """Extend the range, and double the bins until they are few."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        exponent = max(self._exponent, frexp((self.high - self.low) / _MOST_BINS)[1] - 2)
        while self._place(self.high, exponent) - self._place(self.low, exponent) >= _MOST_BINS:
            exponent += 1
        first, last = (self._place(end, exponent) for end in (self.low, self.high))
        counts = np.zeros(last - first + 1, np.int64)
        if self.counts.any():
            places = (self._first + np.arange(len(self.counts))) >> (exponent - self._exponent)
            np.add.at(counts, places - first, self.counts)
        self.counts, self._first, self._exponent = counts, first, exponent

    @staticmethod
    def _place(number: float, exponent: int) -> int:
        return floor(number * 2.0**-exponent)
