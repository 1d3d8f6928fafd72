"""Keras layers: supersets of those of `keras.layers` under the same names; the mathematics is in `tfsep.ops`."""

from tfsep.layers import (
    _activations,
    _batch_normalization,
    _conv1d,
    _conv2d,
    _conv_transpose,
    _deform_conv,
    _separable_block,
)
from tfsep.layers._activations import *  # noqa: F403
from tfsep.layers._batch_normalization import *  # noqa: F403
from tfsep.layers._conv1d import *  # noqa: F403
from tfsep.layers._conv2d import *  # noqa: F403
from tfsep.layers._conv_transpose import *  # noqa: F403
from tfsep.layers._deform_conv import *  # noqa: F403
from tfsep.layers._separable_block import *  # noqa: F403

# Each module lists its own public names.
__all__ = [  # noqa: PLE0604
    *_activations.__all__,
    *_batch_normalization.__all__,
    *_conv2d.__all__,
    *_conv1d.__all__,
    *_conv_transpose.__all__,
    *_deform_conv.__all__,
    *_separable_block.__all__,
]
