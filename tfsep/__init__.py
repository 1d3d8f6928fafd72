"""Efficient convolutions for Keras, from network definition to a ``.tflite`` file proven to compute the same.

Subpackages are loaded on first use: ``import tfsep`` imports neither TensorFlow nor Keras.
"""

import logging
from importlib import import_module
from typing import Any

from tfsep._version import __version__
from tfsep.defs import MOBILENETV1_CONV_DEFS, Conv, DepthSepConv

_SUBPACKAGES = (
    *("boxes", "cost", "data", "defs", "examples", "geometry", "layers", "losses", "metrics", "models", "ops", "plots"),
    *("quantize", "slim", "surgery", "tflite", "train", "weights"),
)

__all__ = ["MOBILENETV1_CONV_DEFS", "Conv", "DepthSepConv", "__version__", *_SUBPACKAGES]  # noqa: PLE0604

logging.getLogger("tfsep").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"tfsep.{name}")
    raise AttributeError(f"module 'tfsep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
