"""Export of Keras models to verified ``.tflite`` files; inspection, timing, layer errors and target checks of files."""

from tfsep.tflite._benchmark import BenchmarkReport, BenchmarkTable, benchmark, benchmark_all
from tfsep.tflite._calibration import CalibrationError
from tfsep.tflite._compare_layers import LayerReport, LayerRow, compare_layers
from tfsep.tflite._convert import ConvertReport, convert
from tfsep.tflite._export import export
from tfsep.tflite._export_report import ExportReport
from tfsep.tflite._inspect import Inspection, OperatorRow, TensorRow, inspect
from tfsep.tflite._profile import ProfileReport, ProfileRow, profile
from tfsep.tflite._recipes import RECIPES, Recipe
from tfsep.tflite._targets import TARGETS, Finding, Rule, Source, Target, TargetReport, TargetsReport, check_targets
from tfsep.tflite._tensor_info import TensorInfo
from tfsep.tflite._verify import predict, verify
from tfsep.tflite._verify_report import VerificationError, VerifyReport

__all__ = [
    "RECIPES",
    "TARGETS",
    "BenchmarkReport",
    "BenchmarkTable",
    "CalibrationError",
    "ConvertReport",
    "ExportReport",
    "Finding",
    "Inspection",
    "LayerReport",
    "LayerRow",
    "OperatorRow",
    "ProfileReport",
    "ProfileRow",
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
    "benchmark",
    "benchmark_all",
    "check_targets",
    "compare_layers",
    "convert",
    "export",
    "inspect",
    "predict",
    "profile",
    "verify",
]
