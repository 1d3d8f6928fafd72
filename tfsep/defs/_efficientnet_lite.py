"""The definitions of EfficientNet-Lite: one network of seven stages, wider and deeper by two coefficients.

Source: M. Tan and Q. V. Le, "EfficientNet" (arXiv 1905.11946), section 3.3; and R. Liu, "Higher accuracy on vision
models with EfficientNet-Lite" (TensorFlow Blog, 2020): no squeeze-and-excite, relu6, a stem and an end of one size.
"""

from math import ceil
from typing import NamedTuple

from tfsep.defs._blocks import ConvDefs, InvertedResidual
from tfsep.defs._definitions import Conv
from tfsep.defs._fields import make_divisible

__all__ = [
    "EFFICIENTNET_LITE0_CONV_DEFS",
    "EFFICIENTNET_LITE1_CONV_DEFS",
    "EFFICIENTNET_LITE2_CONV_DEFS",
    "EFFICIENTNET_LITE3_CONV_DEFS",
    "EFFICIENTNET_LITE4_CONV_DEFS",
]


class Stage(NamedTuple):
    """Blocks of one width.

    Attributes:
        repeats: number of blocks.
        first: the first of them; the others have a stride of 1.
    """

    repeats: int
    first: InvertedResidual


STAGES = (
    Stage(1, InvertedResidual(3, 1, 16, 1)),
    Stage(2, InvertedResidual(3, 2, 24, 6)),
    Stage(2, InvertedResidual(5, 2, 40, 6)),
    Stage(3, InvertedResidual(3, 2, 80, 6)),
    Stage(3, InvertedResidual(5, 1, 112, 6)),
    Stage(4, InvertedResidual(5, 2, 192, 6)),
    Stage(1, InvertedResidual(3, 1, 320, 6)),
)
"""EfficientNet-B0's stages. The first and the last one keep their number of blocks."""


def _scaled(width: float, depth: float) -> ConvDefs:
    """A network whose channels and numbers of blocks are multiplied by these."""
    blocks: list[InvertedResidual] = []
    for stage in STAGES:
        repeats = stage.repeats if stage in (STAGES[0], STAGES[-1]) else ceil(stage.repeats * depth)
        first = stage.first._replace(depth=make_divisible(stage.first.depth * width))
        blocks += [first, *[first._replace(stride=1)] * (repeats - 1)]
    return (Conv(3, 2, 32), *blocks, Conv(1, 1, 1280))


EFFICIENTNET_LITE0_CONV_DEFS = _scaled(1.0, 1.0)
"""EfficientNet-Lite0, for images of 224×224."""

EFFICIENTNET_LITE1_CONV_DEFS = _scaled(1.0, 1.1)
"""EfficientNet-Lite1, for images of 240×240."""

EFFICIENTNET_LITE2_CONV_DEFS = _scaled(1.1, 1.2)
"""EfficientNet-Lite2, for images of 260×260."""

EFFICIENTNET_LITE3_CONV_DEFS = _scaled(1.2, 1.4)
"""EfficientNet-Lite3, for images of 280×280."""

EFFICIENTNET_LITE4_CONV_DEFS = _scaled(1.4, 1.8)
"""EfficientNet-Lite4, for images of 300×300."""
