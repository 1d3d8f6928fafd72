"""Convolution layers of sequences: the arguments of `keras.layers`, in their order, and more of them."""

from typing import Any

from tfsep import ops
from tfsep._keras.backend import keras
from tfsep.layers._kernel_types import Depthwise, Full, Separable


@keras.saving.register_keras_serializable(package="tfsep")
class Conv1D(Full):
    """1-D convolution: `keras.layers.Conv1D`, with any stride beside any rate, and padding at either end.

    Args:
        filters: output channels F.
        kernel_size: taps of the kernel.
        strides: step of the window.
        padding: ``"valid"``, ``"same"``, ``"causal"``, an int, or ``(before, after)``: a pair means the two ends.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        activation: applied to the result; None for none.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint: as in Keras.
        rate: another name of dilation_rate.

    Input shape: (N, L, C), or (N, C, L) with ``"channels_first"``.

    Output shape: (N, L', F), or (N, F, L').

    Raises:
        ValueError: for sizes under 1, groups that do not divide filters or channels, or another rank.

    Examples:
        >>> layer = Conv1D(128, 3)
        >>> layer(np.ones((32, 15, 256), "float32")).shape, layer.count_params()
        (TensorShape([32, 13, 128]), 98432)
    """

    rank = 1
    op = staticmethod(ops.conv1d)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
class DepthwiseConv1D(Depthwise):
    """Depthwise 1-D convolution: each channel with `depth_multiplier` filters of its own.

    `keras.layers.DepthwiseConv1D`, with any stride beside any rate and padding at either end. A variance-scaling
    initializer draws the kernel with its true fan-in k, where Keras counts C·k.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, rate: as in `Conv1D`.
        depth_multiplier: filters a channel, M.
        depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer, activity_regularizer,
            depthwise_constraint, bias_constraint: as in Keras.

    Input shape: (N, L, C), or (N, C, L) with ``"channels_first"``.

    Output shape: (N, L', C·M), or (N, C·M, L'); channel c·M + m is filter m of input channel c.

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = DepthwiseConv1D(3, padding="causal", depth_multiplier=2, rate=4)
        >>> layer(np.ones((1, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 8, 8]), 32)
    """

    rank = 1
    op = staticmethod(ops.depthwise_conv1d)

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
class SeparableConv1D(Separable):
    """Separable 1-D convolution: a depthwise one, then one of width 1, with nothing between.

    `keras.layers.SeparableConv1D`, with any stride beside any rate and padding at either end.

    Args:
        filters: output channels F.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, rate: as in `Conv1D`; the
            window is the depthwise part's.
        depth_multiplier: depthwise filters a channel, M.
        depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer, pointwise_regularizer,
            bias_regularizer, activity_regularizer, depthwise_constraint, pointwise_constraint, bias_constraint: as in
            Keras.

    Input shape: (N, L, C), or (N, C, L) with ``"channels_first"``.

    Output shape: (N, L', F), or (N, F, L').

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = SeparableConv1D(128, 3, use_bias=False)
        >>> layer(np.ones((1, 15, 256), "float32")).shape, layer.count_params()
        (TensorShape([1, 13, 128]), 33536)
    """

    rank = 1
    op = staticmethod(ops.separable_conv1d)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
