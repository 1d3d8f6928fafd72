"""The kinds of kernel that a convolution layer of any rank can have: standard, depthwise, separable; transposed or not.

A public layer is one of these with a signature and a rank; a transposed one has an op of its own.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from tfsep._keras.backend import keras
from tfsep._keras.types import ConstraintLike, InitializerLike, RegularizerLike, Shape, Tensor
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PairLike
from tfsep.geometry._sizes import pair, single
from tfsep.layers._convolution_base import Convolution
from tfsep.layers._kernel_spec import TRANSPOSED_AXES, KernelSpec
from tfsep.ops._arguments import TransposedArguments
from tfsep.ops._conv import convolve, convolve_depthwise, convolve_separable


class StandardConvolution(Convolution):
    """Each filter sees all channels of its group.

    Args:
        filters: output channels F.
        groups: number of groups of the input channels C and of the filters.
        kernel_initializer: initializer of the kernel (kh, kw, C / groups, F).
        kernel_regularizer: regularizer of the kernel.
        kernel_constraint: constraint of the kernel.
        **options: arguments of `Convolution`.
    """

    _op: ClassVar[Callable[..., Tensor]] = staticmethod(convolve)
    _spec: ClassVar[KernelSpec] = KernelSpec()

    def __init__(
        self,
        *,
        filters: int,
        groups: int,
        kernel_initializer: InitializerLike,
        kernel_regularizer: RegularizerLike,
        kernel_constraint: ConstraintLike,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = positive_int(filters, "filters")
        self.groups = positive_int(groups, "groups")
        if self.filters % self.groups:
            raise ValueError(f"groups: expected a divisor of filters = {filters}, got {groups}")
        self._set_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel, (kh, kw, C / groups, F) or, transposed, (kh, kw, F / groups, C), and the bias (F,).

        Args:
            input_shape: with the batch.
        """
        channels = self._input_channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"groups: expected a divisor of the {channels} input channels, got {self.groups}")
        sizes = self._spec.channel_sizes(channels, self.filters, self.groups)
        self.kernel = self._add_weight("kernel", "kernel", (*self.kernel_size, *sizes))
        self._add_bias(self.filters)

    def _kernels(self) -> tuple[keras.Variable, ...]:
        return (self.kernel,)

    def _output_channels(self, channels: int | None) -> int:  # noqa: ARG002
        return self.filters

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


class DepthwiseConvolution(Convolution):
    """Each channel has filters of its own.

    Args:
        depth_multiplier: filters per channel, M.
        depthwise_initializer: initializer of the kernel (kh, kw, C, M).
        depthwise_regularizer: regularizer of the kernel.
        depthwise_constraint: constraint of the kernel.
        **options: arguments of `Convolution`.
    """

    _op: ClassVar[Callable[..., Tensor]] = staticmethod(convolve_depthwise)

    def __init__(
        self,
        *,
        depth_multiplier: int,
        depthwise_initializer: InitializerLike,
        depthwise_regularizer: RegularizerLike,
        depthwise_constraint: ConstraintLike,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier")
        self._set_options("depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (kh, kw, C, M) and the bias (C·M,).

        Args:
            input_shape: with the batch.
        """
        channels = self._input_channels(input_shape)
        self.kernel = self._add_depthwise_weight("depthwise", "kernel", channels, self.depth_multiplier)
        self._add_bias(channels * self.depth_multiplier)

    def _kernels(self) -> tuple[keras.Variable, ...]:
        return (self.kernel,)

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


class SeparableConvolution(Convolution):
    """A depthwise convolution, then a pointwise one, with nothing between.

    Args:
        filters: output channels F.
        depth_multiplier: depthwise filters per channel, M.
        depthwise_initializer: initializer of the depthwise kernel (kh, kw, C, M).
        pointwise_initializer: initializer of the pointwise kernel (1, 1, C·M, F).
        depthwise_regularizer: regularizer of the depthwise kernel.
        pointwise_regularizer: regularizer of the pointwise kernel.
        depthwise_constraint: constraint of the depthwise kernel.
        pointwise_constraint: constraint of the pointwise kernel.
        **options: arguments of `Convolution`.
    """

    _op: ClassVar[Callable[..., Tensor]] = staticmethod(convolve_separable)

    def __init__(
        self,
        *,
        filters: int,
        depth_multiplier: int,
        depthwise_initializer: InitializerLike,
        pointwise_initializer: InitializerLike,
        depthwise_regularizer: RegularizerLike,
        pointwise_regularizer: RegularizerLike,
        depthwise_constraint: ConstraintLike,
        pointwise_constraint: ConstraintLike,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = positive_int(filters, "filters")
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier")
        self._set_options("depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self._set_options("pointwise", pointwise_initializer, pointwise_regularizer, pointwise_constraint)

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
        self.pointwise_kernel = self._add_weight("pointwise", "pointwise_kernel", (*ones, between, self.filters))
        self._add_bias(self.filters)

    def _kernels(self) -> tuple[keras.Variable, ...]:
        return self.depthwise_kernel, self.pointwise_kernel

    def _output_channels(self, channels: int | None) -> int:  # noqa: ARG002
        return self.filters

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "filters": self.filters, "depth_multiplier": self.depth_multiplier}


class TransposedConvolution(Convolution):
    """The transposed form of a kind of kernel: the window steps through the result.

    Args:
        output_padding: additional outputs at the end of each axis, less than the strides; None for the default size of
            each padding.
        **options: arguments of the class that this is mixed into.
    """

    def __init__(self, *, output_padding: PairLike | None, **options: Any) -> None:
        super().__init__(**options)
        written = TransposedArguments(self.strides, self.padding, self.rate, output_padding)
        self.geometry = written.parse(self.window.kernel, self.rank)
        self.output_padding: tuple[int, ...] | None = None
        if output_padding is not None:
            parse = single if self.rank == 1 else pair
            self.output_padding = parse(output_padding, "output_padding", minimum=0)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "output_padding": self.output_padding}


class StandardTransposedConvolution(TransposedConvolution, StandardConvolution):
    """A standard transposed convolution, with a kernel (kh, kw, F / groups, C)."""

    _spec = KernelSpec(channel_axes=TRANSPOSED_AXES)

    def _op_arguments(self) -> tuple[Any, ...]:
        return (*super()._op_arguments(), self.groups)
