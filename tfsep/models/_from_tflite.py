"""Keras models of the networks in ``.tflite`` files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike

from tfsep import quantize
from tfsep._keras.model_graph import calls_behind
from tfsep._keras.types import Model
from tfsep.defs import MOBILENET_V1, Network
from tfsep.models._from_definitions import from_definitions
from tfsep.models._layer_builder import ArgScope
from tfsep.models._segmentation import deeplab_v3, head_stages
from tfsep.weights._conv_bn_stages import assign_stages, stages_of_model
from tfsep.weights._load_tflite import load_network
from tfsep.weights._read_tflite import read_network_or_segmentation
from tfsep.weights._tflite_network import FileLayer, FileNetwork, QParams
from tfsep.weights._tflite_segmentation import FileSegmentation

__all__ = ["from_tflite"]


def from_tflite(path: str | PathLike[str], ranges: str | None = None) -> Model:
    """Return the MobileNet v1 or v2, or the DeepLab v3 on one, in a ``.tflite`` file as a Keras model with its weights.

    Width, size, classes, padding and the head's rates are read from the file's operators. The input of the model is in
    real numbers, in [-1, 1] for Google's files, whose class 0 is the background.

    Args:
        path: path of one of Google's float or quantized files, or of a file that this library exported.
        ranges: None for a float model. ``"from_file"`` for a model of `tfsep.quantize.prepare` with the file's own
            quantization parameters of activations, and int8 weights on the file's scales, but for channels whose
            numbers do not fit there. It computes very nearly the same as the file, and exactly the same as the file
            that is exported from it; it can be trained further.

    Returns:
        A model from images (N, H, W, C) to probabilities, logits, features or classes of pixels, as the file.

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
    network = read_network_or_segmentation(path)
    if ranges and network.qparams is None:
        raise ValueError(f"ranges: expected None for a file whose activations are not of 8 bits, got {ranges!r}")
    if ranges:
        network = network.quantized_to_int8()
    body, stride = (network, None) if isinstance(network, FileNetwork) else (network.body, network.stride)
    model = _build(body, stride)
    layers = dict(zip((stage.layer.name for stage in stages_of_model(model)), body.layers, strict=True))
    load_network(model, body, path)
    if not isinstance(network, FileNetwork):
        model = _segmentation(model, network)
        stages = head_stages(model, network.rates)
        assign_stages(model, stages, [layer.stage for layer in network.layers], "path", path)
        layers |= zip((stage.layer.name for stage in stages), network.layers, strict=True)
    return _with_ranges(model, network.qparams or (), layers) if ranges else model


def _build(network: FileNetwork, stride: int | None) -> Model:
    """The model of a chain, to its features of a stride if there is one."""
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
        features=None if stride is None else (stride,),
    )


def _segmentation(backbone: Model, network: FileSegmentation) -> Model:
    """The model with the head of a file, whose weights are new."""
    if network.size != network.body.input_shape[:2]:
        images = network.body.input_shape[:2]
        raise ValueError(f"path: expected a result of the images' size, {images}, got {network.size}")
    return deeplab_v3(
        backbone,
        network.logits.stage.channels,
        network.stride,
        network.rates,
        filters=network.projection.stage.channels,
        classifier_activation="softmax" if network.end == "softmax" else None,
        argmax=network.end == "argmax",
        align_corners=network.aligned,
        arg_scope=ArgScope(activation=network.projection.activation),
    )


def _with_ranges(model: Model, qparams: Sequence[QParams], layers: Mapping[str, FileLayer]) -> Model:
    """The model prepared for int8, with the quantization parameters and the scales of kernels of a file.

    Args:
        model: the float model.
        qparams: those of input, layers, means and logits, in the order of computation.
        layers: the layers of the file, rounded to int8, by the names of the model's.
    """
    prepared = quantize.prepare(model)
    calls = (call.operation for call in calls_behind(prepared.outputs))
    quantizers = (layer for layer in dict.fromkeys(calls) if isinstance(layer, quantize.ActivationQuantizer))
    free = [layer for layer in quantizers if layer.fixed_range is None]
    for layer, own in zip(free, qparams, strict=True):
        layer.set_qparams(*own)
    for layer in prepared.layers:
        if isinstance(layer, quantize.QuantizedMatmul):
            scales = layers[layer.layer.name].kernel_scales
            layer.kernel_scales = None if scales is None else scales.tolist()
    return prepared
