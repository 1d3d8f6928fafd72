"""Inputs and outputs of a file: name, shape, type, and the stored numbers that stand for real ones."""

from typing import NamedTuple

import numpy as np

from tfsep.tflite._inspect import TensorRow


class TensorInfo(NamedTuple):
    """An input or output of a file.

    Attributes:
        name: name in the file's signature.
        shape: shape with the batch.
        dtype: NumPy's name.
        scale: scale of quantized numbers, ``real = scale · (stored - zero_point)``; 0 for numbers stored as such.
        zero_point: zero point of quantized numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def quantize(self, array: np.ndarray) -> np.ndarray:
        """Return real numbers as the file stores them: rounded, and clipped to the type's range."""
        if not self.scale:
            return array.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        stored = np.rint(array.astype(np.float32) / np.float32(self.scale)) + self.zero_point
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def dequantize(self, array: np.ndarray) -> np.ndarray:
        """Return stored numbers as real ones."""
        if not self.scale:
            return array
        return (array.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)

    def saturated(self, array: np.ndarray) -> int:
        """Return how many of these real numbers lie outside the file's range."""
        if not self.scale:
            return 0
        limits = np.iinfo(self.dtype)
        low, high = (self.scale * (edge - self.zero_point) for edge in (limits.min - 0.5, limits.max + 0.5))
        return int(np.count_nonzero((array < low) | (array > high)))


def tensor_info(row: TensorRow) -> TensorInfo:
    """Return an input or output as the flatbuffer has it."""
    scale, point = (row.scales[0], row.zero_points[0]) if row.scales else (0.0, 0)
    return TensorInfo(row.name, row.shape, row.dtype, scale, point)
