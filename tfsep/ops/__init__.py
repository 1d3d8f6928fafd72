"""Functional convolutions on tensors: right for every stride, rate, padding and group count."""

from tfsep.ops._context import exporting
from tfsep.ops._convolution import conv2d, depthwise_conv2d, separable_conv2d
from tfsep.ops._deformable import deform_conv2d

__all__ = ["conv2d", "deform_conv2d", "depthwise_conv2d", "exporting", "separable_conv2d"]
