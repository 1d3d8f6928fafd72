"""A window laid over images: which pixels its steps, phases and taps meet, and the arithmetic of it.

Nothing here computes a convolution or chooses how: that is `_lowering`'s. Sizes are ints where they are known, and
scalar tensors where they are not.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import gcd
from typing import Any

from tfsep._keras.backend import tf
from tfsep.geometry import Pads, Pair, Transposed, Window
from tfsep.ops._pixel_layout import Sides, are_known, fit, framed, scatter, sides, subsample, to_phases

ONE: Pair = (1, 1)
NO_PADS: Pads = ((0, 0), (0, 0))
POINTWISE = Window.of(1)


def alone(window: Window) -> Window:
    """The window with no rate for a side of one tap, which has none; to say so opens every way that knows none."""
    rows, columns = (1 if k == 1 else r for k, r in zip(window.kernel, window.rate, strict=True))
    return replace(window, rate=(rows, columns))


def transposed_size(x: Any, geometry: Transposed) -> Sides:
    """Rows and columns of the transposed convolution of x."""
    rows, columns = (
        (side - 1) * step + reach
        for side, step, reach in zip(sides(x), geometry.window.strides, geometry.reach, strict=True)
    )
    return rows, columns


def between_zeros(upstream: Any, window: Window, size: Sides) -> tuple[Any, Pads]:
    """Upstream with its pixels a stride apart, and the pads under which a turned filter makes an x of this size."""
    (top, left), reach = before(window), window.effective_kernel
    return framed(
        scatter(upstream, window.strides),
        (reach[0] - 1 - top, reach[1] - 1 - left),
        (size[0] + reach[0] - 1, size[1] + reach[1] - 1),
    )


def before(window: Window) -> Pair:
    (top, _), (left, _) = window.pads(ONE)
    return top, left


def common_factor(window: Window) -> Pair:
    """What stride and rate share: a convolution looks at no pixel but every such one."""
    rows, columns = (
        s if k == 1 else gcd(s, r) for k, s, r in zip(window.kernel, window.strides, window.rate, strict=True)
    )
    return rows, columns


def divided(window: Window, factor: Pair) -> Window:
    """The window on every factor-th pixel of what was padded."""
    strides, rate = ((max(a // factor[0], 1), max(b // factor[1], 1)) for a, b in (window.strides, window.rate))
    return Window(window.kernel, strides, NO_PADS, rate)


def plain(window: Window) -> Window:
    """A window of the same kernel and nothing else."""
    return Window(window.kernel, ONE, NO_PADS, ONE)


def extent(window: Window, outputs: Sides) -> Sides:
    """The rows and columns that a window with no padding sees for so many outputs."""
    rows, columns = (
        (count - 1) * step + reach
        for count, step, reach in zip(outputs, window.strides, window.effective_kernel, strict=True)
    )
    return rows, columns


def every(x: Any, window: Window, factor: Pair, outputs: Sides) -> Any:
    """Every factor-th pixel of x as the window pads it, as many as so many outputs need."""
    return subsample(x, factor, before(window), extent(divided(window, factor), outputs))


def phase_size(window: Window, outputs: Sides) -> Sides:
    """Rows and columns that each phase of an output has."""
    return tuple((count + rate - 1) // rate for count, rate in zip(outputs, window.rate, strict=True))


def phases(x: Any, window: Window, outputs: Sides) -> Any:
    """The phases of x, as the window pads it, each of them large enough for its share of the outputs."""
    return to_phases(x, window.rate, before(window), extent(plain(window), phase_size(window, outputs)))


def taps(x: Any, window: Window, outputs: Sides) -> Iterator[tuple[int, int, Any]]:
    """For each tap of the kernel, its row and column and the pixels that it meets, one an output."""
    end = tuple(
        (k - 1) * r + n * s for k, r, n, s in zip(window.kernel, window.rate, outputs, window.strides, strict=True)
    )
    x = fit(x, before(window), end)
    for row, column in product(*map(range, window.kernel)):
        yield row, column, subsample(x, window.strides, (-row * window.rate[0], -column * window.rate[1]), outputs)


def settled(x: Any, window: Window, whole: bool = False) -> tuple[Any, Window]:
    """Return the image and the window that TensorFlow's op takes, with x padded where the op could not do it itself.

    Padding in pixels that is just SAME for an image of this size stays with the op: it costs nothing there, and an
    exported graph has an operator less. Not so where an image must be `whole`, at least as large as the kernel: for
    taps that meet nothing but padding, oneDNN's gradients to a bfloat16 filter are uninitialised memory.
    """
    if isinstance(window.padding, str):
        return x, window
    if window.padding == NO_PADS:
        return x, replace(window, padding="valid")
    if is_same(window, sides(x)) and not (whole and is_smaller(sides(x), window)):
        return x, replace(window, padding="same")
    return tf.pad(x, [(0, 0), *window.padding, (0, 0)]), replace(window, padding="valid")


def is_same(window: Window, size: Sides) -> bool:
    return are_known(*size) and window.padding == replace(window, padding="same").pads(size)


def is_smaller(size: Sides, window: Window) -> bool:
    return any(side < reach for side, reach in zip(size, window.effective_kernel, strict=True))


def pad_to_same(x: Any, window: Window) -> Any:
    """Pad an image whose size is known only when the graph runs."""
    pads = ((total // 2, total - total // 2) for total in same_total(sides(x), window))
    return tf.pad(x, [(0, 0), *pads, (0, 0)])


def same_total(size: Sides, window: Window) -> Sides:
    """The rows and columns that SAME pads an image with, whose size is known only when the graph runs."""
    padded = extent(window, outputs(size, window))
    rows, columns = (tf.maximum(wanted - given, 0) for wanted, given in zip(padded, size, strict=True))
    return rows, columns


def outputs(size: Sides, window: Window) -> Sides:
    """Rows and columns of the result, of an image of this size."""
    if are_known(*size):
        return window.output_size(size)
    if window.padding == "same":
        return tuple((given + step - 1) // step for given, step in zip(size, window.strides, strict=True))
    pads = window.pads(ONE)
    return tuple(
        (given + sum(around) - reach) // step + 1
        for given, around, reach, step in zip(size, pads, window.effective_kernel, window.strides, strict=True)
    )
