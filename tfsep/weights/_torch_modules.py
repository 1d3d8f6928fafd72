"""The order in which PyTorch networks compute, from the names of their modules."""

import re
from collections.abc import Iterable

FORWARD_ORDERS = (
    # timm: a network, then the blocks, in the order in which they are told apart. A depthwise separable block has the
    # names of an inverted residual but for conv_pwl, in another order.
    ("conv_stem", "bn1", "blocks", "conv_head", "bn2", "norm_head", "classifier"),
    ("conv_dw", "bn1", "se", "conv_pw", "bn2"),
    ("conv_pw", "bn1", "conv_dw", "bn2", "se", "conv_pwl", "bn3"),
    ("conv_exp", "bn1", "se", "conv_pwl", "bn2"),
    ("dw_start", "pw_exp", "dw_mid", "se", "pw_proj", "dw_end"),
    ("conv", "bn1"),
    ("conv", "bn"),
    ("conv_reduce", "conv_expand"),
    # torchvision, and plain sequential networks.
    ("model", "features", "head", "classifier", "fc"),
    ("fc1", "fc2"),
    # efficientnet_pytorch, of which others are made.
    ("_conv_stem", "_bn0", "_blocks", "_conv_head", "_bn1", "_fc"),
    ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2"),
)
"""Names of modules beside each other, in the order of the forward pass."""


def forward_order(modules: Iterable[str]) -> list[str]:
    """Return modules in the order of the forward pass: by numbers, and by the names in `FORWARD_ORDERS`.

    Args:
        modules: names with dots, such as ``"blocks.0.1.conv_dw"``.

    Raises:
        ValueError: if siblings have names that no order has all of.

    Examples:
        >>> forward_order(["bn1", "blocks.10.bn1", "blocks.10.conv_dw", "blocks.9.conv_dw", "conv_stem"])
        ['conv_stem', 'bn1', 'blocks.9.conv_dw', 'blocks.10.conv_dw', 'blocks.10.bn1']
        >>> forward_order(["0.conv_pwl", "0.conv_pw", "0.conv_dw"])
        ['0.conv_pw', '0.conv_dw', '0.conv_pwl']
    """
    paths = {module: tuple(module.split(".")) for module in modules}
    siblings: dict[tuple[str, ...], set[str]] = {}
    for path in paths.values():
        for depth, part in enumerate(path):
            siblings.setdefault(path[:depth], set()).add(part)
    places = {parent: _places(parts) for parent, parts in siblings.items()}
    return sorted(paths, key=lambda module: [places[paths[module][:i]][part] for i, part in enumerate(paths[module])])


def _places(parts: set[str]) -> dict[str, int]:
    """The place of each sibling; where no order is known for all of them, a single name has one all the same."""
    if all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
        return {part: int(part) for part in parts}
    for order in FORWARD_ORDERS:
        if parts <= set(order):
            return {part: order.index(part) for part in parts}
    if len(parts) > 1:
        known = {name for order in FORWARD_ORDERS for name in order}
        named = sorted({part for part in parts if not part.isdigit()} - known) or sorted(parts)
        raise ValueError(
            "source: expected modules with numbers or names that say their order, as those of timm, torchvision and "
            f"efficientnet_pytorch do, got {', '.join(named[:5])} beside others"
        )
    return dict.fromkeys(parts, 0)
