"""What this build's kernels compute rightly: found out by running each once, on a few numbers, beside a plain loop.

TensorFlow's kernels differ with the build, the machine, the dtype and an environment variable: the same call is right,
raises, or (a dilated gradient of the depthwise op) returns other numbers without a word. No version number says which.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal

import numpy as np

from tfsep._keras.backend import tf
from tfsep.geometry import Pair, Window
from tfsep.ops._tf_kernels import DENSE, DEPTHWISE, Kind

Product = Literal["forward", "to_x", "to_filter"]

_KINDS = {kind.name: kind for kind in (DEPTHWISE, DENSE)}
_SPACINGS = {"float16": 2**-10, "bfloat16": 2**-7}
"""Between a number of half precision and the next, relative to it.

A result may be rounded twice. A kernel that adds in half precision is not right: where a sum cancels it is off by more
than that, nor is it fast where there is no hardware for it.
"""


_EQUAL, _UNEQUAL = ((2, 2),), ((1, 2), (2, 1))
_RATES = ((2, 3), (1, 2), (2, 1))
_NONE = ((1, 1),)


def computes(
    product: Product, kind: Kind, dtype: str, strides: Pair, rate: Pair, groups: int = 1, per_group: int = 1
) -> bool:
    """Whether TensorFlow has this product right, for convolutions like this one.

    oneDNN's gradient to a dense bfloat16 filter with a rate is never tried, and never believed. It is right for many
    images, and for others, of 29 columns and more, writes behind its memory or leaves it as it was: trying it has ended
    the process.

    Convolutions are alike that agree in whether they have a stride, two strides, a rate, groups, and more than one
    channel a group: some kernels are wrong for one channel only.
    """
    if product == "to_filter" and kind.name == "dense" and dtype == "bfloat16" and max(rate) > 1:
        return False
    alike_strides = _NONE if max(strides) == 1 else _EQUAL if strides[0] == strides[1] else _UNEQUAL
    alike_rates = _NONE if max(rate) == 1 else _RATES
    return _computes(product, kind.name, dtype, alike_strides, alike_rates, groups > 1, min(per_group, 2))


@cache
def _computes(
    product: Product,
    name: str,
    dtype: str,
    strides: tuple[Pair, ...],
    rates: tuple[Pair, ...],
    grouped: bool,
    per_group: int,
) -> bool:
    kind, rng = _KINDS[name], np.random.default_rng(0)
    multipliers = (1, 2) if kind is DEPTHWISE else (5,)
    groups = 17 if kind is DEPTHWISE or grouped else 1

    def is_right() -> bool:
        return all(
            _is_right(product, kind, dtype, window, size, (per_group, multiplier, groups), rng)
            for window in (Window((3, 2), stride, "valid", rate) for stride in strides for rate in rates)
            for size in ((9, 8), (9, window.effective_kernel[1] + 1), (9, 41))  # some results a row, one or two, many
            for multiplier in multipliers
        )

    # A thread of its own has no graph that is being built, neither a function's nor one that a user opened.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(is_right).result()


def _is_right(
    product: Product, kind: Kind, dtype: str, window: Window, size: Pair, counts: tuple[int, int, int], rng: Any
) -> bool:
    per_group, multiplier, groups = counts
    channels, filters = per_group * groups, multiplier * groups
    values = (
        rng.normal(size=(8, *size, channels)),
        rng.normal(size=(*window.kernel, per_group, filters)),
        rng.normal(size=(8, *window.output_size(size), filters)),
    )
    if not tf.executing_eagerly():
        raise RuntimeError("TensorFlow: expected eager execution, got it disabled")
    x, grouped, upstream = (tf.cast(value, dtype) for value in values)
    # Memory is handed on: what a kernel does not write is seen as NaN.
    for used in (x, grouped, upstream):
        tf.fill(used.shape, tf.constant(np.nan, dtype))
    shape = (*window.kernel, channels, multiplier) if kind is DEPTHWISE else grouped.shape
    filter = tf.reshape(grouped, shape)
    try:
        if product == "forward":
            actual = kind.forward(x, filter, window)
        elif product == "to_x":
            actual = kind.to_x(upstream, filter, window, x.shape)
        else:
            actual = tf.reshape(kind.to_filter(x, upstream, window, shape), grouped.shape)
    except (tf.errors.OpError, ValueError):
        return False
    x, grouped, upstream, actual = (np.asarray(tf.cast(value, "float64")) for value in (x, grouped, upstream, actual))
    exact = products(x, grouped, upstream, window)[product]
    sizes = products(np.abs(x), np.abs(grouped), np.abs(upstream), window)[product]
    allowed = _SPACINGS.get(dtype, 0.0) * np.abs(exact) + 2**-18 * sizes + 2**-24
    return bool(actual.shape == exact.shape and (np.abs(actual - exact) <= allowed).all())


def products(x: np.ndarray, filter: np.ndarray, upstream: np.ndarray, window: Window) -> dict[Product, np.ndarray]:
    """The three products of a grouped convolution with no padding, tap by tap.

    Args:
        x: (N, H, W, C).
        filter: (kh, kw, C / groups, F).
        upstream: (N, H', W', F).
        window: of which kernel, strides and rate are looked at.
    """
    per_group, filters = filter.shape[2:]
    groups = x.shape[3] // per_group
    grouped = x.reshape(*x.shape[:3], groups, per_group)
    above = upstream.reshape(*upstream.shape[:3], groups, filters // groups)
    taps = filter.reshape(*filter.shape[:2], per_group, groups, filters // groups)
    y, to_x, to_taps = np.zeros_like(above), np.zeros_like(grouped), np.zeros_like(taps)
    for row, column in np.ndindex(*filter.shape[:2]):
        seen = (
            slice(None),
            *(
                slice(tap * r, tap * r + (count - 1) * s + 1, s)
                for tap, r, s, count in zip(
                    (row, column), window.rate, window.strides, upstream.shape[1:3], strict=True
                )
            ),
        )
        y += np.einsum("nijgc,cgf->nijgf", grouped[seen], taps[row, column])
        to_x[seen] += np.einsum("nijgf,cgf->nijgc", above, taps[row, column])
        to_taps[row, column] = np.einsum("nijgc,nijgf->cgf", grouped[seen], above)
    return {
        "forward": y.reshape(upstream.shape),
        "to_x": to_x.reshape(x.shape),
        "to_filter": to_taps.reshape(filter.shape),
    }
