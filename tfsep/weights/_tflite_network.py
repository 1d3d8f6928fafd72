"""The contents of a MobileNet ``.tflite`` file as records: definitions, paddings, weights, quantization parameters."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from tfsep.defs import PADDING_RULES, Channels, Conv, ConvDef, DepthSepConv, InvertedResidual, LayerDef
from tfsep.defs._padding import padding_of
from tfsep.geometry import Padding, Pair, Window
from tfsep.weights._conv_bn_stages import SourceStage

_WEIGHT_LIMIT = 127
_MIN_LARGEST_WEIGHT = 5e-7
"""The least value of a channel's largest weight, as in `tfsep.quantize` and the converter."""


class UnsupportedFileError(Exception):
    """A file that holds no MobileNet; the message names what else it holds."""


class QParams(NamedTuple):
    """The quantization parameters of an activation of 8 bits: scale, and zero point in int8."""

    scale: float
    zero: int


@dataclass(frozen=True)
class FileLayer:
    """A convolution in a file.

    Attributes:
        definition: the convolution, under the name of its weights in the file.
        stage: weights of the layer.
        padding: padding of the convolution.
        size: rows and columns of its input.
        activation: ``"linear"``, ``"relu"`` or ``"relu6"``.
        qparams: quantization parameters of its output, or None for floats.
        input_scale: scale of its input, or None for floats.
        added: number of layers of the block whose input is added to its result, of which it is the last; 0 for no sum.
        kernel_scales: scales of its kernel, one or one for each channel, (F,); None for floats.
    """

    definition: LayerDef
    stage: SourceStage
    padding: Padding
    size: Pair
    activation: str
    qparams: QParams | None
    input_scale: float | None = None
    added: int = 0
    kernel_scales: np.ndarray | None = None

    def quantized_to_int8(self) -> Self:
        """The layer with its kernel rounded to int8, with a scale for each channel, and its bias to int32.

        A channel keeps the scale that it has in the file where its integers, without their zero point, have 8 bits
        with a sign: nothing is rounded then. Rounding here decides ties once: the values of a uint8 file often lie half
        way between two of int8, where the last bit of a runtime's arithmetic would decide.
        """
        stage, input_scale = self.stage, self.input_scale
        if input_scale is None:
            return self
        axes = (0, 1) if stage.depthwise else (0, 1, 2)
        largest = np.abs(stage.kernel).max(axes, keepdims=True)
        scales = np.maximum(largest, _MIN_LARGEST_WEIGHT) / _WEIGHT_LIMIT
        if self.kernel_scales is not None:
            own = np.broadcast_to(self.kernel_scales.reshape(-1), stage.channels).reshape(scales.shape)
            scales = np.where(largest <= own * (_WEIGHT_LIMIT + 0.5), own, scales)
        unit = input_scale * scales.reshape(-1)
        bias = None if stage.bias is None else np.round(stage.bias / unit) * unit
        stage = stage._replace(kernel=np.round(stage.kernel / scales) * scales, bias=bias)
        return replace(self, stage=stage, kernel_scales=scales.reshape(-1))

    def with_inputs(self, order: np.ndarray) -> Self:
        """The layer with the channels of its input in another order.

        Args:
            order: their numbers, (C,).
        """
        return replace(self, stage=self.stage._replace(kernel=self.stage.kernel[:, :, order]))

    def pads_like(self, padding: Padding) -> bool:
        """Whether another padding has the same effect on an image of this size."""
        own = self.definition
        ours, other = (Window(own.kernel, own.stride, each, own.rate) for each in (self.padding, padding))
        return ours.pads(self.size) == other.pads(self.size)


@dataclass(frozen=True)
class FileNetwork:
    """The MobileNet in a file.

    Attributes:
        input_shape: (H, W, C).
        body: the convolutions before the mean over the image.
        classifier: the convolution or dense layer after the mean; None for a network that returns features.
        softmax: whether the network ends with a softmax.
        qparams: quantization parameters of the input, the outputs of the body's layers and residual sums, the mean and
            the logits, in the order of computation; None unless all have 8 bits.
    """

    input_shape: tuple[int, int, int]
    body: tuple[FileLayer, ...]
    classifier: FileLayer | None
    softmax: bool
    qparams: tuple[QParams, ...] | None

    @property
    def layers(self) -> tuple[FileLayer, ...]:
        """The convolutions, in order."""
        return self.body if self.classifier is None else (*self.body, self.classifier)

    @property
    def activation(self) -> str:
        """The activation of the body's layers, but for the projections of blocks, which have none."""
        return self.body[0].activation

    @property
    def sums(self) -> int:
        """The number of residual sums."""
        return sum(layer.added > 0 for layer in self.body)

    def conv_defs(self) -> tuple[ConvDef, ...]:
        """The definitions of the body."""
        found: list[ConvDef] = []
        layers = list(self.body)
        while layers:
            definition, count = self._first_definition(layers)
            found.append(definition)
            layers = layers[count:]
        return tuple(found)

    def _first_definition(self, layers: list[FileLayer]) -> tuple[ConvDef, int]:
        """The definition of the first layers, and how many they are."""
        activations = [layer.activation for layer in layers]
        if activations[0] != self.activation:
            raise UnsupportedFileError("layers of several activations")
        own = layers[0].definition
        if own.op == "conv2d" and not self._begins_block(layers):
            if layers[0].added:
                raise UnsupportedFileError("a residual sum behind a convolution that is no projection")
            return Conv(own.kernel, own.stride, _depth(own), own.rate), 1
        count = 2 if own.op == "depthwise_conv2d" else 3
        if len(layers) < count or not _is_pointwise(layers[count - 1].definition):
            raise UnsupportedFileError("a depthwise convolution without a 1×1 one behind it")
        depthwise, last = layers[count - 2].definition, layers[count - 1]
        window, depth = (depthwise.kernel, depthwise.stride), _depth(last.definition)
        if last.added not in (0, count) or (last.added and last.activation != "linear"):
            raise UnsupportedFileError("a residual sum of something else than a projection and the block's input")
        if last.activation == self.activation and not last.added:
            return DepthSepConv(*window, depth, depthwise.rate), count
        if last.activation != "linear":
            raise UnsupportedFileError("layers of several activations")
        expansion = Channels(_depth(own)) if count == 3 else 1
        return InvertedResidual(*window, depth, expansion, residual=last.added > 0, rate=depthwise.rate), count

    def _begins_block(self, layers: list[FileLayer]) -> bool:
        """Whether a convolution is the expansion of a block.

        One to as many channels as it takes is none, as a definition of such a block has no expansion; nor is one before
        a block that adds its own input.
        """
        if len(layers) < 3 or self.activation == "linear":
            return False
        first, depthwise, last = layers[:3]
        widens = _is_pointwise(first.definition) and first.definition.depth != first.stage.kernel.shape[2]
        block = depthwise.definition.op == "depthwise_conv2d" and depthwise.activation == self.activation
        return widens and block and last.activation == "linear" and last.added != 2

    def padding(self) -> str:
        """The padding rule of all layers, a key of `tfsep.defs.PADDING_RULES`."""
        for rule in PADDING_RULES:
            if all(layer.pads_like(padding_of(layer.definition, rule)) for layer in self.body):
                return rule
        raise UnsupportedFileError(f"paddings that none of {', '.join(PADDING_RULES)} gives")

    def without_background(self) -> Self:
        """The network without its first class."""
        if self.classifier is None:
            return self
        stage = self.classifier.stage
        bias = None if stage.bias is None else stage.bias[1:]
        stage = stage._replace(kernel=stage.kernel[..., 1:], bias=bias)
        return replace(self, classifier=replace(self.classifier, stage=stage))

    def quantized_to_int8(self) -> Self:
        """The network with its weights rounded to int8, see `FileLayer.quantized_to_int8`."""
        classifier = None if self.classifier is None else self.classifier.quantized_to_int8()
        return replace(self, body=tuple(layer.quantized_to_int8() for layer in self.body), classifier=classifier)


def _is_pointwise(layer: LayerDef) -> bool:
    """Whether a layer is a 1×1 convolution."""
    return layer.op == "conv2d" and layer.kernel == layer.stride == layer.rate == (1, 1)


def _depth(layer: LayerDef) -> int:
    """The output channels of a standard convolution."""
    return layer.depth or 0
