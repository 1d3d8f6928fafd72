"""Convolution layers of sequences: the arguments of `keras.layers`, in their order, and more."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, ConstraintLike, InitializerLike, RegularizerLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import DepthwiseConvolution, SeparableConvolution, StandardConvolution
from tfsep.layers._layer_arguments import arguments_of

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
        kernel_initializer: initializer of the kernel (k, C / groups, F).
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
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv1D(DepthwiseConvolution):
    """Depthwise 1-D convolution: each channel with `depth_multiplier` filters of its own.

    `keras.layers.DepthwiseConv1D`, with any stride beside any rate, and padding at either end. A variance-scaling
    initializer draws the kernel with its true fan-in k, where Keras counts C·k.

    Args:
        kernel_size: taps of the kernel.
        strides: step of the window.
        padding: ``"valid"``, ``"same"``, ``"causal"``, an int, or ``(before, after)``.
        depth_multiplier: filters per channel, M.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps; any stride goes with any rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: initializer of the kernel (k, C, M); the fan-in is k.
        bias_initializer: initializer of the bias (C·M,).
        depthwise_regularizer: regularizer of the kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        depthwise_constraint: constraint of the kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
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
        super().__init__(**arguments_of(locals()))


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
        depth_multiplier: depthwise filters per channel, M.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        depthwise_initializer: initializer of the depthwise kernel (k, C, M); the fan-in is k.
        pointwise_initializer: initializer of the pointwise kernel (1, C·M, F).
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
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))
