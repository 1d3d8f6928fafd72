"""A model that a ``.tflite`` file describes."""

from os import PathLike

from tfsep import quantize
from tfsep._keras.types import Model
from tfsep.models._mobilenet import MobileNetV1, mobilenet_v1_arg_scope
from tfsep.weights import FileNetwork, load_network, read_network

__all__ = ["from_tflite"]


def from_tflite(path: str | PathLike[str], ranges: str | None = None) -> Model:
    """Return the MobileNet v1 that a ``.tflite`` file holds, with its weights.

    Width, size, classes and paddings are what the file's operators say, and the input is what its input stands for in
    real numbers: [-1, 1] for Google's files, whose class 0 is the background.

    Args:
        path: of Google's quantized or float files, or of a file that this library exported.
        ranges: None for a float model. ``"from_file"`` for one of `tfsep.quantize.prepare` whose activations are on the
            file's own grids: it computes very nearly what the file does, in the integers of int8, with a scale a
            channel for the weights; its exported file computes exactly what it does. It can be trained on.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, not whole, or holds another network; for other `ranges`, or a file whose
            activations are not of 8 bits.

    Examples:
        >>> from_tflite("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    if ranges not in (None, "from_file"):
        raise ValueError(f"ranges: expected None or 'from_file', got {ranges!r}")
    network = read_network(path)
    if ranges and network.grids is None:
        raise ValueError(f"ranges: expected None for a file whose activations are not of 8 bits, got {ranges!r}")
    model = _built(network)
    load_network(model, network.in_int8() if ranges else network, path)
    return _prepared(model, network) if ranges else model


def _built(network: FileNetwork) -> Model:
    classifier = network.classifier
    return MobileNetV1(
        network.input_shape,
        None if classifier is None else classifier.stage.channels,
        conv_defs=network.conv_defs(),
        min_depth=1,
        padding=network.padding(),
        classifier_activation="softmax" if network.softmax else None,
        arg_scope=mobilenet_v1_arg_scope(activation=network.activation),
    )


def _prepared(model: Model, network: FileNetwork) -> Model:
    """The model with the file's grids: of what goes in, of each layer, of the mean and of the logits, in that order."""
    prepared = quantize.prepare(model)
    quantizers = (layer for layer in prepared.layers if isinstance(layer, quantize.ActivationQuantizer))
    free = [layer for layer in quantizers if layer.fixed_range is None]
    for layer, qparams in zip(free, network.grids or (), strict=True):
        layer.set_qparams(*qparams)
    return prepared
