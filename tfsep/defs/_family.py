"""A family's rules, and a network as a record of its definitions and the family whose rules make layers of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tfsep._utils.arguments import number_in_range, positive_int, text
from tfsep.defs._blocks import Block, ConvDef, ConvDefs
from tfsep.defs._definitions import Conv, Dense, GlobalPool
from tfsep.defs._fields import checked_flag, make_divisible
from tfsep.defs._layer_def import LayerDef, check_activation
from tfsep.defs._transforms import (
    NamingRule,
    WidthRule,
    expanded,
    normalize,
    numbered_places,
    scale_width,
    slim_places,
    total_strides,
    truncate,
    with_output_stride,
)
from tfsep.geometry._sizes import normalize_shape

__all__ = [
    "EFFICIENTNET_LITE",
    "MOBILENET_EDGETPU",
    "MOBILENET_V1",
    "MOBILENET_V2",
    "MOBILENET_V3",
    "MOBILENET_V4",
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
        full_width_head: whether the last definition, if it is a `Conv` or `Dense`, keeps its depth under width
            multipliers below 1 (slim's ``finegrain_classification_mode``).
        head_grows: whether that definition is wider under multipliers above 1.
        batch_norm_decay: momentum of the moving statistics in training.
        batch_norm_epsilon: added to the variance.
        dropout: share of the features that training drops before the classifier.

    Raises:
        ValueError: for a name or scope that is no string, an unknown activation, a `full_width_head` that is no bool,
            or a number out of range.
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
    head_grows: bool = True
    batch_norm_decay: float = 0.9997
    batch_norm_epsilon: float = 1e-3
    dropout: float = 1e-3

    def __post_init__(self) -> None:
        """Check the fields."""
        text(self.name, "name")
        text(self.scope, "scope")
        for rule in ("naming_rule", "width_rule"):
            if not callable(getattr(self, rule)):
                raise TypeError(f"{rule}: expected a function, got {getattr(self, rule)!r}")
        check_activation(self.activation, "activation")
        for name in ("full_width_head", "head_grows"):
            checked_flag(getattr(self, name), name)
        number_in_range(self.batch_norm_decay, "batch_norm_decay", float, 0, 1)
        number_in_range(self.batch_norm_epsilon, "batch_norm_epsilon", float, 0)
        number_in_range(self.dropout, "dropout", float, 0, 0.99)


MOBILENET_V1 = Family("MobileNet v1", "MobilenetV1", numbered_places, truncate, "relu6")
"""Names and widths of TF-slim's ``mobilenet_v1``: layers numbered in order, channels without their fraction."""

MOBILENET_V2 = Family(
    *("MobileNet v2", "MobilenetV2", slim_places, make_divisible, "relu6"),
    full_width_head=True,
    batch_norm_decay=0.997,
    dropout=0.2,
)
"""Names and widths of TF-slim's ``mobilenet_v2``: scopes by kind of block, channels in multiples of 8, a last
convolution that is not narrowed."""

MOBILENET_V3 = replace(MOBILENET_V2, name="MobileNet v3", scope="MobilenetV3", activation="relu")
"""Names and widths of TF-slim's ``mobilenet_v3``."""

MOBILENET_EDGETPU = replace(MOBILENET_V3, name="MobileNet-EdgeTPU", scope="MobilenetEdgeTPU")
"""Names and widths of TF-slim's ``mobilenet_v3.edge_tpu``."""

MOBILENET_V4 = replace(MOBILENET_V3, name="MobileNet v4", scope="MobilenetV4", batch_norm_decay=0.99)
"""Names and widths of MobileNet v4's networks: those of v3, and the momentum of their training."""

EFFICIENTNET_LITE = replace(MOBILENET_V2, name="EfficientNet-Lite", scope="EfficientNetLite", batch_norm_decay=0.99)
"""Names and widths of EfficientNet-Lite's networks: those of MobileNet v2, and the momentum of their training."""


@dataclass(frozen=True)
class Network:
    """A network's definitions, and the rules by which they become layers.

    Attributes:
        conv_defs: the definitions of the body, from the image to the features that are pooled.
        family: the rules: `MOBILENET_V1`, `MOBILENET_V2`, or a `Family` of one's own.
        title: the network's name on its card.
        image_shape: (H, W, C) of the images that it is meant for; it takes others, too. None for no particular ones.
        top1: published share of ImageNet's validation images, in percent, whose class it says, at width 1 and on images
            of that shape; None where there is none.

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
    top1: float | None = None

    def __post_init__(self) -> None:
        """Check the fields, and normalize definitions and image shape."""
        object.__setattr__(self, "conv_defs", normalize(self.conv_defs))
        if not isinstance(self.family, Family):
            raise TypeError(f"family: expected a Family, got {self.family!r}")
        text(self.title, "title")
        if self.image_shape is not None:
            shape = _image_shape(self.image_shape, "image_shape")
            object.__setattr__(self, "image_shape", tuple(positive_int(side, "image_shape") for side in shape))
        if self.top1 is not None:
            number_in_range(self.top1, "top1", float, 0, 100)

    @classmethod
    def of(cls, network: "Network | Iterable[ConvDef]") -> "Network":
        """Return a network as it is, and definitions as one of the family that has such definitions.

        That is `MOBILENET_V2` for definitions with a block that expands, and `MOBILENET_V1` for others.

        Args:
            network: a network, or definitions in order.

        Examples:
            >>> Network.of([Conv(3, 2, 32)]).family.name
            'MobileNet v1'
            >>> from tfsep.defs import InvertedResidual
            >>> Network.of([Conv(3, 2, 32), InvertedResidual(3, 1, 32, expansion=6)]).family.name
            'MobileNet v2'
        """
        if isinstance(network, Network):
            return network
        conv_defs = normalize(network)
        has_blocks = any(isinstance(definition, Block) for definition in conv_defs)
        return cls(conv_defs, MOBILENET_V2 if has_blocks else MOBILENET_V1)

    def layers(
        self, channels: int | None = None, alpha: float = 1.0, min_depth: int = 8, output_stride: int | None = None
    ) -> tuple[LayerDef, ...]:
        """Return the primitive layers of the body, in the order of computation.

        Args:
            channels: number of channels of the image; needed only if the first definition is a block that expands.
            alpha: width multiplier, greater than zero.
            min_depth: fewest channels of a layer.
            output_stride: total stride to hold by growing rates, see `with_output_stride`; None for no bound.

        Raises:
            ValueError: for an argument out of range.

        Examples:
            >>> from tfsep.defs import InvertedResidual
            >>> len(Network([Conv(3, 2, 32), InvertedResidual(3, 1, 16, 6)], MOBILENET_V2).layers())
            4
        """
        _, groups = self._expanded(channels, alpha, min_depth, output_stride)
        return tuple(layer for layers in groups for layer in layers)

    def features(self, channels: int | None = None, output_stride: int | None = None) -> dict[int, str]:
        """Return the end points of the maps that a head takes, by their total strides: the last one at each stride.

        The end of the network, 1×1 convolutions and what stands behind the mean over the image, is left out.

        Args:
            channels: number of channels of the image; needed only if the first definition is a block that expands.
            output_stride: total stride to hold by growing rates, see `with_output_stride`; None for no bound.

        Raises:
            ValueError: for an argument out of range, or unequal strides.

        Examples:
            >>> from tfsep.defs import NETWORKS
            >>> NETWORKS["mobilenet_v2"].features()
            {2: 'layer_2', 4: 'layer_4', 8: 'layer_7', 16: 'layer_14', 32: 'layer_18'}
        """
        conv_defs, groups = self._expanded(channels, 1.0, 8, output_stride)
        count = len(conv_defs)
        while count > 1 and _is_end(conv_defs[count - 1]):
            count -= 1
        strides = total_strides(conv_defs[:count], "features")
        return {stride: layers[-1].end_points[-1] for stride, layers in zip(strides, groups, strict=False)}

    def _expanded(
        self, channels: int | None, alpha: float, min_depth: int, output_stride: int | None
    ) -> tuple[ConvDefs, Sequence[tuple[LayerDef, ...]]]:
        """The definitions that are built, and the primitive layers of each."""
        rules = self.family
        head = rules.full_width_head, rules.head_grows
        scaled = scale_width(self.conv_defs, alpha, min_depth, rules.width_rule, *head)
        conv_defs = with_output_stride(scaled, output_stride)
        return conv_defs, expanded(conv_defs, channels, rules.naming_rule)

    @property
    def pools(self) -> bool:
        """Whether the definitions end in the mean over the image, which the classifier needs no more then."""
        return any(isinstance(definition, GlobalPool) for definition in self.conv_defs)

    def input_shape(self, given: Sequence[int | None] | None = None) -> ImageShape:
        """Return the shape (H, W, C) of a network's input: as given, or that of the images it is meant for.

        Args:
            given: (H, W, C); H and W may be None. None for `image_shape`.

        Raises:
            ValueError: for a shape of another length, or None where the network is not meant for particular images.

        Examples:
            >>> network = Network([Conv(3, 2, 32)], MOBILENET_V1, image_shape=(28, 28, 1))
            >>> network.input_shape(), network.input_shape((32, 32, 1))
            ((28, 28, 1), (32, 32, 1))
        """
        return _image_shape(self.image_shape if given is None else given, "input_shape")


def _is_end(definition: ConvDef) -> bool:
    """Whether a definition makes no map of its own: a 1×1 convolution, or what follows the mean over the image."""
    return isinstance(definition, GlobalPool | Dense) or (
        isinstance(definition, Conv) and definition.kernel == definition.stride == (1, 1)
    )


def _image_shape(value: Sequence[int | None] | None, name: str) -> ImageShape:
    """Return a shape (H, W, C) in one form; None for a size that is left open."""
    shape = () if value is None else normalize_shape(value, name)
    if len(shape) != 3:
        raise ValueError(f"{name}: expected (H, W, C), got {value}")
    rows, columns, channels = shape
    return rows, columns, channels
