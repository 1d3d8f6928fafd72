"""Batches of a fixed size out of any number of samples: the last one is filled up, and the filling taken away again."""

from collections.abc import Sequence

import numpy as np


def filled(inputs: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, ...]:
    """Return a batch filled up with its last sample."""
    lacking = size - len(inputs[0])
    return tuple(np.concatenate([a, np.repeat(a[-1:], lacking, axis=0)]) if lacking else a for a in inputs)


def without_filling(output: np.ndarray, size: int, count: int) -> np.ndarray:
    """Return the first samples of an output of a batch; one that has no axis of samples as it is."""
    return output[:count] if output.shape[:1] == (size,) else np.atleast_1d(output)
