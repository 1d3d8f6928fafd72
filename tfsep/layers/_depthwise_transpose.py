"""Depthwise and separable transposed convolution layers, in the form of `keras.layers.Conv2DTranspose`."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from tfsep.geometry import PaddingLike, PairLike
from tfsep.layers._kernel_types import DepthwiseConvolution, SeparableConvolution, TransposedConvolution
from tfsep.ops._conv_transpose import convolve_separable_transpose, upsample_depthwise

__all__ = ["DepthwiseConv2DTranspose", "SeparableConv2DTranspose"]


@keras.saving.register_keras_serializable(package="tfsep")
class DepthwiseConv2DTranspose(TransposedConvolution, DepthwiseConvolution):
    """Depthwise transposed 2-D convolution: each channel up-sampled by `depth_multiplier` filters of its own.

    It has the kernel and the channels of `DepthwiseConv2D`, C in and C·M out. `tfsep.ops.depthwise_conv2d_transpose` is
    the strict transpose, which with the same kernel maps C·M channels to C; with M = 1 the two are one. Here the M
    filters of a channel make M channels, and are not summed, because that is what a decoder needs of a multiplier, and
    what a transposed convolution in C groups computes elsewhere.

    Args:
        kernel_size: rows and columns of the kernel, an int or a pair.
        strides: step of the window in the result, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; pixels are cropped
            from the result, as in PyTorch.
        depth_multiplier: filters a channel, M.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
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
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            output_padding=output_padding,
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
class SeparableConv2DTranspose(TransposedConvolution, SeparableConvolution):
    """Separable transposed 2-D convolution: a `DepthwiseConv2DTranspose`, then a 1×1 convolution, with nothing between.

    Args:
        filters: output channels F.
        kernel_size: rows and columns of the depthwise kernel, an int or a pair.
        strides: step of the depthwise window in the result, an int or a pair (rows, columns), equal or not.
        padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``; pixels are cropped
            from the result, as in PyTorch.
        depth_multiplier: depthwise filters a channel, M.
        output_padding: additional rows and columns at the end of the result, an int or a pair, each less than the
            stride; None for the default size of each padding.
        data_format: ``"channels_last"`` or ``"channels_first"``; None for Keras's setting.
        dilation_rate: distance between neighbouring taps of the depthwise part, an int or a pair; any stride goes with
            any rate.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            output_padding=output_padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
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
