"""Keras layers: supersets of those of `keras.layers` under the same names; the mathematics is in `tfsep.ops`."""

from tfsep.layers._block import DepthwiseSeparableConv, leaky_relu
from tfsep.layers._convolution import Conv2D, DepthwiseConv2D, SeparableConv2D
from tfsep.layers._deformable import DeformableConv2D
from tfsep.layers._normalization import BatchNormalization

__all__ = [
    "BatchNormalization",
    "Conv2D",
    "DeformableConv2D",
    "DepthwiseConv2D",
    "DepthwiseSeparableConv",
    "SeparableConv2D",
    "leaky_relu",
]
