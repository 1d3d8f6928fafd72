"""Weights of a ``.tflite`` file into a model."""

from os import PathLike
from typing import Any, Literal

from tfsep.weights._conv_bn_stages import fill, targets_of
from tfsep.weights._tflite_network import FileNetwork
from tfsep.weights._tflite_reader import read_network


def load_tflite(model: Any, path: str | PathLike[str], background: Literal["keep", "drop"] = "keep") -> None:
    """Load the weights of a MobileNet v1 ``.tflite`` file into a model of its layers.

    Files of Google's, quantized (uint8 a tensor, int8 a channel) or in float32 or float16, and files that this library
    exports. Weights become real numbers. A file has its batch normalizations folded in: the model's become ones that
    add the file's bias and change nothing else. Nothing is changed in the model unless everything fits.

    Args:
        model: whose convolutions are the file's, in order; it has to pad as the file does.
        path: of the file.
        background: ``"keep"`` takes the classifier as it is; ``"drop"`` leaves class 0 out, the background of Google's
            files, so that 1001 classes fit a model of 1000.

    Raises:
        TypeError: if `model` is no Keras model, or `path` no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, not whole, or holds another network than MobileNet v1 or the model.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> load_tflite(MobileNetV1((128, 128, 3), 1001, 0.25), "missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    if background not in ("keep", "drop"):
        raise ValueError(f"background: expected 'keep' or 'drop', got {background!r}")
    targets_of(model)  # a model that takes no weights is said to be one before the file is read
    network = read_network(path)
    load_network(model, network.without_background() if background == "drop" else network, path)


def load_network(model: Any, network: FileNetwork, path: str | PathLike[str] = "the network") -> None:
    """Load the weights of a network that was read from a file into a model of its layers.

    Args:
        model: whose convolutions are the network's, in order.
        network: of `read_network`.
        path: what errors call it.

    Raises:
        TypeError: if `model` is no Keras model.
        ValueError: if its layers are others; nothing is changed in it then.

    Examples:
        >>> load_network(None, None)
        Traceback (most recent call last):
        TypeError: model: expected a Keras model, got NoneType
    """
    targets = targets_of(model)
    # Windows are compared layer by layer where there are as many; `fill` has the words where there are not.
    pairs = zip(targets, network.layers, strict=True) if len(targets) == len(network.layers) else ()
    for target, layer in pairs:
        own, theirs = target.definition, layer.definition
        if (own.stride, own.rate) != (theirs.stride, theirs.rate) or not target.pads_as(layer.padding):
            raise ValueError(
                f"model: expected one whose {own.name!r} has the file's stride {theirs.stride}, rate {theirs.rate} and "
                f"padding {layer.padding!r}, got {own.stride}, {own.rate} and {target.layer.padding!r}"
            )
    fill(model, targets, [layer.stage for layer in network.layers], "path", path)
