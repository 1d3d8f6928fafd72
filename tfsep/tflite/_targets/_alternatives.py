"""What to use in place of an operator that a target has not, a row each."""

from typing import NamedTuple

from tfsep.tflite._targets._conditions import (
    always,
    constants_at,
    in_real_numbers,
    left_in_floats,
    mixed,
    never,
    over_image,
)
from tfsep.tflite._targets._node import Condition, Node
from tfsep.tflite._targets._rules import IN_FLOATS, INDICES, INT8, POOLING, TARGETS, Rule


class Instead(NamedTuple):
    """What to use in place of an operator that a target has not.

    Attributes:
        operators: names, empty for every operator.
        fits: true of an operator that this is said of.
        change: what to change in the network, or how it is exported.
    """

    operators: tuple[str, ...]
    fits: Condition
    change: str


INSTEAD = (
    Instead(
        ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
        always,
        "convert the model again: a dilated convolution becomes one operator",
    ),
    Instead(("GATHER",), constants_at(0), "look the rows of this table up in front of the model, or on the CPU"),
    Instead(("GATHER",), always, "use fixed indices; where this is a deformable convolution, one of fixed taps"),
    Instead(("MEAN",), over_image, POOLING),
    Instead(("MEAN",), always, "use a batch normalization, where this is part of another one; else another layer"),
    Instead(("WHILE",), always, "use unroll=True in a recurrent layer of few steps, or run that part elsewhere"),
    Instead(("DEQUANTIZE",), mixed, INT8),
    Instead((), left_in_floats, IN_FLOATS),
    Instead((), in_real_numbers, "use another layer, or run that part elsewhere"),
    Instead((), always, INDICES),
)
"""The first that fits is what is said."""


def absent(target: str, node: Node) -> Rule:
    """Return the rule that a target has no such operator."""
    name = node.row.name
    change = next(row.change for row in INSTEAD if name in (row.operators or (name,)) and row.fits(node))
    return Rule(target, (name,), never, "", change, TARGETS[target].source)
