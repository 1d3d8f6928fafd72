"""A folder for devices: the verified file, its report, a C array, snippets, labels and metadata."""

from tfsep.tflite._convert._convert import convert
from tfsep.tflite._convert._report import ConvertReport

__all__ = ["ConvertReport", "convert"]
