"""Reader of samples: data in any form, as batches of checked arrays, for calibration, verification and prediction."""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfsep._keras.input_spec import InputSpec

if TYPE_CHECKING:
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
    def kind(self) -> "tuple[Shape | bool, ...]":
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
        structures: nested structures of the inputs' places in which a batch may come, the first that fits; besides a
            dict by name, and a tuple or list in order.
        with_labels: whether labels are wanted; otherwise they may have any form, and are left out.
        batched: whether every element is a batch, and a single sample an error.
    """

    inputs: tuple[InputSpec, ...]
    argument: str = "data"
    structures: tuple[Any, ...] = ()
    with_labels: bool = True
    batched: bool = False

    def batches(self, data: "Data") -> Iterator[Batch]:
        """Yield the data batch by batch, without keeping any.

        Args:
            data: an array (N, ...); a tuple (x, labels); for several inputs, a tuple or list of arrays in the order of
                the inputs, a dict of them, or the structure in which the model takes them; or an iterable of any of
                these or of single samples, a ``tf.data.Dataset`` or generator too; or a function without arguments
                that returns such an iterable, the form of the converter's ``representative_dataset``. An element may
                be a pair of ``"serving_default"``, the signature's name, and the inputs, as the converter takes it.
                Numbers are cast to the input's type, as Keras casts them.

        Raises:
            TypeError: for any other object, or a dtype that the input's does not hold.
            ValueError: for another shape, or NaN or infinity.
        """
        data = _called(data, self.argument)
        if data is None or isinstance(data, str | bytes | int | float):
            raise TypeError(f"{self.argument}: expected arrays or an iterable of batches, got {data!r}")
        if self._is_element(data):
            yield self._batch(data)
            return
        if not isinstance(data, Iterable):
            raise TypeError(f"{self.argument}: expected arrays or an iterable of batches, got {type(data).__name__}")
        for element in data:
            yield self._batch(element)

    def chunk_size(self, made: int = 0, least: int = 1) -> int:
        """Return a number of samples that is large enough for speed, and small enough for memory.

        Args:
            made: how many numbers are made of a sample.
            least: how many samples are taken, however many numbers are made of them, where their own allow it.
        """
        numbers = sum(prod(side or 1 for side in spec.shape) for spec in self.inputs)
        most = min(_MOST_NUMBERS // numbers, _MOST_SAMPLES)
        return max(1, min(most, max(least, _MOST_NUMBERS // max(made, 1))))

    def chunks(self, data: "Data", size: int | None = None) -> Iterator[Batch]:
        """Yield the data in batches of at most `size` samples: large ones split, small ones joined, none empty.

        Without a size, it is `chunk_size`.
        """
        size = self.chunk_size() if size is None else size
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
        """Whether this is one batch rather than an iterable of them: arrays, or a structure of arrays."""
        if is_element(data):
            return True
        whole = self._arranged(data)
        if whole is None and isinstance(data, tuple) and len(data) == 2:
            whole = self._arranged(data[0])
        return len(self.inputs) > 1 and whole is not None and all(map(is_array, whole))

    def _batch(self, element: Any) -> Batch:
        inputs, labels = self._split(element)
        arrays = tuple(self._array(value, spec) for value, spec in zip(inputs, self.inputs, strict=True))
        sizes = {len(array) for array in arrays}
        if len(sizes) != 1:
            raise ValueError(f"{self.argument}: expected inputs of one batch size, got {sorted(sizes)}")
        if labels is None or not self.with_labels:
            return Batch(arrays, None)
        labels = np.atleast_1d(np.asarray(labels))
        if labels.shape != arrays[0].shape[:1]:
            raise ValueError(f"{self.argument}: expected {len(arrays[0])} labels, got shape {labels.shape}")
        return Batch(arrays, labels)

    def _split(self, element: Any) -> tuple[Sequence[Any], Any]:
        """Separate an element's inputs, in their order, from its labels."""
        element = _of_signature(element)
        inputs = self._arranged(element)
        if inputs is not None:
            return inputs, None
        names = ", ".join(spec.name for spec in self.inputs)
        if isinstance(element, tuple | list) and len(element) == 2:
            inputs = self._arranged(element[0])
            if inputs is not None:
                return inputs, element[1]
            element = element[0] if isinstance(element[0], Mapping) else element
        if isinstance(element, Mapping):
            raise ValueError(f"{self.argument}: expected inputs {names}, got {', '.join(map(str, element))}")
        count = len(element) if isinstance(element, tuple | list) else 1
        raise ValueError(f"{self.argument}: expected {len(self.inputs)} inputs ({names}), got {count}")

    def _arranged(self, element: Any) -> list[Any] | None:
        """The inputs in an element, in their order, by the first structure that it has; None if it has none."""
        count = range(len(self.inputs))
        named = {spec.name: place for spec, place in zip(self.inputs, count, strict=True)}
        for structure in (*self.structures, named, list(count), *([0] if len(count) == 1 else [])):
            try:
                found = dict(_leaves(structure, element))
            except LookupError:
                continue
            return [found[place] for place in count]
        return None

    def _array(self, value: Any, spec: InputSpec) -> np.ndarray:
        array = np.asarray(value)
        if array.ndim == len(spec.shape) and not self.batched:
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


def is_array(value: Any) -> bool:
    """Return whether this is an array or tensor."""
    tf = _imported("tensorflow")
    return isinstance(value, np.ndarray | np.generic) or (tf is not None and bool(tf.is_tensor(value)))


def _imported(module: str) -> Any:
    """TensorFlow or Keras, of which data may be; None where it is not imported, so that no data can be of it."""
    return sys.modules.get(module)


def _is_row(value: Any) -> bool:
    """Whether this is a list of numbers, as labels may be."""
    return isinstance(value, list) and bool(value) and not isinstance(value[0], list | tuple) and np.ndim(value[0]) == 0


def is_element(data: Any) -> bool:
    """Return whether data is one batch in itself, for any network: an array, a dict, or a tuple of such."""
    if isinstance(data, Mapping) or is_array(data):
        return True
    return (
        isinstance(data, tuple)
        and bool(data)
        and all(is_array(part) or isinstance(part, Mapping) or _is_row(part) for part in data)
    )


def _leaves(structure: Any, element: Any) -> Iterator[tuple[int, Any]]:
    """Yield each input's place in a structure, and what an element has there.

    Raises:
        LookupError: if the element has another structure; keys that no input has are left out, as Keras leaves them.
    """
    if isinstance(structure, Mapping):
        if not isinstance(element, Mapping):
            raise LookupError
        for key, part in structure.items():
            yield from _leaves(part, element[key])
    elif isinstance(structure, list | tuple):
        if not isinstance(element, list | tuple) or len(element) != len(structure):
            raise LookupError
        for part, own in zip(structure, element, strict=True):
            yield from _leaves(part, own)
    elif isinstance(element, Mapping) or (isinstance(element, list | tuple) and not _is_row(element)):
        raise LookupError
    elif structure is not None:
        yield structure, element


def _called(data: Any, argument: str) -> Any:
    """The samples of a function without arguments, of the converter's own record of one, or of Keras's data set.

    Other data is returned as it is.

    Raises:
        TypeError: for a function that wants arguments.
    """
    tf, keras = _imported("tensorflow"), _imported("keras")
    if tf is not None and isinstance(data, tf.lite.RepresentativeDataset):
        data = data.input_gen
    if keras is not None and isinstance(data, keras.utils.PyDataset):
        return (data[number] for number in range(data.num_batches))
    if not callable(data):
        return data
    wanted = required_arguments(data)
    if wanted:
        raise TypeError(f"{argument}: expected a function without arguments, got one that takes {', '.join(wanted)}")
    return data()


def _of_signature(element: Any) -> Any:
    """The inputs of an element that names the signature that takes them; another element as it is."""
    names = isinstance(element, tuple) and len(element) == 2 and isinstance(element[0], str)
    return element[1] if names and element[0] == "serving_default" else element


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's arguments that have no default.

    Examples:
        >>> required_arguments(lambda image, scale=1.0, *rest: image)
        ['image']
    """
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a function of C, which does not say
        return []
    return [each.name for each in parameters if each.default is each.empty and each.kind not in several]


def peeked(data: "Data", argument: str) -> "tuple[Any, Data]":
    """Return the first element of data, None if there is none, and the data, of which nothing is lost.

    Args:
        data: data of `SampleReader.batches`, of a network whose inputs are not known yet.
        argument: its name in errors.

    Examples:
        >>> element, data = peeked(iter([1, 2, 3]), "data")
        >>> element, list(data)
        (1, [1, 2, 3])
    """
    samples = _called(data, argument)
    nested = isinstance(samples, tuple) and any(map(is_array, samples))
    if nested or is_element(samples) or not isinstance(samples, Iterable):
        return samples, data
    iterator = iter(samples)
    first = next(iterator, None)
    if samples is data and iterator is data:
        return _of_signature(first), chain([] if first is None else [first], iterator)
    return _of_signature(first), data


def _holds(wanted: str, array: np.ndarray) -> bool:
    """Whether numbers may be cast to a type: real ones to floats, and to other types those that are whole and fit."""
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        return False
    if np.dtype(wanted).kind == "f" or wanted in ("bfloat16", array.dtype.name):
        return True
    with np.errstate(invalid="ignore"):
        return np.array_equal(array.astype(wanted), array)


def _described(array: np.ndarray) -> str:
    """The type of an array, and the range of its numbers."""
    is_number = array.size and array.dtype.kind in "fiu"
    return f"{array.dtype} from {array.min():.6g} to {array.max():.6g}" if is_number else str(array.dtype)
