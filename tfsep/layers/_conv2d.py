"""Convolution layers: the arguments of `keras.layers`, in their order, and more of them."""

from typing import Any

from tfsep import ops
from tfsep._keras.backend import keras
from tfsep.layers._kernel_types import Depthwise, Full, Separable


@keras.saving.register_keras_serializable(package="tfsep")
class Conv2D(Full):
    """2-D convolution: `keras.layers.Conv2D`, with any stride beside any rate, and padding in pixels.

    Args:
        filters: output channels F.
        kernel_size: rows and columns, an int or a pair.
        strides: step of the window, an int or a pair, equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or a pair.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        activation: applied to the result; None for none.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint: as in Keras.
        rate: another name of dilation_rate.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Raises:
        ValueError: for sizes under 1, groups that do not divide filters or channels, or another rank.

    Examples:
        >>> layer = Conv2D(8, 3, strides=2, padding="same", groups=2, rate=2)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 4, 4, 8]), 152)
    """

    op = staticmethod(ops.conv2d)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
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
            groups=groups,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv2D(Depthwise):
    """Depthwise 2-D convolution: each channel with `depth_multiplier` filters of its own.

    `keras.layers.DepthwiseConv2D`, with any stride beside any rate and padding in pixels. A variance-scaling
    initializer draws the kernel with its true fan-in kh·kw, where Keras counts C·kh·kw.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, rate: as in `Conv2D`.
        depth_multiplier: filters a channel, M.
        depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer, activity_regularizer,
            depthwise_constraint, bias_constraint: as in Keras.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', C·M), or (N, C·M, H', W'); channel c·M + m is filter m of input channel c.

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, rate=2)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 4, 4, 8]), 80)
    """

    op = staticmethod(ops.depthwise_conv2d)

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        depth_multiplier: int = 1,
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
            depthwise_initializer=depthwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            depthwise_constraint=depthwise_constraint,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="tfsep")
class SeparableConv2D(Separable):
    """Separable 2-D convolution: a depthwise one, then a 1×1 one, with nothing between.

    `keras.layers.SeparableConv2D`, with any stride beside any rate, unequal ones too, and padding in pixels. For
    normalization and an activation between the two, see `DepthwiseSeparableConv`.

    Args:
        filters: output channels F.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, rate: as in `Conv2D`; the
            window is the depthwise part's.
        depth_multiplier: depthwise filters a channel, M.
        depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer, pointwise_regularizer,
            bias_regularizer, activity_regularizer, depthwise_constraint, pointwise_constraint, bias_constraint: as in
            Keras.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = SeparableConv2D(256, 3, use_bias=False)
        >>> layer(np.ones((1, 8, 8, 3), "float32")).shape, layer.count_params()
        (TensorShape([1, 6, 6, 256]), 795)
    """

    op = staticmethod(ops.separable_conv2d)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        depth_multiplier: int = 1,
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
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
