"""Keras models of the networks in ``.tflite`` files."""

from dataclasses import replace
from os import PathLike

from tfsep import quantize
from tfsep._keras.types import Model
from tfsep.defs import MOBILENET_V1, Network
from tfsep.models._from_definitions import from_definitions
from tfsep.models._layer_builder import ArgScope
from tfsep.weights._load_tflite import load_network
from tfsep.weights._tflite_network import FileNetwork
from tfsep.weights._tflite_reader import read_network

__all__ = ["from_tflite"]


def from_tflite(path: str | PathLike[str], ranges: str | None = None) -> Model:
    """Return the MobileNet v1 or v2 in a ``.tflite`` file as a Keras model with the file's weights.

    Width, size, classes and padding are read from the file's operators. The input of the model is in real numbers, in
    [-1, 1] for Google's files, whose class 0 is the background.

    Args:
        path: path of one of Google's float or quantized files, or of a file that this library exported.
        ranges: None for a float model. ``"from_file"`` for a model of `tfsep.quantize.prepare` with the file's own
            quantization parameters of activations, and int8 weights with a scale for each channel. It computes very
            nearly the same as the file, and exactly the same as the file that is exported from it; it can be trained
            further.

    Returns:
        A model from images (N, H, W, C) to probabilities, logits or features, as the file.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, is damaged, or holds another network; for other `ranges`; for
            ``"from_file"`` with a file whose activations do not have 8 bits.

    Examples:
        >>> from_tflite("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    if ranges not in (None, "from_file"):
        raise ValueError(f"ranges: expected None or 'from_file', got {ranges!r}")
    network = read_network(path)
    if ranges and network.qparams is None:
        raise ValueError(f"ranges: expected None for a file whose activations are not of 8 bits, got {ranges!r}")
    model = _build(network)
    load_network(model, network.quantized_to_int8() if ranges else network, path)
    return _with_ranges(model, network) if ranges else model


def _build(network: FileNetwork) -> Model:
    found = Network.of(network.conv_defs())
    # A file has the numbers of channels that its network's rule made of others.
    family = replace(found.family, width_rule=MOBILENET_V1.width_rule)
    return from_definitions(
        replace(found, family=family),
        network.input_shape,
        None if network.classifier is None else network.classifier.stage.channels,
        min_depth=1,
        padding=network.padding(),
        classifier_activation="softmax" if network.softmax else None,
        arg_scope=ArgScope(activation=network.activation),
    )


def _with_ranges(model: Model, network: FileNetwork) -> Model:
    """The model prepared for int8, with the file's quantization parameters of input, layers, mean and logits."""
    prepared = quantize.prepare(model)
    quantizers = (layer for layer in prepared.layers if isinstance(layer, quantize.ActivationQuantizer))
    free = [layer for layer in quantizers if layer.fixed_range is None]
    for layer, qparams in zip(free, network.qparams or (), strict=True):
        layer.set_qparams(*qparams)
    return prepared
