"""Export of Keras models to verified ``.tflite`` files; inspection, timing, layer errors and target checks of files.

What works on files alone needs no TensorFlow: it is imported with the first function that takes a Keras model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfsep.tflite._benchmark import BenchmarkReport, BenchmarkTable, benchmark, benchmark_all
from tfsep.tflite._channel_errors import ChannelError
from tfsep.tflite._export_report import ExportReport
from tfsep.tflite._inspect import Inspection, OperatorRow, TensorRow, inspect
from tfsep.tflite._predict import predict
from tfsep.tflite._profile import ProfileReport, ProfileRow, profile
from tfsep.tflite._proof_report import Proof
from tfsep.tflite._recipes import RECIPES, Recipe
from tfsep.tflite._reference import verify_reference
from tfsep.tflite._targets import TARGETS, Finding, Rule, Source, Target, TargetReport, TargetsReport, check_targets
from tfsep.tflite._tensor_info import TensorInfo
from tfsep.tflite._verify_report import VerificationError, VerifyReport

if TYPE_CHECKING:
    from tfsep.tflite._add_detections import DetectionReport, add_detections
    from tfsep.tflite._calibration import CalibrationError
    from tfsep.tflite._compare_layers import LayerReport, LayerRow, compare_layers
    from tfsep.tflite._convert import ConvertReport, convert
    from tfsep.tflite._export import export
    from tfsep.tflite._float_latency import float_latency
    from tfsep.tflite._verify import verify

__all__ = [
    "RECIPES",
    "TARGETS",
    "BenchmarkReport",
    "BenchmarkTable",
    "CalibrationError",
    "ChannelError",
    "ConvertReport",
    "DetectionReport",
    "ExportReport",
    "Finding",
    "Inspection",
    "LayerReport",
    "LayerRow",
    "OperatorRow",
    "ProfileReport",
    "ProfileRow",
    "Proof",
    "Recipe",
    "Rule",
    "Source",
    "Target",
    "TargetReport",
    "TargetsReport",
    "TensorInfo",
    "TensorRow",
    "VerificationError",
    "VerifyReport",
    "add_detections",
    "benchmark",
    "benchmark_all",
    "check_targets",
    "compare_layers",
    "convert",
    "export",
    "float_latency",
    "inspect",
    "predict",
    "profile",
    "verify",
    "verify_reference",
]

_WITH_TENSORFLOW = {
    "DetectionReport": "tfsep.tflite._add_detections",
    "add_detections": "tfsep.tflite._add_detections",
    "CalibrationError": "tfsep.tflite._calibration",
    "LayerReport": "tfsep.tflite._compare_layers",
    "LayerRow": "tfsep.tflite._compare_layers",
    "compare_layers": "tfsep.tflite._compare_layers",
    "ConvertReport": "tfsep.tflite._convert",
    "convert": "tfsep.tflite._convert",
    "export": "tfsep.tflite._export",
    "float_latency": "tfsep.tflite._float_latency",
    "verify": "tfsep.tflite._verify",
}
"""The modules of the names that need TensorFlow."""


def __getattr__(name: str) -> Any:
    if name not in _WITH_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WITH_TENSORFLOW[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
