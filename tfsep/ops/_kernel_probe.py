"""A probe of this build's convolution kernels: each is run once on a few numbers and compared with a plain loop.

TensorFlow's kernels differ with the build, the machine, the dtype and an environment variable: the same call is right,
raises, or (a dilated gradient of the depthwise op) silently returns wrong numbers. No version number tells which.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from tfsep._keras.backend import tf
from tfsep.geometry import Pair, Window
from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS, ConvolutionKernels

Product: TypeAlias = Literal["forward", "input_gradient", "filter_gradient"]

_KINDS = {kernels.name: kernels for kernels in (DEPTHWISE_KERNELS, STANDARD_KERNELS)}
_SPACINGS = {"float16": 2**-10, "bfloat16": 2**-7}
"""Relative spacing of numbers in half precision.

A result may be rounded twice. A kernel that accumulates in half precision counts as wrong: where a sum cancels, its
error is larger, and without hardware support it is not fast either.
"""


_EQUAL_STRIDES, _UNEQUAL_STRIDES = ((2, 2),), ((1, 2), (2, 1))
_RATES = ((2, 3), (1, 2), (2, 1))
_UNIT = ((1, 1),)


def computes_correctly(
    product: Product,
    kernels: ConvolutionKernels,
    dtype: str,
    strides: Pair,
    rate: Pair,
    groups: int = 1,
    per_group: int = 1,
) -> bool:
    """Whether TensorFlow's kernel computes this product correctly, for convolutions like this one.

    oneDNN's gradient to a standard bfloat16 filter with a rate is never tried and never used. It is right for many
    images; for others, of 29 columns and more, it writes outside its memory or leaves it unwritten, and trying it has
    crashed the process.

    Convolutions are alike if they agree in whether they have a stride, unequal strides, a rate, groups, and more than
    one channel per group: some kernels are wrong for one channel only.

    Args:
        product: which of the three products.
        kernels: standard or depthwise.
        dtype: dtype of image and filter.
        strides: strides of the window.
        rate: rate of the window.
        groups: number of channel groups.
        per_group: input channels per group.
    """
    if product == "filter_gradient" and kernels.name == "standard" and dtype == "bfloat16" and max(rate) > 1:
        return False
    tried_strides = _UNIT if max(strides) == 1 else _EQUAL_STRIDES if strides[0] == strides[1] else _UNEQUAL_STRIDES
    tried_rates = _UNIT if max(rate) == 1 else _RATES
    return _passes(product, kernels.name, dtype, tried_strides, tried_rates, groups > 1, min(per_group, 2))


@cache
def _passes(
    product: Product,
    name: str,
    dtype: str,
    strides: tuple[Pair, ...],
    rates: tuple[Pair, ...],
    grouped: bool,
    per_group: int,
) -> bool:
    kernels, rng = _KINDS[name], np.random.default_rng(0)
    multipliers = (1, 2) if kernels is DEPTHWISE_KERNELS else (5,)
    groups = 17 if kernels is DEPTHWISE_KERNELS or grouped else 1

    def matches_in_all_cases() -> bool:
        return all(
            _matches_reference(product, kernels, dtype, window, size, (per_group, multiplier, groups), rng)
            for window in (Window((3, 2), stride, "valid", rate) for stride in strides for rate in rates)
            # Several results a row, one or two, many.
            for size in ((9, 8), (9, window.effective_kernel[1] + 1), (9, 41))
            for multiplier in multipliers
        )

    # A thread of its own has no graph under construction, neither a function's nor one that a user opened.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(matches_in_all_cases).result()


def _matches_reference(
    product: Product,
    kernels: ConvolutionKernels,
    dtype: str,
    window: Window,
    size: Pair,
    counts: tuple[int, int, int],
    rng: np.random.Generator,
) -> bool:
    """Whether a kernel's result equals the loop's, for `counts` channels per group, filters per group, and groups."""
    per_group, multiplier, groups = counts
    channels, filters = per_group * groups, multiplier * groups
    shapes = (
        (8, *size, channels),
        (*window.kernel, per_group, filters),
        (8, *(side or 0 for side in window.output_size(size)), filters),
    )
    if not tf.executing_eagerly():
        raise RuntimeError("TensorFlow: expected eager execution, got it disabled")
    x, grouped, upstream = (tf.cast(rng.normal(size=shape), dtype) for shape in shapes)
    # Freed memory is reused: elements that a kernel leaves unwritten show as NaN.
    for value in (x, grouped, upstream):
        tf.fill(value.shape, tf.constant(np.nan, dtype))
    shape = (*window.kernel, channels, multiplier) if kernels is DEPTHWISE_KERNELS else grouped.shape
    filter = tf.reshape(grouped, shape)
    try:
        if product == "forward":
            actual = kernels.forward(x, filter, window)
        elif product == "input_gradient":
            actual = kernels.input_gradient(upstream, filter, window, x.shape)
        else:
            actual = tf.reshape(kernels.filter_gradient(x, upstream, window, shape), grouped.shape)
    except (tf.errors.OpError, ValueError):
        return False
    x, grouped, upstream, actual = (np.asarray(tf.cast(value, "float64")) for value in (x, grouped, upstream, actual))
    exact = reference_product(product, x, grouped, upstream, window)
    magnitudes = reference_product(product, np.abs(x), np.abs(grouped), np.abs(upstream), window)
    allowed = _SPACINGS.get(dtype, 0.0) * np.abs(exact) + 2**-18 * magnitudes + 2**-24
    return bool(actual.shape == exact.shape and (np.abs(actual - exact) <= allowed).all())


def reference_product(
    product: Product, x: np.ndarray, filter: np.ndarray, upstream: np.ndarray, window: Window
) -> np.ndarray:
    """One of the three products of a grouped convolution without padding, tap by tap.

    Args:
        product: which one.
        x: (N, H, W, C).
        filter: (kh, kw, C / groups, F).
        upstream: (N, H', W', F).
        window: only its strides and rate are used.

    Returns:
        The result, of the shape of `upstream`, or the gradient, of the shape of `x` or `filter`.
    """
    per_group, filters = filter.shape[2:]
    groups = x.shape[3] // per_group
    grouped = x.reshape(*x.shape[:3], groups, per_group)
    grouped_upstream = upstream.reshape(*upstream.shape[:3], groups, filters // groups)
    taps = filter.reshape(*filter.shape[:2], per_group, groups, filters // groups)
    shapes = {"forward": upstream.shape, "input_gradient": x.shape, "filter_gradient": filter.shape}
    result = np.zeros_like({"forward": grouped_upstream, "input_gradient": grouped, "filter_gradient": taps}[product])
    for row, column in np.ndindex(*filter.shape[:2]):
        pixels = (
            slice(None),
            *(
                slice(tap * r, tap * r + (count - 1) * s + 1, s)
                for tap, r, s, count in zip(
                    (row, column), window.rate, window.strides, upstream.shape[1:3], strict=True
                )
            ),
        )
        if product == "forward":
            result += np.einsum("nijgc,cgf->nijgf", grouped[pixels], taps[row, column])
        elif product == "input_gradient":
            result[pixels] += np.einsum("nijgf,cgf->nijgc", grouped_upstream, taps[row, column])
        else:
            result[row, column] = np.einsum("nijgc,nijgf->cgf", grouped[pixels], grouped_upstream)
    return result.reshape(shapes[product])
