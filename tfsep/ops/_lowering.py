"""How a convolution is computed: the one place that chooses between TensorFlow's ways of doing it.

Everything here takes arguments that were checked (`_arguments`), tensors in NHWC, and a `Window`. A convolution is
linear in the image and in the filter (`_bilinear`), and three products make it and its derivatives of any order. "Has"
means that the build was seen to compute it rightly (`_probe`).

=============  ==========================================  ====================================================
product        case                                        lowering
=============  ==========================================  ====================================================
forward        being exported                              TensorFlow's op with stride and rate: one builtin op
forward        the build has the op for stride and rate    that op
forward        stride and rate share a factor              every factor-th pixel of the image, without it
forward        a rate, and no stride beside it             each phase of the image by itself, at rate 1
forward        depthwise under XLA, and all else           a sum of shifted products, one a tap
gradient to x  the build has it, and has it fast           TensorFlow's op
gradient to x  stride and rate share a factor              that without it, its pixels spread out among zeros
gradient to x  all else                                    upstream spread out among zeros, convolved at stride 1
                                                           with the filter turned about
to the filter  the build has it                            TensorFlow's op, or a matrix product for a 1×1 filter
to the filter  stride and rate share a factor              of every factor-th pixel of the image, without it
to the filter  a rate                                      upstream spread out by what is left of the stride, and
                                                           each phase an image of a larger batch, at rate 1
to the filter  depthwise under XLA                         products of shifted images, summed
groups         the build has all three products            as above, all groups at once
groups         it has not                                  each group by itself
=============  ==========================================  ====================================================

Why the gradient to x of a depthwise convolution with stride 1 is never TensorFlow's op: the forward op with the filter
turned about is the same product, as fast or faster, and knows rates. Why not with a stride in bfloat16: oneDNN's kernel
for that takes ten times as long as the spreading and the forward op together.
Why not ``tf.nn.depthwise_conv2d``: with stride and rate together it returns wrong numbers and only warns, and a rate
alone takes it three times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import gcd
from typing import Any

from tfsep._backend import tf
from tfsep.geometry import Pads, Pair, Window
from tfsep.ops._bilinear import Bilinear
from tfsep.ops._context import is_compiling, is_exporting
from tfsep.ops._native import DENSE, DEPTHWISE, Kind
from tfsep.ops._probe import Product, computes
from tfsep.ops._spread import Sides, are_known, fit, framed, from_phases, images, scatter, sides, subsample, to_phases

ONE: Pair = (1, 1)
NO_PADS: Pads = ((0, 0), (0, 0))
HALVES = ("float16", "bfloat16")


def conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve x (N, H, W, C) with filter (kh, kw, C / groups, F)."""
    groups = x.shape[3] // filter.shape[2]
    if is_exporting():
        return _native(DENSE, x, filter, window)
    if groups == 1 or all(
        computes(product, DENSE, x.dtype.name, window.strides, window.rate, groups, filter.shape[2])
        for product in ("forward", "to_x", "to_filter")
    ):
        return _convolve(DENSE, x, filter, window, filter.shape[3], groups)
    pairs = zip(tf.split(x, groups, axis=3), tf.split(filter, groups, axis=3), strict=True)
    return tf.concat([_convolve(DENSE, *pair, window, pair[1].shape[3]) for pair in pairs], axis=3)


def depthwise_conv2d(x: Any, filter: Any, window: Window) -> Any:
    """Convolve each channel of x (N, H, W, C) with its own filters (kh, kw, C, M): (N, H', W', C·M)."""
    if is_exporting():
        return _native(DEPTHWISE, x, filter, window)
    return _convolve(DEPTHWISE, x, filter, window, filter.shape[2] * filter.shape[3])


def _native(kind: Kind, x: Any, filter: Any, window: Window) -> Any:
    """TensorFlow's op for it: one, also where a graph to be exported only describes what nothing here can run."""
    x, window = _settled(x, window)
    return kind.forward(x, filter, window)


def _convolve(kind: Kind, x: Any, filter: Any, window: Window, channels: int, groups: int = 1) -> Any:
    """Convolve images whose number and size may not be known, and whose batch may turn out to have no image in it.

    For no images TensorFlow's ops return a wrong shape, and a filter's gradient of uninitialised memory. A batch known
    to be empty never reaches them; of one that may be, results are put in the shape that they should have, and the
    filter's gradient is masked. Neither costs anything for a batch that has images.
    """
    x = large_enough(x, window)
    # A side of one tap has no rate; to say so opens every way to it that knows none.
    rows, columns = (1 if k == 1 else r for k, r in zip(window.kernel, window.rate, strict=True))
    window = replace(window, rate=(rows, columns))
    if window.padding == "same" and window.strides != ONE and not are_known(*sides(x)):
        x, window = _pad_to_same(x, window), replace(window, padding="valid")
    else:
        window = replace(window, padding=window.pads(sides(x) if are_known(*sides(x)) else ONE))
    if x.shape[0] == 0:
        return _of_no_images(x, filter, window, channels)
    per_group = filter.shape[2] if kind is DENSE else 1
    plan = _Plan(kind, x.dtype.name, groups, per_group, is_compiling() and kind is DEPTHWISE)
    known, filter_shape = x.shape, filter.shape

    def forward(x: Any, filter: Any) -> Any:
        x = tf.ensure_shape(x, known) if x.shape != known else x
        return _shaped(plan.forward(x, filter, window), images(x), outputs_of(sides(x), window), channels)

    def to_x(upstream: Any, filter: Any, shape: Any) -> Any:
        count, *size = (shape[axis] if known[axis] is None else known[axis] for axis in (0, 1, 2))
        return _shaped(plan.to_x(upstream, filter, window, tuple(size)), count, tuple(size), known[3])

    def to_filter(x: Any, upstream: Any) -> Any:
        gradient = tf.reshape(plan.to_filter(x, upstream, window, tuple(filter_shape)), filter_shape)
        return gradient if x.shape[0] else tf.where(tf.shape(x)[0] > 0, gradient, tf.zeros_like(gradient))

    return Bilinear(forward, to_x, to_filter)(x, filter)


def _of_no_images(x: Any, filter: Any, window: Window, channels: int) -> Any:
    """Return a result that holds no number, and is linear in x and in the filter all the same."""
    zeros = Bilinear(
        lambda x, filter: tf.zeros((0, *outputs_of(sides(x), window), channels), filter.dtype),
        lambda _, filter, shape: tf.zeros(shape, filter.dtype),
        lambda x, _: tf.zeros(filter.shape, x.dtype),
    )
    return zeros(x, filter)


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

    def forward(self, x: Any, filter: Any, window: Window) -> Any:
        """Return the convolution of x."""
        if self._has("forward", window):
            return _native(self.kind, x, filter, window)
        if self.dtype in HALVES:
            return self._in_float32("forward", x, filter, window)
        outputs, factor = outputs_of(sides(x), window), _common_factor(window)
        if factor != ONE and not self.compiled:
            return self.forward(_every(x, window, factor, outputs), filter, _divided(window, factor))
        if window.rate != ONE and window.strides == ONE and not self.compiled:
            y = self.forward(_phases(x, window, outputs), filter, _plain(window))
            return from_phases(y, window.rate, outputs)
        return sum(self.kind.tap(seen, filter[row, column]) for row, column, seen in _taps(x, window, outputs))

    def to_x(self, upstream: Any, filter: Any, window: Window, size: Sides) -> Any:
        """Return the gradient to an x of this size."""
        before, reach, factor = _before(window), window.effective_kernel, _common_factor(window)
        if self._has_fast_to_x(window):
            return self._native_to_x(upstream, filter, window, size)
        if factor != ONE:
            divided = _divided(window, factor)
            x = self.to_x(upstream, filter, divided, _extent(divided, sides(upstream)))
            return fit(scatter(x, factor), (-before[0], -before[1]), size)
        upstream, padding = framed(
            scatter(upstream, window.strides),
            (reach[0] - 1 - before[0], reach[1] - 1 - before[1]),
            (size[0] + reach[0] - 1, size[1] + reach[1] - 1),
        )
        return self.kind.back(self.forward, upstream, filter, replace(window, strides=ONE, padding=padding))

    def to_filter(self, x: Any, upstream: Any, window: Window, shape: tuple[int, ...]) -> Any:
        """Return the gradient to a filter of this shape."""
        outputs, factor = sides(upstream), _common_factor(window)
        thinned = factor != ONE and not self.compiled
        # oneDNN's gradient of a dense 1×1 filter with a stride writes behind its memory, and has crashed the process.
        if self._has("to_filter", window) and not (thinned and window.kernel == ONE):
            x, settled = _settled(x, window, whole=True)
            return self.kind.to_filter(x, upstream, settled, shape)
        if self.dtype in HALVES and not thinned:
            return self._in_float32("to_filter", x, upstream, window, shape)
        if thinned:
            return self.to_filter(_every(x, window, factor, outputs), upstream, _divided(window, factor), shape)
        if window.rate != ONE and not self.compiled:
            stepless = replace(window, strides=ONE)
            outputs = _extent(Window(ONE, window.strides, NO_PADS, ONE), outputs)
            upstream = fit(scatter(upstream, window.strides), (0, 0), outputs)
            above = to_phases(upstream, window.rate, (0, 0), _phase_size(window, outputs))
            return self.to_filter(_phases(x, stepless, outputs), above, _plain(window), shape)
        rows: list[list[Any]] = [[] for _ in range(window.kernel[0])]
        for row, _, seen in _taps(x, window, outputs):
            rows[row].append(self.kind.tap_to_filter(seen, upstream))
        return tf.stack([tf.stack(row) for row in rows])

    def _in_float32(self, product: Product, one: Any, other: Any, *given: Any) -> Any:
        """Return a product computed in float32 and rounded once, where it would be a long sum of rounded numbers."""
        longer = replace(self, dtype="float32")
        return tf.cast(getattr(longer, product)(tf.cast(one, "float32"), tf.cast(other, "float32"), *given), self.dtype)

    def _has(self, product: Product, window: Window) -> bool:
        if self.compiled:
            return False
        alike = window.strides, window.rate, self.groups, self.per_group
        return computes(product, self.kind, self.dtype, *alike)

    def _has_fast_to_x(self, window: Window) -> bool:
        slow = self.kind is DEPTHWISE and (window.strides == ONE or self.dtype == "bfloat16")
        return not slow and self._has("to_x", window)

    def _native_to_x(self, upstream: Any, filter: Any, window: Window, size: Sides) -> Any:
        (top, left), channels = _before(window), filter.shape[2] * self.groups
        if _is_same(window, size):
            shape = [images(upstream), *size, channels]
            return self.kind.to_x(upstream, filter, replace(window, padding="same"), shape)
        padded = tuple(side + sum(pads) for side, pads in zip(size, window.pads(ONE), strict=True))
        shape = [images(upstream), *padded, channels]
        x = self.kind.to_x(upstream, filter, replace(window, padding="valid"), shape)
        return fit(x, (-top, -left), size)


def _before(window: Window) -> Pair:
    (top, _), (left, _) = window.pads(ONE)
    return top, left


def _common_factor(window: Window) -> Pair:
    """What stride and rate share: a convolution looks at no pixel but every such one."""
    rows, columns = (
        s if k == 1 else gcd(s, r) for k, s, r in zip(window.kernel, window.strides, window.rate, strict=True)
    )
    return rows, columns


def _divided(window: Window, factor: Pair) -> Window:
    """The window on every factor-th pixel of what was padded."""
    strides, rate = ((max(a // factor[0], 1), max(b // factor[1], 1)) for a, b in (window.strides, window.rate))
    return Window(window.kernel, strides, NO_PADS, rate)


def _plain(window: Window) -> Window:
    """A window of the same kernel and nothing else."""
    return Window(window.kernel, ONE, NO_PADS, ONE)


def _extent(window: Window, outputs: Sides) -> Sides:
    """The rows and columns that a window with no padding sees for so many outputs."""
    rows, columns = (
        (count - 1) * step + reach
        for count, step, reach in zip(outputs, window.strides, window.effective_kernel, strict=True)
    )
    return rows, columns


def _every(x: Any, window: Window, factor: Pair, outputs: Sides) -> Any:
    """Every factor-th pixel of x as the window pads it, as many as so many outputs need."""
    return subsample(x, factor, _before(window), _extent(_divided(window, factor), outputs))


def _phase_size(window: Window, outputs: Sides) -> Sides:
    """Rows and columns that each phase of an output has."""
    return tuple((count + rate - 1) // rate for count, rate in zip(outputs, window.rate, strict=True))


def _phases(x: Any, window: Window, outputs: Sides) -> Any:
    """The phases of x, as the window pads it, each of them large enough for its share of the outputs."""
    return to_phases(x, window.rate, _before(window), _extent(_plain(window), _phase_size(window, outputs)))


def _taps(x: Any, window: Window, outputs: Sides) -> Iterator[tuple[int, int, Any]]:
    """For each tap of the kernel, its row and column and the pixels that it meets, one an output."""
    end = tuple(
        (k - 1) * r + n * s for k, r, n, s in zip(window.kernel, window.rate, outputs, window.strides, strict=True)
    )
    x = fit(x, _before(window), end)
    for row, column in product(*map(range, window.kernel)):
        yield row, column, subsample(x, window.strides, (-row * window.rate[0], -column * window.rate[1]), outputs)


def _settled(x: Any, window: Window, whole: bool = False) -> tuple[Any, Window]:
    """Return the image and the window that TensorFlow's op takes, with x padded where the op could not do it itself.

    Padding in pixels that is just SAME for an image of this size stays with the op: it costs nothing there, and an
    exported graph has an operator less. Not so where an image must be `whole`, at least as large as the kernel: for
    taps that meet nothing but padding, oneDNN's gradients to a bfloat16 filter are uninitialised memory.
    """
    if isinstance(window.padding, str):
        return x, window
    if window.padding == NO_PADS:
        return x, replace(window, padding="valid")
    if _is_same(window, sides(x)) and not (whole and _is_smaller(sides(x), window)):
        return x, replace(window, padding="same")
    return tf.pad(x, [(0, 0), *window.padding, (0, 0)]), replace(window, padding="valid")


def _is_same(window: Window, size: Sides) -> bool:
    return are_known(*size) and window.padding == replace(window, padding="same").pads(size)


def _is_smaller(size: Sides, window: Window) -> bool:
    return any(side < reach for side, reach in zip(size, window.effective_kernel, strict=True))


def _pad_to_same(x: Any, window: Window) -> Any:
    """Pad an image whose size is known only when the graph runs."""
    padded = _extent(window, outputs_of(sides(x), window))
    total = [tf.maximum(wanted - given, 0) for wanted, given in zip(padded, sides(x), strict=True)]
    return tf.pad(x, [(0, 0), *((side // 2, side - side // 2) for side in total), (0, 0)])


def outputs_of(size: Sides, window: Window) -> Sides:
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


def large_enough(x: Any, window: Window) -> Any:
    """Return x, with its size checked when the graph runs where it is not known before.

    An output of no size is an error for a size that is known (`Window.output_size`), and must be one here: with oneDNN,
    TensorFlow's kernels return it in the input's shape, filled with uninitialised memory.
    """
    if are_known(*sides(x)):
        return x
    expected = f"at least the effective kernel {window.effective_kernel} under padding {window.padding}"
    some = tf.reduce_all(tf.stack(outputs_of(sides(x), window)) > 0)
    check = tf.debugging.Assert(some, [f"input size: expected {expected}, got", tf.shape(x)[1:3]])
    with tf.control_dependencies([check]):
        return tf.identity(x)
