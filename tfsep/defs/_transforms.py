"""Functions from definitions to definitions, and from definitions to primitive layers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, get_args

from tfsep._utils.arguments import integer, positive_int, positive_number, short_repr
from tfsep.defs._blocks import (
    Block,
    Channels,
    ConvDef,
    ConvDefs,
    FusedInvertedResidual,
    InvertedResidual,
    UniversalInvertedBottleneck,
)
from tfsep.defs._definitions import Conv, Dense, DepthSepConv, GlobalPool
from tfsep.defs._layer_def import INPUT, SLIM_GATE, LayerDef, Place, Site
from tfsep.geometry._sizes import pair

__all__ = [
    "normalize",
    "numbered_places",
    "resolve",
    "scale_width",
    "slim_places",
    "truncate",
    "with_output_stride",
    "with_slim_gates",
    "without_depthwise",
]

SLIM_OUTPUT_STRIDES = (8, 16, 32)

WidthRule: TypeAlias = Callable[[float, int], int]
"""From channels times width multiplier, and the fewest channels, to channels."""

NamingRule: TypeAlias = Callable[[ConvDefs], Sequence[Place]]
"""From normalized definitions to the names of each."""


def normalize(conv_defs: Iterable[ConvDef]) -> ConvDefs:
    """Return the definitions with pairs for kernels, strides and rates.

    Args:
        conv_defs: the definitions of a network, in order.

    Raises:
        ValueError: if there is none, or one has a size under 1; the message names the entry.
        TypeError: if this is no sequence, or an entry is no definition.

    Examples:
        >>> normalize([Conv(3, 2, 32)])
        (Conv(kernel=(3, 3), stride=(2, 2), depth=32, rate=(1, 1), activation='default'),)
    """
    if not isinstance(conv_defs, Iterable) or isinstance(conv_defs, ConvDef | str | bytes | Mapping):
        raise TypeError(f"conv_defs: expected definitions in order, got {short_repr(conv_defs)}")
    result: list[ConvDef] = []
    for i, definition in enumerate(conv_defs):
        if not isinstance(definition, ConvDef):
            kinds = ", ".join(kind.__name__ for kind in get_args(ConvDef))
            raise TypeError(f"conv_defs[{i}]: expected one of {kinds}, got {short_repr(definition)}")
        result.append(definition.normalized(f"conv_defs[{i}]"))
    if not result:
        raise ValueError("conv_defs: expected at least one definition, got none")
    return tuple(result)


def truncate(depth: float, minimum: int) -> int:
    """Return a number of channels without its fraction, MobileNet v1's rule.

    Args:
        depth: channels before rounding.
        minimum: the least result.

    Examples:
        >>> truncate(24.75, 8), truncate(3.2, 8)
        (24, 8)
    """
    return max(int(depth), minimum)


def scale_width(
    conv_defs: Iterable[ConvDef],
    depth_multiplier: float,
    min_depth: int = 8,
    rule: WidthRule = truncate,
    full_width_head: bool = False,
    head_grows: bool = True,
) -> ConvDefs:
    """Return the definitions with their depths multiplied, rounded and bounded.

    Args:
        conv_defs: the definitions of a network, in order.
        depth_multiplier: width multiplier, greater than zero.
        min_depth: fewest channels of a layer.
        rule: rounds the product and bounds it by `min_depth`: `truncate` as in MobileNet v1, or `make_divisible` as in
            later MobileNets.
        full_width_head: whether the last definition, if it is a `Conv` or `Dense`, keeps its depth under multipliers
            below 1, as in MobileNet v2 (slim's ``finegrain_classification_mode``).
        head_grows: whether such a definition is wider under multipliers above 1; in slim's ``mobilenet_v3`` it is not.

    Raises:
        ValueError: if `depth_multiplier` is not greater than zero or makes a depth that no int64 holds, or `min_depth`
            is not a positive int.

    Examples:
        >>> [d.depth for d in scale_width([Conv(3, 2, 32), DepthSepConv(3, 1, 64)], 0.25)]
        [8, 16]
        >>> [d.depth for d in scale_width([Conv(3, 2, 32), Conv(1, 1, 1280)], 0.5, full_width_head=True)]
        [16, 1280]
    """
    multiplier = positive_number(depth_multiplier, "depth_multiplier")
    least = positive_int(min_depth, "min_depth")
    conv_defs = normalize(conv_defs)
    if max(d.depth or 0 for d in conv_defs) * multiplier >= 2.0**63:
        raise ValueError(f"depth_multiplier: expected one that leaves depths under 2^63, got {depth_multiplier!r}")
    *body, head = (_scaled(d, lambda depth: rule(depth * multiplier, least)) for d in conv_defs)
    if full_width_head and isinstance(head, Conv | Dense):
        head = _scaled(conv_defs[-1], lambda depth: rule(depth * (max(multiplier, 1.0) if head_grows else 1.0), least))
    return *body, head


def _scaled(definition: ConvDef, width: Callable[[int], int]) -> ConvDef:
    """A definition with other channels, `width` of its own; a factor inside a block stays."""
    if isinstance(definition, GlobalPool):
        return definition
    if isinstance(definition, Block) and isinstance(definition.expansion, Channels):
        definition = definition._replace(expansion=Channels(width(definition.expansion.number)))
    return definition._replace(depth=width(definition.depth))


def with_output_stride(conv_defs: Iterable[ConvDef], output_stride: int | None) -> ConvDefs:
    """Return the definitions with the network's total stride held at `output_stride`.

    Strides are kept until their product is `output_stride`. Every later stride becomes 1, and multiplies the rates of
    the definitions after it instead, so that the receptive fields stay the same.

    Args:
        conv_defs: the definitions of a network, in order.
        output_stride: 8, 16 or 32 as in slim, or any product of strides that the definitions reach; None leaves them.

    Raises:
        ValueError: for any other number, or for unequal strides, of which there is no one product.

    Source: L.-C. Chen et al. (arXiv 1412.7062), the "hole" algorithm.

    Examples:
        >>> [(d.stride, d.rate) for d in with_output_stride([Conv(3, 2, 8), Conv(3, 2, 8), Conv(3, 1, 8)], 2)]
        [((2, 2), (1, 1)), ((1, 1), (1, 1)), ((1, 1), (2, 2))]
    """
    conv_defs = normalize(conv_defs)
    if output_stride is None:
        return conv_defs
    wanted = _require_reached(conv_defs, output_stride)
    result: list[ConvDef] = []
    current, rate = 1, 1
    for d in conv_defs:
        stride = pair(d.stride, "stride")[0]
        if current == wanted:
            result.append(_dilated(d, rate))
            rate *= stride
        else:
            result.append(d)
            current *= stride
    return tuple(result)


def _dilated(definition: ConvDef, rate: int) -> ConvDef:
    """A definition with a stride of 1 and its rate multiplied; without a window it stays as it is."""
    if isinstance(definition, GlobalPool | Dense):
        return definition
    rows, columns = pair(definition.rate, "rate")
    return definition._replace(stride=(1, 1), rate=(rows * rate, columns * rate))


def _require_reached(conv_defs: ConvDefs, output_stride: int) -> int:
    """Return the total stride as an int; raise unless the definitions reach it, or slim allows it beyond theirs."""
    reached = [1, *total_strides(conv_defs, "an output_stride")]
    allowed = sorted({*reached, *(s for s in SLIM_OUTPUT_STRIDES if s > reached[-1])})
    wanted = integer(output_stride)
    if wanted is None or wanted not in allowed:
        raise ValueError(
            f"output_stride: expected None or one of {', '.join(map(str, allowed))}, got {output_stride!r}"
        )
    return wanted


def total_strides(conv_defs: ConvDefs, purpose: str) -> Sequence[int]:
    """Return the product of strides from the image to the result of each definition.

    Args:
        conv_defs: normalized definitions.
        purpose: what needs one product, for the error.

    Raises:
        ValueError: for unequal strides, of which there is no one product.
    """
    reached = [1]
    for i, d in enumerate(conv_defs):
        down, across = pair(d.stride, "stride")
        if down != across:
            raise ValueError(f"conv_defs[{i}].stride: expected equal strides with {purpose}, got {d.stride}")
        reached.append(reached[-1] * down)
    return reached[1:]


def without_depthwise(conv_defs: Iterable[ConvDef]) -> ConvDefs:
    """Return the definitions with a standard convolution for each `DepthSepConv`.

    Args:
        conv_defs: the definitions of a network, in order; other kinds stay as they are.

    Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), Table 4: "Conv MobileNet".

    Examples:
        >>> without_depthwise([DepthSepConv(3, 1, 64)])
        (Conv(kernel=(3, 3), stride=(1, 1), depth=64, rate=(1, 1), activation='default'),)
    """
    return tuple(Conv(*d) if isinstance(d, DepthSepConv) else d for d in normalize(conv_defs))


def with_slim_gates(conv_defs: Iterable[ConvDef]) -> ConvDefs:
    """Return the definitions with TF-slim's gate in squeeze-and-excite: relu6(x + 3) · 0.16667.

    Keras's hard sigmoid, which the paper means, divides by 6.

    Args:
        conv_defs: the definitions of a network, in order; gates other than the hard sigmoid stay as they are.

    Source: TF-slim's ``mobilenet_v3``.

    Examples:
        >>> with_slim_gates([InvertedResidual(3, 1, 16, 6, squeeze=1 / 4)])[0].gate
        'slim_hard_sigmoid'
    """
    return tuple(
        d._replace(gate=SLIM_GATE) if isinstance(d, InvertedResidual) and d.gate == "hard_sigmoid" else d
        for d in normalize(conv_defs)
    )


def numbered_places(conv_defs: ConvDefs) -> Sequence[Place]:
    """Return the names of TF-slim's ``mobilenet_v1``, by the place of the definition.

    Args:
        conv_defs: normalized definitions.

    Examples:
        >>> numbered_places((Conv(3, 2, 32), Conv(3, 2, 32)))[1]
        Place(scope='Conv2d_1', end_point='Conv2d_1')
    """
    return [Place(f"Conv2d_{i}", f"Conv2d_{i}") for i in range(len(conv_defs))]


SLIM_SCOPES: dict[type, str] = {
    Conv: "Conv",
    Dense: "Conv",
    DepthSepConv: "separable_conv",
    GlobalPool: "AvgPool2D",
    InvertedResidual: "expanded_conv",
    FusedInvertedResidual: "expanded_conv",
    UniversalInvertedBottleneck: "universal_inverted_bottleneck",
}
"""The name of each kind in TF-slim's variable scopes; slim has no name for MobileNet v4's block."""


def slim_places(conv_defs: ConvDefs) -> Sequence[Place]:
    """Return the names of TF-slim's ``mobilenet_v2`` and later: scopes by kind, end points by the place, from 1.

    Args:
        conv_defs: normalized definitions.

    Examples:
        >>> slim_places((Conv(3, 2, 32), Conv(3, 2, 32)))
        [Place(scope='Conv', end_point='layer_1'), Place(scope='Conv_1', end_point='layer_2')]
    """
    kinds = [SLIM_SCOPES[type(d)] for d in conv_defs]
    earlier = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]
    return [
        Place(f"{kind}_{count}" if count else kind, f"layer_{i}")
        for i, (kind, count) in enumerate(zip(kinds, earlier, strict=True), 1)
    ]


def resolve(
    conv_defs: Iterable[ConvDef], channels: int | None = None, naming_rule: NamingRule = numbered_places
) -> tuple[LayerDef, ...]:
    """Return the primitive layers of a network's definitions, in the order of computation.

    Args:
        conv_defs: the definitions of a network, in order.
        channels: channels of the network's input; needed only if the first definition is a block with an expansion.
        naming_rule: gives each definition its names: `numbered_places` or `slim_places`.

    Raises:
        ValueError: if a definition has a size under 1, or needs `channels`.
        TypeError: if an entry is no definition.

    Examples:
        >>> [layer.name for layer in resolve([Conv(3, 2, 32), DepthSepConv(3, 1, 64)])]
        ['Conv2d_0', 'Conv2d_1_depthwise', 'Conv2d_1_pointwise']
    """
    return tuple(layer for layers in expanded(conv_defs, channels, naming_rule) for layer in layers)


def expanded(
    conv_defs: Iterable[ConvDef], channels: int | None, naming_rule: NamingRule
) -> Sequence[tuple[LayerDef, ...]]:
    """Return the primitive layers of each definition; arguments and errors are those of `resolve`."""
    conv_defs = normalize(conv_defs)
    result: list[tuple[LayerDef, ...]] = []
    for definition, place in zip(conv_defs, naming_rule(conv_defs), strict=True):
        result.append(tuple(definition.expand(Site(*place, result[-1][-1].name if result else INPUT, channels))))
        channels = definition.depth or channels
    return result
