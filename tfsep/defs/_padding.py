"""Padding rules: how a network pads, by name."""

from collections.abc import Callable

from tfsep.defs._layer_def import LayerDef
from tfsep.geometry import Padding, fixed_padding, same_pads

__all__ = ["PADDING_RULES"]


def _keras_padding(layer: LayerDef) -> Padding:
    """Return fixed pads for a strided depthwise layer: those of SAME on an image whose sides its stride divides."""
    if layer.op == "conv2d" or layer.stride == (1, 1):
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
"""From a layer to its padding, by the rule's name:

- ``"same"``: TensorFlow's and slim's.
- ``"keras"``: that of ``keras.applications``, whose strided depthwise layers pad at the end only. On an image whose
  sides are multiples of the network's stride it equals ``"same"``.
- ``"explicit"``: PyTorch's, and slim's with ``use_explicit_padding``: on both sides, by the kernel alone.
"""


def padding_of(layer: LayerDef, rule: str) -> Padding:
    """Return the padding of a layer.

    Args:
        layer: a convolution of `resolve`.
        rule: a key of `PADDING_RULES`.

    Raises:
        ValueError: for a name that is none.

    Examples:
        >>> from tfsep.defs import DepthSepConv, resolve
        >>> [padding_of(resolve([DepthSepConv(3, 2, 64)])[0], rule) for rule in ("same", "keras", "explicit")]
        ['same', ((0, 1), (0, 1)), ((1, 1), (1, 1))]
    """
    if not isinstance(rule, str) or rule not in PADDING_RULES:
        raise ValueError(f"padding: expected one of {', '.join(PADDING_RULES)}, got {rule!r}")
    return PADDING_RULES[rule](layer)
