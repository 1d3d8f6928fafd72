"""Functional convolutions on tensors: right for every stride, rate, padding and group count."""

from tfsep.ops import (
    _conv,
    _conv_transpose,
    _convolution_matrix,
    _deform_conv,
    _export_context,
)
from tfsep.ops._conv import *  # noqa: F403
from tfsep.ops._conv_transpose import *  # noqa: F403
from tfsep.ops._convolution_matrix import *  # noqa: F403
from tfsep.ops._deform_conv import *  # noqa: F403
from tfsep.ops._export_context import *  # noqa: F403

# Each module lists its own public names.
__all__ = [  # noqa: PLE0604
    *_conv.__all__,
    *_conv_transpose.__all__,
    *_convolution_matrix.__all__,
    *_deform_conv.__all__,
    *_export_context.__all__,
]
