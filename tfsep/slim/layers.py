"""The functions of ``slim.layers``, which are those of `tfsep.slim` itself."""

from tfsep.slim._convolution import (
    conv1d,
    conv2d,
    conv3d,
    convolution,
    convolution1d,
    convolution2d,
    convolution3d,
)
from tfsep.slim._elsewhere import refusal_of_others
from tfsep.slim._fully_connected import bias_add, elu, fully_connected, linear, relu, relu6
from tfsep.slim._image_convolution import (
    conv2d_in_plane,
    conv2d_transpose,
    convolution2d_in_plane,
    convolution2d_transpose,
    separable_conv2d,
    separable_convolution2d,
)
from tfsep.slim._initializers import (
    variance_scaling_initializer,
    xavier_initializer,
    xavier_initializer_conv2d,
)
from tfsep.slim._keypoints import spatial_softmax
from tfsep.slim._normalization import batch_norm, group_norm, instance_norm, layer_norm
from tfsep.slim._ops import (
    dropout,
    flatten,
    one_hot_encoding,
    poincare_normalize,
    repeat,
    scale_gradient,
    softmax,
    stack,
    unit_norm,
)
from tfsep.slim._pooling import avg_pool2d, avg_pool3d, max_pool2d, max_pool3d, maxout, pool
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
    "avg_pool3d",
    "batch_norm",
    "bias_add",
    "conv1d",
    "conv2d",
    "conv2d_in_plane",
    "conv2d_transpose",
    "conv3d",
    "convolution",
    "convolution1d",
    "convolution2d",
    "convolution2d_in_plane",
    "convolution2d_transpose",
    "convolution3d",
    "dropout",
    "elu",
    "flatten",
    "fully_connected",
    "group_norm",
    "instance_norm",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2_regularizer",
    "layer_norm",
    "linear",
    "max_pool2d",
    "max_pool3d",
    "maxout",
    "one_hot_encoding",
    "poincare_normalize",
    "pool",
    "relu",
    "relu6",
    "repeat",
    "scale_gradient",
    "separable_conv2d",
    "separable_convolution2d",
    "softmax",
    "spatial_softmax",
    "stack",
    "sum_regularizer",
    "unit_norm",
    "variance_scaling_initializer",
    "xavier_initializer",
    "xavier_initializer_conv2d",
]


__getattr__ = refusal_of_others("slim.layers")
