"""From a Keras model to a ``.tflite`` file, and everything that one would want to know of such a file."""

from tfsep.tflite._benchmark import BenchmarkReport, benchmark
from tfsep.tflite._calibration import CalibrationError
from tfsep.tflite._export import export
from tfsep.tflite._inspect import Inspection, OperatorRow, TensorRow, inspect
from tfsep.tflite._interpreter import TensorInfo
from tfsep.tflite._layers import LayerReport, LayerRow, compare_layers
from tfsep.tflite._recipes import RECIPES, Recipe
from tfsep.tflite._report import ExportReport
from tfsep.tflite._verify import predict, verify
from tfsep.tflite._verify_report import VerificationError, VerifyReport

__all__ = [
    "RECIPES",
    "BenchmarkReport",
    "CalibrationError",
    "ExportReport",
    "Inspection",
    "LayerReport",
    "LayerRow",
    "OperatorRow",
    "Recipe",
    "TensorInfo",
    "TensorRow",
    "VerificationError",
    "VerifyReport",
    "benchmark",
    "compare_layers",
    "export",
    "inspect",
    "predict",
    "verify",
]
