"""Arithmetic of a window over images: which pixels its steps, phases and taps meet.

Nothing here computes a convolution or chooses how to compute one: `_lowering` does. Sizes are ints where they are
known, else scalar tensors.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import gcd

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.geometry import Pads, Pair, Transposed, Window
from tfsep.ops._pixel_layout import (
    Size,
    are_known,
    crop_and_defer_padding,
    crop_or_pad,
    images_and,
    interleave_zeros,
    spatial_size,
    subsample,
    to_phases,
)

ONE: Pair = (1, 1)
NO_PADS: Pads = ((0, 0), (0, 0))
POINTWISE = Window.of(1)


def without_unused_rate(window: Window) -> Window:
    """The window with rate 1 along axes of a single tap, where a rate means nothing but rules out kernels."""
    rows, columns = (1 if k == 1 else r for k, r in zip(window.kernel, window.rate, strict=True))
    return replace(window, rate=(rows, columns))


def output_size(size: Size, window: Window) -> Size:
    """Rows and columns of the output for an image of this size."""
    if are_known(*size):
        rows, columns = window.output_size(size)
        return rows, columns
    if window.padding == "same":
        rows, columns = ((given + step - 1) // step for given, step in zip(size, window.strides, strict=True))
        return rows, columns
    pads = window.pads(ONE)
    rows, columns = (
        (given + sum(around) - reach) // step + 1
        for given, around, reach, step in zip(size, pads, window.effective_kernel, window.strides, strict=True)
    )
    return rows, columns


def transposed_output_size(x: Tensor, geometry: Transposed) -> Size:
    """Rows and columns of the transposed convolution of x."""
    rows, columns = (
        # (side - 1)·step + reach, in the fewest operations.
        side * step if reach == step else side * step + (reach - step)
        for side, step, reach in zip(spatial_size(x), geometry.window.strides, geometry.reach, strict=True)
    )
    return rows, columns


def input_extent(window: Window, outputs: Size) -> Size:
    """Rows and columns of input that a window without padding covers for so many outputs."""
    rows, columns = (
        (count - 1) * step + reach
        for count, step, reach in zip(outputs, window.strides, window.effective_kernel, strict=True)
    )
    return rows, columns


def leading_pads(window: Window) -> Pair:
    """Padding above and left of an image, for a window whose padding does not depend on its size."""
    (top, _), (left, _) = window.pads(ONE)
    return top, left


def with_unit_steps(window: Window) -> Window:
    """A window of the same kernel with strides and rate of 1 and no padding."""
    return Window(window.kernel, ONE, NO_PADS, ONE)


def common_factor(window: Window) -> Pair:
    """The greatest common divisor of stride and rate along each axis: only pixels so far apart are used."""
    rows, columns = (
        s if k == 1 else gcd(s, r) for k, s, r in zip(window.kernel, window.strides, window.rate, strict=True)
    )
    return rows, columns


def divide_steps(window: Window, factor: Pair) -> Window:
    """The window without padding over every factor-th pixel of a padded image."""
    strides, rate = ((max(a // factor[0], 1), max(b // factor[1], 1)) for a, b in (window.strides, window.rate))
    return Window(window.kernel, strides, NO_PADS, rate)


def simplest_steps(window: Window) -> Window:
    """What is left of the window when stride and rate are divided, and the phases of a rate are a larger batch."""
    divided = divide_steps(window, common_factor(window))
    return with_unit_steps(divided) if divided.strides == ONE else divided


def subsample_padded(x: Tensor, window: Window, factor: Pair, outputs: Size) -> Tensor:
    """Every factor-th pixel of x with the window's padding, as many as so many outputs need."""
    return subsample(x, factor, leading_pads(window), input_extent(divide_steps(window, factor), outputs))


def phase_size(window: Window, outputs: Size) -> Size:
    """Rows and columns of each phase of an output."""
    rows, columns = ((count + rate - 1) // rate for count, rate in zip(outputs, window.rate, strict=True))
    return rows, columns


def padded_phases(x: Tensor, window: Window, outputs: Size) -> Tensor:
    """The phases of x with the window's padding, each large enough for its share of the outputs."""
    size = input_extent(with_unit_steps(window), phase_size(window, outputs))
    return to_phases(x, window.rate, leading_pads(window), size)


def pixels_by_tap(x: Tensor, window: Window, outputs: Size) -> Iterator[tuple[int, int, Tensor]]:
    """For each tap of the kernel: its row, its column and the image of the pixels it meets, one for each output."""
    rows, columns = (
        (k - 1) * r + n * s for k, r, n, s in zip(window.kernel, window.rate, outputs, window.strides, strict=True)
    )
    x = crop_or_pad(x, leading_pads(window), (rows, columns))
    for row, column in product(*map(range, window.kernel)):
        yield row, column, subsample(x, window.strides, (-row * window.rate[0], -column * window.rate[1]), outputs)


def insert_stride_zeros(upstream: Tensor, window: Window, size: Size) -> tuple[Tensor, Pads]:
    """Upstream with pixels a stride apart, and the padding with which the flipped filter gives an x of this size."""
    (top, left), reach = leading_pads(window), window.effective_kernel
    return crop_and_defer_padding(
        interleave_zeros(upstream, window.strides),
        (reach[0] - 1 - top, reach[1] - 1 - left),
        (size[0] + reach[0] - 1, size[1] + reach[1] - 1),
    )


def with_native_padding(x: Tensor, window: Window, cover_kernel: bool = False) -> tuple[Tensor, Window]:
    """Return x and the window with padding ``"same"`` or ``"valid"``, which TensorFlow's ops take; pad x otherwise.

    Padding in pixels that equals SAME for this size stays with the op, where it costs nothing and saves an operator in
    an exported graph. With `cover_kernel`, an image smaller than the kernel is padded all the same: oneDNN's gradients
    to a bfloat16 filter are uninitialised memory for taps that meet nothing but padding.
    """
    if isinstance(window.padding, str):
        return x, window
    # A 1×1 filter is left SAME, too: an op with VALID takes in what pads in front of it.
    if window.padding == NO_PADS and (cover_kernel or max(*window.kernel, *window.strides) > 1):
        return x, replace(window, padding="valid")
    size = spatial_size(x)
    covered = are_known(*size) and not is_smaller_than_kernel(size, window)
    if is_same_padding(window, size) and (covered or not cover_kernel):
        return x, replace(window, padding="same")
    return tf.pad(x, [(0, 0), *window.padding, (0, 0)]), replace(window, padding="valid")


def is_same_padding(window: Window, size: Size) -> bool:
    """Whether the window's padding in pixels is what SAME would be for an image of this size."""
    if not are_known(*size):
        # At stride 1 it is the same for all sizes. ONNX Runtime takes no SAME with a rate, and needs none if it knows
        # the size.
        if window.strides != ONE or window.rate != ONE:
            return False
        size = ONE
    return window.padding == replace(window, padding="same").pads(size)


def is_padded_wide(window: Window) -> bool:
    """Whether a dilated window meets more columns of padding, on both sides, than oneDNN's depthwise kernel takes."""
    return not isinstance(window.padding, str) and window.rate != ONE and min(window.pads(ONE)[1]) > 6


def is_smaller_than_kernel(size: Size, window: Window) -> bool:
    """Whether an image of this size is smaller than the effective kernel along any axis."""
    return any(side < reach for side, reach in zip(size, window.effective_kernel, strict=True))


def pad_as_same(x: Tensor, window: Window) -> Tensor:
    """Apply SAME padding to an image whose size is known only when the graph runs."""
    size, totals = spatial_size(x), same_padding_total(spatial_size(x), window)
    padded = tf.pad(x, [(0, 0), *((total // 2, total - total // 2) for total in totals), (0, 0)])
    # The converter loses the number of channels where it does not know the padding, and learns it from a reshape.
    sides = (side + total for side, total in zip(size, totals, strict=True))
    return tf.reshape(padded, images_and(x, *sides, x.shape[3]))


def same_padding_total(size: Size, window: Window) -> Size:
    """Rows and columns of SAME padding for an image whose size is known only when the graph runs."""
    padded = input_extent(window, output_size(size, window))
    rows, columns = (tf.maximum(wanted - given, 0) for wanted, given in zip(padded, size, strict=True))
    return rows, columns
