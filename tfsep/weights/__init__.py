"""Trained weights from elsewhere, loaded into models of this library or of any maker."""

from tfsep.weights._keras_applications import load_keras_applications
from tfsep.weights._load_tflite import load_tflite
from tfsep.weights._pytorch import load_torch
from tfsep.weights._slim_checkpoint import load_slim_checkpoint, slim_variables

__all__ = ["load_keras_applications", "load_slim_checkpoint", "load_tflite", "load_torch", "slim_variables"]
