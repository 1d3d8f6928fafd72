"""A probe of this build's convolution kernels: each is run once on a few numbers and compared with a plain loop.

TensorFlow's kernels differ with the build, the device, the dtype and an environment variable: the same call is right,
raises, or (a dilated gradient of the depthwise op) silently returns wrong numbers. No version number tells which.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.geometry import Padding, Pads, Pair, Window
from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS, WIDE_DEPTHWISE_KERNELS, ConvolutionKernels

Product: TypeAlias = Literal["forward", "input_gradient", "filter_gradient"]

_KINDS = {kernels.name: kernels for kernels in (DEPTHWISE_KERNELS, STANDARD_KERNELS, WIDE_DEPTHWISE_KERNELS)}
_SPACINGS = {"float16": 2**-10, "bfloat16": 2**-7}
"""Relative spacing of numbers in half precision.

A result may be rounded twice. A kernel that accumulates in half precision counts as wrong: where a sum cancels, its
error is larger, and without hardware support it is not fast either.
"""

_EXACT, _TENSOR_FLOAT_32, _BFLOAT16 = 2**-18, 2**-9, 2**-6
"""Error allowed of a product of two numbers, and so of a sum, as a share of the sum of magnitudes.

A kernel is judged by the precision that it is set to: a GPU multiplies float32 numbers cut to 10 bits after the leading
one, unless ``tf.config.experimental.enable_tensor_float_32_execution(False)`` says otherwise, a TPU such of 7 bits.
"""


class _Trials(NamedTuple):
    """The windows and images that a kernel is tried on."""

    equal_strides: tuple[Pair, ...]
    unequal_strides: tuple[Pair, ...]
    rates: tuple[Pair, ...]
    columns: tuple[int | None, ...]
    multipliers: tuple[int, ...]


_UNIT = ((1, 1),)
_ON_CPU = _Trials(((2, 2),), ((1, 2), (2, 1)), ((2, 3), (1, 2), (2, 1)), (8, None, 41), (1, 2))
"""oneDNN has kernels of their own for several results a row, for one or two (None) and for many."""
_ELSEWHERE = _Trials(((2, 2),), ((1, 2),), ((2, 3),), (8,), (1, 2))
"""Each other shape would cost a search for the fastest algorithm."""
_COMPILED = _ELSEWHERE._replace(multipliers=(1,))
"""XLA has one form for all depthwise convolutions."""
_WIDE_PADDING: Pads = ((1, 2), (6, 5))
"""Padding that is in part put around the image first, and in part left to the op."""


class _Case(NamedTuple):
    """Convolutions that are alike, in one dtype on one kind of device, and what they are tried on."""

    product: Product
    name: str
    dtype: str
    strides: tuple[Pair, ...]
    rates: tuple[Pair, ...]
    padding: Padding
    columns: tuple[int | None, ...]
    counts: tuple[tuple[int, int, int], ...]
    device: str
    compiled: bool
    allowed: float


def computes_correctly(
    product: Product,
    kernels: ConvolutionKernels,
    dtype: str,
    strides: Pair,
    rate: Pair,
    groups: int = 1,
    per_group: int = 1,
    device: str = "CPU",
    compiled: bool = False,
) -> bool:
    """Whether TensorFlow's kernel computes this product correctly, for convolutions like this one.

    A kernel is correct if it is as exact as it is set to be: a float32 kernel of a GPU that rounds what it multiplies
    to 10 bits (TensorFloat-32, TensorFlow's default) is. The setting may change while the process runs.

    oneDNN's gradient to a standard bfloat16 filter with a rate is never tried and never used. It is right for many
    images; for others, of 29 columns and more, it writes outside its memory or leaves it unwritten, and trying it has
    crashed the process. Nor is that to a depthwise filter with a rate: no build has it, and where TensorFlow 2.18 and
    2.19 ask for it, the process may end at an illegal instruction.

    Convolutions are alike if they agree in whether they have a stride, unequal strides, a rate, groups, and more than
    one channel per group: some kernels are wrong for one channel only.

    Args:
        product: which of the three products.
        kernels: standard or depthwise; of wide depthwise ones, the forward op.
        dtype: dtype of image and filter.
        strides: strides of the window.
        rate: rate of the window.
        groups: number of channel groups.
        per_group: input channels per group.
        device: kind of the device that computes it.
        compiled: whether XLA compiles it.
    """
    by_onednn = device == "CPU" and not compiled
    if by_onednn and product == "filter_gradient" and max(rate) > 1:
        never = kernels.name == DEPTHWISE_KERNELS.name or (kernels.name, dtype) == (STANDARD_KERNELS.name, "bfloat16")
        if never:
            return False
    trials = _COMPILED if compiled else _ON_CPU if device == "CPU" else _ELSEWHERE
    strides_tried = trials.equal_strides if strides[0] == strides[1] else trials.unequal_strides
    depthwise, wide = kernels.name != STANDARD_KERNELS.name, kernels.name == WIDE_DEPTHWISE_KERNELS.name
    return _passes(
        _Case(
            product,
            kernels.name,
            dtype,
            _UNIT if max(strides) == 1 else strides_tried,
            _UNIT if max(rate) == 1 else trials.rates,
            _WIDE_PADDING if wide else "valid",
            trials.columns,
            tuple(
                (min(per_group, 2), multiplier, 17 if depthwise or groups > 1 else 1)
                for multiplier in ((1,) if wide else trials.multipliers if depthwise else (5,))
            ),
            device,
            compiled,
            _allowed_error(dtype, device),
        )
    )


def _allowed_error(dtype: str, device: str) -> float:
    if dtype == "float32" and device == "GPU" and tf.config.experimental.tensor_float_32_execution_enabled():
        return _TENSOR_FLOAT_32
    return _BFLOAT16 if dtype == "float32" and device == "TPU" else _EXACT


@cache
def _passes(case: _Case) -> bool:
    rng = np.random.default_rng(0)

    def matches_in_all_trials() -> bool:
        with tf.device(f"{case.device}:0"):
            return all(
                _matches_reference(case, window, (9, columns or window.effective_kernel[1] + 1), counts, rng)
                for window in (
                    Window((3, 2), stride, case.padding, rate) for stride in case.strides for rate in case.rates
                )
                for columns in case.columns
                for counts in case.counts
            )

    # A thread of its own has no graph under construction, neither a function's nor one that a user opened.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(matches_in_all_trials).result()


def _matches_reference(
    case: _Case, window: Window, size: Pair, counts: tuple[int, int, int], rng: np.random.Generator
) -> bool:
    """Whether a kernel's result equals the loop's, for `counts` channels per group, filters per group, and groups."""
    if not tf.executing_eagerly():
        raise RuntimeError("TensorFlow: expected eager execution, got it disabled")
    kernels, (per_group, multiplier, groups) = _KINDS[case.name], counts
    channels, filters = per_group * groups, multiplier * groups
    image, outputs = (8, *size, channels), (8, *(side or 0 for side in window.output_size(size)), filters)
    grouped = (*window.kernel, per_group, filters)
    shape = (*window.kernel, channels, multiplier) if case.name != STANDARD_KERNELS.name else grouped
    kernel: Callable[..., Tensor]
    factors: tuple[tuple[int, ...], tuple[int, ...]]
    result: tuple[int, ...]
    if case.product == "forward":
        kernel, factors, result = lambda x, w: kernels.forward(x, w, window), (image, shape), outputs
    elif case.product == "input_gradient":
        kernel, factors, result = lambda u, w: kernels.input_gradient(u, w, window, image), (outputs, shape), image
    else:
        kernel, factors, result = lambda x, u: kernels.filter_gradient(x, u, window, shape), (image, outputs), shape
    given = [tf.cast(rng.standard_normal(factor, "float32"), case.dtype) for factor in factors]
    # Freed memory is reused: elements that a kernel leaves unwritten show as NaN.
    tf.fill(result, tf.constant(np.nan, case.dtype))
    try:
        actual = _compiled(kernel, *given) if case.compiled else kernel(*given)
    except (tf.errors.OpError, ValueError):
        return False
    pads = [(0, 0), *window.pads(size), (0, 0)]
    covered = tuple(side + sum(around) for side, around in zip(image, pads, strict=True))
    rounded = [value.numpy().astype("float64") for value in given]
    exact, magnitudes = (
        reference_product(case.product, np.pad(one, pads), other, window, covered, grouped).reshape(result)
        for one, other in (rounded, [np.abs(value) for value in rounded])
    )
    allowed = _SPACINGS.get(case.dtype, 0.0) * np.abs(exact) + case.allowed * magnitudes + 2**-24
    return bool(actual.shape == exact.shape and (np.abs(actual.numpy() - exact) <= allowed).all())


def _compiled(kernel: Callable[..., Tensor], *given: Tensor) -> Tensor:
    return tf.function(kernel, jit_compile=True, autograph=False).get_concrete_function(*given)(*given)


def reference_product(
    product: Product,
    one: np.ndarray,
    other: np.ndarray,
    window: Window,
    image: tuple[int, ...],
    filter: tuple[int, ...],
) -> np.ndarray:
    """One of the three products of a grouped convolution without padding, as products of matrices.

    Args:
        product: which one: y of x and a filter, the gradient to x of upstream and a filter, or that to the filter of x
            and upstream.
        one: its first factor; x is (N, H, W, C), upstream (N, H', W', F).
        other: its second factor; a filter may have any shape of so many numbers.
        window: only its strides and rate are used.
        image: the shape of x.
        filter: (kh, kw, C / groups, F).

    Returns:
        The result, of the shape of y, x or (kh, kw, C / groups, F).
    """
    rows, columns, per_group, filters = filter
    groups = image[3] // per_group
    height, width = (side - (taps - 1) * r for side, taps, r in zip(image[1:3], filter[:2], window.rate, strict=True))
    x = np.zeros(image) if product == "input_gradient" else one
    views = [
        x[:, row : row + height : window.strides[0], column : column + width : window.strides[1]]
        for row in range(0, rows * window.rate[0], window.rate[0])
        for column in range(0, columns * window.rate[1], window.rate[1])
    ]
    # By group: taps (filters, kh·kw·channels), patches (kh·kw·channels, pixels), results (filters, pixels).
    if product != "filter_gradient":
        taps = other.reshape(-1, groups, filters // groups).transpose(1, 2, 0)
    if product != "forward":
        results = (one if product == "input_gradient" else other).reshape(-1, groups, filters // groups)
        results = results.transpose(1, 2, 0)
    if product == "input_gradient":
        by_tap = (taps.transpose(0, 2, 1) @ results).reshape(groups, len(views), per_group, -1)
        for view, gradient in zip(views, by_tap.transpose(1, 3, 0, 2), strict=True):
            np.add(view, gradient.reshape(view.shape), out=view)
        return x
    by_tap = np.stack(views).reshape(len(views), -1, groups, per_group).transpose(2, 0, 3, 1)
    patches = by_tap.reshape(groups, len(views) * per_group, -1)
    if product == "forward":
        return (taps @ patches).transpose(2, 0, 1).reshape(*views[0].shape[:3], filters)
    return (patches @ results.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(filter)
