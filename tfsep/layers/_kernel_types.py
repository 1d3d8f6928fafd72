"""The kinds of kernel that a convolution layer of any rank can have: standard, depthwise, separable; transposed or not.

A public layer is one of these with a signature and a rank; a transposed one has an op of its own.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from tfsep._keras.types import Shape, Tensor, TensorLike
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PairLike, Transposed
from tfsep.layers._convolution_base import Convolution, sizes
from tfsep.layers._kernel_spec import TRANSPOSED_AXES, KernelSpec
from tfsep.layers._layer_arguments import Argument
from tfsep.layers._low_rank import AdaptedKernel, LowRankAdaptation
from tfsep.ops._arguments import TransposedArguments
from tfsep.ops._conv import convolve, convolve_depthwise, convolve_separable


def _count(layer: Convolution, value: Any, name: str) -> int:  # noqa: ARG001
    return positive_int(value, name)


class FilteredConvolution(LowRankAdaptation, Convolution):
    """The output channels are a number of filters.

    Args:
        filters: output channels F.
        **options: arguments of `LowRankAdaptation` and `Convolution`.
    """

    filters = Argument(_count, shapes_weights=True)

    def __init__(self, *, filters: int, **options: Any) -> None:
        super().__init__(**options)
        self.filters = filters

    def _output_channels(self, channels: int | None) -> int:  # noqa: ARG002
        return self.filters

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "filters": self.filters}


class StandardConvolution(FilteredConvolution):
    """Each filter sees all channels of its group.

    Args:
        groups: number of groups of the input channels C and of the filters.
        **options: arguments of `FilteredConvolution`, with options of the kernel (kh, kw, C / groups, F).
    """

    _op: ClassVar[Callable[..., Tensor]] = staticmethod(convolve)
    _spec: ClassVar[KernelSpec] = KernelSpec()
    _weight_kinds: ClassVar[tuple[str, ...]] = ("bias", "kernel")

    groups = Argument(_count, shapes_weights=True)
    kernel = AdaptedKernel()

    def __init__(self, *, groups: int, **options: Any) -> None:
        super().__init__(**options)
        self.groups = groups
        self._check_groups()

    def _check_groups(self) -> None:
        if self.filters % self.groups:
            raise ValueError(f"groups: expected a divisor of filters = {self.filters}, got {self.groups}")

    def build(self, input_shape: Shape) -> None:
        """Make the kernel, (kh, kw, C / groups, F) or, transposed, (kh, kw, F / groups, C), and the bias (F,).

        Args:
            input_shape: with the batch.
        """
        self._check_groups()
        channels = self._input_channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"groups: expected a divisor of the {channels} input channels, got {self.groups}")
        channel_sizes = self._spec.channel_sizes(channels, self.filters, self.groups)
        # A subclass may have a property of its own in place of `kernel`, as with Keras's layer.
        self._kernel = self._add_weight("kernel", "kernel", (*self.kernel_size, *channel_sizes))
        self._add_bias(self.filters)
        self._adapt_as_given()

    def _kernels(self) -> tuple[TensorLike, ...]:
        return (self.kernel,)

    def convolution_op(self, inputs: Tensor, kernel: TensorLike) -> Tensor:  # type: ignore[override]
        """Convolve with a kernel, without bias and activation; a subclass may override it.

        Args:
            inputs: tensor of the layer's input shape.
            kernel: of the shape of the layer's own.
        """
        return super().convolution_op(inputs, kernel)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "groups": self.groups}


class MultipliedConvolution(Convolution):
    """Each channel has filters of its own.

    Args:
        depth_multiplier: depthwise filters per channel, M.
        **options: arguments of the class that this is mixed into, with options of the depthwise kernel (kh, kw, C, M).
    """

    depth_multiplier = Argument(_count, shapes_weights=True)

    def __init__(self, *, depth_multiplier: int, **options: Any) -> None:
        super().__init__(**options)
        self.depth_multiplier = depth_multiplier

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


class DepthwiseConvolution(MultipliedConvolution):
    """A result for each filter of each channel."""

    _op: ClassVar[Callable[..., Tensor]] = staticmethod(convolve_depthwise)
    _weight_kinds: ClassVar[tuple[str, ...]] = ("bias", "depthwise")

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (kh, kw, C, M) and the bias (C·M,).

        Args:
            input_shape: with the batch.
        """
        channels = self._input_channels(input_shape)
        self.kernel = self._add_depthwise_weight("depthwise", "kernel", channels, self.depth_multiplier)
        self._add_bias(channels * self.depth_multiplier)

    def _kernels(self) -> tuple[TensorLike, ...]:
        return (self.kernel,)

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier


class SeparableConvolution(MultipliedConvolution, FilteredConvolution):
    """A depthwise convolution, then a pointwise one, with nothing between.

    Args:
        **options: arguments of `MultipliedConvolution` and `FilteredConvolution`, with options of the pointwise kernel
            (1, 1, C·M, F), which is the one adapted.
    """

    _op: ClassVar[Callable[..., Tensor]] = staticmethod(convolve_separable)
    _adapted = ("pointwise_kernel", "pointwise")
    _weight_kinds: ClassVar[tuple[str, ...]] = ("bias", "depthwise", "pointwise")

    pointwise_kernel = AdaptedKernel()

    def build(self, input_shape: Shape) -> None:
        """Make the kernels (kh, kw, C, M) and (1, 1, C·M, F), and the bias (F,).

        Args:
            input_shape: with the batch.
        """
        channels = self._input_channels(input_shape)
        between = channels * self.depth_multiplier
        self.depthwise_kernel = self._add_depthwise_weight(
            "depthwise", "depthwise_kernel", channels, self.depth_multiplier
        )
        ones = (1,) * self.rank
        self._pointwise_kernel = self._add_weight("pointwise", "pointwise_kernel", (*ones, between, self.filters))
        self._add_bias(self.filters)
        self._adapt_as_given()

    def _kernels(self) -> tuple[TensorLike, ...]:
        return self.depthwise_kernel, self.pointwise_kernel


@cache
def _transposed(rank: int, kernel_size: tuple[int, ...], *written: Any) -> Transposed:
    """The geometry of normalised arguments, parsed once."""
    rows, columns = (1, *kernel_size)[-2:]
    return TransposedArguments(*written).parse((rows, columns), rank)


def _output_padding(layer: Convolution, value: PairLike | None, name: str) -> tuple[int, ...] | None:
    return None if value is None else sizes(layer, value, name, minimum=0)


class TransposedConvolution(Convolution):
    """The transposed form of a kind of kernel: the window steps through the result.

    Args:
        output_padding: additional outputs at the end of each axis, less than the strides; None for the default size of
            each padding.
        **options: arguments of the class that this is mixed into.
    """

    output_padding = Argument(_output_padding)

    def __init__(self, *, output_padding: PairLike | None, **options: Any) -> None:
        super().__init__(**options)
        self.output_padding = output_padding
        _ = self.geometry  # raises for what does not go together

    @property
    def geometry(self) -> Transposed:
        """The geometry of the transposed convolution."""
        window = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return _transposed(self.rank, *window, self.output_padding)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "output_padding": self.output_padding}


class StandardTransposedConvolution(TransposedConvolution, StandardConvolution):
    """A standard transposed convolution, with a kernel (kh, kw, F / groups, C)."""

    _spec = KernelSpec(channel_axes=TRANSPOSED_AXES)

    def _op_arguments(self) -> tuple[Any, ...]:
        return (*super()._op_arguments(), self.groups)
