"""The definitions of MobileNet v4's convolutional networks, one record a layer or block.

Source: D. Qin et al., "MobileNetV4: Universal Models for the Mobile Ecosystem" (arXiv 2404.10518), appendix.
"""

from tfsep.defs._blocks import ConvDefs, FusedInvertedResidual, UniversalInvertedBottleneck
from tfsep.defs._definitions import Conv, Dense, GlobalPool

__all__ = ["MOBILENETV4_CONV_LARGE_CONV_DEFS", "MOBILENETV4_CONV_MEDIUM_CONV_DEFS", "MOBILENETV4_CONV_SMALL_CONV_DEFS"]

MOBILENETV4_CONV_SMALL_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 32),
    Conv(3, 2, 32),
    Conv(1, 1, 32),
    Conv(3, 2, 96),
    Conv(1, 1, 64),
    UniversalInvertedBottleneck(5, 5, 2, 96, 3),
    UniversalInvertedBottleneck(None, 3, 1, 96, 2),
    UniversalInvertedBottleneck(None, 3, 1, 96, 2),
    UniversalInvertedBottleneck(None, 3, 1, 96, 2),
    UniversalInvertedBottleneck(None, 3, 1, 96, 2),
    UniversalInvertedBottleneck(3, None, 1, 96, 4),
    UniversalInvertedBottleneck(3, 3, 2, 128, 6),
    UniversalInvertedBottleneck(5, 5, 1, 128, 4),
    UniversalInvertedBottleneck(None, 5, 1, 128, 4),
    UniversalInvertedBottleneck(None, 5, 1, 128, 3),
    UniversalInvertedBottleneck(None, 3, 1, 128, 4),
    UniversalInvertedBottleneck(None, 3, 1, 128, 4),
    Conv(1, 1, 960),
    GlobalPool(),
    Dense(1280, normalization=True),
)
"""MobileNet v4 Conv-S."""

MOBILENETV4_CONV_MEDIUM_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 32),
    FusedInvertedResidual(3, 2, 48, 4),
    UniversalInvertedBottleneck(3, 5, 2, 80, 4),
    UniversalInvertedBottleneck(3, 3, 1, 80, 2),
    UniversalInvertedBottleneck(3, 5, 2, 160, 6),
    UniversalInvertedBottleneck(3, 3, 1, 160, 4),
    UniversalInvertedBottleneck(3, 3, 1, 160, 4),
    UniversalInvertedBottleneck(3, 5, 1, 160, 4),
    UniversalInvertedBottleneck(3, 3, 1, 160, 4),
    UniversalInvertedBottleneck(3, None, 1, 160, 4),
    UniversalInvertedBottleneck(None, None, 1, 160, 2),
    UniversalInvertedBottleneck(3, None, 1, 160, 4),
    UniversalInvertedBottleneck(5, 5, 2, 256, 6),
    UniversalInvertedBottleneck(5, 5, 1, 256, 4),
    UniversalInvertedBottleneck(3, 5, 1, 256, 4),
    UniversalInvertedBottleneck(3, 5, 1, 256, 4),
    UniversalInvertedBottleneck(None, None, 1, 256, 4),
    UniversalInvertedBottleneck(3, None, 1, 256, 4),
    UniversalInvertedBottleneck(3, 5, 1, 256, 2),
    UniversalInvertedBottleneck(5, 5, 1, 256, 4),
    UniversalInvertedBottleneck(None, None, 1, 256, 4),
    UniversalInvertedBottleneck(None, None, 1, 256, 4),
    UniversalInvertedBottleneck(5, None, 1, 256, 2),
    Conv(1, 1, 960),
    GlobalPool(),
    Dense(1280, normalization=True),
)
"""MobileNet v4 Conv-M."""

MOBILENETV4_CONV_LARGE_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 24),
    FusedInvertedResidual(3, 2, 48, 4),
    UniversalInvertedBottleneck(3, 5, 2, 96, 4),
    UniversalInvertedBottleneck(3, 3, 1, 96, 4),
    UniversalInvertedBottleneck(3, 5, 2, 192, 4),
    UniversalInvertedBottleneck(3, 3, 1, 192, 4),
    UniversalInvertedBottleneck(3, 3, 1, 192, 4),
    UniversalInvertedBottleneck(3, 3, 1, 192, 4),
    UniversalInvertedBottleneck(3, 5, 1, 192, 4),
    UniversalInvertedBottleneck(5, 3, 1, 192, 4),
    UniversalInvertedBottleneck(5, 3, 1, 192, 4),
    UniversalInvertedBottleneck(5, 3, 1, 192, 4),
    UniversalInvertedBottleneck(5, 3, 1, 192, 4),
    UniversalInvertedBottleneck(5, 3, 1, 192, 4),
    UniversalInvertedBottleneck(3, None, 1, 192, 4),
    UniversalInvertedBottleneck(5, 5, 2, 512, 4),
    UniversalInvertedBottleneck(5, 5, 1, 512, 4),
    UniversalInvertedBottleneck(5, 5, 1, 512, 4),
    UniversalInvertedBottleneck(5, 5, 1, 512, 4),
    UniversalInvertedBottleneck(5, None, 1, 512, 4),
    UniversalInvertedBottleneck(5, 3, 1, 512, 4),
    UniversalInvertedBottleneck(5, None, 1, 512, 4),
    UniversalInvertedBottleneck(5, None, 1, 512, 4),
    UniversalInvertedBottleneck(5, 3, 1, 512, 4),
    UniversalInvertedBottleneck(5, 5, 1, 512, 4),
    UniversalInvertedBottleneck(5, None, 1, 512, 4),
    UniversalInvertedBottleneck(5, None, 1, 512, 4),
    UniversalInvertedBottleneck(5, None, 1, 512, 4),
    Conv(1, 1, 960),
    GlobalPool(),
    Dense(1280, normalization=True),
)
"""MobileNet v4 Conv-L."""
