"""Keras layers: supersets of those of `keras.layers` under the same names; the mathematics is in `tfsep.ops`."""

from tfsep.layers._batch_normalization import BatchNormalization
from tfsep.layers._conv1d import Conv1D, DepthwiseConv1D, SeparableConv1D
from tfsep.layers._conv2d import Conv2D, DepthwiseConv2D, SeparableConv2D
from tfsep.layers._conv_transpose import Conv2DTranspose, DepthwiseConv2DTranspose, SeparableConv2DTranspose
from tfsep.layers._deform_conv import DeformableConv2D
from tfsep.layers._separable_block import DepthwiseSeparableConv, leaky_relu

__all__ = [
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "DeformableConv2D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseConv2DTranspose",
    "DepthwiseSeparableConv",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConv2DTranspose",
    "leaky_relu",
]
