"""Networks as data: one named tuple a layer, and pure functions from definitions to definitions.

A definition says what a layer is; nothing here builds one, and nothing here knows TensorFlow. The same expanded
definitions (`resolve`) feed the model builder and the cost table, so the two cannot disagree.

Source: A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv 1704.04861), Table 1; names and rules of TF-slim's ``mobilenet_v1``.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tfsep._utils.arguments import integer, positive_int, positive_number
from tfsep.geometry import Padding, Pair, fixed_padding, same_pads
from tfsep.geometry._sizes import pair


class Conv(NamedTuple):
    """A full convolution, then batch normalization and the activation.

    Attributes:
        kernel: rows and columns, or one int.
        stride: step of the window, an int or a pair.
        depth: output channels, before the width multiplier.
        rate: dilation, an int or a pair.
    """

    kernel: int | Pair | list[int]
    stride: int | Pair
    depth: int
    rate: int | Pair = 1


class DepthSepConv(NamedTuple):
    """A depthwise convolution and a 1×1 one, each with batch normalization and the activation.

    Attributes: as `Conv`; kernel, stride and rate are the depthwise part's.
    """

    kernel: int | Pair | list[int]
    stride: int | Pair
    depth: int
    rate: int | Pair = 1


ConvDef = Conv | DepthSepConv
ConvDefs = tuple[ConvDef, ...]

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

NETWORKS: dict[str, ConvDefs] = {"mobilenet_v1": MOBILENETV1_CONV_DEFS, "fashion_mnist": FASHION_CONV_DEFS}
"""The definitions that have a name, as the command line takes it."""

SLIM_OUTPUT_STRIDES = (8, 16, 32)


class LayerDef(NamedTuple):
    """One layer of the expanded network, with nothing left to decide.

    Attributes:
        name: slim's end point, ``Conv2d_0`` or ``Conv2d_1_depthwise``.
        kind: ``"conv2d"`` or ``"depthwise_conv2d"``.
        depth: output channels; None for a depthwise layer, which keeps its input's.
    """

    name: str
    kind: str
    kernel: Pair
    stride: Pair
    rate: Pair
    depth: int | None


def normalize(conv_defs: Iterable[ConvDef]) -> ConvDefs:
    """Return the definitions with pairs for kernels, strides and rates.

    Raises:
        ValueError: if there is none, or one has a size under 1; the message names the entry.
        TypeError: if an entry is neither `Conv` nor `DepthSepConv`.

    Examples:
        >>> normalize([Conv(3, 2, 32)])
        (Conv(kernel=(3, 3), stride=(2, 2), depth=32, rate=(1, 1)),)
    """
    result: list[ConvDef] = []
    for i, d in enumerate(conv_defs):
        if not isinstance(d, Conv | DepthSepConv):
            raise TypeError(f"conv_defs[{i}]: expected a Conv or a DepthSepConv, got {d!r}")
        where = f"conv_defs[{i}]"
        result.append(
            type(d)(
                pair(d.kernel, f"{where}.kernel"),
                pair(d.stride, f"{where}.stride"),
                positive_int(d.depth, f"{where}.depth"),
                pair(d.rate, f"{where}.rate"),
            )
        )
    if not result:
        raise ValueError("conv_defs: expected at least one definition, got none")
    return tuple(result)


def scale_width(conv_defs: Iterable[ConvDef], depth_multiplier: float, min_depth: int = 8) -> ConvDefs:
    """Return the definitions with every depth multiplied: ``max(int(depth * depth_multiplier), min_depth)``.

    The product is truncated, as in slim, and not rounded to a multiple of 8, as in later MobileNets.

    Raises:
        ValueError: if `depth_multiplier` is not greater than zero or makes a depth that no int64 holds, or `min_depth`
            is not a positive int.

    Examples:
        >>> [d.depth for d in scale_width([Conv(3, 2, 32), DepthSepConv(3, 1, 64)], 0.25)]
        [8, 16]
    """
    multiplier = positive_number(depth_multiplier, "depth_multiplier")
    least = positive_int(min_depth, "min_depth")
    conv_defs = normalize(conv_defs)
    if max(d.depth for d in conv_defs) * multiplier >= 2.0**63:
        raise ValueError(f"depth_multiplier: expected one that leaves depths under 2^63, got {depth_multiplier!r}")
    return tuple(d._replace(depth=max(int(d.depth * multiplier), least)) for d in conv_defs)


def with_output_stride(conv_defs: Iterable[ConvDef], output_stride: int | None) -> ConvDefs:
    """Return the definitions with the network's total stride held at `output_stride`.

    Once the product of the strides has reached it, a later layer's stride becomes 1, and the rates of the layers behind
    grow by that stride, so that each still sees what it saw (L.-C. Chen et al., arXiv 1412.7062, "hole" algorithm).

    Args:
        output_stride: 8, 16 or 32 as in slim, or any product of strides that the definitions reach; None leaves them.

    Raises:
        ValueError: for any other number, or for unequal strides, of which there is no one product.

    Examples:
        >>> [(d.stride, d.rate) for d in with_output_stride(MOBILENETV1_CONV_DEFS, 16)[11:]]
        [((1, 1), (1, 1)), ((1, 1), (1, 1)), ((1, 1), (2, 2))]
    """
    conv_defs = normalize(conv_defs)
    if output_stride is None:
        return conv_defs
    reached = [1]
    for i, d in enumerate(conv_defs):
        down, across = pair(d.stride, "stride")
        if down != across:
            raise ValueError(f"conv_defs[{i}].stride: expected equal strides with an output_stride, got {d.stride}")
        reached.append(reached[-1] * down)
    wanted = integer(output_stride)
    beyond = wanted is not None and wanted in SLIM_OUTPUT_STRIDES and wanted > reached[-1]
    if wanted not in reached and not beyond:
        allowed = sorted({*reached, *(s for s in SLIM_OUTPUT_STRIDES if s > reached[-1])})
        raise ValueError(
            f"output_stride: expected None or one of {', '.join(map(str, allowed))}, got {output_stride!r}"
        )

    result: list[ConvDef] = []
    current, rate = 1, 1
    for d in conv_defs:
        stride = pair(d.stride, "stride")[0]
        if current == wanted:
            own = pair(d.rate, "rate")
            result.append(d._replace(stride=(1, 1), rate=(own[0] * rate, own[1] * rate)))
            rate *= stride
        else:
            result.append(d)
            current *= stride
    return tuple(result)


def without_depthwise(conv_defs: Iterable[ConvDef]) -> ConvDefs:
    """Return the definitions with a full convolution for every separable one: the paper's "Conv MobileNet" (Table 4).

    Examples:
        >>> without_depthwise([DepthSepConv(3, 1, 64)])
        (Conv(kernel=(3, 3), stride=(1, 1), depth=64, rate=(1, 1)),)
    """
    return tuple(Conv(*d) for d in normalize(conv_defs))


def resolve(conv_defs: Iterable[ConvDef]) -> tuple[LayerDef, ...]:
    """Return one record a layer under slim's end-point names, each separable definition as its two layers.

    Examples:
        >>> [layer.name for layer in resolve([Conv(3, 2, 32), DepthSepConv(3, 1, 64)])]
        ['Conv2d_0', 'Conv2d_1_depthwise', 'Conv2d_1_pointwise']
    """
    layers: list[LayerDef] = []
    for i, d in enumerate(normalize(conv_defs)):
        name = f"Conv2d_{i}"
        window = pair(d.kernel, "kernel"), pair(d.stride, "stride"), pair(d.rate, "rate")
        if isinstance(d, Conv):
            layers.append(LayerDef(name, "conv2d", *window, d.depth))
        else:
            layers.append(LayerDef(f"{name}_depthwise", "depthwise_conv2d", *window, None))
            layers.append(LayerDef(f"{name}_pointwise", "conv2d", (1, 1), (1, 1), (1, 1), d.depth))
    return tuple(layers)


def _keras_padding(layer: LayerDef) -> Padding:
    """What SAME puts around an image whose sides are multiples of the stride, around an image of any size."""
    if layer.kind == "conv2d" or layer.stride == (1, 1):
        return "same"
    rows, columns = (
        same_pads(s * ((k - 1) * r + 1), k, s, r)
        for k, s, r in zip(layer.kernel, layer.stride, layer.rate, strict=True)
    )
    return rows, columns


PADDING_RULES: dict[str, Callable[[LayerDef], Padding]] = {
    "same": lambda layer: "same",  # noqa: ARG005
    "keras": _keras_padding,
    "explicit": lambda layer: fixed_padding(layer.kernel, layer.rate),
}
"""How a network pads, by name: ``"same"`` as TensorFlow and slim do, ``"keras"`` as ``keras.applications.MobileNet``,
whose strided depthwise layers pad at the end only, and ``"explicit"`` as PyTorch and slim's ``use_explicit_padding``,
by the kernel alone, on both sides. On an image whose sides are multiples of the network's stride the first two agree.
"""


def padding_of(layer: LayerDef, rule: str) -> Padding:
    """Return the padding of a layer by a rule's name, see `PADDING_RULES`.

    Raises:
        ValueError: for a name that is none.

    Examples:
        >>> [padding_of(resolve([DepthSepConv(3, 2, 64)])[0], rule) for rule in ("same", "keras", "explicit")]
        ['same', ((0, 1), (0, 1)), ((1, 1), (1, 1))]
    """
    if not isinstance(rule, str) or rule not in PADDING_RULES:
        raise ValueError(f"padding: expected one of {', '.join(PADDING_RULES)}, got {rule!r}")
    return PADDING_RULES[rule](layer)
