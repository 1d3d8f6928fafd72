"""A function of batches, of which the first are computed without a graph."""

from collections.abc import Callable, Sequence
from typing import Any

from tfsep._keras.backend import tf
from tfsep._keras.input_spec import InputSpec

_EAGER_BATCHES = 8
"""Batches that are computed in less time than a graph of the model is traced in."""


class FirstBatchesEager:
    """A function that is traced once it was called for several batches.

    Where inputs are integers, it is a graph from the first one on: eager, layers of Keras round these otherwise.

    Args:
        function: a function of a batch, one tensor for each input of a model.
        specs: these inputs.
    """

    def __init__(self, function: Callable[..., Any], specs: Sequence[InputSpec]) -> None:
        self._function, self._traced = function, tf.function(function, autograph=False)
        self._eager = _EAGER_BATCHES if all(tf.as_dtype(spec.dtype).is_floating for spec in specs) else 0

    def __call__(self, *inputs: Any) -> Any:
        """Return what the function makes of a batch."""
        self._eager -= 1
        if self._eager >= 0:
            return self._function(*inputs)
        # Called by its concrete function: TensorFlow counts traces of other models with those of this one, and warns.
        return self._traced.get_concrete_function(*inputs)(*inputs)
