"""A MobileNet as a ``.tflite`` file holds it, as records: definitions, paddings, weights and ranges."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from tfsep.defs import PADDING_RULES, Conv, ConvDef, DepthSepConv, LayerDef
from tfsep.defs._padding import padding_of
from tfsep.geometry import Padding, Pair, Window
from tfsep.weights._conv_bn_stages import Stage

_WEIGHT_LIMIT = 127
_SMALLEST = 5e-7
"""What `tfsep.quantize` and the converter take for the largest weight of a channel that has none."""


class UnfitFileError(Exception):
    """What is in a file is no MobileNet; the message says what it is with."""


class Grid(NamedTuple):
    """The 256 real numbers that an activation's 8 bits stand for; the zero point is an int8's."""

    scale: float
    zero: int


@dataclass(frozen=True)
class FileLayer:
    """A convolution in a file.

    Attributes:
        definition: what layer it is, under the name of its weights in the file.
        stage: its weights.
        padding: as the file pads.
        size: rows and columns of its input.
        activation: ``"linear"``, ``"relu"`` or ``"relu6"``.
        grid: of its result, or None for floats.
    """

    definition: LayerDef
    stage: Stage
    padding: Padding
    size: Pair
    activation: str
    grid: Grid | None

    def pads_as(self, padding: Padding) -> bool:
        """Whether another padding is the same on an image of this size."""
        own = self.definition
        ours, other = (Window(own.kernel, own.stride, each, own.rate) for each in (self.padding, padding))
        return ours.pads(self.size) == other.pads(self.size)


@dataclass(frozen=True)
class FileNetwork:
    """A MobileNet as a file holds it.

    Attributes:
        input_shape: (H, W, C).
        body: the convolutions before the mean over the image.
        classifier: the one behind it, or None for a network of features.
        softmax: whether that is the last.
        grids: of the input, each layer of the body, the mean, and the logits; None where one is not of 8 bits.
    """

    input_shape: tuple[int, int, int]
    body: tuple[FileLayer, ...]
    classifier: FileLayer | None
    softmax: bool
    grids: tuple[Grid, ...] | None

    @property
    def layers(self) -> tuple[FileLayer, ...]:
        """The convolutions, in order."""
        return self.body if self.classifier is None else (*self.body, self.classifier)

    @property
    def activation(self) -> str:
        """Of all layers of the body."""
        return self.body[0].activation

    def conv_defs(self) -> list[ConvDef]:
        """The definitions of the body."""
        found: list[ConvDef] = []
        layers = iter([layer.definition for layer in self.body])
        for layer in layers:
            if layer.kind == "conv2d":
                found.append(Conv(layer.kernel, layer.stride, _depth(layer), layer.rate))
                continue
            behind = next(layers, None)
            if behind is None or behind[1:5] != ("conv2d", (1, 1), (1, 1), (1, 1)):
                raise UnfitFileError("a depthwise convolution without a 1×1 one behind it")
            found.append(DepthSepConv(layer.kernel, layer.stride, _depth(behind), layer.rate))
        return found

    def padding(self) -> str:
        """The name of the rule by which all layers pad."""
        for rule in PADDING_RULES:
            if all(layer.pads_as(padding_of(layer.definition, rule)) for layer in self.body):
                return rule
        raise UnfitFileError(f"paddings that none of {', '.join(PADDING_RULES)} gives")

    def without_background(self) -> Self:
        """The network without its first class."""
        if self.classifier is None:
            return self
        stage = self.classifier.stage
        bias = None if stage.bias is None else stage.bias[1:]
        stage = stage._replace(kernel=stage.kernel[..., 1:], bias=bias)
        return replace(self, classifier=replace(self.classifier, stage=stage))

    def in_int8(self) -> Self:
        """The network with its weights on grids of int8, a scale a channel, and its biases on those of the sums.

        What is on them already is not rounded again. A file's own whole numbers are often half way between two of
        int8's, where the last bit of a runtime's arithmetic would decide.
        """
        count = len(self.body)
        # The mean stands between the body and the classifier.
        scales = [grid.scale for grid in self.grids or ()]
        inputs = [*scales[:count], *scales[count + 1 :]]
        layers = [
            replace(layer, stage=_in_int8(layer.stage, scale))
            for layer, scale in zip(self.layers, inputs, strict=False)
        ]
        return replace(self, body=tuple(layers[:count]), classifier=layers[count] if self.classifier else None)


def _depth(layer: LayerDef) -> int:
    """The channels of a full convolution, which has them."""
    return layer.depth or 0


def _in_int8(stage: Stage, input_scale: float) -> Stage:
    """A stage on the grids of int8."""
    axes = (0, 1) if stage.depthwise else (0, 1, 2)
    scale = np.maximum(np.abs(stage.kernel).max(axes, keepdims=True), _SMALLEST) / _WEIGHT_LIMIT
    worth = input_scale * scale.reshape(-1)
    bias = None if stage.bias is None else np.round(stage.bias / worth) * worth
    return stage._replace(kernel=np.round(stage.kernel / scale) * scale, bias=bias)
