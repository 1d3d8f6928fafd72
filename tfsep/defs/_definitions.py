"""Definitions of single layers, and of MobileNet v1's pair of them: a named tuple each.

Each class knows its own expansion into primitive layers. A new kind of layer is a class here, a new kind of block one
in `_blocks.py`, and both are names in `ConvDef` there. The activation of a whole
network is that of its `Family`; a definition's own is for a layer or block that differs.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from tfsep.defs._fields import checked_fields, checked_flag, window
from tfsep.defs._layer_def import DEFAULT_ACTIVATION, LayerDef, Site, convolution, depthwise
from tfsep.geometry import Pair, PairLike

__all__ = ["Conv", "Dense", "DepthSepConv", "GlobalPool"]


class _Windowed(NamedTuple):
    """The fields of a definition that does not ask for the channels of its input, and what is done with them."""

    kernel: PairLike
    stride: PairLike
    depth: int
    rate: PairLike = 1
    activation: str | None = DEFAULT_ACTIVATION

    def normalized(self, where: str) -> Self:
        """Return the definition with pairs for kernel, stride and rate; errors start with `where`."""
        return self._replace(**checked_fields(self, where))

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layers of a normalized definition."""
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

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layer of a normalized definition."""
        return [convolution(site.scope, self.depth, site.source, self.activation, site.end_point, window(self))]


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

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layers of a normalized definition."""
        scope, end_point, source, _ = site
        first = depthwise(f"{scope}_depthwise", source, self.activation, f"{end_point}_depthwise", window(self))
        second = f"{scope}_pointwise", self.depth, first.name, self.activation, f"{end_point}_pointwise"
        return [first, convolution(*second)]


class Dense(NamedTuple):
    """A dense layer on the channels, a 1×1 convolution: the end of a network behind `GlobalPool`.

    Attributes:
        depth: output channels, before the width multiplier.
        activation: a Keras activation's name, None for none, or ``"default"`` for the network's, see `Family`.
        normalization: whether batch normalization stands in place of a bias.

    Source: A. Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), Figure 5.
    """

    depth: int
    activation: str | None = DEFAULT_ACTIVATION
    normalization: bool = False

    @property
    def stride(self) -> Pair:
        """The step of its window, always 1."""
        return 1, 1

    def normalized(self, where: str) -> "Dense":
        """Return the definition; errors start with `where`."""
        checked_flag(self.normalization, f"{where}.normalization")
        return self._replace(depth=checked_fields(self, where)["depth"])

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layer of a normalized definition."""
        own = site.scope, self.depth, site.source, self.activation, site.end_point
        return [convolution(*own, normalization=self.normalization)]


@dataclass(frozen=True)
class GlobalPool:
    """The mean over the image, (N, 1, 1, C): what stands in front of dense ends.

    TF-slim's MobileNet v3 takes the mean of windows of 7×7 where an image is not square; this takes that of the whole.
    """

    depth: ClassVar[None] = None
    stride: ClassVar[Pair] = (1, 1)

    def normalized(self, where: str) -> "GlobalPool":  # noqa: ARG002
        """Return the definition."""
        return self

    def expand(self, site: Site) -> list[LayerDef]:
        """Return the primitive layer of a normalized definition."""
        return [LayerDef(site.scope, "global_average_pool", inputs=(site.source,), end_points=(site.end_point,))]
