"""Convolution layers of images: the arguments of `keras.layers`, in their order, and more."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, ConstraintLike, InitializerLike, RegularizerLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import DepthwiseConvolution, SeparableConvolution, StandardConvolution
from tfsep.ops._conv2d import convolve, convolve_depthwise, convolve_separable

__all__ = ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"]


@keras.saving.register_keras_serializable(package="tfsep")
class Conv2D(StandardConvolution):
    """Standard 2-D convolution.

    `keras.layers.Conv2D`, with any stride beside any rate, and padding in pixels.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or a pair; any stride goes with any rate.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel (kh, kw, C / groups, F).
        bias_initializer: of the bias (F,).
        kernel_regularizer: of the kernel; None for none.
        bias_regularizer: of the bias; None for none.
        activity_regularizer: of the result; None for none.
        kernel_constraint: of the kernel; None for none.
        bias_constraint: of the bias; None for none.
        rate: another name of dilation_rate.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Raises:
        ValueError: for sizes under 1, groups that do not divide filters or channels, or another rank.

    Examples:
        >>> layer = Conv2D(8, 3, strides=2, padding="same", groups=2, rate=2)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 4, 4, 8]), 152)
    """

    _op = staticmethod(convolve)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
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
class DepthwiseConv2D(DepthwiseConvolution):
    """Depthwise 2-D convolution: each channel with `depth_multiplier` filters of its own.

    `keras.layers.DepthwiseConv2D`, with any stride beside any rate, and padding in pixels. A variance-scaling
    initializer draws the kernel with its true fan-in kh·kw, where Keras counts C·kh·kw.

    Args:
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        depth_multiplier: filters a channel, M.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or a pair; any stride goes with any rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: of the kernel (kh, kw, C, M); a variance-scaling one draws it with its true fan-in kh·kw.
        bias_initializer: of the bias (C·M,).
        depthwise_regularizer: of the kernel; None for none.
        bias_regularizer: of the bias; None for none.
        activity_regularizer: of the result; None for none.
        depthwise_constraint: of the kernel; None for none.
        bias_constraint: of the bias; None for none.
        rate: another name of dilation_rate.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', C·M), or (N, C·M, H', W'); channel c·M + m is made by filter m of input channel c.

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, rate=2)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 4, 4, 8]), 80)
    """

    _op = staticmethod(convolve_depthwise)

    def __init__(
        self,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
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
class SeparableConv2D(SeparableConvolution):
    """Separable 2-D convolution: a depthwise convolution, then a pointwise (1×1) one, with nothing between.

    `keras.layers.SeparableConv2D`, with any stride beside any rate, unequal strides, and padding in pixels. For
    normalization and an activation between the two, see `DepthwiseSeparableConv`.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the depthwise kernel, an int or a pair.
        strides: step of the depthwise window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; of the depthwise
            part.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps of the depthwise part, an int or a pair; any stride goes with
            any rate.
        depth_multiplier: depthwise filters a channel, M.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: of the depthwise kernel (kh, kw, C, M); a variance-scaling one draws it with its true
            fan-in kh·kw.
        pointwise_initializer: of the pointwise kernel (1, 1, C·M, F).
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

    Input shape: (N, H, W, C), or (N, C, H, W) with ``"channels_first"``.

    Output shape: (N, H', W', F), or (N, F, H', W').

    Raises:
        ValueError: for sizes under 1, or another rank.

    Examples:
        >>> layer = SeparableConv2D(256, 3, use_bias=False)
        >>> layer(np.ones((1, 8, 8, 3), "float32")).shape, layer.count_params()
        (TensorShape([1, 6, 6, 256]), 795)
    """

    _op = staticmethod(convolve_separable)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
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
