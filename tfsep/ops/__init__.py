"""Functional convolutions on tensors: right for every stride, rate, padding and group count."""

# ruff: noqa: F403
from tfsep.ops._conv1d import *
from tfsep.ops._conv2d import *
from tfsep.ops._conv_transpose import *
from tfsep.ops._convolution_matrix import *
from tfsep.ops._deform_conv import *
from tfsep.ops._export_context import *
from tfsep.ops._pixel_layout import *
