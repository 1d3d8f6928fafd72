"""Convolution layers of sequences: the arguments of `keras.layers`, in their order, and more."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, ConstraintLike, InitializerLike, RegularizerLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import DepthwiseConvolution, SeparableConvolution, StandardConvolution
from tfsep.ops._conv2d import convolve, convolve_depthwise, convolve_separable

__all__ = ["Conv1D", "DepthwiseConv1D", "SeparableConv1D"]


@keras.saving.register_keras_serializable(package="tfsep")
class Conv1D(StandardConvolution):
    """Standard 1-D convolution.

    `keras.layers.Conv1D`, with any stride beside any rate, and padding at either end.

    Args:
        filters: output channels F.
        kernel_size: taps of the kernel.
        strides: step of the window.
        padding: ``"valid"``, ``"same"``, ``"causal"``, an int, or ``(before, after)``.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps; any stride goes with any rate.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel (k, C / groups, F).
        bias_initializer: of the bias (F,).
        kernel_regularizer: of the kernel; None for none.
        bias_regularizer: of the bias; None for none.
        activity_regularizer: of the result; None for none.
        kernel_constraint: of the kernel; None for none.
        bias_constraint: of the bias; None for none.
        rate: another name of dilation_rate.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

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
    _op = staticmethod(convolve)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        dilation_rate: PairLike = 1,
        groups: int = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        rate: PairLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
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
            rate=rate,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv1D(DepthwiseConvolution):
    """Depthwise 1-D convolution: each channel with `depth_multiplier` filters of its own.

    `keras.layers.DepthwiseConv1D`, with any stride beside any rate, and padding at either end. A variance-scaling
    initializer draws the kernel with its true fan-in k, where Keras counts C·k.

    Args:
        kernel_size: taps of the kernel.
        strides: step of the window.
        padding: ``"valid"``, ``"same"``, ``"causal"``, an int, or ``(before, after)``.
        depth_multiplier: filters a channel, M.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps; any stride goes with any rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: of the kernel (k, C, M); a variance-scaling one draws it with its true fan-in k.
        bias_initializer: of the bias (C·M,).
        depthwise_regularizer: of the kernel; None for none.
        bias_regularizer: of the bias; None for none.
        activity_regularizer: of the result; None for none.
        depthwise_constraint: of the kernel; None for none.
        bias_constraint: of the bias; None for none.
        rate: another name of dilation_rate.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Input shape: (N, L, C), or (N, C, L) with ``"channels_first"``.

    Output shape: (N, L', C·M), or (N, C·M, L'); channel c·M + m is made by filter m of input channel c.

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = DepthwiseConv1D(3, padding="causal", depth_multiplier=2, rate=4)
        >>> layer(np.ones((1, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 8, 8]), 32)
    """

    rank = 1
    _op = staticmethod(convolve_depthwise)

    def __init__(
        self,
        kernel_size: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: PairLike = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        depthwise_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        depthwise_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        rate: PairLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
            rate=rate,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="tfsep")
class SeparableConv1D(SeparableConvolution):
    """Separable 1-D convolution: a depthwise convolution, then a pointwise (width-1) one, with nothing between.

    `keras.layers.SeparableConv1D`, with any stride beside any rate, and padding at either end.

    Args:
        filters: output channels F.
        kernel_size: taps of the depthwise kernel.
        strides: step of the depthwise window.
        padding: ``"valid"``, ``"same"``, ``"causal"``, an int, or ``(before, after)``; of the depthwise part.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps of the depthwise part; any stride goes with any rate.
        depth_multiplier: depthwise filters a channel, M.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: of the depthwise kernel (k, C, M); a variance-scaling one draws it with its true fan-in
            k.
        pointwise_initializer: of the pointwise kernel (1, C·M, F).
        bias_initializer: of the bias (F,).
        depthwise_regularizer: of the depthwise kernel; None for none.
        pointwise_regularizer: of the pointwise kernel; None for none.
        bias_regularizer: of the bias; None for none.
        activity_regularizer: of the result; None for none.
        depthwise_constraint: of the depthwise kernel; None for none.
        pointwise_constraint: of the pointwise kernel; None for none.
        bias_constraint: of the bias; None for none.
        rate: another name of dilation_rate.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

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
    _op = staticmethod(convolve_separable)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        dilation_rate: PairLike = 1,
        depth_multiplier: int = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        pointwise_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        depthwise_regularizer: RegularizerLike = None,
        pointwise_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        depthwise_constraint: ConstraintLike = None,
        pointwise_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        rate: PairLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            depth_multiplier=depth_multiplier,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
            rate=rate,
            **kwargs,
        )
