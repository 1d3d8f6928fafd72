"""Batches of a fixed size out of any number of samples: the last one is filled up, and the filling taken away again."""

from collections.abc import Iterator, Sequence

import numpy as np


def batches(inputs: Sequence[np.ndarray], size: int) -> Iterator[tuple[tuple[np.ndarray, ...], int]]:
    """Yield samples in batches, the last one filled up with its last sample, each with its number without the filling.

    Examples:
        >>> [(batch.tolist(), count) for (batch,), count in batches([np.arange(3)], 2)]
        [([0, 1], 2), ([2, 2], 1)]
    """
    total = len(inputs[0])
    for start in range(0, total, size):
        count = min(size, total - start)
        batch = tuple(array[start : start + count] for array in inputs)
        if count < size:
            batch = tuple(np.concatenate([array, np.repeat(array[-1:], size - count, axis=0)]) for array in batch)
        yield batch, count


def without_filled_rows(output: np.ndarray, size: int, count: int) -> np.ndarray:
    """Return the first samples of a result inside a network, whose first axis may be the batch merged with others.

    Examples:
        >>> without_filled_rows(np.arange(6), size=3, count=2).tolist()
        [0, 1, 2, 3]
    """
    rows = np.atleast_1d(output)
    times, rest = divmod(len(rows), size)
    return rows if rest else rows[: count * times]


def without_filling(output: np.ndarray, size: int, count: int) -> np.ndarray:
    """Return the first samples of an output of a batch; one that has no axis of samples as it is."""
    return output[:count] if output.shape[:1] == (size,) else np.atleast_1d(output)
