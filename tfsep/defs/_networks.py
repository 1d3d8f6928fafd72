"""Networks as records: definitions, and the family whose rules make layers of them.

A network with a key in `NETWORKS` is counted by ``tfsep cost``, built by `tfsep.models.from_definitions`, trained by
``tfsep train --network`` and described on its card. A new network is its definitions and a row there; a network whose
names or widths follow other rules needs a `Family` first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tfsep._utils.arguments import positive_int, text
from tfsep.defs._definitions import Conv, ConvDef, ConvDefs, DepthSepConv, InvertedResidual, make_divisible
from tfsep.defs._layer_def import LayerDef, check_activation
from tfsep.defs._transforms import (
    NamingRule,
    WidthRule,
    normalize,
    numbered_places,
    resolve,
    scale_width,
    slim_places,
    truncate,
    with_output_stride,
)
from tfsep.geometry._sizes import normalize_shape

__all__ = [
    "FASHION_CONV_DEFS",
    "MOBILENETV1_CONV_DEFS",
    "MOBILENET_V1",
    "MOBILENET_V2",
    "NETWORKS",
    "Family",
    "Network",
]

ImageShape: TypeAlias = tuple[int | None, int | None, int | None]
"""(H, W, C); None for a size that is left open."""


@dataclass(frozen=True)
class Family:
    """The rules that the networks of a family share.

    Attributes:
        name: the family's usual name.
        scope: TF-slim's variable scope of all layers, and the name of the Keras model.
        naming_rule: gives each definition its names: `numbered_places` or `slim_places`.
        width_rule: rounds channels under a width multiplier: `truncate` or `make_divisible`.
        activation: name of the Keras activation of all definitions that name none of their own.
        full_width_head: whether the last definition, if it is a `Conv`, keeps its depth under width multipliers below
            1 (slim's ``finegrain_classification_mode``).

    Raises:
        ValueError: for a name or scope that is no string, an unknown activation, or a `full_width_head`
            that is no bool.
        TypeError: for a rule that is no function.

    Examples:
        >>> from dataclasses import replace
        >>> replace(MOBILENET_V1, activation="relu").scope
        'MobilenetV1'
    """

    name: str
    scope: str
    naming_rule: NamingRule
    width_rule: WidthRule
    activation: str
    full_width_head: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        text(self.name, "name")
        text(self.scope, "scope")
        for rule in ("naming_rule", "width_rule"):
            if not callable(getattr(self, rule)):
                raise TypeError(f"{rule}: expected a function, got {getattr(self, rule)!r}")
        check_activation(self.activation, "activation")
        if not isinstance(self.full_width_head, bool):
            raise ValueError(f"full_width_head: expected True or False, got {self.full_width_head!r}")


MOBILENET_V1 = Family("MobileNet v1", "MobilenetV1", numbered_places, truncate, "relu6")
"""Names and widths of TF-slim's ``mobilenet_v1``: layers numbered in order, channels without their fraction."""

MOBILENET_V2 = Family("MobileNet v2", "MobilenetV2", slim_places, make_divisible, "relu6", full_width_head=True)
"""Names and widths of TF-slim's ``mobilenet_v2``: scopes by kind of block, channels in multiples of 8, a last
convolution that is not narrowed."""


@dataclass(frozen=True)
class Network:
    """A network's definitions, and the rules by which they become layers.

    Attributes:
        conv_defs: the definitions of the body, from the image to the features that are pooled.
        family: the rules: `MOBILENET_V1`, `MOBILENET_V2`, or a `Family` of one's own.
        title: the network's name on its card.
        image_shape: (H, W, C) of the images that it is meant for; it takes others, too. None for no particular ones.

    Raises:
        ValueError: if there is no definition, or one has a size under 1 or an unknown activation; for a title that is
            no string, or another image shape than three positive ints.
        TypeError: if an entry is no definition, or `family` no `Family`.

    Examples:
        >>> network = Network([Conv(3, 2, 32), Conv(3, 1, 64), Conv(1, 1, 1280)], MOBILENET_V2)
        >>> [(layer.name, layer.depth) for layer in network.layers(alpha=0.3)]
        [('Conv', 16), ('Conv_1', 24), ('Conv_2', 1280)]
    """

    conv_defs: ConvDefs
    family: Family
    title: str = "a network of its own definitions"
    image_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        """Check the fields, and normalize definitions and image shape."""
        object.__setattr__(self, "conv_defs", normalize(self.conv_defs))
        if not isinstance(self.family, Family):
            raise TypeError(f"family: expected a Family, got {self.family!r}")
        text(self.title, "title")
        if self.image_shape is not None:
            shape = _image_shape(self.image_shape, "image_shape")
            object.__setattr__(self, "image_shape", tuple(positive_int(side, "image_shape") for side in shape))

    @classmethod
    def of(cls, network: "Network | Iterable[ConvDef]") -> "Network":
        """Return a network as it is, and definitions as one of the family that has such definitions.

        That is `MOBILENET_V2` for definitions with an `InvertedResidual`, and `MOBILENET_V1` for others.

        Args:
            network: a network, or definitions in order.

        Examples:
            >>> Network.of([Conv(3, 2, 32)]).family.name
            'MobileNet v1'
            >>> Network.of([Conv(3, 2, 32), InvertedResidual(3, 1, 32, expansion=6)]).family.name
            'MobileNet v2'
        """
        if isinstance(network, Network):
            return network
        conv_defs = normalize(network)
        has_blocks = any(isinstance(definition, InvertedResidual) for definition in conv_defs)
        return cls(conv_defs, MOBILENET_V2 if has_blocks else MOBILENET_V1)

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
        rules = self.family
        scaled = scale_width(self.conv_defs, alpha, min_depth, rules.width_rule, rules.full_width_head)
        return resolve(with_output_stride(scaled, output_stride), channels, rules.naming_rule)

    def input_shape(self, given: Sequence[int | None] | None = None) -> ImageShape:
        """Return the shape (H, W, C) of a network's input: as given, or that of the images it is meant for.

        Args:
            given: (H, W, C); H and W may be None. None for `image_shape`.

        Raises:
            ValueError: for a shape of another length, or None where the network is not meant for particular images.

        Examples:
            >>> NETWORKS["fashion_mnist"].input_shape(), NETWORKS["fashion_mnist"].input_shape((32, 32, 1))
            ((28, 28, 1), (32, 32, 1))
        """
        return _image_shape(self.image_shape if given is None else given, "input_shape")


def _image_shape(value: Sequence[int | None] | None, name: str) -> ImageShape:
    """Return a shape (H, W, C) in one form; None for a size that is left open."""
    shape = () if value is None else normalize_shape(value, name)
    if len(shape) != 3:
        raise ValueError(f"{name}: expected (H, W, C), got {value}")
    rows, columns, channels = shape
    return rows, columns, channels


def _separable_body(first: tuple[int, int], *others: tuple[int, int]) -> ConvDefs:
    """A 3×3 convolution, then depthwise separable ones with kernels of 3×3, each by its stride and output channels."""
    return (Conv((3, 3), *first), *(DepthSepConv((3, 3), *each) for each in others))


MOBILENETV1_CONV_DEFS = _separable_body(
    *((2, 32), (1, 64), (2, 128), (1, 128), (2, 256), (1, 256)),
    *((2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512), (2, 1024), (1, 1024)),
)
"""The body of MobileNet v1 (the paper's Table 1)."""

FASHION_CONV_DEFS = _separable_body(
    (1, 32), (1, 64), (2, 160), (1, 160), (1, 160), (2, 256), (1, 256), (1, 256), (1, 320)
)
"""A MobileNet for images of 28×28: 64 times fewer pixels than 224×224 want three strides fewer."""

NETWORKS: dict[str, Network] = {
    "mobilenet_v1": Network(MOBILENETV1_CONV_DEFS, MOBILENET_V1, "MobileNet v1", (224, 224, 3)),
    "fashion_mnist": Network(FASHION_CONV_DEFS, MOBILENET_V1, "MobileNet v1 for images of 28×28", (28, 28, 1)),
}
"""The networks that have a name, as `tfsep.train.TrainConfig` and the command line take it."""
