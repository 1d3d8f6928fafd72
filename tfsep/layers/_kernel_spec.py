"""How a layer stores a kernel: its axes of output channels, and what follows from them."""

from dataclasses import dataclass
from math import prod

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

STANDARD_AXES = (-1,)
"""Channel axes of a kernel (..., C / groups, F), in which each filter sees all channels of its group."""

DEPTHWISE_AXES = (-2, -1)
"""Channel axes of a kernel (..., C, M), in which each channel has filters of its own."""

TRANSPOSED_AXES = (-2,)
"""Channel axes of a kernel (..., F / groups, C)."""


@dataclass(frozen=True)
class KernelSpec:
    """A kernel of a layer.

    Attributes:
        name: name of the weight, and of the layer's attribute for it.
        channel_axes: axes of output channels: `STANDARD_AXES`, `DEPTHWISE_AXES` or `TRANSPOSED_AXES`.
        op: name of the op in reports of cost; None for the layer's own.
        part: suffix of the layer's name in reports of cost; None for no suffix.
        pointwise: whether it has one tap, and the strides and rate are those of another kernel.
        bias: name of the kernel's own bias; None if it has none, or that of the layer.
    """

    name: str = "kernel"
    channel_axes: tuple[int, ...] = STANDARD_AXES
    op: str | None = None
    part: str | None = None
    pointwise: bool = False
    bias: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of the kernel and of its own bias."""
        return (self.name,) if self.bias is None else (self.name, self.bias)

    def channels(self, shape: tuple[int, ...]) -> int:
        """Return the number of output channels, in one group, of a kernel of this shape."""
        return prod(shape[axis] for axis in self.channel_axes)

    def channel_sizes(self, input_channels: int, output_channels: int, groups: int) -> tuple[int, int]:
        """Return the sizes of the last two axes of a kernel in a layer with these channels and groups.

        Examples:
            >>> KernelSpec(channel_axes=TRANSPOSED_AXES).channel_sizes(6, 8, groups=2)
            (4, 6)
        """
        if self.channel_axes == DEPTHWISE_AXES:
            return input_channels, output_channels // input_channels
        if self.channel_axes == TRANSPOSED_AXES:
            return output_channels // groups, input_channels
        return input_channels // groups, output_channels

    def groups(self, shape: tuple[int, ...], input_channels: int, output_channels: int) -> int:
        """Return the number of channel groups of a kernel of this shape, in a layer with these channels.

        Examples:
            >>> KernelSpec(channel_axes=TRANSPOSED_AXES).groups((3, 3, 4, 6), input_channels=6, output_channels=8)
            2
        """
        if self.pointwise:
            return 1
        if self.channel_axes == DEPTHWISE_AXES:
            return shape[-2]
        return (output_channels if self.channel_axes == TRANSPOSED_AXES else input_channels) // shape[-2]

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which a vector (F,) broadcasts over a kernel of this shape, in one group.

        Examples:
            >>> KernelSpec(channel_axes=TRANSPOSED_AXES).channel_shape((3, 3, 8, 4))
            (8, 1)
        """
        return tuple(int(shape[axis]) if axis in self.channel_axes else 1 for axis in range(min(self.channel_axes), 0))

    def scaled(self, kernel: Tensor | np.ndarray, scale: Tensor | np.ndarray) -> Tensor:
        """Return the kernel with each output channel multiplied by its element of `scale` (F,), of the same dtype.

        This is how a batch normalization folds into a kernel, along the axes `channel_axes`.

        Examples:
            >>> kernel, scale = np.ones((1, 4)), np.array([1.0, 2.0])  # two groups
            >>> KernelSpec(channel_axes=TRANSPOSED_AXES).scaled(kernel, scale).numpy().tolist()
            [[1.0, 1.0, 2.0, 2.0]]
        """
        if self.channel_axes != TRANSPOSED_AXES or scale.shape[0] == kernel.shape[-2]:
            return kernel * tf.reshape(scale, self.channel_shape(kernel.shape))
        groups = scale.shape[0] // kernel.shape[-2]
        grouped = tf.reshape(kernel, [*kernel.shape[:-1], groups, -1])
        return tf.reshape(grouped * tf.transpose(tf.reshape(scale, [groups, -1]))[..., tf.newaxis], kernel.shape)

    def scaled_inputs(self, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return the kernel with each input channel multiplied by its element of `scale` (C,).

        This is how a batch normalization in front of a layer folds into the layer's kernel.

        Examples:
            >>> kernel, scale = np.ones((1, 4)), np.array([1.0, 2.0])  # two groups of one channel
            >>> KernelSpec().scaled_inputs(kernel, scale).tolist()
            [[1.0, 1.0, 2.0, 2.0]]
        """
        if self.channel_axes != STANDARD_AXES:
            return kernel * (scale[:, np.newaxis] if self.channel_axes == DEPTHWISE_AXES else scale)
        *_, channels, filters = kernel.shape
        groups = len(scale) // channels
        return kernel * np.repeat(scale.reshape(groups, channels).T, filters // groups, axis=1)

    def response(self, kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the output (F,) of a convolution, not transposed, for an input that has a constant in each channel.

        Args:
            kernel: of this layer.
            values: the constants (C,).

        Examples:
            >>> KernelSpec(channel_axes=DEPTHWISE_AXES).response(np.ones((3, 3, 2, 1)), np.array([1.0, 2.0])).tolist()
            [9.0, 18.0]
        """
        products = self.scaled_inputs(kernel, values)
        summed = products.sum(tuple(axis for axis in range(kernel.ndim) if axis - kernel.ndim not in self.channel_axes))
        return summed.reshape(-1)

    def standard(self, kernel: np.ndarray, groups: int) -> np.ndarray:
        """Return a standard or transposed kernel as a standard convolution has it, (..., C / groups, F).

        Examples:
            >>> KernelSpec(channel_axes=TRANSPOSED_AXES).standard(np.ones((3, 3, 4, 6)), groups=2).shape
            (3, 3, 3, 8)
        """
        if self.channel_axes != TRANSPOSED_AXES:
            return kernel
        *sides, filters, channels = kernel.shape
        grouped = np.moveaxis(kernel.reshape(*sides, filters, groups, channels // groups), -3, -1)
        return np.moveaxis(grouped, -3, -2).reshape(*sides, channels // groups, groups * filters)
