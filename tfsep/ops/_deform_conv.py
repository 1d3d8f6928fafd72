"""Deformable convolution: each tap of the kernel looks where an offset sends it.

What the taps see, sampled between the pixels (`_sampling`), is laid out as an image, over which the filter then goes as
over any other (`_lowering`).
"""

from itertools import product
from typing import Any, NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.geometry import PaddingLike, Pair, PairLike, Window, positive
from tfsep.ops import _arguments as arguments
from tfsep.ops import _lowering as lowering
from tfsep.ops import _window_arithmetic as windows
from tfsep.ops._arguments import WindowArguments, WindowLike
from tfsep.ops._export_context import is_exporting, without_autograph
from tfsep.ops._pixel_layout import Sides, are_known, images, sides, with_channels
from tfsep.ops._weighted_gather import weighted_rows

__all__ = ["deform_conv2d"]

ONE: Pair = (1, 1)


def deform_conv2d(
    x: TensorLike,
    offset: TensorLike,
    filter: TensorLike,
    mask: TensorLike | None = None,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
    groups: int | None = None,
    data_format: str = "channels_last",
) -> Tensor:
    """Convolve images with filters whose taps are moved by offsets, and weighed by a mask.

    ``y[n, i, j, f] = sum over di, dj, c of m · x(i·s + di·r + dy, j·s + dj·r + dx, c) · filter[di, dj, c, f]``, where
    (dy, dx) and m are the offset and the mask of that output and tap, and x between its pixels is bilinear, with zeros
    around the image. This is torchvision's ``deform_conv2d`` in NHWC; without offsets it is `conv2d`.

    A bilinear image has a kink where a position is a whole number. The gradient to an offset is there, as in
    torchvision, the one of the side below or to the right. Derivatives are right in any order, with that.

    What the taps see takes N·H'·W'·kh·kw·C numbers, and some times that while it is sampled.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        offset: (N, H', W', 2·OG·kh·kw), or (N, 2·OG·kh·kw, H', W'), in pixels, of x's dtype: for each of the OG offset
            groups, row and column of the kernel, in this order, (dy, dx). An offset group is C / OG channels of x.
        filter: (kh, kw, C / groups, F), of x's dtype; F must be a multiple of groups.
        mask: (N, H', W', OG·kh·kw), or (N, OG·kh·kw, H', W'), of x's dtype, in the same order; None for ones.
        strides, padding, rate: as in `conv2d`.
        groups: of channels and filters; None for those that the filter's shape says.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x, offset, mask and the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W'). Positions are never rounded to half precision.

    Raises:
        ValueError: as `conv2d`, and for an offset or a mask of another shape, or groups that are not the filter's.
        TypeError: for a dtype that is not floating, or that differs from x's.

    Source: J. Dai et al., "Deformable Convolutional Networks" (arXiv 1703.06211), equations 2 to 4; the mask, X. Zhu et
    al., "Deformable ConvNets v2" (arXiv 1811.11168), equation 1.

    Examples:
        >>> x = tf.reshape(tf.range(9.0), (1, 3, 3, 1))
        >>> offset = tf.tile([[[[0.5, 0.0]]]], (1, 3, 3, 1))  # half a pixel down
        >>> deform_conv2d(x, offset, tf.ones((1, 1, 1, 1)))[0, :, :, 0].numpy()
        array([[1.5, 2.5, 3.5],
               [4.5, 5.5, 6.5],
               [3. , 3.5, 4. ]], dtype=float32)
    """
    window = WindowArguments(strides, padding, rate)
    return convolve_deformable(x, offset, filter, mask, window, data_format, groups)


@without_autograph
def convolve_deformable(
    x: TensorLike,
    offset: TensorLike,
    filter: TensorLike,
    mask: TensorLike | None,
    window: WindowLike,
    data_format: str,
    groups: int | None = None,
) -> Tensor:
    """Deformable convolution of images with a window, parsed or not."""
    x = arguments.to_nhwc(x, data_format)
    filter = arguments.checked_filter(filter, "filter", "C / groups, F", x)
    wanted = None if groups is None else positive(groups, "groups")
    x = with_channels(x, filter.shape[2] * (wanted or 1))
    arguments.check_groups(filter, x.shape[3])
    found = x.shape[3] // filter.shape[2]
    if wanted not in (None, found):
        raise ValueError(f"groups: expected {found}, which C = {x.shape[3]} and the filter's shape make, got {groups}")
    window = arguments.checked_window(x, filter, window)
    offset = arguments.to_nhwc(offset, data_format, name="offset", like=x)
    mask = None if mask is None else arguments.to_nhwc(mask, data_format, name="mask", like=x)
    x = lowering.large_enough(x, window)
    offset_groups = _offset_groups(offset, x.shape[3], window)
    offset = _fitting(offset, "offset", 2 * offset_groups, x, window, data_format)
    if mask is not None:
        mask = _fitting(mask, "mask", offset_groups, x, window, data_format)
    taps = _Taps(window, offset_groups, as_image=found > 1)
    seen = _seen(x, offset, mask, taps)
    if not taps.as_image:
        filter = tf.reshape(filter, [1, 1, -1, filter.shape[3]])
    kernel = window.kernel if taps.as_image else ONE
    return arguments.from_nhwc(lowering.conv2d(seen, filter, Window(kernel, kernel, "valid", ONE)), data_format)


def _offset_groups(offset: Any, channels: int, window: Window) -> int:
    """The number of offset groups, which the offset's channels say."""
    per_group, given = 2 * _area(window), offset.shape[3]
    if given is None or given % per_group or channels % (given // per_group):
        raise ValueError(
            f"offset: expected 2·OG·kh·kw = {per_group}·OG channels, with OG dividing C = {channels}, got {given}"
        )
    return given // per_group


def _area(window: Window) -> int:
    return window.kernel[0] * window.kernel[1]


def _fitting(value: Any, name: str, per_tap: int, x: Any, window: Window, data_format: str) -> Any:
    """Return `value`, with its shape checked: as far as sizes are known now, the rest of it when the graph runs."""
    size = window.output_size((x.shape[1], x.shape[2]))
    known = (x.shape[0], *size, per_tap * _area(window))
    pairs = list(zip(value.shape, known, strict=True))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        expected, given = (
            (n, h, w, c) if data_format == "channels_last" else (n, c, h, w) for n, h, w, c in (known, value.shape)
        )
        raise ValueError(f"{name}: expected shape {expected}, got {given}")
    if all(None not in pair for pair in pairs):
        return value
    wanted = tf.stack([images(x), *windows.outputs(sides(x), window), known[3]])
    fits = tf.reduce_all(tf.shape(value) == wanted)
    check = tf.debugging.Assert(fits, [f"{name}: expected (N, H', W', channels)", wanted, "got", tf.shape(value)])
    with tf.control_dependencies([check]):
        checked = tf.identity(value)
    checked.set_shape([a if b is None else b for a, b in pairs])
    return checked


class _Taps(NamedTuple):
    """Where the taps of a window are put: tap by tap behind each output's channels, or as an image of their own.

    The first is a row a product takes, (N, H', W', kh·kw·C), under the filter as a 1×1 one. Groups of channels are
    apart in it, so for them it is the second, (N, H'·kh, W'·kw, C), over which the filter goes in steps of its size.
    """

    window: Window
    offset_groups: int
    as_image: bool

    @property
    def reach(self) -> Pair:
        """A number of pixels, a side, that no tap is farther from the image than, before it is moved."""
        rows, columns = self.window.effective_kernel
        (top, bottom), (left, right) = self.window.pads(ONE)
        return rows + top + bottom, columns + left + right

    def rows(self, value: Any, outputs: Sides) -> Any:
        """Return what each tap is given, (N, H', W', OG·kh·kw·K), in the order of the taps: (N, taps, OG, K)."""
        (kh, kw), groups = self.window.kernel, self.offset_groups
        each = value.shape[3] // (groups * kh * kw)
        if self.as_image:
            value = tf.reshape(value, [-1, outputs[1], groups, kh, kw, each])
            value = tf.transpose(value, [0, 3, 1, 4, 2, 5])
        elif groups > 1:
            value = tf.transpose(tf.reshape(value, [-1, groups, kh * kw, each]), [0, 2, 1, 3])
        return tf.reshape(value, [-1, outputs[0] * outputs[1] * kh * kw, groups, each])

    def places(self, before: Sides, outputs: Sides, dtype: Any) -> tuple[Any, Any]:
        """Return the row, and the column, of each tap before it is moved: both (taps, 1)."""
        axes = []
        for side, ahead, stride, taps, rate in zip(
            outputs, before, self.window.strides, self.window.kernel, self.window.rate, strict=True
        ):
            first, tap = tf.range(side) * stride - ahead, tf.range(taps) * rate
            axes.append(tf.cast(first[:, None] + tap, dtype))
        rows, columns = axes[0][:, None, :, None], axes[1][None, :, None, :]
        order = [0, 2, 1, 3] if self.as_image else [0, 1, 2, 3]
        by_row, by_column = (
            tf.reshape(tf.transpose(axis, order), [-1, 1])
            for axis in (rows + tf.zeros_like(columns), columns + tf.zeros_like(rows))
        )
        return by_row, by_column

    def lay(self, samples: Any, outputs: Sides, channels: int) -> Any:
        """Return samples (N·taps·OG, C / OG) as what the filter goes over."""
        kh, kw = self.window.kernel
        size = (outputs[0] * kh, outputs[1] * kw, channels) if self.as_image else (*outputs, kh * kw * channels)
        return tf.reshape(samples, [-1, *size])


def _seen(x: Any, offset: Any, mask: Any, taps: _Taps) -> Any:
    """Return what each tap sees, laid out for the filter."""
    size, outputs, channels, groups = sides(x), sides(offset), x.shape[3], taps.offset_groups
    exact = x.dtype if x.dtype == tf.float64 else tf.float32
    count = _index_dtype(x, groups)
    places = taps.places(_before(taps.window, size), outputs, count)
    number, height, width = (tf.cast(side, count) for side in (images(x), *size))
    moves = tf.unstack(tf.cast(taps.rows(offset, outputs), exact), axis=3)
    rows, columns = map(_ends, places, moves, (height, width), taps.reach)
    # Of each image and each of its offset groups, the row of the table that is its first.
    first = tf.range(number)[:, None, None] * (height * width * groups) + tf.range(groups, dtype=count)
    rows = [(row * (width * groups) + first, weight) for row, weight in rows]
    if mask is not None:
        factor = tf.squeeze(tf.cast(taps.rows(mask, outputs), exact), axis=3)
        rows = [(row, weight * factor) for row, weight in rows]
    columns = [(column * groups, weight) for column, weight in columns]
    corners = list(product(rows, columns))
    index = tf.stack([tf.reshape(row + column, [-1]) for (row, _), (column, _) in corners])
    weights = tf.stack([tf.reshape(down * across, [-1]) for (_, down), (_, across) in corners])
    table = tf.cast(tf.reshape(x, [-1, channels // groups]), exact)
    return taps.lay(tf.cast(weighted_rows(table, weights, index), x.dtype), outputs, channels)


def _ends(place: Any, move: Any, side: Any, reach: int) -> list[tuple[Any, Any]]:
    """Return, along one axis, the two pixels around a place that is moved, and the weight of each: none outside.

    A move is cut where it has left the image from any place; so it fits an int, an infinite one too. That is left out
    of a file, of which a recipe would squeeze the bound itself into the range of the moves that it saw. Its whole
    pixels are taken apart from the rest of it, so no image is too large for that to be exact.
    """
    if not is_exporting():
        farthest = tf.cast(side + reach, move.dtype)
        move = tf.clip_by_value(move, -farthest, farthest)
    whole = tf.stop_gradient(tf.floor(move))
    pixel, fraction = place + tf.cast(whole, place.dtype), move - whole
    ends = []
    for at, weight in ((pixel, 1.0 - fraction), (pixel + 1, fraction)):
        inside = _inside(at, side)
        ends.append((inside, weight * tf.cast(tf.equal(inside, at), weight.dtype)))
    return ends


def _inside(at: Any, side: Any) -> Any:
    """Return the pixel of an axis that is nearest to each."""
    if is_exporting():
        # The converter takes a clip from 0 to 6 for a ReLU6, which integers have none of.
        return tf.clip_by_value(at + 1, 1, side) - 1
    return tf.clip_by_value(at, 0, side - 1)


def _before(window: Window, size: Sides) -> Sides:
    """The padding ahead of an image, of which the size may not be known."""
    if window.padding != "same" or are_known(*size):
        (top, _), (left, _) = window.pads(size if are_known(*size) else ONE)
        return top, left
    rows, columns = (total // 2 for total in windows.same_total(size, window))
    return rows, columns


def _index_dtype(x: Any, groups: int) -> Any:
    """The dtype in which the rows of the table, C / OG channels of a pixel each, can be counted."""
    known = x.shape[:3].is_fully_defined()
    return tf.int32 if known and x.shape[:3].num_elements() * groups < tf.int32.max else tf.int64
