"""Loading of weights from a ``.tflite`` file."""

from os import PathLike
from typing import Literal

from tfsep._keras.backend import keras
from tfsep._keras.model_graph import leaf_layers
from tfsep._keras.types import Model
from tfsep.weights._conv_bn_stages import assign_stages, stages_of_model
from tfsep.weights._read_tflite import read_network
from tfsep.weights._tflite_network import FileNetwork


def load_tflite(model: Model, path: str | PathLike[str], background: Literal["keep", "drop"] = "keep") -> None:
    """Load the weights of a ``.tflite`` file of a MobileNet v1 or v2 into a model with the same layers.

    Supported are Google's files, in float32, float16, uint8 (a scale for each tensor) or int8 (a scale for each
    channel), and files that this library exports. Quantized weights become real numbers. A file has its batch
    normalizations folded in; those of the model are set to add the file's bias. The model stays unchanged unless
    everything fits.

    Args:
        model: model with the same convolutions as the file, in the same order, and the same padding.
        path: path of the file.
        background: ``"keep"`` loads the classifier as it is; ``"drop"`` leaves class 0 out, the background class of
            Google's files, so that 1001 classes fit a model of 1000.

    Raises:
        TypeError: if `model` is no Keras model, or `path` no path.
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no TFLite model, is damaged, or holds another network than the model.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> load_tflite(MobileNetV1((128, 128, 3), 1001, 0.25), "missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    if background not in ("keep", "drop"):
        raise ValueError(f"background: expected 'keep' or 'drop', got {background!r}")
    stages_of_model(model)  # an unsuitable model is reported before the file is read
    network = read_network(path)
    load_network(model, network.without_background() if background == "drop" else network, path)


def load_network(model: Model, network: FileNetwork, path: str | PathLike[str] = "the network") -> None:
    """Load the weights of a network that was read from a file into a model with the same layers.

    Args:
        model: model with the same convolutions as the network, in the same order.
        network: network from `read_network`.
        path: name of the network in messages.

    Raises:
        TypeError: if `model` is no Keras model.
        ValueError: if its layers differ; the model is unchanged then.

    Examples:
        >>> load_network(None, None)
        Traceback (most recent call last):
        TypeError: model: expected a Keras model, got NoneType
    """
    model_stages = stages_of_model(model)
    sums = sum(isinstance(layer, keras.layers.Add) for layer in leaf_layers(model))
    if sums != network.sums:
        raise ValueError(f"model: expected one with the file's {network.sums} residual sums, got {sums}")
    # Windows are compared if there are as many layers; if not, `assign_stages` raises.
    pairs = zip(model_stages, network.layers, strict=True) if len(model_stages) == len(network.layers) else ()
    for model_stage, layer in pairs:
        own, theirs = model_stage.definition, layer.definition
        if (own.stride, own.rate) != (theirs.stride, theirs.rate) or not model_stage.pads_like(layer.padding):
            raise ValueError(
                f"model: expected one whose {own.name!r} has the file's stride {theirs.stride}, rate {theirs.rate} and "
                f"padding {layer.padding!r}, got {own.stride}, {own.rate} and {model_stage.layer.padding!r}"
            )
    assign_stages(model, model_stages, [layer.stage for layer in network.layers], "path", path)
