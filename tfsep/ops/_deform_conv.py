"""Deformable convolution: offsets move each tap of the kernel.

The pixels of all taps, sampled bilinearly (`_weighted_gather`), are laid out as an image, and the filter goes over that
image as over any other (`_lowering`).
"""

from itertools import product
from typing import NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PaddingLike, Pair, PairLike, Window
from tfsep.ops import _arguments as arguments
from tfsep.ops import _lowering as lowering
from tfsep.ops import _window_arithmetic as windows
from tfsep.ops._arguments import WindowArguments, WindowLike
from tfsep.ops._export_context import is_for_file, without_autograph
from tfsep.ops._pixel_layout import Size, are_known, batch_size, ensure_channels, spatial_size
from tfsep.ops._size_checks import check_input_size
from tfsep.ops._weighted_gather import weighted_gather

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
    """Deformable 2-D convolution: offsets move the taps of the filter, and a mask weights them.

    ``y[n, i, j, f] = sum over di, dj, c of m · x(i·s + di·r + dy, j·s + dj·r + dx, c) · filter[di, dj, c, f]``, where
    (dy, dx) and m are the offset and the mask of that output and tap, and x between its pixels is bilinear, with zeros
    around the image. This is torchvision's ``deform_conv2d`` in NHWC; without offsets it is `conv2d`.

    A bilinear image has a kink where a position is a whole number. There the gradient to an offset is, as in
    torchvision, that of the side below or to the right; derivatives of any order follow this convention.

    The sampled taps take N·H'·W'·kh·kw·C numbers, and several times that while they are sampled.

    Args:
        x: floating tensor (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
        offset: (N, H', W', 2·OG·kh·kw), or (N, 2·OG·kh·kw, H', W'), in pixels, of x's dtype: for each of the OG offset
            groups, row and column of the kernel, in this order, (dy, dx). An offset group is C / OG channels of x.
        filter: (kh, kw, C / groups, F), of x's dtype; F must be a multiple of groups.
        mask: (N, H', W', OG·kh·kw), or (N, OG·kh·kw, H', W'), of x's dtype, in the same order; None for ones.
        strides: step of the window, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: dilation, an int or a pair (rows, columns); any stride goes with any rate.
        groups: number of groups of channels and filters; None to derive it from the filter's shape.
        data_format: ``"channels_last"`` or ``"channels_first"``, of x, offset, mask and the result.

    Returns:
        A tensor (N, H', W', F) of x's dtype, or (N, F, H', W'). Positions are never rounded to half precision.

    Raises:
        ValueError: for a wrong rank, groups that do not divide, or that contradict the filter, an offset or a mask of
            another shape, sizes under 1, or an output of no size.
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
    wanted = None if groups is None else positive_int(groups, "groups")
    x = ensure_channels(x, filter.shape[2] * (wanted or 1))
    arguments.check_groups(filter, x.shape[3])
    found = x.shape[3] // filter.shape[2]
    if wanted not in (None, found):
        raise ValueError(f"groups: expected {found}, which C = {x.shape[3]} and the filter's shape make, got {groups}")
    window = arguments.checked_window(x, filter, window)
    offset = arguments.to_nhwc(offset, data_format, name="offset", like=x)
    mask = None if mask is None else arguments.to_nhwc(mask, data_format, name="mask", like=x)
    x = check_input_size(x, window)
    offset_groups = _offset_groups(offset, x.shape[3], window)
    offset = _with_checked_shape(offset, "offset", 2 * offset_groups, x, window, data_format)
    if mask is not None:
        mask = _with_checked_shape(mask, "mask", offset_groups, x, window, data_format)
    layout = _TapLayout(window, offset_groups, as_image=found > 1)
    samples = _sample_taps(x, offset, mask, layout)
    if not layout.as_image:
        filter = tf.reshape(filter, [1, 1, -1, filter.shape[3]])
    kernel = window.kernel if layout.as_image else ONE
    return arguments.from_nhwc(lowering.conv2d(samples, filter, Window(kernel, kernel, "valid", ONE)), data_format)


def _offset_groups(offset: Tensor, channels: int, window: Window) -> int:
    """The number of offset groups, which the offset's channels determine."""
    per_group, given = 2 * _tap_count(window), offset.shape[3]
    if given is None or given % per_group or channels % (given // per_group):
        raise ValueError(
            f"offset: expected 2·OG·kh·kw = {per_group}·OG channels, with OG dividing C = {channels}, got {given}"
        )
    return given // per_group


def _tap_count(window: Window) -> int:
    return window.kernel[0] * window.kernel[1]


def _with_checked_shape(value: Tensor, name: str, per_tap: int, x: Tensor, window: Window, data_format: str) -> Tensor:
    """Return `value` with its shape checked: known sizes now, the others when the graph runs."""
    size = window.output_size((x.shape[1], x.shape[2]))
    known = (x.shape[0], *size, per_tap * _tap_count(window))
    pairs = list(zip(value.shape, known, strict=True))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        expected, given = (
            (n, h, w, c) if data_format == "channels_last" else (n, c, h, w) for n, h, w, c in (known, value.shape)
        )
        raise ValueError(f"{name}: expected shape {expected}, got {given}")
    if all(None not in pair for pair in pairs):
        return value
    wanted = tf.stack([batch_size(x), *windows.output_size(spatial_size(x), window), known[3]])
    fits = tf.reduce_all(tf.shape(value) == wanted)
    check = tf.debugging.Assert(fits, [f"{name}: expected (N, H', W', channels)", wanted, "got", tf.shape(value)])
    with tf.control_dependencies([check]):
        checked = tf.identity(value)
    checked.set_shape([a if b is None else b for a, b in pairs])
    return checked


class _TapLayout(NamedTuple):
    """The layout of the sampled taps, over which the filter goes.

    Attributes:
        window: window of the convolution.
        offset_groups: number of groups of channels with offsets of their own.
        as_image: False for (N, H', W', kh·kw·C), the taps of an output as channels, for the filter as a 1×1 one. True
            for (N, H'·kh, W'·kw, C), the taps as an image, for the filter with strides of its own size: with several
            groups of channels the taps of a group are not adjacent in the first layout.
    """

    window: Window
    offset_groups: int
    as_image: bool

    @property
    def reach(self) -> Pair:
        """Upper bound of the pixels between the image and a tap before its offset, along each axis."""
        rows, columns = self.window.effective_kernel
        (top, bottom), (left, right) = self.window.pads(ONE)
        return rows + top + bottom, columns + left + right

    def by_tap(self, value: Tensor, outputs: Size) -> Tensor:
        """Return offsets or masks (N, H', W', OG·kh·kw·K) in the order of the taps: (N, taps, OG, K)."""
        (kh, kw), groups = self.window.kernel, self.offset_groups
        each = value.shape[3] // (groups * kh * kw)
        if self.as_image:
            value = tf.reshape(value, [-1, outputs[1], groups, kh, kw, each])
            value = tf.transpose(value, [0, 3, 1, 4, 2, 5])
        elif groups > 1:
            value = tf.transpose(tf.reshape(value, [-1, groups, kh * kw, each]), [0, 2, 1, 3])
        return tf.reshape(value, [-1, outputs[0] * outputs[1] * kh * kw, groups, each])

    def positions(self, before: Size, outputs: Size, dtype: tf.DType) -> tuple[Tensor, Tensor]:
        """Return the row and the column of each tap before its offset, each (taps, 1)."""
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

    def to_image(self, samples: Tensor, outputs: Size, channels: int) -> Tensor:
        """Return samples (N·taps·OG, C / OG) as the image that the filter goes over."""
        kh, kw = self.window.kernel
        size = (outputs[0] * kh, outputs[1] * kw, channels) if self.as_image else (*outputs, kh * kw * channels)
        return tf.reshape(samples, [-1, *size])


def _sample_taps(x: Tensor, offset: Tensor, mask: Tensor | None, layout: _TapLayout) -> Tensor:
    """Return the bilinear samples of all taps, as the image that the filter goes over."""
    size, outputs, channels, groups = spatial_size(x), spatial_size(offset), x.shape[3], layout.offset_groups
    precision = x.dtype if x.dtype == tf.float64 else tf.float32
    integer = _index_dtype(x, groups)
    positions = layout.positions(_leading_pads(layout.window, size), outputs, integer)
    number, height, width = (tf.cast(side, integer) for side in (batch_size(x), *size))
    offsets = tf.unstack(tf.cast(layout.by_tap(offset, outputs), precision), axis=3)
    rows, columns = map(_neighbours, positions, offsets, (height, width), layout.reach)
    # The first row of the table for each image and each of its offset groups.
    first = tf.range(number)[:, None, None] * (height * width * groups) + tf.range(groups, dtype=integer)
    rows = [(row * (width * groups) + first, weight) for row, weight in rows]
    if mask is not None:
        factor = tf.squeeze(tf.cast(layout.by_tap(mask, outputs), precision), axis=3)
        rows = [(row, weight * factor) for row, weight in rows]
    columns = [(column * groups, weight) for column, weight in columns]
    corners = list(product(rows, columns))
    index = [tf.reshape(row + column, [-1]) for (row, _), (column, _) in corners]
    weights = tf.stack([tf.reshape(vertical * horizontal, [-1]) for (_, vertical), (_, horizontal) in corners])
    table = tf.cast(tf.reshape(x, [-1, channels // groups]), precision)
    return layout.to_image(tf.cast(weighted_gather(table, weights, index), x.dtype), outputs, channels)


def _neighbours(position: Tensor, offset: Tensor, side: Tensor, reach: int) -> list[tuple[Tensor, Tensor]]:
    """Return the two pixels around a moved position along one axis, and the weight of each; 0 outside the image.

    Only the fraction of the offset is a float, and its whole pixels are ints, so positions are exact in images of any
    size. The offset is clipped where it leaves the image from any position, so that its whole pixels fit an int even if
    it is infinite. An exported file has no such clip: a recipe would quantize the bound within the range of the offsets
    that it saw.
    """
    if not is_for_file():
        farthest = tf.cast(side + reach, offset.dtype)
        offset = tf.clip_by_value(offset, -farthest, farthest)
    whole = tf.stop_gradient(tf.floor(offset))
    pixel, fraction = position + tf.cast(whole, position.dtype), offset - whole
    neighbours = []
    for at, weight in ((pixel, 1.0 - fraction), (pixel + 1, fraction)):
        inside = _nearest_inside(at, side)
        neighbours.append((inside, weight * tf.cast(tf.equal(inside, at), weight.dtype)))
    return neighbours


def _nearest_inside(at: Tensor, side: Tensor) -> Tensor:
    """Return the nearest pixel of an axis with `side` pixels."""
    if is_for_file():
        # The converter turns a clip from 0 to 6 into a ReLU6, which does not exist for integers.
        return tf.clip_by_value(at + 1, 1, side) - 1
    return tf.clip_by_value(at, 0, side - 1)


def _leading_pads(window: Window, size: Size) -> Size:
    """The padding above and left of an image, whose size may be unknown."""
    if window.padding != "same" or are_known(*size):
        (top, _), (left, _) = window.pads(size if are_known(*size) else ONE)
        return top, left
    rows, columns = (total // 2 for total in windows.same_padding_total(size, window))
    return rows, columns


def _index_dtype(x: Tensor, groups: int) -> tf.DType:
    """The integer dtype that counts the rows of the table, of which each pixel has one per group."""
    known = x.shape[:3].is_fully_defined()
    return tf.int32 if known and x.shape[:3].num_elements() * groups < tf.int32.max else tf.int64
