"""Keras layers: supersets of those of `keras.layers` under the same names; the mathematics is in `tfsep.ops`."""

from tfsep.layers._block import DepthwiseSeparableConv, leaky_relu
from tfsep.layers._convolution import Conv2D, DepthwiseConv2D, SeparableConv2D
from tfsep.layers._deformable import DeformableConv2D
from tfsep.layers._normalization import BatchNormalization
from tfsep.layers._sequence import Conv1D, DepthwiseConv1D, SeparableConv1D
from tfsep.layers._transposed import Conv2DTranspose, DepthwiseConv2DTranspose, SeparableConv2DTranspose

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
