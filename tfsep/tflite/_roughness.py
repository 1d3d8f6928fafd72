"""Noise of float32 in a model's outputs, told from what they vary by.

What a channel is off by on other machines does not show in its numbers: a column may vary by a hundred millionth of
another one and be exact, or by a thousandth of its size and be what is left of numbers that cancel. But real functions
are smooth, and rounding is not: with inputs and weights moved by a small share of themselves, there and back, the two
changes of an output cancel, and its noise stays.
"""

from collections.abc import Sequence
from functools import cached_property
from math import sqrt

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep.tflite._channel_errors import OutputErrors
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._tensor_info import TensorInfo

_SHARE = 2.0**-10
"""Share of itself by which a number moves: past the last places of sums that are a thousand times as large, and so
little that a network may make a hundred times as much of it."""
_MOVES = 4
"""Moves in random directions: there are few samples."""
_NOISES = sqrt(6)
"""Noise of ``a − 2b + c``, of three numbers that have each the same."""


class ModelSamples:
    """Some samples of the data, and what the model makes of them.

    Args:
        run: the model, which has run on these samples already.
        inputs: the samples, in the order of the model's inputs.
        outputs: outputs of the model.

    Attributes:
        furthest: of all the data, the sample in which the file is furthest off.
        undefined: of all the data, one sample of which the file makes NaN or infinity and the model numbers; None where
            there is none.
    """

    def __init__(self, run: ModelRun, inputs: Sequence[np.ndarray], outputs: Sequence[TensorInfo]) -> None:
        self.run, self.inputs, self._outputs = run, tuple(inputs), tuple(outputs)
        self.furthest: list[np.ndarray] | None = None
        self._furthest_error = 0.0
        self.undefined: list[np.ndarray] | None = None

    def note(self, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        """Take a look at a batch of the data: inputs, and outputs of the model and the file."""
        samples = len(inputs[0])
        errors = np.zeros(samples)
        for ours, theirs in zip(expected, actual, strict=True):
            # An output that has no row for each sample tells of none.
            if ours.shape[:1] == (samples,) and ours.size and np.isfinite(ours).all():
                off = np.abs(np.subtract(theirs, ours, dtype=np.float32)).reshape(samples, -1).max(axis=1)
                errors = np.maximum(errors, off / (np.abs(ours).max() or 1.0))
        row = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
        sample = [array[row : row + 1].copy() for array in inputs]
        if not np.isfinite(errors[row]):
            self.undefined = sample if self.undefined is None else self.undefined
        elif errors[row] > self._furthest_error:
            self.furthest, self._furthest_error = sample, float(errors[row])

    @cached_property
    def roughness(self) -> list[OutputErrors]:
        """The noise of float32 in each channel of the outputs, as the error of a file that differs by it alone."""
        rng = np.random.default_rng(0)
        variables = [v for v in self.run.signature.model.variables if tf.as_dtype(v.dtype).is_floating]
        weights = [variable.numpy() for variable in variables]
        errors = [OutputErrors(info, step=0.0) for info in self._outputs]
        expected = self._outputs_of(self.inputs, variables, weights)
        for _ in range(_MOVES):
            inputs, kernels = ([_moved(rng, array) for array in arrays] for arrays in (self.inputs, weights))
            there, back = (
                self._outputs_of([pair[side] for pair in inputs], variables, [pair[side] for pair in kernels])
                for side in (0, 1)
            )
            for error, at, above, below in zip(errors, expected, there, back, strict=True):
                exact = at.astype(np.float64)
                error.add(exact, exact + ((above - exact) - (exact - below)) / _NOISES)
        return errors

    def _outputs_of(
        self, inputs: Sequence[np.ndarray], variables: Sequence[keras.Variable], weights: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        values = [(variable, tf.constant(array)) for variable, array in zip(variables, weights, strict=True)]
        return self.run.again(inputs, values)


def _moved(rng: np.random.Generator, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that move a little and move back; whole numbers, which may be an index, as they are."""
    if array.dtype.kind != "f" or np.array_equal(array, np.rint(array)):
        return array, array
    move = array * rng.choice([-_SHARE, _SHARE], array.shape).astype(array.dtype)
    return array + move, array - move
