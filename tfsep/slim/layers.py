"""The functions of ``slim.layers``, which are those of `tfsep.slim` itself."""

from tfsep.slim._convolution import (
    conv2d,
    conv2d_transpose,
    convolution,
    convolution2d,
    convolution2d_transpose,
    separable_conv2d,
    separable_convolution2d,
)
from tfsep.slim._fully_connected import bias_add, elu, fully_connected, linear, relu, relu6
from tfsep.slim._initializers import (
    variance_scaling_initializer,
    xavier_initializer,
    xavier_initializer_conv2d,
)
from tfsep.slim._normalization import batch_norm, group_norm, instance_norm
from tfsep.slim._ops import avg_pool2d, dropout, flatten, max_pool2d, one_hot_encoding, repeat, softmax, stack
from tfsep.slim._regularizers import (
    apply_regularization,
    l1_l2_regularizer,
    l1_regularizer,
    l2_regularizer,
    sum_regularizer,
)

__all__ = [
    "apply_regularization",
    "avg_pool2d",
    "batch_norm",
    "bias_add",
    "conv2d",
    "conv2d_transpose",
    "convolution",
    "convolution2d",
    "convolution2d_transpose",
    "dropout",
    "elu",
    "flatten",
    "fully_connected",
    "group_norm",
    "instance_norm",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2_regularizer",
    "linear",
    "max_pool2d",
    "one_hot_encoding",
    "relu",
    "relu6",
    "repeat",
    "separable_conv2d",
    "separable_convolution2d",
    "softmax",
    "stack",
    "sum_regularizer",
    "variance_scaling_initializer",
    "xavier_initializer",
    "xavier_initializer_conv2d",
]
