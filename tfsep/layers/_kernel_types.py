"""The three kinds of convolution layer, of any rank: their kernels, and their place in the config.

A public layer is one of these with a signature, a rank and an op.
"""

from typing import Any

from tfsep._utils.arguments import positive_int
from tfsep.geometry import Sizes, Transposed
from tfsep.geometry._sizes import pair
from tfsep.layers._convolution_base import Convolution, Shape


class Full(Convolution):
    """Each filter sees all channels of its group."""

    def __init__(
        self,
        *,
        filters: Any,
        groups: Any,
        kernel_initializer: Any,
        kernel_regularizer: Any,
        kernel_constraint: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = positive_int(filters, "filters")
        self.groups = positive_int(groups, "groups")
        if self.filters % self.groups:
            raise ValueError(f"groups: expected a divisor of filters = {filters}, got {groups}")
        self._set_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (kh, kw, C / groups, F), or (kh, kw, F / groups, C) if transposed, and the bias (F,)."""
        channels = self._input_channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"groups: expected a divisor of the {channels} input channels, got {self.groups}")
        self.kernel = self._add_weight("kernel", "kernel", (*self.kernel_size, *self._kernel_channels(channels)))
        self._add_bias(self.filters)

    def _kernel_channels(self, channels: int) -> tuple[int, int]:
        return channels // self.groups, self.filters

    def _kernels(self) -> tuple[Any, ...]:
        return (self.kernel,)

    def _output_channels(self, channels: int | None) -> int:  # noqa: ARG002
        return self.filters

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


class Depthwise(Convolution):
    """Each channel has filters of its own."""

    def __init__(
        self,
        *,
        depth_multiplier: Any,
        depthwise_initializer: Any,
        depthwise_regularizer: Any,
        depthwise_constraint: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier")
        self._set_options("depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (kh, kw, C, M) and the bias (C·M,)."""
        channels = self._input_channels(input_shape)
        self.kernel = self._add_depthwise_weight("depthwise", "kernel", channels, self.depth_multiplier)
        self._add_bias(channels * self.depth_multiplier)

    def _kernels(self) -> tuple[Any, ...]:
        return (self.kernel,)

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


class Separable(Convolution):
    """Each channel has filters of its own, and what they make is mixed pixel by pixel."""

    def __init__(
        self,
        *,
        filters: Any,
        depth_multiplier: Any,
        depthwise_initializer: Any,
        pointwise_initializer: Any,
        depthwise_regularizer: Any,
        pointwise_regularizer: Any,
        depthwise_constraint: Any,
        pointwise_constraint: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = positive_int(filters, "filters")
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier")
        self._set_options("depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self._set_options("pointwise", pointwise_initializer, pointwise_regularizer, pointwise_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernels (kh, kw, C, M) and (1, 1, C·M, F), and the bias (F,)."""
        channels = self._input_channels(input_shape)
        between = channels * self.depth_multiplier
        self.depthwise_kernel = self._add_depthwise_weight(
            "depthwise", "depthwise_kernel", channels, self.depth_multiplier
        )
        ones = (1,) * self.rank
        self.pointwise_kernel = self._add_weight("pointwise", "pointwise_kernel", (*ones, between, self.filters))
        self._add_bias(self.filters)

    def _kernels(self) -> tuple[Any, ...]:
        return self.depthwise_kernel, self.pointwise_kernel

    def _output_channels(self, channels: int | None) -> int:  # noqa: ARG002
        return self.filters

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "filters": self.filters, "depth_multiplier": self.depth_multiplier}


class Upsampling(Convolution):
    """The transposed form of a kind: the window steps through the result, and `output_padding` adds to its end."""

    def __init__(self, *, output_padding: Any, **options: Any) -> None:
        super().__init__(**options)
        self.geometry = Transposed.of(self.window, output_padding)
        self.output_padding = None if output_padding is None else pair(output_padding, "output_padding", minimum=0)

    def _call_options(self) -> dict[str, Any]:
        return {**super()._call_options(), "output_padding": self.output_padding}

    def _output_size(self, size: Sizes) -> Sizes:
        return self.geometry.output_size(size)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "output_padding": self.output_padding}
