"""Convolution layers of images: the arguments of `keras.layers`, in their order, and more."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, ConstraintLike, InitializerLike, RegularizerLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import DepthwiseConvolution, SeparableConvolution, StandardConvolution
from tfsep.layers._layer_arguments import arguments_of

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
        kernel_initializer: initializer of the kernel (kh, kw, C / groups, F).
        bias_initializer: initializer of the bias (F,).
        kernel_regularizer: regularizer of the kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        kernel_constraint: constraint of the kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
        rate: another name of dilation_rate.
        lora_rank: rank of a low-rank adaptation of the kernel, see `enable_lora`; None for none.
        lora_alpha: the adaptation is scaled by ``lora_alpha / lora_rank``; None for the rank.
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
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv2D(DepthwiseConvolution):
    """Depthwise 2-D convolution: each channel with `depth_multiplier` filters of its own.

    `keras.layers.DepthwiseConv2D`, with any stride beside any rate, and padding in pixels. A variance-scaling
    initializer draws the kernel with its true fan-in kh·kw, where Keras counts C·kh·kw.

    Args:
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        depth_multiplier: filters per channel, M.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or a pair; any stride goes with any rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: initializer of the kernel (kh, kw, C, M); the fan-in is kh·kw.
        bias_initializer: initializer of the bias (C·M,).
        depthwise_regularizer: regularizer of the kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        depthwise_constraint: constraint of the kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
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
        super().__init__(**arguments_of(locals()))


@keras.saving.register_keras_serializable(package="tfsep")
class SeparableConv2D(SeparableConvolution):
    """Separable 2-D convolution: a depthwise convolution, then a pointwise (1×1) one, with nothing between.

    `keras.layers.SeparableConv2D`, with any, also unequal, strides beside any rate, and padding in pixels. For
    normalization and an activation between the two, see `DepthwiseSeparableConv`.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the depthwise kernel, an int or a pair.
        strides: step of the depthwise window, an int or a pair (rows, columns), equal or not.
        padding: depthwise padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps of the depthwise part, an int or a pair, with any stride.
        depth_multiplier: depthwise filters per channel, M.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: initializer of the depthwise kernel (kh, kw, C, M); the fan-in is kh·kw.
        pointwise_initializer: initializer of the pointwise kernel (1, 1, C·M, F).
        bias_initializer: initializer of the bias (F,).
        depthwise_regularizer: regularizer of the depthwise kernel; None for none.
        pointwise_regularizer: regularizer of the pointwise kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        depthwise_constraint: constraint of the depthwise kernel; None for none.
        pointwise_constraint: constraint of the pointwise kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
        rate: another name of dilation_rate.
        lora_rank: rank of a low-rank adaptation of the pointwise kernel, see `enable_lora`; None for none.
        lora_alpha: the adaptation is scaled by ``lora_alpha / lora_rank``; None for the rank.
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
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))
