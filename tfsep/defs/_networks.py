"""Networks as records: definitions, and the rules of their family.

A network with a key in `NETWORKS` is counted by ``tfsep cost``, built by `tfsep.models.from_definitions`, trained by
``tfsep train --network`` and described on its card.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tfsep.defs._definitions import Conv, ConvDef, ConvDefs, DepthSepConv
from tfsep.defs._layer_def import LayerDef
from tfsep.defs._transforms import (
    NamingRule,
    WidthRule,
    normalize,
    numbered_places,
    resolve,
    scale_width,
    truncate,
    with_output_stride,
)

__all__ = ["FASHION_CONV_DEFS", "MOBILENETV1_CONV_DEFS", "NETWORKS", "Network"]


@dataclass(frozen=True)
class Network:
    """A network's definitions, and the rules by which they become layers.

    Attributes:
        conv_defs: the definitions of the body, from the image to the features that are pooled.
        title: what the network is, with an article, as a card says it.
        image_shape: (H, W, C) of the images that it is meant for; it takes others, too.
        scope: TF-slim's variable scope of all layers, and the name of the Keras model.
        names: gives each definition its names, `numbered_places` or `slim_places`.
        width_rule: rounds channels under a width multiplier, `truncate` or `make_divisible`.

    Raises:
        ValueError: if there is no definition, or one has a size under 1.
        TypeError: if an entry is no definition.

    Examples:
        >>> [layer.depth for layer in Network([Conv(3, 2, 32), Conv(3, 1, 64)]).layers(alpha=0.5)]
        [16, 32]
    """

    conv_defs: ConvDefs
    title: str = "a network"
    image_shape: tuple[int, int, int] = (224, 224, 3)
    scope: str = "MobilenetV1"
    names: NamingRule = numbered_places
    width_rule: WidthRule = truncate

    def __post_init__(self) -> None:
        """Normalize the definitions."""
        object.__setattr__(self, "conv_defs", normalize(self.conv_defs))

    @classmethod
    def of(cls, network: "Network | Iterable[ConvDef]") -> "Network":
        """Return a network as it is, and definitions as one by MobileNet v1's rules.

        Args:
            network: a network, or definitions in order.

        Examples:
            >>> Network.of([Conv(3, 2, 32)]).scope
            'MobilenetV1'
        """
        return network if isinstance(network, Network) else cls(tuple(network))

    def layers(
        self, channels: int | None = None, alpha: float = 1.0, min_depth: int = 8, output_stride: int | None = None
    ) -> tuple[LayerDef, ...]:
        """Return the primitive layers of the body, in the order of computation.

        Args:
            channels: number of channels of the image; needed only if the first definition is an `InvertedResidual`.
            alpha: width multiplier, greater than zero.
            min_depth: fewest channels of a layer.
            output_stride: total stride to hold by growing rates, see `with_output_stride`; None for no bound.

        Raises:
            ValueError: for an argument out of range.

        Examples:
            >>> len(NETWORKS["mobilenet_v1"].layers())
            27
        """
        conv_defs = with_output_stride(scale_width(self.conv_defs, alpha, min_depth, self.width_rule), output_stride)
        return resolve(conv_defs, channels, self.names)


MOBILENETV1_CONV_DEFS: ConvDefs = (
    Conv(kernel=(3, 3), stride=2, depth=32),
    DepthSepConv(kernel=(3, 3), stride=1, depth=64),
    DepthSepConv(kernel=(3, 3), stride=2, depth=128),
    DepthSepConv(kernel=(3, 3), stride=1, depth=128),
    DepthSepConv(kernel=(3, 3), stride=2, depth=256),
    DepthSepConv(kernel=(3, 3), stride=1, depth=256),
    DepthSepConv(kernel=(3, 3), stride=2, depth=512),
    DepthSepConv(kernel=(3, 3), stride=1, depth=512),
    DepthSepConv(kernel=(3, 3), stride=1, depth=512),
    DepthSepConv(kernel=(3, 3), stride=1, depth=512),
    DepthSepConv(kernel=(3, 3), stride=1, depth=512),
    DepthSepConv(kernel=(3, 3), stride=1, depth=512),
    DepthSepConv(kernel=(3, 3), stride=2, depth=1024),
    DepthSepConv(kernel=(3, 3), stride=1, depth=1024),
)
"""The body of MobileNet v1 (the paper's Table 1)."""

FASHION_CONV_DEFS: ConvDefs = (
    Conv(kernel=(3, 3), stride=1, depth=32),
    DepthSepConv(kernel=(3, 3), stride=1, depth=64),
    DepthSepConv(kernel=(3, 3), stride=2, depth=160),
    DepthSepConv(kernel=(3, 3), stride=1, depth=160),
    DepthSepConv(kernel=(3, 3), stride=1, depth=160),
    DepthSepConv(kernel=(3, 3), stride=2, depth=256),
    DepthSepConv(kernel=(3, 3), stride=1, depth=256),
    DepthSepConv(kernel=(3, 3), stride=1, depth=256),
    DepthSepConv(kernel=(3, 3), stride=1, depth=320),
)
"""A MobileNet for images of 28×28: 64 times fewer pixels than 224×224 want three strides fewer."""

NETWORKS: dict[str, Network] = {
    "mobilenet_v1": Network(MOBILENETV1_CONV_DEFS, "a MobileNet v1"),
    "fashion_mnist": Network(FASHION_CONV_DEFS, "a MobileNet v1", (28, 28, 1)),
}
"""The networks that have a name, as `tfsep.train.TrainConfig` and the command line take it."""
