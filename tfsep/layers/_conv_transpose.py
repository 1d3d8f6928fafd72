"""Layers of transposed convolutions of any rank: supersets of those of `keras.layers`, in their order of arguments."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, ConstraintLike, InitializerLike, RegularizerLike
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import (
    DepthwiseConvolution,
    SeparableConvolution,
    StandardTransposedConvolution,
    TransposedConvolution,
)
from tfsep.layers._layer_arguments import arguments_of
from tfsep.ops._conv_transpose import convolve_separable_transpose, convolve_transpose, upsample_depthwise

__all__ = ["Conv1DTranspose", "Conv2DTranspose", "DepthwiseConv2DTranspose", "SeparableConv2DTranspose"]


@keras.saving.register_keras_serializable(package="tfsep")
class Conv1DTranspose(StandardTransposedConvolution):
    """Transposed 1-D convolution.

    `keras.layers.Conv1DTranspose`, with groups, any stride beside any rate, and padding in elements. The kernel's
    initial values are those of Keras.

    Args:
        filters: output channels F.
        kernel_size: taps of the kernel.
        strides: step of the window in the result.
        padding: ``"valid"``, ``"same"``, an int, or ``(before, after)``; elements are cropped from the result, as in
            PyTorch. Causal padding is refused.
        output_padding: additional elements at the end of the result, less than the stride; None for the default length
            of each padding.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps; any stride goes with any rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel (k, F / groups, C).
        bias_initializer: initializer of the bias (F,).
        kernel_regularizer: regularizer of the kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        kernel_constraint: constraint of the kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        rate: another name of dilation_rate.
        lora_rank: rank of a low-rank adaptation of the kernel, see `enable_lora`; None for none.
        lora_alpha: the adaptation is scaled by ``lora_alpha / lora_rank``; None for the rank.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Input shape: (N, L, C), or (N, C, L) with ``"channels_first"``.

    Output shape: (N, L', F), or (N, F, L'); the lengths are those of `tfsep.ops.conv1d_transpose`.

    Raises:
        ValueError: for sizes under 1, groups that do not divide filters or channels, causal padding, an output_padding
            that is not less than the strides, or another rank.

    Examples:
        >>> layer = Conv1DTranspose(8, 3, strides=2, padding=1, output_padding=1, groups=2)
        >>> layer(np.ones((1, 7, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 14, 8]), 56)
    """

    rank = 1
    _op = staticmethod(convolve_transpose)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        output_padding: PairLike | None = None,
        data_format: str | None = None,
        dilation_rate: PairLike = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        groups: int = 1,
        rate: PairLike | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@keras.saving.register_keras_serializable(package="tfsep")
class Conv2DTranspose(StandardTransposedConvolution):
    """Transposed 2-D convolution.

    `keras.layers.Conv2DTranspose`, with groups, any stride beside any rate, and padding in pixels. The kernel's initial
    values are those of Keras.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window in the result, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; pixels are cropped
            from the result, as in PyTorch.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps, an int or a pair; any stride goes with any rate.
        activation: applied to the result: a name, a function, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel (kh, kw, F / groups, C).
        bias_initializer: initializer of the bias (F,).
        kernel_regularizer: regularizer of the kernel; None for none.
        bias_regularizer: regularizer of the bias; None for none.
        activity_regularizer: regularizer of the result; None for none.
        kernel_constraint: constraint of the kernel; None for none.
        bias_constraint: constraint of the bias; None for none.
        groups: the input channels C and the filters are split into this many groups, each convolved on its own.
        rate: another name of dilation_rate.
        lora_rank: rank of a low-rank adaptation of the kernel, see `enable_lora`; None for none.
        lora_alpha: the adaptation is scaled by ``lora_alpha / lora_rank``; None for the rank.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

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

    _op = staticmethod(convolve_transpose)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        output_padding: PairLike | None = None,
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        groups: int = 1,
        rate: PairLike | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**arguments_of(locals()))


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv2DTranspose(TransposedConvolution, DepthwiseConvolution):
    """Depthwise transposed 2-D convolution: each channel up-sampled by `depth_multiplier` filters of its own.

    It has the kernel and the channels of `DepthwiseConv2D`: (kh, kw, C, M), and C in, C·M out. This is a transposed
    convolution in C groups, as other libraries compute it, and suits decoders.

    The strict transpose of `DepthwiseConv2D` is `tfsep.ops.depthwise_conv2d_transpose`: it maps C·M channels to C,
    summing over the M filters of a channel. For M = 1 the two are the same.

    Args:
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window in the result, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; pixels are cropped
            from the result, as in PyTorch.
        depth_multiplier: filters per channel, M.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
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
        ValueError: for sizes under 1, an output_padding that is not less than the strides, or another rank.

    Examples:
        >>> layer = DepthwiseConv2DTranspose(3, strides=2, padding="same", depth_multiplier=2)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 16, 16, 8]), 80)
    """

    _op = staticmethod(upsample_depthwise)

    def __init__(
        self,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        depth_multiplier: int = 1,
        output_padding: PairLike | None = None,
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
class SeparableConv2DTranspose(TransposedConvolution, SeparableConvolution):
    """Separable transposed 2-D convolution: a `DepthwiseConv2DTranspose`, then a 1×1 convolution, with nothing between.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the depthwise kernel, an int or a pair.
        strides: step of the depthwise window in the result, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; pixels are cropped
            from the result, as in PyTorch.
        depth_multiplier: depthwise filters per channel, M.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps of the depthwise part, an int or a pair; any stride goes with
            any rate.
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
        ValueError: for sizes under 1, an output_padding that is not less than the strides, or another rank.

    Examples:
        >>> layer = SeparableConv2DTranspose(16, 3, strides=2, padding="same", use_bias=False)
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape, layer.count_params()
        (TensorShape([1, 16, 16, 16]), 100)
    """

    _op = staticmethod(convolve_separable_transpose)

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        depth_multiplier: int = 1,
        output_padding: PairLike | None = None,
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
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
