"""The contents of a MobileNet ``.tflite`` file as records: definitions, paddings, weights, quantization parameters."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from tfsep.defs import PADDING_RULES, Conv, ConvDef, DepthSepConv, LayerDef
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
    """

    definition: LayerDef
    stage: SourceStage
    padding: Padding
    size: Pair
    activation: str
    qparams: QParams | None

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
        qparams: quantization parameters of the input, the outputs of the body's layers, the mean and the logits; None
            unless all have 8 bits.
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
        """The activation of all layers of the body."""
        return self.body[0].activation

    def conv_defs(self) -> list[ConvDef]:
        """The definitions of the body."""
        found: list[ConvDef] = []
        layers = iter([layer.definition for layer in self.body])
        for layer in layers:
            if layer.op == "conv2d":
                found.append(Conv(layer.kernel, layer.stride, _depth(layer), layer.rate))
                continue
            behind = next(layers, None)
            if behind is None or behind[1:5] != ("conv2d", (1, 1), (1, 1), (1, 1)):
                raise UnsupportedFileError("a depthwise convolution without a 1×1 one behind it")
            found.append(DepthSepConv(layer.kernel, layer.stride, _depth(behind), layer.rate))
        return found

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
        """The network with its weights rounded to int8, with a scale for each channel, and its biases to int32.

        Rounding here decides ties once: the values of a uint8 file often lie half way between two of int8, where the
        last bit of a runtime's arithmetic would decide.
        """
        count = len(self.body)
        # The scale at `count` is that of the last layer; the classifier's input is the mean, one further.
        scales = [each.scale for each in self.qparams or ()]
        inputs = [*scales[:count], *scales[count + 1 :]]
        layers = [
            replace(layer, stage=_quantize_to_int8(layer.stage, scale))
            for layer, scale in zip(self.layers, inputs, strict=False)
        ]
        return replace(self, body=tuple(layers[:count]), classifier=layers[count] if self.classifier else None)


def _depth(layer: LayerDef) -> int:
    """The output channels of a standard convolution."""
    return layer.depth or 0


def _quantize_to_int8(stage: SourceStage, input_scale: float) -> SourceStage:
    """A stage with its kernel rounded to int8 and its bias to int32."""
    axes = (0, 1) if stage.depthwise else (0, 1, 2)
    scale = np.maximum(np.abs(stage.kernel).max(axes, keepdims=True), _MIN_LARGEST_WEIGHT) / _WEIGHT_LIMIT
    accumulator_scale = input_scale * scale.reshape(-1)
    bias = None if stage.bias is None else np.round(stage.bias / accumulator_scale) * accumulator_scale
    return stage._replace(kernel=np.round(stage.kernel / scale) * scale, bias=bias)
