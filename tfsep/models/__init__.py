"""Networks: from definitions to functional Keras models and their end points."""

# ruff: noqa: F403
from tfsep.models import (
    _from_definitions,
    _from_tflite,
    _layer_builder,
    _load_model,
    _mobilenet_v1,
    _mobilenet_v2,
    _mobilenet_v3,
    _named_networks,
    _segmentation,
    _slim_builder,
    _ssdlite,
)
from tfsep.models._from_definitions import *
from tfsep.models._from_tflite import *
from tfsep.models._layer_builder import *
from tfsep.models._load_model import *
from tfsep.models._mobilenet_v1 import *
from tfsep.models._mobilenet_v2 import *
from tfsep.models._mobilenet_v3 import *
from tfsep.models._named_networks import *
from tfsep.models._segmentation import *
from tfsep.models._slim_builder import *
from tfsep.models._ssdlite import *

__all__ = [  # noqa: PLE0604
    *_from_definitions.__all__,
    *_from_tflite.__all__,
    *_layer_builder.__all__,
    *_load_model.__all__,
    *_mobilenet_v1.__all__,
    *_mobilenet_v2.__all__,
    *_mobilenet_v3.__all__,
    *_named_networks.__all__,
    *_segmentation.__all__,
    *_slim_builder.__all__,
    *_ssdlite.__all__,
]
