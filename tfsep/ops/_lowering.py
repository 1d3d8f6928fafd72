"""How a convolution is computed: the one place that chooses between TensorFlow's ways of doing it.

Everything here takes checked arguments (`_arguments`), tensors in NHWC, and a `Window`. A convolution is linear in the
image and in the filter (`_bilinear_map`), so three products give it and its derivatives of any order: the forward
product, the gradient to x and the gradient to the filter. The first row that applies is taken. A *native op* is
TensorFlow's own kernel; it *exists* for a case if this build was seen to compute it correctly on the device that the
product will run on (`_kernel_probe`, `_devices`). *Halves* are float16 and bfloat16; *common factor* is that of stride
and rate; *phases* are the images of pixels a rate apart.

| Product | Case | Lowering |
| --- | --- | --- |
| forward | during an export by this library | the native op with stride and rate: one builtin operator |
| forward | depthwise with a rate and over 6 columns of padding a side, on a CPU with the native op | *wide padding* |
| forward | the native op exists | the native op |
| forward | halves, and no native op for what the two rows below leave | in float32 by the rows below, rounded once |
| forward | common factor | every factor-th pixel of the image, stride and rate divided by the factor |
| forward | a rate, no stride | the phases of the image as a larger batch, at rate 1 |
| forward | all else, and depthwise under XLA on a CPU | a sum over taps of shifted products |
| gradient to x | the native op exists and is fast, and converts if the graph becomes a file | the native op |
| gradient to x | common factor | divided by the factor, zeros inserted between the pixels of the result |
| gradient to x | halves with a stride, and a native op in float32 only | that, rounded once |
| gradient to x | all else | zeros inserted into upstream, convolved with the flipped filter at stride 1 |
| gradient to filter | the native op exists (1) | the native op; for a 1×1 filter a matrix product |
| gradient to filter | common factor | every factor-th pixel of the image, divided by the factor |
| gradient to filter | a rate | zeros inserted into upstream for the stride; phases as a larger batch, at rate 1 |
| gradient to filter | halves | in float32 by the row below, rounded once |
| gradient to filter | all else, and depthwise under XLA on a CPU | products of shifted images, summed, tap by tap |
| groups | one channel each, under XLA on a CPU | depthwise |
| groups | all three native ops exist on every device there | as above, all groups at once |
| groups | all else, and under XLA on a CPU | each group by itself |
| transposed | any file, one channel per group | zeros inserted into x, one DEPTHWISE_CONV_2D with the flipped filter |
| transposed | one channel per group | each channel repeated for each of its filters, then transposed depthwise |
| transposed | training and inference | the gradient to x, with its own derivatives |
| transposed | export, groups 1 and rate 1 | TRANSPOSE_CONV, and a SLICE if the padding is not SAME's |
| transposed | export, common factor | divided by the factor, zeros inserted between the pixels of the result |
| transposed | export, all else | zeros inserted into x, one (DEPTHWISE_)CONV_2D with the flipped filter at stride 1 |

A graph that another writer saves (`is_saving`) must run in TensorFlow and have gradients, beside being converted: it is
computed by the rows of training and inference but where *file* stands, and without the reshape that keeps the shape of
an empty batch.

(1) Not for a standard 1×1 filter with a stride, nor on a CPU for a standard bfloat16 filter with a rate: oneDNN
computes both wrongly.

Devices: a traced product may run on several kinds of device. Where one lacks a native op that another has, both ways
are traced, and the graph takes its device's when it runs; but not in a graph that is saved, which does what all can.

XLA has native ops of its own, and their gradients; the probe compiles them to try them. On a GPU it hands them to
cuDNN. On a CPU its depthwise convolutions take 30 times as long as a sum over taps, and a standard gradient to x with a
stride and a rate twice as long as divided by the common factor; gradients of groups at once, 20 to 150 times as long as
of each by itself.

Why the gradient to x of a depthwise convolution at stride 1 is the native op under XLA only: elsewhere the forward op
with the flipped filter is the same product, at least as fast, and supports rates. Why not in bfloat16 with a stride:
oneDNN's kernel takes ten times as long as inserting zeros and running the forward op.

Why halves stay in half precision with a rate: phases cost half of what they do in float32, and are the same numbers.

*Wide padding*: oneDNN's fast dilated depthwise kernel takes up to 6 columns of padding a side. So columns go around the
image first, and rows are left to the op: the standard one, with one channel a group, as the depthwise takes no pixels.

Why not ``tf.nn.depthwise_conv2d``: with stride and rate together it returns wrong numbers with only a warning, and a
rate alone takes it three times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.geometry import Transposed, Window
from tfsep.ops import _window_arithmetic as windows
from tfsep.ops._bilinear_map import BilinearMap, zero_map
from tfsep.ops._devices import DevicesDiffer, by_device, kinds_here, kinds_there
from tfsep.ops._export_context import is_compiling, is_exporting, is_for_file, is_in_saved_model, is_saving
from tfsep.ops._kernel_probe import Product, computes_correctly
from tfsep.ops._pixel_layout import (
    Size,
    are_known,
    batch_size,
    crop_or_pad,
    ensure_channels,
    from_phases,
    interleave_zeros,
    remove_padding,
    spatial_size,
    to_phases,
    with_shape,
)
from tfsep.ops._size_checks import check_batch, check_input_size, check_transposed_size
from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS, WIDE_DEPTHWISE_KERNELS, ConvolutionKernels
from tfsep.ops._window_arithmetic import NO_PADS, ONE

HALF_PRECISIONS = ("float16", "bfloat16")


def conv2d(x: Tensor, filter: Tensor, window: Window) -> Tensor:
    """Convolve x (N, H, W, C) with filter (kh, kw, C / groups, F)."""

    def run(x: Tensor, filter: Tensor, groups: int) -> Tensor:
        return _convolve(STANDARD_KERNELS, x, filter, window, filter.shape[3], groups)

    groups = x.shape[3] // filter.shape[2]
    if groups == x.shape[3] > 1 and _Lowering.now(STANDARD_KERNELS, filter, groups).here().on_xla_cpu:
        return depthwise_conv2d(x, tf.reshape(filter, [*window.kernel, groups, filter.shape[3] // groups]), window)
    return _in_groups(run, x, filter, window, groups)


def conv2d_transpose(x: Tensor, filter: Tensor, geometry: Transposed, groups: int) -> Tensor:
    """Convolve x (N, H, W, C) with the transpose of `conv2d` with filter (kh, kw, F / groups, C): (N, H', W', F)."""
    rows, columns, per_group, channels = filter.shape
    if groups == channels > 1:
        depthwise = tf.transpose(filter, [0, 1, 3, 2])
        if is_for_file():
            window = windows.without_unused_rate(geometry.window)
            x, padding = windows.insert_stride_zeros(x, window, windows.transposed_output_size(x, geometry))
            return depthwise_conv2d(x, tf.reverse(depthwise, [0, 1]), replace(window, strides=ONE, padding=padding))
        x = x if per_group == 1 else tf.repeat(x, per_group, axis=3)
        return depthwise_conv2d_transpose(x, tf.reshape(depthwise, [rows, columns, channels * per_group, 1]), geometry)

    def run(x: Tensor, filter: Tensor, groups: int) -> Tensor:
        return _transpose(STANDARD_KERNELS, x, filter, geometry, groups * per_group, groups)

    return _in_groups(run, x, filter, geometry.window, groups)


def depthwise_conv2d(x: Tensor, filter: Tensor, window: Window) -> Tensor:
    """Convolve each channel of x (N, H, W, C) with its own filters (kh, kw, C, M): (N, H', W', C·M)."""
    return _convolve(DEPTHWISE_KERNELS, x, filter, window, filter.shape[2] * filter.shape[3])


def depthwise_conv2d_transpose(x: Tensor, filter: Tensor, geometry: Transposed) -> Tensor:
    """Convolve x (N, H, W, C·M) with the transpose of `depthwise_conv2d` with filter (kh, kw, C, M): (N, H', W', C)."""
    return _transpose(DEPTHWISE_KERNELS, x, filter, geometry, filter.shape[2])


def _in_groups(
    run: Callable[[Tensor, Tensor, int], Tensor], x: Tensor, filter: Tensor, window: Window, groups: int
) -> Tensor:
    """Run all groups at once if every device has all three native ops for it, else each group by itself."""
    if groups == 1 or is_exporting() or _Lowering.now(STANDARD_KERNELS, filter, groups).here().takes_groups(window):
        return run(x, filter, groups)
    pairs = zip(tf.split(x, groups, axis=3), tf.split(filter, groups, axis=3), strict=True)
    return tf.concat([run(*pair, 1) for pair in pairs], axis=3)


def _native_forward(kernels: ConvolutionKernels, x: Tensor, filter: Tensor, window: Window) -> Tensor:
    """Run the native op; in an export also where it is only traced and this machine could not compute it."""
    x, window = windows.with_native_padding(x, window)
    return kernels.forward(x, filter, window)


def _convolve(
    kernels: ConvolutionKernels, x: Tensor, filter: Tensor, window: Window, channels: int, groups: int = 1
) -> Tensor:
    """Convolve images whose number and size may be unknown, and whose batch may turn out to be empty.

    For an empty batch TensorFlow's ops return a wrong shape, and a filter gradient of uninitialised memory. A batch
    known to be empty never reaches them. For an unknown batch, results are reshaped to the right shape, and the filter
    gradient is masked. Neither copies an image, but the reshape keeps TensorFlow from fusing a bias and an activation
    into the convolution at inference, and a converter from folding a normalization into it. So a graph that is saved
    refuses an empty batch.
    """
    if is_exporting():
        return _native_forward(kernels, x, filter, window)
    if is_saving():
        x = check_batch(x)
    x, window = check_input_size(x, window), windows.without_unused_rate(window)
    size = spatial_size(x)
    if are_known(*size) or window.padding != "same" or window.strides == ONE:
        window = replace(window, padding=window.pads(size if are_known(*size) else ONE))
    return _bilinear_map(kernels, filter, window, x.shape, channels, groups)(x, filter)


def _transpose(
    kernels: ConvolutionKernels, x: Tensor, filter: Tensor, geometry: Transposed, channels: int, groups: int = 1
) -> Tensor:
    """Return the gradient to an image of so many channels, as a convolution of its own."""
    x, window = check_transposed_size(x, geometry), windows.without_unused_rate(geometry.window)
    size = windows.transposed_output_size(x, geometry)
    if is_exporting():
        return _Lowering.now(kernels, filter, groups).input_gradient(x, filter, window, size)
    known = tf.TensorShape([x.shape[0], *(side if isinstance(side, int) else None for side in size), channels])
    convolution = _bilinear_map(kernels, filter, window, known, x.shape[3], groups)
    y = convolution.transpose(x, filter, tf.stack([batch_size(x), *size, channels]))
    y.set_shape(known)
    return y


def _bilinear_map(
    kernels: ConvolutionKernels, filter: Tensor, window: Window, known: tf.TensorShape, channels: int, groups: int
) -> BilinearMap:
    """The three products, from images of the static shape `known` to results of so many channels."""
    filter_shape, dtype = filter.shape, filter.dtype
    if known[0] == 0:
        return zero_map(lambda x: (0, *windows.output_size(spatial_size(x), window), channels), filter_shape, dtype)
    traced, saving = _Lowering.now(kernels, filter, groups), is_saving()

    def forward(x: Tensor, filter: Tensor) -> Tensor:
        x = tf.ensure_shape(x, known) if x.shape != known else x
        y = traced.here().forward(x, filter, window)
        size = windows.output_size(spatial_size(x), window)
        return y if saving else with_shape(y, batch_size(x), size, channels)

    def input_gradient(upstream: Tensor, filter: Tensor, shape: Tensor) -> Tensor:
        count, rows, columns = (shape[axis] if known[axis] is None else known[axis] for axis in (0, 1, 2))
        x = traced.here().input_gradient(ensure_channels(upstream, channels), filter, window, (rows, columns))
        return x if saving else with_shape(x, count, (rows, columns), known[3])

    def filter_gradient(x: Tensor, upstream: Tensor) -> Tensor:
        upstream = ensure_channels(upstream, channels)
        gradient = tf.reshape(traced.here().filter_gradient(x, upstream, window, tuple(filter_shape)), filter_shape)
        return gradient if x.shape[0] else tf.where(tf.shape(x)[0] > 0, gradient, tf.zeros_like(gradient))

    return BilinearMap(forward, input_gradient, filter_gradient)


@dataclass(frozen=True)
class _Lowering:
    """The three products of one kind of convolution in one dtype, on the kinds of device that it may run on.

    The padding of a window is in pixels, or ``"same"`` where it depends on a size known only when the graph runs.
    Each method takes the first lowering that applies, and recurses with a simpler window where that is not the last.
    """

    kernels: ConvolutionKernels
    dtype: str
    groups: int
    per_group: int
    devices: tuple[str, ...]
    compiled: bool
    exporting: bool
    saving: bool

    @classmethod
    def now(cls, kernels: ConvolutionKernels, filter: Tensor, groups: int) -> "_Lowering":
        """The lowering in the present context, eager, traced, compiled by XLA or exported, without its devices."""
        per_group = filter.shape[2] if kernels is STANDARD_KERNELS else 1
        return cls(kernels, filter.dtype.name, groups, per_group, (), is_compiling(), is_exporting(), is_saving())

    def here(self) -> "_Lowering":
        """The same for the devices of the code that asks: a gradient's may be another than its convolution's."""
        return replace(self, devices=kinds_here(self.compiled))

    def takes_groups(self, window: Window) -> bool:
        """Whether all three native ops exist on every device that is there, as the gradients' is not known yet.

        Under XLA it is known: a function is compiled as a whole.
        """
        everywhere = self if self.compiled else replace(self, devices=kinds_there())
        products: tuple[Product, ...] = "forward", "input_gradient", "filter_gradient"
        return not self.on_xla_cpu and all(all(everywhere._answers(product, window)) for product in products)

    @by_device
    def forward(self, x: Tensor, filter: Tensor, window: Window) -> Tensor:
        """Return the convolution of x."""
        native = self._has_native("forward", window)
        if window.padding == "same" and not (native and window.rate == ONE):
            return self.forward(windows.pad_as_same(x, window), filter, replace(window, padding=NO_PADS))
        if native:
            return (
                WIDE_DEPTHWISE_KERNELS.forward(x, filter, window)
                if self._has_wide_forward(window, filter)
                else _native_forward(self.kernels, x, filter, window)
            )
        if self.dtype in HALF_PRECISIONS and not self._has_native("forward", windows.simplest_steps(window)):
            y = self._in_float32().forward(tf.cast(x, "float32"), tf.cast(filter, "float32"), window)
            return tf.cast(y, self.dtype)
        outputs, factor = windows.output_size(spatial_size(x), window), windows.common_factor(window)
        if factor != ONE and not self.by_taps:
            x = windows.subsample_padded(x, window, factor, outputs)
            return self.forward(x, filter, windows.divide_steps(window, factor))
        if window.rate != ONE and window.strides == ONE and not self.by_taps:
            phases = windows.padded_phases(x, window, outputs)
            return from_phases(self.forward(phases, filter, windows.with_unit_steps(window)), window.rate, outputs)
        taps = windows.pixels_by_tap(x, window, outputs)
        return sum(self.kernels.tap_product(pixels, filter[row, column]) for row, column, pixels in taps)

    @by_device
    def input_gradient(self, upstream: Tensor, filter: Tensor, window: Window, size: Size) -> Tensor:
        """Return the gradient to an x of this size."""
        if window.padding == "same":
            rows, columns = windows.same_padding_total(size, window)
            padded = size[0] + rows, size[1] + columns
            x = self.input_gradient(upstream, filter, replace(window, padding=NO_PADS), padded)
            return crop_or_pad(x, (-(rows // 2), -(columns // 2)), size)
        if self._has_fast_native_input_gradient(window):
            return self._native_input_gradient(upstream, filter, window, size)
        (top, left), factor = windows.leading_pads(window), windows.common_factor(window)
        if factor != ONE:
            divided = windows.divide_steps(window, factor)
            extent = windows.input_extent(divided, spatial_size(upstream))
            x = self.input_gradient(upstream, filter, divided, extent)
            return crop_or_pad(interleave_zeros(x, factor), (-top, -left), size)
        if self._has_native_input_gradient_in_float32(window):
            upstream, filter = tf.cast(upstream, "float32"), tf.cast(filter, "float32")
            return tf.cast(self._in_float32().input_gradient(upstream, filter, window, size), self.dtype)
        upstream, padding = windows.insert_stride_zeros(upstream, window, size)
        unstrided = replace(window, strides=ONE, padding=padding)
        return self.kernels.correlate_flipped(self.forward, upstream, filter, unstrided, self.groups)

    @by_device
    def filter_gradient(self, x: Tensor, upstream: Tensor, window: Window, shape: tuple[int, ...]) -> Tensor:
        """Return the gradient to a filter of this shape."""
        if window.padding == "same":
            x, window = windows.pad_as_same(x, window), replace(window, padding=NO_PADS)
        outputs, factor = spatial_size(upstream), windows.common_factor(window)
        subsampled = factor != ONE and not self.by_taps
        # oneDNN's gradient of a standard 1×1 filter with a stride overruns its memory, and has crashed the process.
        if self._has_native("filter_gradient", window) and not (subsampled and window.kernel == ONE):
            x, native = windows.with_native_padding(x, window, cover_kernel=True)
            return self.kernels.filter_gradient(x, upstream, native, shape)
        if subsampled:
            x = windows.subsample_padded(x, window, factor, outputs)
            return self.filter_gradient(x, upstream, windows.divide_steps(window, factor), shape)
        if window.rate != ONE and not self.by_taps:
            unstrided = replace(window, strides=ONE)
            outputs = windows.input_extent(Window(ONE, window.strides, NO_PADS, ONE), outputs)
            upstream = crop_or_pad(interleave_zeros(upstream, window.strides), (0, 0), outputs)
            upstream = to_phases(upstream, window.rate, (0, 0), windows.phase_size(window, outputs))
            x = windows.padded_phases(x, unstrided, outputs)
            return self.filter_gradient(x, upstream, windows.with_unit_steps(window), shape)
        if self.dtype in HALF_PRECISIONS:
            x, upstream = tf.cast(x, "float32"), tf.cast(upstream, "float32")
            return tf.cast(self._in_float32().filter_gradient(x, upstream, window, shape), self.dtype)
        rows: list[list[Tensor]] = [[] for _ in range(window.kernel[0])]
        for row, _, pixels in windows.pixels_by_tap(x, window, outputs):
            rows[row].append(self.kernels.tap_gradient(pixels, upstream))
        return tf.stack([tf.stack(row) for row in rows])

    def _in_float32(self) -> "_Lowering":
        """The same in float32, for a product that would be a long sum of rounded numbers in half precision."""
        return replace(self, dtype="float32")

    @property
    def on_xla_cpu(self) -> bool:
        """Whether XLA compiles the convolution for a CPU, where it has no fast kernel for channel groups."""
        return self.compiled and self.devices == ("CPU",)

    @property
    def by_taps(self) -> bool:
        """Whether sums of shifted products are faster than anything else."""
        return self.on_xla_cpu and self.kernels is DEPTHWISE_KERNELS

    def _has_native(self, product: Product, window: Window) -> bool:
        undilated = self.kernels is STANDARD_KERNELS and self.groups == 1 and window.rate == ONE
        if self.exporting:
            return product == "forward" or undilated
        if self.by_taps or (self.saving and product == "input_gradient" and not undilated):
            return False
        answers = self._answers(product, window)
        if len(answers) > 1 and not (self.saving or is_in_saved_model()):
            raise DevicesDiffer
        return all(answers)

    def _answers(self, product: Product, window: Window) -> set[bool]:
        """What the devices answer to whether they compute it correctly."""
        case = self.kernels, self.dtype, window.strides, window.rate, self.groups, self.per_group
        return {computes_correctly(product, *case, device, self.compiled) for device in self.devices}

    def _has_wide_forward(self, window: Window, filter: Tensor) -> bool:
        """Whether padding is too wide for the native op's fast kernel, and another op reaches that one."""
        return (
            self.kernels is DEPTHWISE_KERNELS
            and windows.is_padded_wide(window)
            and filter.shape[2] > filter.shape[3] == 1
            and self.devices == ("CPU",)
            and not (self.compiled or self.exporting or self.saving or is_in_saved_model())
            and replace(self, kernels=WIDE_DEPTHWISE_KERNELS)._has_native("forward", window)
        )

    def _has_fast_native_input_gradient(self, window: Window) -> bool:
        on_cpu = "CPU" in self.devices
        if self.compiled:
            slow = self.on_xla_cpu and windows.common_factor(window) != ONE
        else:
            slow = self.kernels is DEPTHWISE_KERNELS and (
                window.strides == ONE or (on_cpu and self.dtype == "bfloat16")
            )
        return not slow and self._has_native("input_gradient", window)

    def _has_native_input_gradient_in_float32(self, window: Window) -> bool:
        """Whether a stride's zeros, which take four times the pixels, are best avoided by another dtype."""
        return (
            self.dtype in HALF_PRECISIONS
            and window.strides != ONE
            and not self._has_native("input_gradient", window)
            and self._in_float32()._has_native("input_gradient", window)
        )

    def _native_input_gradient(self, upstream: Tensor, filter: Tensor, window: Window, size: Size) -> Tensor:
        pads, channels = window.pads(ONE), filter.shape[2] * self.groups
        if windows.is_same_padding(window, size):
            shape = [batch_size(upstream), *size, channels]
            return self.kernels.input_gradient(upstream, filter, replace(window, padding="same"), shape)
        padded = tuple(side + sum(around) for side, around in zip(size, pads, strict=True))
        shape = [batch_size(upstream), *padded, channels]
        x = self.kernels.input_gradient(upstream, filter, replace(window, padding="valid"), shape)
        return remove_padding(x, pads, size)
