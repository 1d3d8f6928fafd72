"""What to use in place of an operator that a target does not have, a row for each case."""

from typing import NamedTuple

from tfsep.tflite._targets._conditions import (
    always,
    constants_at,
    in_real_numbers,
    left_in_floats,
    mixed,
    over_image,
)
from tfsep.tflite._targets._node import Condition, Node
from tfsep.tflite._targets._texts import IN_FLOATS, INDICES, INT8, POOLING


class Alternative(NamedTuple):
    """What to use in place of an operator.

    Attributes:
        operators: names; empty for every operator.
        fits: true of the operators that this replaces.
        change: what to change in the network, or how it is exported.
    """

    operators: tuple[str, ...]
    fits: Condition
    change: str


ALTERNATIVES = (
    Alternative(
        ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
        always,
        "convert the model again: a dilated convolution becomes one operator",
    ),
    Alternative(("GATHER",), constants_at(0), "look the rows of this table up in front of the model, or on the CPU"),
    Alternative(("GATHER",), always, "use fixed indices; where this is a deformable convolution, one of fixed taps"),
    Alternative(("MEAN",), over_image, POOLING),
    Alternative(("MEAN",), always, "use a batch normalization, where this is part of another one; else another layer"),
    Alternative(("WHILE",), always, "use unroll=True in a recurrent layer of few steps, or run that part elsewhere"),
    Alternative(
        ("TFLite_Detection_PostProcess",),
        always,
        "nothing, where the last operator may run on the CPU; else decode the boxes of the file without it on the host",
    ),
    Alternative(("DEQUANTIZE",), mixed, INT8),
    Alternative((), left_in_floats, IN_FLOATS),
    Alternative((), in_real_numbers, "use another layer, or run that part elsewhere"),
    Alternative((), always, INDICES),
)
"""In order of precedence: the first that fits is reported."""


def alternative_to(node: Node) -> str:
    """Return what to use in place of an operator that a target does not have."""
    name = node.row.name
    return next(row.change for row in ALTERNATIVES if name in (row.operators or (name,)) and row.fits(node))
