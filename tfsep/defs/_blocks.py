"""Definitions of blocks: a named tuple for each kind of inverted residual, which is given in one line."""

from typing import NamedTuple, TypeAlias

from tfsep._utils.arguments import positive_int, positive_number
from tfsep.defs._definitions import Conv, Dense, DepthSepConv, GlobalPool
from tfsep.defs._fields import checked_fields, checked_flag, checked_share, make_divisible, window
from tfsep.defs._layer_def import (
    DEFAULT_ACTIVATION,
    GATES,
    LayerDef,
    Site,
    check_activation,
    convolution,
    depthwise,
)
from tfsep.geometry import Pair, PairLike
from tfsep.geometry._sizes import pair

__all__ = [
    "Channels",
    "ConvDef",
    "ConvDefs",
    "FusedInvertedResidual",
    "InvertedResidual",
    "UniversalInvertedBottleneck",
]


class Channels(NamedTuple):
    """An expansion that is given as a number of channels, where a plain number is a factor.

    Attributes:
        number: channels of the expansion, before the width multiplier.

    Examples:
        >>> from tfsep.defs import resolve
        >>> block = InvertedResidual(3, 1, 24, expansion=Channels(88))
        >>> [layer.depth for layer in resolve([block], channels=24)][:1]
        [88]
    """

    number: int


Expansion: TypeAlias = float | Channels
"""The width inside a block: a factor on the channels of its input, or `Channels`."""


class InvertedResidual(NamedTuple):
    """An inverted residual block: expansion by a 1×1 convolution, depthwise convolution, projection by a 1×1 one.

    Each convolution is followed by batch normalization; expansion and depthwise convolution by the activation, too.

    Attributes:
        kernel: rows and columns of the depthwise convolution, or one int.
        stride: step of the depthwise window, an int or a pair.
        depth: output channels, before the width multiplier.
        expansion: channels of the depthwise convolution: a factor on those of the input, the product rounded to a
            multiple of 8; or a number of them, `Channels`. As many as the input has, such as by a factor of 1, leave
            the expansion out.
        squeeze: channels that squeeze-and-excite reduces to, over those of the depthwise convolution, in (0, 1], such
            as 1/4; None for no squeeze-and-excite.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.
        residual: whether the input is added to the result, where the stride is 1 and both have as many channels.
        rate: dilation of the depthwise convolution, an int or a pair.
        gate: activation of the gate of squeeze-and-excite, see `with_slim_gates` for TF-slim's.

    Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381), Figure 3;
    squeeze-and-excite as in A. Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), Figure 4; names of
    TF-slim's ``expanded_conv``.
    """

    kernel: PairLike
    stride: PairLike
    depth: int
    expansion: Expansion
    squeeze: float | None = None
    activation: str | None = DEFAULT_ACTIVATION
    residual: bool = True
    rate: PairLike = 1
    gate: str = "hard_sigmoid"

    def normalized(self, where: str) -> "InvertedResidual":
        """Return the definition with pairs for kernel, stride and rate; errors start with `where`."""
        checked_flag(self.residual, f"{where}.residual")
        check_activation(self.gate, f"{where}.gate", GATES)
        return self._replace(
            **checked_fields(self, where),
            expansion=_checked_expansion(self.expansion, where),
            squeeze=None if self.squeeze is None else checked_share(self.squeeze, f"{where}.squeeze"),
        )

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layers of a normalized definition.

        Raises:
            ValueError: if the input channels are not known.
        """
        scope, end_point, source, _ = site
        channels = site.known_channels()
        width = _inner_width(self.expansion, channels)
        layers: list[LayerDef] = []
        if width != channels:
            expand = f"{scope}/expand", width, source, self.activation, f"{end_point}/expansion_output"
            layers.append(convolution(*expand))
        own = self.activation, f"{end_point}/depthwise_output", window(self)
        layers.append(depthwise(f"{scope}/depthwise", layers[-1].name if layers else source, *own))
        if self.squeeze is not None:
            layers += _squeeze_and_excite(f"{scope}/squeeze_excite", width, self.squeeze, self.gate, layers[-1].name)
        return [*layers, *_projection(self, site, layers[-1].name)]


class FusedInvertedResidual(NamedTuple):
    """An inverted residual block with one convolution for expansion and depthwise convolution, then the projection.

    Each convolution is followed by batch normalization, the first by the activation, too.

    Attributes:
        kernel: rows and columns of the first convolution, or one int.
        stride: its step, an int or a pair.
        depth: output channels, before the width multiplier.
        expansion: channels of the first convolution: a factor on those of the input, the product rounded to a multiple
            of 8; or a number of them, `Channels`. As many as the input has, such as by a factor of 1, leave the first
            convolution out, as TF-slim does; the stride has to be 1 then.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.
        residual: whether the input is added to the result, where the stride is 1 and both have as many channels.
        rate: dilation of the first convolution, an int or a pair.

    Source: S. Gupta and M. Tan, "EfficientNet-EdgeTPU" (Google AI Blog, 2019); names of TF-slim's ``expanded_conv``.
    """

    kernel: PairLike
    stride: PairLike
    depth: int
    expansion: Expansion
    activation: str | None = DEFAULT_ACTIVATION
    residual: bool = True
    rate: PairLike = 1

    def normalized(self, where: str) -> "FusedInvertedResidual":
        """Return the definition with pairs for kernel, stride and rate; errors start with `where`."""
        checked_flag(self.residual, f"{where}.residual")
        return self._replace(**checked_fields(self, where), expansion=_checked_expansion(self.expansion, where))

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layers of a normalized definition.

        Raises:
            ValueError: if the input channels are not known, or the stride is lost with the first convolution.
        """
        scope, end_point, source, _ = site
        channels = site.known_channels()
        width = _inner_width(self.expansion, channels)
        if width == channels:
            _require_no_stride(self.stride, f"{scope} without an expansion")
            return _projection(self, site, source)
        first = f"{scope}/expand", width, source, self.activation, f"{end_point}/expansion_output", window(self)
        return [convolution(*first), *_projection(self, site, first[0])]


class UniversalInvertedBottleneck(NamedTuple):
    """MobileNet v4's block: an inverted residual with a depthwise convolution in front, in the middle, both or none.

    The first depthwise convolution has batch normalization alone, expansion and second one the activation, too. With
    the second alone this is an `InvertedResidual`, with the first alone ConvNeXt's block, with both the extra depthwise
    one, with none a feed-forward layer. The second one has the stride, or the first where there is no second.

    Attributes:
        first: kernel of the depthwise convolution in front of the expansion, an int or a pair; None for none.
        second: kernel of that behind the expansion, likewise.
        stride: step of the second window, or of the first, an int or a pair.
        depth: output channels, before the width multiplier.
        expansion: channels inside: a factor on those of the input, the product rounded to a multiple of 8; or a number
            of them, `Channels`. As many as the input has leave the expansion out.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.
        residual: whether the input is added to the result, where the stride is 1 and both have as many channels.
        rate: dilation of both depthwise convolutions, an int or a pair.

    Source: D. Qin et al., "MobileNetV4: Universal Models for the Mobile Ecosystem" (arXiv 2404.10518), Figure 4.
    """

    first: PairLike | None
    second: PairLike | None
    stride: PairLike
    depth: int
    expansion: Expansion
    activation: str | None = DEFAULT_ACTIVATION
    residual: bool = True
    rate: PairLike = 1

    def normalized(self, where: str) -> "UniversalInvertedBottleneck":
        """Return the definition with pairs for kernels, stride and rate; errors start with `where`."""
        checked_flag(self.residual, f"{where}.residual")
        own = self._replace(
            **checked_fields(self, where),
            first=None if self.first is None else pair(self.first, f"{where}.first"),
            second=None if self.second is None else pair(self.second, f"{where}.second"),
            expansion=_checked_expansion(self.expansion, where),
        )
        if own.first is None and own.second is None:
            _require_no_stride(own.stride, f"{where} without a depthwise convolution")
        return own

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layers of a normalized definition.

        Raises:
            ValueError: if the input channels are not known.
        """
        scope, end_point, source, _ = site
        channels = site.known_channels()
        stride, rate = pair(self.stride, "stride"), pair(self.rate, "rate")
        layers: list[LayerDef] = []

        def last() -> str:
            return layers[-1].name if layers else source

        if self.first is not None:
            own = pair(self.first, "first"), (1, 1) if self.second else stride, rate
            layers.append(depthwise(f"{scope}/depthwise_first", last(), None, f"{end_point}/first_output", own))
        width = _inner_width(self.expansion, channels)
        if width != channels:
            expand = f"{scope}/expand", width, last(), self.activation, f"{end_point}/expansion_output"
            layers.append(convolution(*expand))
        if self.second is not None:
            own = pair(self.second, "second"), stride, rate
            named = f"{scope}/depthwise", last(), self.activation, f"{end_point}/depthwise_output"
            layers.append(depthwise(*named, own))
        return [*layers, *_projection(self, site, last())]


Block: TypeAlias = InvertedResidual | FusedInvertedResidual | UniversalInvertedBottleneck
"""Any block with an expansion."""

ConvDef: TypeAlias = Conv | DepthSepConv | Block | GlobalPool | Dense
"""Any definition."""

ConvDefs: TypeAlias = tuple[ConvDef, ...]
"""A network's definitions, in the order of its layers and blocks."""


def _checked_expansion(value: Expansion, where: str) -> Expansion:
    if isinstance(value, Channels):
        return Channels(positive_int(value.number, f"{where}.expansion"))
    return positive_number(value, f"{where}.expansion")


def _inner_width(expansion: Expansion, channels: int) -> int:
    """The channels inside a block."""
    if isinstance(expansion, Channels):
        return expansion.number
    if channels * expansion >= 2.0**63:
        raise ValueError(f"expansion: expected one that leaves depths under 2^63, got {expansion!r}")
    return channels if expansion == 1 else make_divisible(channels * expansion)


def _require_no_stride(stride: PairLike, what: str) -> None:
    own: Pair = pair(stride, "stride")
    if own != (1, 1):
        raise ValueError(f"stride: expected 1 in {what}, got {own}")


def _projection(block: Block, site: Site, last: str) -> list[LayerDef]:
    """The 1×1 convolution that ends a block, and the sum with its input."""
    layers = [convolution(f"{site.scope}/project", block.depth, last, None)]
    if block.residual and block.stride == (1, 1) and site.channels == block.depth:
        layers.append(LayerDef(f"{site.scope}/add", "add", inputs=(layers[-1].name, site.source)))
    ends = f"{site.end_point}/output", site.end_point
    return [*layers[:-1], layers[-1]._replace(end_points=ends)]


def _squeeze_and_excite(scope: str, channels: int, ratio: float, activation: str, source: str) -> list[LayerDef]:
    """A gate for each channel, of its mean (J. Hu et al., arXiv 1709.01507)."""
    mean, reduce, gate, product = (f"{scope}/{name}" for name in ("AvgPool", "Conv", "Conv_1", "mul"))
    return [
        LayerDef(mean, "global_average_pool", inputs=(source,)),
        LayerDef(reduce, "conv2d", depth=make_divisible(channels * ratio), inputs=(mean,), activation="relu"),
        LayerDef(gate, "conv2d", depth=channels, inputs=(reduce,), activation=activation),
        LayerDef(product, "multiply", inputs=(source, gate)),
    ]
