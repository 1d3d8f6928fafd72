"""Reader of samples: data in any form, as batches of checked arrays, for calibration, verification and prediction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.input_spec import InputSpec
from tfsep._keras.types import Data, Shape


class Batch(NamedTuple):
    """A batch of samples.

    Attributes:
        inputs: arrays (n, ...) in the order of the inputs.
        labels: (n,), or None where the data has none.
    """

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(self.inputs[0])

    @property
    def kind(self) -> tuple[Shape | bool, ...]:
        """Shapes and presence of labels; batches of the same kind can be joined."""
        return *(array.shape[1:] for array in self.inputs), self.labels is None

    def part(self, start: int, end: int) -> "Batch":
        """Return the samples from `start` to before `end`."""
        labels = None if self.labels is None else self.labels[start:end]
        return Batch(tuple(array[start:end] for array in self.inputs), labels)

    def copy(self) -> "Batch":
        """Return the same samples in memory of their own."""
        labels = None if self.labels is None else self.labels.copy()
        return Batch(tuple(array.copy() for array in self.inputs), labels)


_MOST_NUMBERS, _MOST_SAMPLES = 2**22, 256
"""Size of a chunk: 27 images of 224×224×3, and at most 256 samples where they are small."""


@dataclass(frozen=True)
class SampleReader:
    """Reads data for a network of these inputs.

    Attributes:
        inputs: inputs of the network.
        argument: name of the data in errors.
    """

    inputs: tuple[InputSpec, ...]
    argument: str = "data"

    def batches(self, data: Data) -> Iterator[Batch]:
        """Yield the data batch by batch, without keeping any.

        Args:
            data: an array (N, ...); a tuple (x, labels); for several inputs, a tuple of arrays in the order of the
                inputs, or a dict of them; or an iterable of any of these or of single samples, a ``tf.data.Dataset`` or
                generator too; or a function without arguments that returns such an iterable, the form of the
                converter's ``representative_dataset``. Numbers are cast to the input's type, as Keras casts them.

        Raises:
            TypeError: for any other object, or a dtype that the input's does not hold.
            ValueError: for another shape, or NaN or infinity.
        """
        data = _called(data)
        if data is None or isinstance(data, str | bytes | int | float):
            raise TypeError(f"{self.argument}: expected arrays or an iterable of batches, got {data!r}")
        if self._is_element(data):
            yield self._batch(data)
            return
        if not isinstance(data, Iterable):
            raise TypeError(f"{self.argument}: expected arrays or an iterable of batches, got {type(data).__name__}")
        for element in data:
            yield self._batch(element)

    def chunks(self, data: Data, size: int | None = None) -> Iterator[Batch]:
        """Yield the data in batches of at most `size` samples: large ones split, small ones joined, none empty.

        Without a size, batches are large enough for speed, and small enough for memory.
        """
        if size is None:
            numbers = sum(prod(side or 1 for side in spec.shape) for spec in self.inputs)
            size = max(1, min(_MOST_NUMBERS // numbers, _MOST_SAMPLES))
        waiting: list[Batch] = []
        for batch in self.batches(data):
            for start in range(0, batch.size, size):
                part = batch.part(start, start + size)
                full = sum(each.size for each in waiting) + part.size > size
                if waiting and (full or part.kind != waiting[0].kind):
                    yield _joined(waiting)
                    waiting = []
                if part.size == size:
                    yield part
                else:
                    # The caller's generator may reuse the memory for its next batch.
                    waiting.append(part.copy())
        if waiting:
            yield _joined(waiting)

    def _is_element(self, data: Any) -> bool:
        """Whether this is one batch rather than an iterable of them: arrays, or a tuple or dict of arrays."""
        if isinstance(data, Mapping) or _is_array(data):
            return True
        return (
            isinstance(data, tuple)
            and bool(data)
            and all(_is_array(part) or isinstance(part, Mapping) or _is_row(part) for part in data)
        )

    def _batch(self, element: Any) -> Batch:
        inputs, labels = self._split(element)
        arrays = tuple(self._array(value, spec) for value, spec in zip(inputs, self.inputs, strict=True))
        sizes = {len(array) for array in arrays}
        if len(sizes) != 1:
            raise ValueError(f"{self.argument}: expected inputs of one batch size, got {sorted(sizes)}")
        if labels is not None:
            labels = np.atleast_1d(np.asarray(labels))
            if labels.shape != arrays[0].shape[:1]:
                raise ValueError(f"{self.argument}: expected {len(arrays[0])} labels, got shape {labels.shape}")
        return Batch(arrays, labels)

    def _split(self, element: Any) -> tuple[Sequence[Any], Any]:
        """Separate an element's inputs from its labels."""
        labels = None
        count = len(self.inputs)
        if isinstance(element, tuple | list) and len(element) == 2 and (count == 1 or not _is_array(element[0])):
            element, labels = element
        if isinstance(element, Mapping):
            missing = [spec.name for spec in self.inputs if spec.name not in element]
            if missing:
                raise ValueError(f"{self.argument}: expected inputs {', '.join(missing)}, got {', '.join(element)}")
            return [element[spec.name] for spec in self.inputs], labels
        parts = element if isinstance(element, tuple | list) else (element,)
        if len(parts) != count:
            names = ", ".join(spec.name for spec in self.inputs)
            raise ValueError(f"{self.argument}: expected {count} inputs ({names}), got {len(parts)}")
        return parts, labels

    def _array(self, value: Any, spec: InputSpec) -> np.ndarray:
        array = np.asarray(value)
        if array.ndim == len(spec.shape):
            array = array[None]
        wanted = array.ndim == len(spec.shape) + 1 and all(
            side in (None, given) for side, given in zip(spec.shape, array.shape[1:], strict=False)
        )
        if not wanted:
            shape = ", ".join("any" if side is None else str(side) for side in spec.shape)
            raise ValueError(f"{self.argument}: expected shape (N, {shape}) for {spec.name}, got {np.shape(value)}")
        if not _holds(spec.dtype, array):
            raise TypeError(f"{self.argument}: expected {spec.dtype} for {spec.name}, got {_described(array)}")
        array = array.astype(spec.dtype, copy=False)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{self.argument}: expected finite numbers for {spec.name}, got NaN or infinity")
        return array


def _joined(batches: Sequence[Batch]) -> Batch:
    """Several batches of one kind as one batch."""
    if len(batches) == 1:
        return batches[0]
    inputs = tuple(np.concatenate(arrays) for arrays in zip(*(batch.inputs for batch in batches), strict=True))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Batch(inputs, np.concatenate(labels) if labels else None)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) or tf.is_tensor(value)


def _is_row(value: Any) -> bool:
    """Whether this is a list of numbers, as labels may be."""
    return isinstance(value, list) and bool(value) and np.ndim(value[0]) == 0


def _called(data: Any) -> Any:
    """The samples of a function without arguments, or of the converter's own record of one; other data as it is."""
    if isinstance(data, tf.lite.RepresentativeDataset):
        data = data.input_gen
    return data() if callable(data) else data


def _holds(wanted: str, array: np.ndarray) -> bool:
    """Whether numbers may be cast to a type: real ones to floats, and to other types those that are whole and fit."""
    if array.dtype.kind not in "fiub" and array.dtype != tf.bfloat16.as_numpy_dtype:
        return False
    if np.dtype(wanted).kind == "f" or wanted in ("bfloat16", array.dtype.name):
        return True
    with np.errstate(invalid="ignore"):
        return np.array_equal(array.astype(wanted), array)


def _described(array: np.ndarray) -> str:
    """The type of an array, and the range of its numbers."""
    is_number = array.size and array.dtype.kind in "fiu"
    return f"{array.dtype} from {array.min():.6g} to {array.max():.6g}" if is_number else str(array.dtype)
