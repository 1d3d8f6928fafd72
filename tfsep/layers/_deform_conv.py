"""Deformable convolution as a layer: the offsets, and the mask, are a convolution of the same image."""

from typing import Any

from tfsep import ops
from tfsep._keras.backend import keras, tf
from tfsep._utils.arguments import positive_int
from tfsep.layers._convolution_base import Shape
from tfsep.layers._kernel_types import Full


@keras.saving.register_keras_serializable(package="tfsep")
class DeformableConv2D(Full):
    """Deformable 2-D convolution, v1 or, `modulated`, v2: each tap looks where the image itself sends it.

    A convolution of the input, of the same kernel size, strides, padding and rate, gives each tap of each output its
    offset in pixels, and its mask through a sigmoid. Its kernel starts at zero, so a new layer of v1 computes what
    `Conv2D` does. A new layer of v2 computes half of that (but for the bias), as its mask starts at sigmoid(0) = 0.5:
    so it is in the paper, and in the weights that others have trained.

    Args:
        filters: output channels F.
        kernel_size, strides, padding: as in `Conv2D`.
        rate: dilation, an int or a pair; None for `dilation_rate`.
        groups: of the channels and filters, as in `Conv2D`; the offsets are computed from all channels.
        offset_groups: OG, a divisor of the C input channels: so many parts of them have offsets of their own.
        modulated: whether taps have a mask too.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: another name of rate.
        activation, use_bias: as in `Conv2D`.
        offset_initializer, offset_regularizer, offset_constraint: of the kernel that offsets and mask come from.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint: as in Keras.

    Weights: `kernel` (kh, kw, C / groups, F), `bias`, `offset_kernel` (kh, kw, C, 2·OG·kh·kw, or 3·OG·kh·kw) and
    `offset_bias`. Channels of offsets are in the order of `tfsep.ops.deform_conv2d`, those of the mask behind them.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Source: J. Dai et al., "Deformable Convolutional Networks" (arXiv 1703.06211); v2, X. Zhu et al., "Deformable
    ConvNets v2" (arXiv 1811.11168), section 3.2.

    Raises:
        ValueError: for sizes under 1, groups or offset groups that do not divide, or another rank.

    Examples:
        >>> layer = DeformableConv2D(8, 3, strides=2, padding="same", modulated=True)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.offset_kernel.shape
        (TensorShape([1, 4, 4, 8]), TensorShape([3, 3, 4, 27]))
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        rate: Any = None,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = False,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        offset_initializer: Any = "zeros",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        offset_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        offset_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            rate=rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.offset_groups = positive_int(offset_groups, "offset_groups")
        self.modulated = bool(modulated)
        self._set_options("offset", offset_initializer, offset_regularizer, offset_constraint)

    @property
    def taps(self) -> int:
        """The number of taps that have an offset: of each offset group, all of the kernel's."""
        return self.offset_groups * self.kernel_size[0] * self.kernel_size[1]

    def build(self, input_shape: Shape) -> None:
        """Make the kernel, the bias (F,), and the offsets' kernel and bias."""
        super().build(input_shape)
        channels = self._input_channels(input_shape)
        if channels % self.offset_groups:
            raise ValueError(
                f"offset_groups: expected a divisor of the {channels} input channels, got {self.offset_groups}"
            )
        each = (3 if self.modulated else 2) * self.taps
        self.offset_kernel = self._add_weight("offset", "offset_kernel", (*self.kernel_size, channels, each))
        self.offset_bias = self.add_weight(name="offset_bias", shape=(each,), initializer="zeros")

    def _convolved(self, inputs: Any) -> Any:
        """Convolve once for the offsets, and once where they point."""
        options = self._call_options()
        moves = self._biased(ops.conv2d(inputs, self.offset_kernel, **options), self.offset_bias)
        mask = None
        if self.modulated:
            moves, mask = tf.split(moves, [2 * self.taps, self.taps], axis=self.channel_axis)
            mask = tf.sigmoid(mask)
        return ops.deform_conv2d(inputs, moves, self.kernel, mask, groups=self.groups, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "offset_groups": self.offset_groups, "modulated": self.modulated}
