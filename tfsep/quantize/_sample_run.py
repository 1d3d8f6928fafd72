"""A prepared model computed on samples piece by piece, so that each layer may change before what is behind it runs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Tensor
from tfsep._utils.batch_filling import without_filled_rows
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._first_batches import FirstBatchesEager


class SampleRun:
    """A prepared model on samples, in integers, computed as far as a layer: the whole model is computed once.

    What calls ahead need is kept, of all samples; a layer that is called again, in front of which it was changed, has
    `restart`.

    Attributes:
        count: the number of samples.

    Args:
        samples: the samples, and the model.
    """

    def __init__(self, samples: CalibrationSamples) -> None:
        self._samples, self.count = samples, samples.count
        self._users: dict[int, list[Call]] = {}
        for call in calls_behind(samples.model.outputs):
            for tensor in call.inputs:
                self._users.setdefault(id(tensor), []).append(call)
        self.restart()

    def restart(self) -> None:
        """Forget all results."""
        inputs = self._samples.model.inputs
        self._done: set[int] = set()
        self._kept = {id(tensor): tensor for tensor in inputs}
        self._batches = [
            ({id(tensor): tf.constant(array) for tensor, array in zip(inputs, arrays, strict=True)}, count)
            for arrays, count in self._samples.batches()
        ]

    def reach(self, call: Call) -> None:
        """Compute what a call takes, and keep that and all that calls ahead of it take."""
        calls = self._calls(call.inputs)
        self._done |= {id(each.outputs[0]) for each in calls}
        made = {id(tensor): tensor for each in calls for tensor in each.outputs}
        needed = {key: tensor for key, tensor in (self._kept | made).items() if self._is_needed(tensor)}
        new = [tensor for key, tensor in needed.items() if key in made]
        for (values, _), results in zip(self._batches, self._computed(calls, new), strict=True):
            values |= dict(zip(map(id, new), results, strict=True))
            for key in values.keys() - needed.keys():
                del values[key]
        self._kept = needed

    def results(self, tensors: Sequence[Tensor]) -> Iterator[list[np.ndarray]]:
        """Yield results of calls ahead, or what is kept, for batch after batch; nothing more is kept."""
        computed = self._computed(self._calls(tensors), tensors)
        for (values, count), results in zip(self._batches, computed, strict=True):
            size = len(values[id(self._samples.model.inputs[0])])
            yield [without_filled_rows(np.asarray(each), size, count) for each in results]

    def constants(self, tensors: Sequence[Tensor]) -> list[np.ndarray]:
        """Return results that no sample changes, as scales."""
        return [np.asarray(each) for each in next(self._computed(self._calls(tensors), tensors))]

    def _is_needed(self, tensor: Tensor) -> bool:
        """Whether a call ahead takes a tensor; inputs tell the size of a batch."""
        users = self._users.get(id(tensor), [])
        is_input = any(tensor is each for each in self._samples.model.inputs)
        return is_input or any(id(user.outputs[0]) not in self._done for user in users)

    def _calls(self, tensors: Sequence[Tensor]) -> list[Call]:
        return list(calls_behind(tensors, lambda tensor: id(tensor) in self._kept))

    def _computed(self, calls: list[Call], tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        """Yield tensors that calls lead to, for batch after batch."""
        made = {id(tensor) for call in calls for tensor in call.outputs}
        taken = [id(tensor) for call in calls for tensor in call.inputs] + [id(tensor) for tensor in tensors]
        given = list(dict.fromkeys(key for key in taken if key not in made))

        def run(*values: Tensor) -> list[Tensor]:
            known = dict(zip(given, values, strict=True))
            run_calls(calls, known)
            return [known[id(tensor)] for tensor in tensors]

        step = FirstBatchesEager(run, self._samples.specs)
        for values, _ in self._batches:
            yield step(*(values[key] for key in given))


def run_calls(calls: Sequence[Call], known: dict[int, Tensor]) -> None:
    """Compute calls, one after the other, on tensors by the ids of symbolic ones, among which the results go."""

    def value(leaf: Any) -> Any:
        return known[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

    for call in calls:
        args, kwargs = keras.tree.map_structure(value, (call.args, call.kwargs))
        made = keras.tree.flatten(call.operation(*args, **kwargs))
        known |= dict(zip(map(id, call.outputs), made, strict=True))
