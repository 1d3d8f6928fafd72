"""Transposed convolution layers: the arguments of `keras.layers.Conv2DTranspose`, in their order, and their kin's."""

from typing import Any

from tfsep import ops
from tfsep._keras.backend import keras, tf
from tfsep.layers._kernel_types import Depthwise, Full, Separable, Upsampling


def _up_sample(x: Any, kernel: Any, **options: Any) -> Any:
    """Make M channels of each, with its own filters (kh, kw, C, M)."""
    return ops.conv2d_transpose(x, tf.transpose(kernel, [0, 1, 3, 2]), groups=kernel.shape[2], **options)


@keras.saving.register_keras_serializable(package="tfsep")
class Conv2DTranspose(Upsampling, Full):
    """Transposed 2-D convolution: `keras.layers.Conv2DTranspose`, with groups, any stride beside any rate, and pixels.

    Args:
        filters: output channels F.
        kernel_size: rows and columns, an int or a pair.
        strides: step of the window in the result, an int or a pair, equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; pixels are taken
            from the result, as in PyTorch.
        output_padding: rows and columns more at the end of the result, an int or a pair, each less than the stride.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or a pair.
        activation: applied to the result; None for none.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint: as in Keras; the kernel is drawn as Keras draws it.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        rate: another name of dilation_rate.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W'); the sizes are those of `tfsep.ops.conv2d_transpose`.

    Raises:
        ValueError: for sizes under 1, groups that do not divide filters or channels, an output_padding that is not less
            than the strides, or another rank.

    Examples:
        >>> layer = Conv2DTranspose(8, 3, strides=2, padding=1, output_padding=1, groups=2)
        >>> layer(np.ones((1, 7, 7, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 14, 14, 8]), 152)
    """

    op = staticmethod(ops.conv2d_transpose)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        groups: int = 1,
        rate: Any = None,
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
            activation=activation,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            bias_constraint=bias_constraint,
            output_padding=output_padding,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            groups=groups,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )

    def _kernel_channels(self, channels: int) -> tuple[int, int]:
        return self.filters // self.groups, channels

    def _call_options(self) -> dict[str, Any]:
        return {**super()._call_options(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv2DTranspose(Upsampling, Depthwise):
    """Depthwise transposed 2-D convolution: each channel up-sampled by `depth_multiplier` filters of its own.

    A layer of `DepthwiseConv2D`'s kernel and channels, C in and C·M out. `tfsep.ops.depthwise_conv2d_transpose` is the
    strict transpose, which with the same filter goes from C·M channels to C; with M = 1 the two are one. Here the
    M filters of a channel spread it out instead of adding up, because that is what a decoder needs of a multiplier, and
    what a transposed convolution in C groups does elsewhere.

    Args:
        kernel_size, strides, padding, output_padding, data_format, dilation_rate, activation, use_bias, rate: as in
            `Conv2DTranspose`.
        depth_multiplier: filters a channel, M.
        depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer, activity_regularizer,
            depthwise_constraint, bias_constraint: as in `DepthwiseConv2D`; the kernel (kh, kw, C, M) is drawn with
            fan-in kh·kw.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', C·M), or (N, C·M, H', W'); channel c·M + m is made by filter m of input channel c.

    Raises:
        ValueError: for sizes under 1, an output_padding that is not less than the strides, or another rank.

    Examples:
        >>> layer = DepthwiseConv2DTranspose(3, strides=2, padding="same", depth_multiplier=2)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 16, 16, 8]), 80)
    """

    op = staticmethod(_up_sample)

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        depth_multiplier: int = 1,
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        rate: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            rate=rate,
            activation=activation,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            bias_constraint=bias_constraint,
            depth_multiplier=depth_multiplier,
            output_padding=output_padding,
            depthwise_initializer=depthwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            depthwise_constraint=depthwise_constraint,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="tfsep")
class SeparableConv2DTranspose(Upsampling, Separable):
    """Separable transposed 2-D convolution: a `DepthwiseConv2DTranspose`, then a 1×1 convolution, nothing between.

    Args:
        filters: output channels F.
        kernel_size, strides, padding, output_padding, data_format, dilation_rate, activation, use_bias, rate: as in
            `Conv2DTranspose`; the window is the depthwise part's.
        depth_multiplier: depthwise filters a channel, M.
        depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer, pointwise_regularizer,
            bias_regularizer, activity_regularizer, depthwise_constraint, pointwise_constraint, bias_constraint: as in
            `SeparableConv2D`.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Raises:
        ValueError: for sizes under 1, an output_padding that is not less than the strides, or another rank.

    Examples:
        >>> layer = SeparableConv2DTranspose(16, 3, strides=2, padding="same", use_bias=False)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 16, 16, 16]), 100)
    """

    op = staticmethod(ops.separable_conv2d_transpose)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        depth_multiplier: int = 1,
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        rate: Any = None,
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
            activation=activation,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            bias_constraint=bias_constraint,
            depth_multiplier=depth_multiplier,
            output_padding=output_padding,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
