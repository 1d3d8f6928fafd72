"""Ranges of activations by their histograms: the whole range, or a part of it that loses less."""

from collections.abc import Callable
from difflib import get_close_matches

import numpy as np

from tfsep.quantize._histogram import Histogram
from tfsep.quantize._qparams import INT8_MAX, INT8_MIN

_STEPS = INT8_MAX - INT8_MIN
_CANDIDATES = np.arange(128, 0, -1) / 128
"""Shares of an end that are tried in its place, the whole of it first."""

_OUTSIDE = 1e-4
"""The share of the numbers that a percentile leaves out on each side."""

_BLUR = 1e-4
"""The share of a quantized distribution that is spread evenly, so that it is nowhere 0 where the other one is not."""


def _minmax(histogram: Histogram) -> tuple[float, float]:
    return histogram.low, histogram.high


def _percentile(histogram: Histogram) -> tuple[float, float]:
    """The range of all numbers but the share `_OUTSIDE` on each side."""
    counts, edges = histogram.counts.copy(), histogram.edges
    counts[np.searchsorted(edges, 0.0)] += histogram.zeros
    outside = _OUTSIDE * histogram.total
    low = edges[np.searchsorted(np.cumsum(counts), outside, "right")]
    high = edges[len(counts) - np.searchsorted(np.cumsum(counts[::-1]), outside, "right")]
    return max(histogram.low, min(low, 0.0)), min(histogram.high, max(high, 0.0))


def _mse(histogram: Histogram) -> tuple[float, float]:
    """The range with the least mean squared error: of rounding inside, a twelfth of a squared step, and of clipping."""
    centers, counts = histogram.centers, histogram.counts
    ends = []
    for end, distance in ((histogram.low, -centers), (histogram.high, centers)):
        tried = np.abs(end) * _CANDIDATES if end else np.zeros(1)
        past = np.maximum(distance - tried[:, None], 0)
        ends.append((tried, past**2 @ counts, (past > 0) @ counts))
    (low, below, outside), (high, above, beyond) = ends
    step = (low[:, None] + high) / _STEPS
    inside = counts.sum() - outside[:, None] - beyond
    error = below[:, None] + above + inside * step**2 / 12
    best = np.unravel_index(np.argmin(error), error.shape)
    return 0.0 - float(low[best[0]]), float(high[best[1]])


def _entropy(histogram: Histogram) -> tuple[float, float]:
    """The range whose quantized distribution has the least Kullback-Leibler divergence from that of the numbers."""
    edges, counts = histogram.edges, histogram.counts
    reach = max(-histogram.low, histogram.high)
    best = np.inf, histogram.low, histogram.high
    for share in _CANDIDATES:
        low, high = max(histogram.low, -share * reach), min(histogram.high, share * reach)
        start, end = np.searchsorted(edges, low, "right") - 1, np.searchsorted(edges, high, "left")
        if end - start < _STEPS:
            break
        divergence = _divergence(counts, int(start), int(end))
        if divergence < best[0]:
            best = divergence, low, high
    return float(best[1]), float(best[2])


def _divergence(counts: np.ndarray, start: int, end: int) -> float:
    """The divergence of the counts that are clipped to some bins from those that are rounded to 8 bits there."""
    inside = counts[start:end].astype("float64")
    clipped = inside.copy()
    clipped[0] += counts[:start].sum()
    clipped[-1] += counts[end:].sum()
    used = clipped > 0
    level = np.arange(end - start) * _STEPS // (end - start)
    sums, bins = (np.bincount(level, each) for each in (inside, used))
    rounded = np.where(used, (sums / np.maximum(bins, 1))[level], 0)
    p = clipped[used] / clipped.sum()
    q = (1 - _BLUR) * rounded[used] / max(rounded.sum(), 1) + _BLUR / used.sum()
    return float(np.sum(p * np.log(p / q)))


RANGE_METHODS: dict[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": _minmax,
    "mse": _mse,
    "percentile": _percentile,
    "entropy": _entropy,
}
"""By name, functions from a histogram to the low and high end of the range."""


BEST = "best"
"""The name of the choice among the methods by the outputs of the model."""


def require_method(name: str) -> None:
    """Raise for a name that no method has.

    Examples:
        >>> require_method("entrophy")
        Traceback (most recent call last):
        ValueError: method: expected one of best, minmax, mse, percentile, entropy, got 'entrophy'; nearest is 'entropy'
    """
    known = (BEST, *RANGE_METHODS)
    if name not in known:
        nearest = get_close_matches(str(name), known, 1, 0)
        hint = f"; nearest is {nearest[0]!r}" if nearest else ""
        raise ValueError(f"method: expected one of {', '.join(known)}, got {name!r}{hint}")
