"""Definitions: what one writes to describe a network, a named tuple for each layer or block.

Each class knows its own expansion into primitive layers. A new kind of block is a class here, and a name in `ConvDef`;
only `Network.of` asks for the class, to find the family of definitions alone. The activation of a whole network is that
of its `Family`; a definition's own is for a layer or block that differs.
"""

from typing import Any, NamedTuple, Self, TypeAlias

from tfsep._utils.arguments import positive_int, positive_number
from tfsep.defs._layer_def import ACTIVATIONS, DEFAULT_ACTIVATION, LayerDef, Place, check_activation
from tfsep.geometry import Pair, PairLike
from tfsep.geometry._sizes import pair

__all__ = ["Conv", "ConvDef", "ConvDefs", "DepthSepConv", "InvertedResidual", "make_divisible"]


class _Windowed(NamedTuple):
    """The fields of a definition that does not ask for the channels of its input, and what is done with them."""

    kernel: PairLike
    stride: PairLike
    depth: int
    rate: PairLike = 1
    activation: str | None = DEFAULT_ACTIVATION

    def normalized(self, where: str) -> Self:
        """Return the definition with pairs for kernel, stride and rate; errors start with `where`."""
        return self._replace(**_checked(self, where))

    def expand(self, place: Place, source: str, channels: int | None) -> list[LayerDef]:  # noqa: ARG002
        """Return the primitive layers of a normalized definition.

        Args:
            place: the names of the definition in its network.
            source: name of the layer whose result is the input.
            channels: input channels; None where they are not known.
        """
        return self._layers(place, source)

    def _layers(self, place: Place, source: str) -> list[LayerDef]:
        raise NotImplementedError


class Conv(_Windowed):
    """A standard convolution, then batch normalization and the activation.

    Attributes:
        kernel: rows and columns, or one int.
        stride: step of the window, an int or a pair.
        depth: output channels, before the width multiplier.
        rate: dilation, an int or a pair.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.
    """

    __slots__ = ()

    @property
    def slim_scope(self) -> str:
        """The name of this kind in TF-slim's variable scopes."""
        return "Conv"

    def _layers(self, place: Place, source: str) -> list[LayerDef]:
        return [_convolution(place.scope, self.depth, source, self.activation, place.end_point, *_window(self))]


class DepthSepConv(_Windowed):
    """A depthwise convolution and a 1×1 convolution, each with batch normalization and the activation.

    Attributes:
        kernel: rows and columns of the depthwise convolution, or one int.
        stride: step of the depthwise window, an int or a pair.
        depth: output channels, before the width multiplier.
        rate: dilation of the depthwise convolution, an int or a pair.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.

    Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), Figure 3.
    """

    __slots__ = ()

    @property
    def slim_scope(self) -> str:
        """The name of this kind in TF-slim's variable scopes."""
        return "separable_conv"

    def _layers(self, place: Place, source: str) -> list[LayerDef]:
        scope, end_point = place
        depthwise = _depthwise(f"{scope}_depthwise", source, self.activation, f"{end_point}_depthwise", *_window(self))
        pointwise = f"{scope}_pointwise", self.depth, depthwise.name, self.activation, f"{end_point}_pointwise"
        return [depthwise, _convolution(*pointwise)]


class InvertedResidual(NamedTuple):
    """An inverted residual block: expansion by a 1×1 convolution, depthwise convolution, projection by a 1×1 one.

    Each convolution is followed by batch normalization; expansion and depthwise convolution by the activation, too.

    Attributes:
        kernel: rows and columns of the depthwise convolution, or one int.
        stride: step of the depthwise window, an int or a pair.
        depth: output channels, before the width multiplier.
        expansion: channels of the depthwise convolution over those of the input; the product is rounded to a multiple
            of 8. 1 leaves the expansion out.
        squeeze: channels that squeeze-and-excite reduces to, over those of the depthwise convolution, in (0, 1], such
            as 1/4; None for no squeeze-and-excite.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.
        residual: whether the input is added to the result, where the stride is 1 and both have as many channels.
        rate: dilation of the depthwise convolution, an int or a pair.

    Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381), Figure 3;
    squeeze-and-excite as in A. Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), Figure 4; names of
    TF-slim's ``expanded_conv``.
    """

    kernel: PairLike
    stride: PairLike
    depth: int
    expansion: float
    squeeze: float | None = None
    activation: str | None = DEFAULT_ACTIVATION
    residual: bool = True
    rate: PairLike = 1

    @property
    def slim_scope(self) -> str:
        """The name of this kind in TF-slim's variable scopes."""
        return "expanded_conv"

    def normalized(self, where: str) -> "InvertedResidual":
        """Return the definition with pairs for kernel, stride and rate; errors start with `where`."""
        if not isinstance(self.residual, bool):
            raise ValueError(f"{where}.residual: expected True or False, got {self.residual!r}")
        return self._replace(
            **_checked(self, where),
            expansion=positive_number(self.expansion, f"{where}.expansion"),
            squeeze=None if self.squeeze is None else _share(self.squeeze, f"{where}.squeeze"),
        )

    def expand(self, place: Place, source: str, channels: int | None) -> list[LayerDef]:
        """Return the primitive layers of a normalized definition.

        Args:
            place: the names of the definition in its network.
            source: name of the layer whose result is the input.
            channels: input channels.

        Raises:
            ValueError: if the input channels are not known.
        """
        if channels is None:
            raise ValueError(f"channels: expected the input channels of {place.scope}, got None")
        scope, end_point = place
        layers: list[LayerDef] = []
        width, last = channels, source
        if self.expansion != 1:
            width = make_divisible(channels * self.expansion)
            expand = f"{scope}/expand", width, source, self.activation, f"{end_point}/expansion_output"
            layers.append(_convolution(*expand))
            last = layers[-1].name
        depthwise = f"{scope}/depthwise", last, self.activation, f"{end_point}/depthwise_output"
        layers.append(_depthwise(*depthwise, *_window(self)))
        if self.squeeze is not None:
            layers += _squeeze_and_excite(f"{scope}/squeeze_excite", width, self.squeeze, layers[-1].name)
        layers.append(_convolution(f"{scope}/project", self.depth, layers[-1].name, None))
        if self.residual and self.stride == (1, 1) and channels == self.depth:
            layers.append(LayerDef(f"{scope}/add", "add", inputs=(layers[-1].name, source)))
        return [*layers[:-1], layers[-1]._replace(end_points=(f"{end_point}/output", end_point))]


ConvDef: TypeAlias = Conv | DepthSepConv | InvertedResidual
"""Any definition."""

ConvDefs: TypeAlias = tuple[ConvDef, ...]
"""A network's definitions, in the order of its layers and blocks."""


def make_divisible(depth: float, minimum: int = 8, divisor: int = 8) -> int:
    """Return a number of channels rounded to a multiple of `divisor`, not below 90 % of itself: MobileNet v2's rule.

    Args:
        depth: channels before rounding.
        minimum: the least result.
        divisor: what the result is a multiple of, unless it is `minimum`.

    Examples:
        >>> [make_divisible(depth) for depth in (3, 11.2, 12, 18)]
        [8, 16, 16, 24]
    """
    rounded = max(minimum, int(depth + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * depth else rounded + divisor


def _checked(definition: ConvDef | _Windowed, where: str) -> dict[str, Any]:
    """The fields that all definitions have, checked, with window and rate as pairs."""
    check_activation(definition.activation, f"{where}.activation", (*ACTIVATIONS, DEFAULT_ACTIVATION, None))
    pairs = {name: pair(getattr(definition, name), f"{where}.{name}") for name in ("kernel", "stride", "rate")}
    return {**pairs, "depth": positive_int(definition.depth, f"{where}.depth")}


def _share(value: float, where: str) -> float:
    """Return a number in (0, 1]."""
    share = positive_number(value, where)
    if share > 1:
        raise ValueError(f"{where}: expected a number in (0, 1], got {value!r}")
    return share


def _window(definition: ConvDef) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride and rate as pairs."""
    return pair(definition.kernel, "kernel"), pair(definition.stride, "stride"), pair(definition.rate, "rate")


def _convolution(
    name: str,
    depth: int,
    source: str,
    activation: str | None,
    end_point: str = "",
    kernel: Pair = (1, 1),
    stride: Pair = (1, 1),
    rate: Pair = (1, 1),
) -> LayerDef:
    end_points = (end_point,) if end_point else ()
    return LayerDef(name, "conv2d", kernel, stride, rate, depth, (source,), activation, True, end_points)


def _depthwise(
    name: str, source: str, activation: str | None, end_point: str, kernel: Pair, stride: Pair, rate: Pair
) -> LayerDef:
    return LayerDef(name, "depthwise_conv2d", kernel, stride, rate, None, (source,), activation, True, (end_point,))


def _squeeze_and_excite(scope: str, channels: int, ratio: float, source: str) -> list[LayerDef]:
    """A gate for each channel, of its mean (J. Hu et al., arXiv 1709.01507; MobileNet v3's hard sigmoid)."""
    mean, reduce, gate, product = (f"{scope}/{name}" for name in ("AvgPool", "Conv", "Conv_1", "mul"))
    return [
        LayerDef(mean, "global_average_pool", inputs=(source,)),
        LayerDef(reduce, "conv2d", depth=make_divisible(channels * ratio), inputs=(mean,), activation="relu"),
        LayerDef(gate, "conv2d", depth=channels, inputs=(reduce,), activation="hard_sigmoid"),
        LayerDef(product, "multiply", inputs=(source, gate)),
    ]
