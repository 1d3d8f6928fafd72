"""Networks: from definitions to functional Keras models and their end points."""

from tfsep.models._from_tflite import from_tflite
from tfsep.models._load_model import load_model
from tfsep.models._mobilenet_v1 import (
    ArgScope,
    MobileNetV1,
    mobilenet_v1,
    mobilenet_v1_025,
    mobilenet_v1_050,
    mobilenet_v1_075,
    mobilenet_v1_arg_scope,
    mobilenet_v1_base,
)

__all__ = [
    "ArgScope",
    "MobileNetV1",
    "from_tflite",
    "load_model",
    "mobilenet_v1",
    "mobilenet_v1_025",
    "mobilenet_v1_050",
    "mobilenet_v1_075",
    "mobilenet_v1_arg_scope",
    "mobilenet_v1_base",
]
