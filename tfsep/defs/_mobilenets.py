"""The definitions of MobileNets v1 and v2."""

from tfsep.defs._blocks import InvertedResidual
from tfsep.defs._definitions import Conv, DepthSepConv

__all__ = ["MOBILENETV1_CONV_DEFS", "MOBILENETV2_CONV_DEFS"]


def separable_body(first: tuple[int, int], *others: tuple[int, int]) -> tuple[Conv | DepthSepConv, ...]:
    """A 3×3 convolution, then depthwise separable ones with kernels of 3×3, each by its stride and output channels."""
    return (Conv((3, 3), *first), *(DepthSepConv((3, 3), *each) for each in others))


MOBILENETV1_CONV_DEFS = separable_body(
    *((2, 32), (1, 64), (2, 128), (1, 128), (2, 256), (1, 256)),
    *((2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512), (2, 1024), (1, 1024)),
)
"""The body of MobileNet v1 (A. G. Howard et al., "MobileNets", arXiv 1704.04861, Table 1)."""

MOBILENETV2_CONV_DEFS = (
    Conv(3, 2, 32),
    InvertedResidual(3, 1, 16, 1),
    InvertedResidual(3, 2, 24, 6),
    InvertedResidual(3, 1, 24, 6),
    InvertedResidual(3, 2, 32, 6),
    InvertedResidual(3, 1, 32, 6),
    InvertedResidual(3, 1, 32, 6),
    InvertedResidual(3, 2, 64, 6),
    InvertedResidual(3, 1, 64, 6),
    InvertedResidual(3, 1, 64, 6),
    InvertedResidual(3, 1, 64, 6),
    InvertedResidual(3, 1, 96, 6),
    InvertedResidual(3, 1, 96, 6),
    InvertedResidual(3, 1, 96, 6),
    InvertedResidual(3, 2, 160, 6),
    InvertedResidual(3, 1, 160, 6),
    InvertedResidual(3, 1, 160, 6),
    InvertedResidual(3, 1, 320, 6),
    Conv(1, 1, 1280),
)
"""The body of MobileNet v2 (M. Sandler et al., "MobileNetV2", arXiv 1801.04381, Table 2)."""
