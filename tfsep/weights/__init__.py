"""Trained weights from elsewhere into models of this library."""

from tfsep.weights._keras_applications import load_keras_applications
from tfsep.weights._load_tflite import load_network, load_tflite
from tfsep.weights._pytorch import FORWARD_ORDER, load_torch
from tfsep.weights._slim_checkpoint import SLIM_VARIABLES, load_slim_checkpoint, slim_variables
from tfsep.weights._tflite_network import FileLayer, FileNetwork, Grid
from tfsep.weights._tflite_reader import read_network

__all__ = [
    "FORWARD_ORDER",
    "SLIM_VARIABLES",
    "FileLayer",
    "FileNetwork",
    "Grid",
    "load_keras_applications",
    "load_network",
    "load_slim_checkpoint",
    "load_tflite",
    "load_torch",
    "read_network",
    "slim_variables",
]
