"""The samples that a prepared model is calibrated on, and results of parts of the model on them."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.sample_reader import Batch, SampleReader
from tfsep._keras.symbolic_call import symbolic_call
from tfsep._keras.training_statistics import range_of
from tfsep._keras.types import Data, Model, Tensor
from tfsep._utils.batch_filling import batches, without_filled_rows
from tfsep.quantize._first_batches import FirstBatchesEager
from tfsep.quantize._inference_mode import real_numbers


class CalibrationSamples:
    """Samples drawn from data, as many as memory takes, and the prepared model that they are shown to.

    Attributes:
        model: the prepared model.
        count: the number of samples.
        specs: the inputs of the model.

    Args:
        model: the prepared model.
        data: what `tfsep.quantize.observe` takes.
        most: most samples; of more, as many are drawn, each with the same chance, and kept in their order.
        batch_size: samples per step; a model with a batch of its own takes that.
        seed: seed of the draw.

    Raises:
        TypeError: if the data are no arrays of samples.
        ValueError: for data of another shape, with NaN or infinity, without samples, or of constant samples only.
    """

    def __init__(self, model: Model, data: Data, most: int, batch_size: int, seed: int) -> None:
        call = symbolic_call(model)
        assert call is not None, "prepare makes Functional models"
        self._form, specs, structures, own = call
        reader = SampleReader(specs, structures=structures, with_labels=False, batched=True)
        rows = _drawn(reader.batches(data), most, seed)
        if not rows:
            raise ValueError("data: expected at least one sample, got none")
        if _are_constant(rows):
            raise ValueError("data: expected samples with content, got only constant ones")
        again = SampleReader(specs, with_labels=False, batched=True)
        self.model, self.count = model, len(rows)
        self._size = own or batch_size
        self._chunks = list(again.chunks(iter(rows), self._size))
        self.specs = specs
        self._steps: dict[Hashable, FirstBatchesEager] = {}

    def results(
        self, tensors: Sequence[Tensor], is_real: bool, constants: Sequence[Tensor] = ()
    ) -> Iterator[list[np.ndarray]]:
        """Yield tensors of the model, and behind them the constants, for batch after batch.

        Args:
            tensors: symbolic tensors of the model.
            is_real: whether to compute what the float model does, in place of integers.
            constants: symbolic tensors without an axis of samples, as scales.
        """
        step = self._step([*tensors, *constants], is_real)
        for inputs, count in self.batches():
            given = [tf.constant(array) for array in inputs]
            with real_numbers() if is_real else nullcontext():
                made = step(*given)
            rows = [without_filled_rows(np.asarray(each), len(inputs[0]), count) for each in made[: len(tensors)]]
            yield rows + [np.asarray(each) for each in made[len(tensors) :]]

    def batches(self) -> Iterator[tuple[tuple[np.ndarray, ...], int]]:
        """Yield the inputs of the model, batch after batch, each with its number of samples without the filling."""
        for chunk in self._chunks:
            yield from batches(chunk.inputs, self._size if self._is_fixed else chunk.size)

    def run_first(self, model: Model) -> None:
        """Run the float model on the first batch.

        Args:
            model: the model that was prepared.
        """
        inputs, _ = next(self.batches())
        with foreign_state_kept(model):
            model(*self._form.arguments([tf.constant(array) for array in inputs])[0], training=False)

    def first_range(self) -> str:
        """Return the range of the first batch, in words."""
        inputs, _ = next(self.batches())
        return range_of(inputs)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all samples, an array for each input of the model, by its name."""
        joined = (np.concatenate(arrays) for arrays in zip(*(chunk.inputs for chunk in self._chunks), strict=True))
        return dict(zip((spec.name for spec in self.specs), joined, strict=True))

    def shown_to(self, model: Model) -> "CalibrationSamples":
        """Return the same samples for another prepared model of the same inputs."""
        other = copy(self)
        other.model, other._steps = model, {}
        return other

    def _step(self, tensors: list[Tensor], is_real: bool) -> FirstBatchesEager:
        """A function from a batch to tensors of the model, the same for the same tensors."""
        key = is_real, *map(id, tensors)
        if key not in self._steps:
            part = keras.Model(self.model.inputs, tensors)

            def run(*inputs: Tensor) -> list[Tensor]:
                # Keras returns a list of one as its one element.
                made: list[Tensor] = keras.tree.flatten(part(list(inputs), training=False))
                return made

            self._steps[key] = FirstBatchesEager(run, self.specs)
        return self._steps[key]

    @property
    def _is_fixed(self) -> bool:
        return self.model.inputs[0].shape[0] is not None


def _drawn(given: Iterator[Batch], most: int, seed: int) -> list[tuple[np.ndarray, ...]]:
    """Draw samples at random from batches of any number, which are read once: one of n stays with the chance most / n.

    Source: J. Vitter, "Random Sampling with a Reservoir" (1985), algorithm R.
    """
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, tuple[np.ndarray, ...]]] = []
    seen = 0
    for batch in given:
        for row in range(batch.size):
            place = seen if seen < most else int(rng.integers(seen + 1))
            if place < most:
                kept[place : place + 1] = [(seen, tuple(array[row : row + 1].copy() for array in batch.inputs))]
            seen += 1
    return [row for _, row in sorted(kept, key=lambda each: each[0])]


def _are_constant(rows: list[tuple[np.ndarray, ...]]) -> bool:
    """Whether each sample holds one number again and again, or all of them together do."""
    if all(array.size > 1 for array in rows[0]):
        return all(array.min() == array.max() for row in rows for array in row)
    return len(rows) > 1 and all(
        (array == first).all() for row in rows for array, first in zip(row, rows[0], strict=True)
    )
