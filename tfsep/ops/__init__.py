"""Functional convolutions on tensors: right for every stride, rate, padding and group count."""

from tfsep.ops._conv1d import conv1d, depthwise_conv1d, separable_conv1d
from tfsep.ops._conv2d import conv2d, depthwise_conv2d, separable_conv2d
from tfsep.ops._conv_transpose import conv2d_transpose, depthwise_conv2d_transpose, separable_conv2d_transpose
from tfsep.ops._convolution_matrix import convolution_matrix
from tfsep.ops._deform_conv import deform_conv2d
from tfsep.ops._export_context import exporting, is_exporting
from tfsep.ops._pixel_layout import spread

__all__ = [
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "convolution_matrix",
    "deform_conv2d",
    "depthwise_conv1d",
    "depthwise_conv2d",
    "depthwise_conv2d_transpose",
    "exporting",
    "is_exporting",
    "separable_conv1d",
    "separable_conv2d",
    "separable_conv2d_transpose",
    "spread",
]
