"""What this build's kernels compute rightly: found out by running each once, on a few numbers, beside a plain loop.

TensorFlow's kernels differ with the build, the machine, the dtype and an environment variable: the same call is right,
raises, or (a dilated gradient of the depthwise op) returns other numbers without a word. No version number says which.
"""

from functools import cache
from typing import Any, Literal

import numpy as np

from tfsep._backend import tf
from tfsep.geometry import Pair, Window
from tfsep.ops._native import DENSE, DEPTHWISE, Kind

Product = Literal["forward", "to_x", "to_filter"]

_KINDS = {kind.name: kind for kind in (DEPTHWISE, DENSE)}
_TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1}
"""Of the largest number expected; 1e-4 for longer types. A wrong kernel is off by about 1."""


def computes(product: Product, kind: Kind, dtype: str, strides: Pair, rate: Pair, groups: int = 1) -> bool:
    """Whether TensorFlow has this product right, for windows like this one.

    Windows are alike that agree in whether they have a stride, two strides, a rate, and groups.
    """
    alike_strides = strides if max(strides) == 1 else (2, 2) if strides[0] == strides[1] else (1, 2)
    alike_rate = (1, 1) if max(rate) == 1 else (2, 3)
    return _computes(product, kind.name, dtype, alike_strides, alike_rate, groups > 1)


@cache
def _computes(product: Product, name: str, dtype: str, strides: Pair, rate: Pair, grouped: bool) -> bool:
    kind, window, rng = _KINDS[name], Window((3, 2), strides, "valid", rate), np.random.default_rng(0)
    multipliers = (1, 2) if kind is DEPTHWISE else (1,)
    with tf.init_scope():
        return all(_is_right(product, kind, dtype, window, grouped, multiplier, rng) for multiplier in multipliers)


def _is_right(
    product: Product, kind: Kind, dtype: str, window: Window, grouped: bool, multiplier: int, rng: Any
) -> bool:
    channels = 17
    groups, filters = (channels, channels * multiplier) if kind is DEPTHWISE or grouped else (1, 5)
    x, per_group = rng.normal(size=(2, 9, 8, channels)), rng.normal(size=(3, 2, channels // groups, filters))
    rows, columns = window.output_size((9, 8))
    upstream = rng.normal(size=(2, rows, columns, filters))
    x, per_group, upstream = (tf.cast(value, dtype) for value in (x, per_group, upstream))
    shape = (3, 2, channels, multiplier) if kind is DEPTHWISE else per_group.shape
    filter = tf.reshape(per_group, shape)
    try:
        if product == "forward":
            actual = kind.forward(x, filter, window)
        elif product == "to_x":
            actual = kind.to_x(upstream, filter, window, x.shape)
        else:
            actual = tf.reshape(kind.to_filter(x, upstream, window, shape), per_group.shape)
    except (tf.errors.OpError, ValueError):
        return False
    x, per_group, upstream = (np.asarray(tf.cast(value, "float64")) for value in (x, per_group, upstream))
    exact = products(x, per_group, upstream, window)[product]
    actual = np.asarray(tf.cast(actual, "float64"))
    tolerance = _TOLERANCES.get(dtype, 1e-4) * np.abs(exact).max()
    return bool(actual.shape == exact.shape and np.abs(actual - exact).max() <= tolerance)


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
