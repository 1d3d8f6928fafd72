"""Trained weights from elsewhere into models of this library."""

from tfsep.weights._slim_checkpoint import SLIM_VARIABLES, load_slim_checkpoint, slim_variables
from tfsep.weights._tflite import load_network, load_tflite
from tfsep.weights._tflite_network import FileLayer, FileNetwork, Grid
from tfsep.weights._tflite_reader import read_network

__all__ = [
    "SLIM_VARIABLES",
    "FileLayer",
    "FileNetwork",
    "Grid",
    "load_network",
    "load_slim_checkpoint",
    "load_tflite",
    "read_network",
    "slim_variables",
]
