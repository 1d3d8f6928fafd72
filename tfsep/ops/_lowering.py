"""How a convolution is computed: the one place that chooses between TensorFlow's ways of doing it.

Everything here takes arguments that were checked (`_arguments`), tensors in NHWC, and a `Window`. A convolution is
linear in the image and in the filter (`_bilinear`), and three products make it and its derivatives of any order. "Has"
means that the build was seen to compute it rightly (`_probe`).

=============  ==========================================  ====================================================
product        case                                        lowering
=============  ==========================================  ====================================================
forward        being exported                              TensorFlow's op with stride and rate: one builtin op
forward        the build has the op for stride and rate    that op
forward        float16 or bfloat16, and none of it         in float32, by the rows below, and rounded once
forward        stride and rate share a factor              every factor-th pixel of the image, without it
forward        a rate, and no stride beside it             each phase of the image by itself, at rate 1
forward        depthwise under XLA, and all else           a sum of shifted products, one a tap
gradient to x  the build has it, and has it fast           TensorFlow's op
gradient to x  stride and rate share a factor              that without it, its pixels spread out among zeros
gradient to x  all else                                    upstream spread out among zeros, convolved at stride 1
                                                           with the filter turned about
to the filter  the build has it                            TensorFlow's op, or a matrix product for a 1×1 filter;
                                                           not for a dense 1×1 filter with a stride, nor for a dense
                                                           bfloat16 one with a rate, which oneDNN has wrong
to the filter  float16 or bfloat16, and no common factor   in float32, by the rows below, and rounded once
to the filter  stride and rate share a factor              of every factor-th pixel of the image, without it
to the filter  a rate                                      upstream spread out by what is left of the stride, and
                                                           each phase an image of a larger batch, at rate 1
to the filter  depthwise under XLA                         products of shifted images, summed
groups         the build has all three products            as above, all groups at once
groups         it has not                                  each group by itself
transposed     trained                                     the gradient to x, and its own derivatives
transposed     exported, groups 1 and rate 1               TRANSPOSE_CONV, and a SLICE where padding is not SAME's
transposed     exported, stride and rate share a factor    that without it, its pixels spread out among zeros
transposed     exported, all else                          x spread out among zeros, one (DEPTHWISE_)CONV_2D at stride
                                                           1 with the filter turned about
transposed     exported, a channel a group                 that, as one DEPTHWISE_CONV_2D with several filters
transposed     a channel a group                           each channel as often as it has filters, then depthwise
=============  ==========================================  ====================================================

Under XLA a depthwise convolution goes by its own rows alone, the last ones.

Why the gradient to x of a depthwise convolution with stride 1 is never TensorFlow's op: the forward op with the filter
turned about is the same product, as fast or faster, and knows rates. Why not with a stride in bfloat16: oneDNN's kernel
for that takes ten times as long as the spreading and the forward op together.
Why not ``tf.nn.depthwise_conv2d``: with stride and rate together it returns wrong numbers and only warns, and a rate
alone takes it three times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tfsep._keras.backend import tf
from tfsep.geometry import Pair, Transposed, Window
from tfsep.ops import _window_arithmetic as windows
from tfsep.ops._bilinear import Bilinear
from tfsep.ops._export_context import is_compiling, is_exporting
from tfsep.ops._kernel_probe import Product, computes
from tfsep.ops._pixel_layout import Sides, are_known, fit, from_phases, images, scatter, sides, to_phases, with_channels
from tfsep.ops._tf_kernels import DENSE, DEPTHWISE, Kind
from tfsep.ops._window_arithmetic import NO_PADS, ONE

HALVES = ("float16", "bfloat16")


def conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve x (N, H, W, C) with filter (kh, kw, C / groups, F)."""

    def run(x: Any, filter: Any, groups: int) -> Any:
        return _convolve(DENSE, x, filter, window, filter.shape[3], groups)

    return _in_groups(run, x, filter, window, x.shape[3] // filter.shape[2])


def conv2d_transpose(x: Any, filter: Any, geometry: Transposed, groups: int) -> Any:
    """Convolve x (N, H, W, C) with the transpose of `conv2d` with filter (kh, kw, F / groups, C): (N, H', W', F)."""
    rows, columns, per_group, channels = filter.shape
    if groups == channels > 1:
        own = tf.transpose(filter, [0, 1, 3, 2])
        if is_exporting():
            window, size = windows.alone(geometry.window), windows.transposed_size(x, geometry)
            x, padding = windows.between_zeros(x, window, size)
            return depthwise_conv2d(x, tf.reverse(own, [0, 1]), replace(window, strides=ONE, padding=padding))
        x = x if per_group == 1 else tf.repeat(x, per_group, axis=3)
        return depthwise_conv2d_transpose(x, tf.reshape(own, [rows, columns, channels * per_group, 1]), geometry)

    def run(x: Any, filter: Any, groups: int) -> Any:
        return _transpose(DENSE, x, filter, geometry, groups * per_group, groups)

    return _in_groups(run, x, filter, geometry.window, groups)


def depthwise_conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve each channel of x (N, H, W, C) with its own filters (kh, kw, C, M): (N, H', W', C·M)."""
    return _convolve(DEPTHWISE, x, filter, window, filter.shape[2] * filter.shape[3])


def depthwise_conv2d_transpose(x: Any, filter: Any, geometry: Transposed) -> Any:
    """Convolve x (N, H, W, C·M) with the transpose of `depthwise_conv2d` with filter (kh, kw, C, M): (N, H', W', C)."""
    return _transpose(DEPTHWISE, x, filter, geometry, filter.shape[2])


def _in_groups(run: Callable[[Any, Any, int], Any], x: Any, filter: Any, window: Window, groups: int) -> Any:
    """Run all groups at once where the build has that, else each by itself; both split x and filter at the end."""
    if (
        groups == 1
        or is_exporting()
        or all(
            computes(product, DENSE, x.dtype.name, window.strides, window.rate, groups, filter.shape[2])
            for product in ("forward", "to_x", "to_filter")
        )
    ):
        return run(x, filter, groups)
    pairs = zip(tf.split(x, groups, axis=3), tf.split(filter, groups, axis=3), strict=True)
    return tf.concat([run(*pair, 1) for pair in pairs], axis=3)


def _native(kind: Kind, x: Any, filter: Any, window: Window) -> Any:
    """TensorFlow's op for it: one, also where a graph to be exported only describes what nothing here can run."""
    x, window = windows.settled(x, window)
    return kind.forward(x, filter, window)


def _convolve(kind: Kind, x: Any, filter: Any, window: Window, channels: int, groups: int = 1) -> Any:
    """Convolve images whose number and size may not be known, and whose batch may turn out to have no image in it.

    For no images TensorFlow's ops return a wrong shape, and a filter's gradient of uninitialised memory. A batch known
    to be empty never reaches them; of one that may be, results are put in the shape that they should have, and the
    filter's gradient is masked. Neither copies an image; but the first, behind a convolution of an unknown number of
    images, keeps TensorFlow from fusing a bias and an activation into it at inference.
    """
    if is_exporting():
        return _native(kind, x, filter, window)
    x, window = large_enough(x, window), windows.alone(window)
    if window.padding == "same" and window.strides != ONE and not are_known(*sides(x)):
        x, window = windows.pad_to_same(x, window), replace(window, padding="valid")
    else:
        window = replace(window, padding=window.pads(sides(x) if are_known(*sides(x)) else ONE))
    return _products(kind, filter, window, x.shape, channels, groups)(x, filter)


def _transpose(kind: Kind, x: Any, filter: Any, geometry: Transposed, channels: int, groups: int = 1) -> Any:
    """Return the gradient to an image of so many channels, as a convolution in its own right."""
    x, window = _checked(x, geometry), windows.alone(geometry.window)
    size = windows.transposed_size(x, geometry)
    if is_exporting():
        return _Plan.of(kind, filter, groups).to_x(x, filter, window, size)
    known = tf.TensorShape([x.shape[0], *(side if isinstance(side, int) else None for side in size), channels])
    products = _products(kind, filter, window, known, x.shape[3], groups)
    y = products.transpose(x, filter, tf.stack([images(x), *size, channels]))
    y.set_shape(known)
    return y


def _products(kind: Kind, filter: Any, window: Window, known: Any, channels: int, groups: int) -> Bilinear:
    """The three products, from images whose shape is known so far to results of so many channels."""
    filter_shape, dtype = filter.shape, filter.dtype
    if known[0] == 0:
        # They hold no number, and are linear in x and in the filter all the same.
        return Bilinear(
            lambda x, _: tf.zeros((0, *windows.outputs(sides(x), window), channels), dtype),
            lambda _, __, shape: tf.zeros(shape, dtype),
            lambda _, __: tf.zeros(filter_shape, dtype),
        )
    plan = _Plan.of(kind, filter, groups)

    def forward(x: Any, filter: Any) -> Any:
        x = tf.ensure_shape(x, known) if x.shape != known else x
        return _shaped(plan.forward(x, filter, window), images(x), windows.outputs(sides(x), window), channels)

    def to_x(upstream: Any, filter: Any, shape: Any) -> Any:
        count, *size = (shape[axis] if known[axis] is None else known[axis] for axis in (0, 1, 2))
        upstream = with_channels(upstream, channels)
        return _shaped(plan.to_x(upstream, filter, window, tuple(size)), count, tuple(size), known[3])

    def to_filter(x: Any, upstream: Any) -> Any:
        upstream = with_channels(upstream, channels)
        gradient = tf.reshape(plan.to_filter(x, upstream, window, tuple(filter_shape)), filter_shape)
        return gradient if x.shape[0] else tf.where(tf.shape(x)[0] > 0, gradient, tf.zeros_like(gradient))

    return Bilinear(forward, to_x, to_filter)


def _shaped(value: Any, count: Any, size: Sides, channels: int) -> Any:
    """Return `value` in the shape that it should have, and has if it holds any image.

    Graph optimization takes a reshape with one unknown side for one that changes nothing, and takes it out. So the
    rows, too, are made unknown to it.
    """
    if isinstance(count, int):
        return value
    shaped = tf.reshape(value, [count, size[0] + tf.minimum(count, 0), size[1], channels])
    shaped.set_shape([None, *(side if isinstance(side, int) else None for side in size), channels])
    return shaped


@dataclass(frozen=True)
class _Plan:
    """The three products of one kind of convolution in one dtype, for windows whose padding is in pixels.

    Each method takes the first way that is open, and comes back to itself with a simpler window where it is not the
    last.
    """

    kind: Kind
    dtype: str
    groups: int
    per_group: int
    compiled: bool
    exported: bool

    @classmethod
    def of(cls, kind: Kind, filter: Any, groups: int) -> "_Plan":
        """The plan for what is traced now."""
        per_group = filter.shape[2] if kind is DENSE else 1
        return cls(kind, filter.dtype.name, groups, per_group, is_compiling() and kind is DEPTHWISE, is_exporting())

    def forward(self, x: Any, filter: Any, window: Window) -> Any:
        """Return the convolution of x."""
        if self._has("forward", window):
            return _native(self.kind, x, filter, window)
        if self.dtype in HALVES:
            return self._in_float32("forward", x, filter, window)
        outputs, factor = windows.outputs(sides(x), window), windows.common_factor(window)
        if factor != ONE and not self.compiled:
            return self.forward(windows.every(x, window, factor, outputs), filter, windows.divided(window, factor))
        if window.rate != ONE and window.strides == ONE and not self.compiled:
            y = self.forward(windows.phases(x, window, outputs), filter, windows.plain(window))
            return from_phases(y, window.rate, outputs)
        return sum(self.kind.tap(seen, filter[row, column]) for row, column, seen in windows.taps(x, window, outputs))

    def to_x(self, upstream: Any, filter: Any, window: Window, size: Sides) -> Any:
        """Return the gradient to an x of this size."""
        before, factor = windows.before(window), windows.common_factor(window)
        if self._has_fast_to_x(window):
            return self._native_to_x(upstream, filter, window, size)
        if factor != ONE:
            divided = windows.divided(window, factor)
            x = self.to_x(upstream, filter, divided, windows.extent(divided, sides(upstream)))
            return fit(scatter(x, factor), (-before[0], -before[1]), size)
        upstream, padding = windows.between_zeros(upstream, window, size)
        stepless = replace(window, strides=ONE, padding=padding)
        return self.kind.back(self.forward, upstream, filter, stepless, self.groups)

    def to_filter(self, x: Any, upstream: Any, window: Window, shape: tuple[int, ...]) -> Any:
        """Return the gradient to a filter of this shape."""
        outputs, factor = sides(upstream), windows.common_factor(window)
        thinned = factor != ONE and not self.compiled
        # oneDNN's gradient of a dense 1×1 filter with a stride writes behind its memory, and has crashed the process.
        if self._has("to_filter", window) and not (thinned and window.kernel == ONE):
            x, settled = windows.settled(x, window, whole=True)
            return self.kind.to_filter(x, upstream, settled, shape)
        if self.dtype in HALVES and not thinned:
            return self._in_float32("to_filter", x, upstream, window, shape)
        if thinned:
            x = windows.every(x, window, factor, outputs)
            return self.to_filter(x, upstream, windows.divided(window, factor), shape)
        if window.rate != ONE and not self.compiled:
            stepless = replace(window, strides=ONE)
            outputs = windows.extent(Window(ONE, window.strides, NO_PADS, ONE), outputs)
            upstream = fit(scatter(upstream, window.strides), (0, 0), outputs)
            above = to_phases(upstream, window.rate, (0, 0), windows.phase_size(window, outputs))
            return self.to_filter(windows.phases(x, stepless, outputs), above, windows.plain(window), shape)
        rows: list[list[Any]] = [[] for _ in range(window.kernel[0])]
        for row, _, seen in windows.taps(x, window, outputs):
            rows[row].append(self.kind.tap_to_filter(seen, upstream))
        return tf.stack([tf.stack(row) for row in rows])

    def _in_float32(self, product: Product, one: Any, other: Any, *given: Any) -> Any:
        """Return a product computed in float32 and rounded once, where it would be a long sum of rounded numbers."""
        longer = replace(self, dtype="float32")
        return tf.cast(getattr(longer, product)(tf.cast(one, "float32"), tf.cast(other, "float32"), *given), self.dtype)

    def _has(self, product: Product, window: Window) -> bool:
        if self.exported:
            return product == "forward" or (self.kind is DENSE and self.groups == 1 and window.rate == ONE)
        if self.compiled:
            return False
        alike = window.strides, window.rate, self.groups, self.per_group
        return computes(product, self.kind, self.dtype, *alike)

    def _has_fast_to_x(self, window: Window) -> bool:
        slow = self.kind is DEPTHWISE and (window.strides == ONE or self.dtype == "bfloat16")
        return not slow and self._has("to_x", window)

    def _native_to_x(self, upstream: Any, filter: Any, window: Window, size: Sides) -> Any:
        (top, left), channels = windows.before(window), filter.shape[2] * self.groups
        if windows.is_same(window, size):
            shape = [images(upstream), *size, channels]
            return self.kind.to_x(upstream, filter, replace(window, padding="same"), shape)
        padded = tuple(side + sum(pads) for side, pads in zip(size, window.pads(ONE), strict=True))
        shape = [images(upstream), *padded, channels]
        x = self.kind.to_x(upstream, filter, replace(window, padding="valid"), shape)
        return fit(x, (-top, -left), size)


def large_enough(x: Any, window: Window) -> Any:
    """Return x, with its size checked when the graph runs where it is not known before.

    An output of no size is an error for a size that is known (`Window.output_size`), and must be one here: with oneDNN,
    TensorFlow's kernels return it in the input's shape, filled with uninitialised memory.
    """
    reach = window.effective_kernel
    return _asserted(x, windows.outputs(sides(x), window), ONE, f"the effective kernel {reach}", window)


def _checked(x: Any, geometry: Transposed) -> Any:
    """Return x, with its size checked when the graph runs where it is not known before."""
    return _asserted(x, sides(x), geometry.smallest, str(geometry.smallest), geometry.window)


def _asserted(x: Any, value: Sides, least: Pair, size: str, window: Window) -> Any:
    if are_known(*sides(x)):
        return x
    expected = f"input size: expected at least {size} under padding {window.padding}, got"
    check = tf.debugging.Assert(tf.reduce_all(tf.stack(value) >= least), [expected, tf.shape(x)[1:3]])
    with tf.control_dependencies([check]):
        return tf.identity(x)
