"""Models whose samples depend on each other: a file computes batches of its own size, and ``predict`` larger ones."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

ROUNDING = 3e-5
"""Share of the largest number by which float32 sums of the same samples may differ between batches."""
_FEW = 8
"""Samples on which the difference is measured."""
_LEAST_VARIATION = 1e-3
"""Share of its size by which an output channel varies, if it does."""

_Step = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, ...]]


class BatchMixing(NamedTuple):
    """What the outputs of a sample owe to the other samples of its batch.

    Attributes:
        batch: number of samples that the file computes at once.
        among: number of samples in the batch beside it.
        difference: RMS of the difference of outputs in batches of either size, over the deviation of the larger one's,
            of the output where that is largest; None where the outputs are of other shapes.
        constant: whether an output channel that varies in the larger batch is constant, or no number, in the file's.
    """

    batch: int
    among: int
    difference: float | None
    constant: bool

    def note(self) -> str:
        """Return the difference in words."""
        return (
            f"the model mixes the samples of a batch: in batches of {self.batch}, as in the file, outputs are "
            f"{self._measure()} in batches of {self.among}; the file is right in its own, and batch_size= makes others"
        )

    def refusal(self) -> str:
        """Return why a file of constant outputs is none of the model, in words."""
        return (
            f"expected a batch in which outputs vary, got {self.batch}: the model mixes the samples of a batch, and an "
            f"output that varies in batches of {self.among} is constant in those of {self.batch}: give batch_size= the "
            "number of samples that belong together"
        )

    def _measure(self) -> str:
        if self.difference is None:
            return "of another shape than"
        if not np.isfinite(self.difference):
            return "no numbers, or other ones than"
        return f"off by {self.difference:.2g} of the deviation"


def batch_mixing(step: _Step, inputs: Sequence[np.ndarray], batch: int) -> BatchMixing | None:
    """Find out whether a sample's outputs depend on the others of its batch.

    Batches of two sizes differ by float32's rounding, of which a deep network may make much. In batches of one size
    the samples are computed alike: so samples are taken beside others, and beside themselves.

    Args:
        step: runs one batch, from the same state each time.
        inputs: at least two batches of the file's size, in the order of the model's inputs.
        batch: samples that the file computes at once.

    Returns:
        The difference; None where there is none, or where two runs of the same batch differ as well.
    """
    others = [array[: 2 * batch] for array in inputs]
    beside_others, again = step(others), step(others)

    def owes_nothing(part: slice) -> bool:
        themselves = [np.concatenate([array[part]] * 2) for array in inputs]
        return _alike(_rows(beside_others, part), _rows(step(themselves), part))

    # Both parts, as a running sum leaves the first samples what they are.
    independent = owes_nothing(slice(batch)) and owes_nothing(slice(batch, 2 * batch))
    if independent or not _alike(_at_least_1d(beside_others), _at_least_1d(again)):
        return None
    batches = min(len(inputs[0]) // batch, max(2, _FEW // batch))
    parts = [step([array[k * batch : (k + 1) * batch] for array in inputs]) for k in range(batches)]
    apart = [np.concatenate(arrays) for arrays in zip(*map(_at_least_1d, parts), strict=True)]
    together = _at_least_1d(step([array[: batches * batch] for array in inputs]))
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(apart, together, strict=True)]
    same = [pair for pair in pairs if pair[0].shape == pair[1].shape]
    return BatchMixing(
        batch=batch,
        among=batches * batch,
        difference=max((_difference(*pair) for pair in same), key=_or_infinity, default=None),
        constant=any(_is_constant(*pair) for pair in same),
    )


def _at_least_1d(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.atleast_1d(array) for array in arrays]


def _rows(outputs: Sequence[np.ndarray], part: slice) -> list[np.ndarray]:
    return [array[part] for array in _at_least_1d(outputs)]


def _alike(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    return all(same_but_rounding(a, b) for a, b in zip(ours, theirs, strict=True))


def same_but_rounding(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Return whether two arrays are of one shape and differ by no more than float32 sums of other order."""
    allowed = ROUNDING * np.abs(ours[np.isfinite(ours)]).max(initial=0.0)
    return ours.shape == theirs.shape and np.allclose(ours, theirs, 0, allowed, equal_nan=True)


def _or_infinity(share: float) -> float:
    return float(np.nan_to_num(share, nan=np.inf))


def _difference(apart: np.ndarray, together: np.ndarray) -> float:
    """The RMS of the difference over the deviation, or over the size of what does not vary."""
    size = together.std() or np.abs(together).max(initial=0.0) or 1.0
    return float(np.sqrt(np.mean(np.square(apart - together))) / size)


def _is_constant(apart: np.ndarray, together: np.ndarray) -> bool:
    """Whether a channel of the last axis varies in the larger batch only."""
    ours, theirs = (array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1) for array in (apart, together))
    size = np.maximum(np.nan_to_num(np.abs(ours).max(axis=0)), np.abs(theirs).max(axis=0))
    varies, is_varying = np.ptp(theirs, axis=0) > _LEAST_VARIATION * size, np.ptp(ours, axis=0) > ROUNDING * size
    return bool(np.any(varies & ~is_varying))
