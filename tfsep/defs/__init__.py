"""Networks as data: a named tuple for each layer or block, and pure functions from definitions to definitions.

Definitions expand to primitive layers (`resolve`), which the model builder and the cost table both read, so that the
two cannot disagree. Nothing here needs TensorFlow.

Source: A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv 1704.04861), Table 1; names and rules of TF-slim's ``mobilenet_v1`` and ``mobilenet_v2``.
"""

# ruff: noqa: F403
from tfsep.defs import (
    _blocks,
    _definitions,
    _efficientnet_lite,
    _family,
    _fields,
    _layer_def,
    _mobilenet_v4,
    _mobilenets,
    _networks,
    _padding,
    _transforms,
)
from tfsep.defs._blocks import *
from tfsep.defs._definitions import *
from tfsep.defs._efficientnet_lite import *
from tfsep.defs._family import *
from tfsep.defs._fields import *
from tfsep.defs._layer_def import *
from tfsep.defs._mobilenet_v4 import *
from tfsep.defs._mobilenets import *
from tfsep.defs._networks import *
from tfsep.defs._padding import *
from tfsep.defs._transforms import *

__all__ = [  # noqa: PLE0604
    *_blocks.__all__,
    *_definitions.__all__,
    *_efficientnet_lite.__all__,
    *_family.__all__,
    *_fields.__all__,
    *_layer_def.__all__,
    *_mobilenet_v4.__all__,
    *_mobilenets.__all__,
    *_networks.__all__,
    *_padding.__all__,
    *_transforms.__all__,
]
