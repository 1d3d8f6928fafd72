"""The definitions of MobileNets v1, v2 and v3, and of MobileNet-EdgeTPU, one record a layer or block."""

from tfsep.defs._blocks import ConvDef, ConvDefs, FusedInvertedResidual, InvertedResidual
from tfsep.defs._definitions import Conv, Dense, DepthSepConv, GlobalPool

__all__ = [
    "MOBILENETV1_CONV_DEFS",
    "MOBILENETV2_CONV_DEFS",
    "MOBILENETV3_LARGE_CONV_DEFS",
    "MOBILENETV3_LARGE_DETECTION_CONV_DEFS",
    "MOBILENETV3_LARGE_MINIMALISTIC_CONV_DEFS",
    "MOBILENETV3_SMALL_CONV_DEFS",
    "MOBILENETV3_SMALL_DETECTION_CONV_DEFS",
    "MOBILENETV3_SMALL_MINIMALISTIC_CONV_DEFS",
    "MOBILENET_EDGETPU_CONV_DEFS",
]


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

MOBILENETV3_LARGE_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 16, activation="hard_swish"),
    InvertedResidual(3, 1, 16, 1),
    InvertedResidual(3, 2, 24, 4),
    InvertedResidual(3, 1, 24, 3),
    InvertedResidual(5, 2, 40, 3, squeeze=1 / 4),
    InvertedResidual(5, 1, 40, 3, squeeze=1 / 4),
    InvertedResidual(5, 1, 40, 3, squeeze=1 / 4),
    InvertedResidual(3, 2, 80, 6, activation="hard_swish"),
    InvertedResidual(3, 1, 80, 2.5, activation="hard_swish"),
    InvertedResidual(3, 1, 80, 184 / 80, activation="hard_swish"),
    InvertedResidual(3, 1, 80, 184 / 80, activation="hard_swish"),
    InvertedResidual(3, 1, 112, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(3, 1, 112, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 2, 160, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 160, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 160, 6, squeeze=1 / 4, activation="hard_swish"),
    Conv(1, 1, 960, activation="hard_swish"),
    GlobalPool(),
    Dense(1280, activation="hard_swish"),
)
"""MobileNet v3 large (A. Howard et al., "Searching for MobileNetV3", arXiv 1905.02244, Table 1)."""

MOBILENETV3_SMALL_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 16, activation="hard_swish"),
    InvertedResidual(3, 2, 16, 1, squeeze=1 / 4),
    InvertedResidual(3, 2, 24, 72 / 16),
    InvertedResidual(3, 1, 24, 88 / 24),
    InvertedResidual(5, 2, 40, 4, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 40, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 40, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 48, 3, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 48, 3, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 2, 96, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 96, 6, squeeze=1 / 4, activation="hard_swish"),
    InvertedResidual(5, 1, 96, 6, squeeze=1 / 4, activation="hard_swish"),
    Conv(1, 1, 576, activation="hard_swish"),
    GlobalPool(),
    Dense(1024, activation="hard_swish"),
)
"""MobileNet v3 small (the same paper's Table 2)."""

MOBILENETV3_LARGE_MINIMALISTIC_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 16),
    InvertedResidual(3, 1, 16, 1),
    InvertedResidual(3, 2, 24, 4),
    InvertedResidual(3, 1, 24, 3),
    InvertedResidual(3, 2, 40, 3),
    InvertedResidual(3, 1, 40, 3),
    InvertedResidual(3, 1, 40, 3),
    InvertedResidual(3, 2, 80, 6),
    InvertedResidual(3, 1, 80, 2.5),
    InvertedResidual(3, 1, 80, 184 / 80),
    InvertedResidual(3, 1, 80, 184 / 80),
    InvertedResidual(3, 1, 112, 6),
    InvertedResidual(3, 1, 112, 6),
    InvertedResidual(3, 2, 160, 6),
    InvertedResidual(3, 1, 160, 6),
    InvertedResidual(3, 1, 160, 6),
    Conv(1, 1, 960),
    GlobalPool(),
    Dense(1280),
)
"""MobileNet v3 large without squeeze-and-excite, hard swish and 5×5 kernels (TF-slim's ``V3_LARGE_MINIMALISTIC``)."""

MOBILENETV3_SMALL_MINIMALISTIC_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 16),
    InvertedResidual(3, 2, 16, 1),
    InvertedResidual(3, 2, 24, 72 / 16),
    InvertedResidual(3, 1, 24, 88 / 24),
    InvertedResidual(3, 2, 40, 4),
    InvertedResidual(3, 1, 40, 6),
    InvertedResidual(3, 1, 40, 6),
    InvertedResidual(3, 1, 48, 3),
    InvertedResidual(3, 1, 48, 3),
    InvertedResidual(3, 2, 96, 6),
    InvertedResidual(3, 1, 96, 6),
    InvertedResidual(3, 1, 96, 6),
    Conv(1, 1, 576),
    GlobalPool(),
    Dense(1024),
)
"""MobileNet v3 small likewise (TF-slim's ``V3_SMALL_MINIMALISTIC``)."""


def _halved(conv_defs: ConvDefs, first: int, last: int) -> ConvDefs:
    """Definitions of which those from `first` to `last` have half their depth."""

    def half(definition: ConvDef) -> ConvDef:
        assert definition.depth is not None
        return definition._replace(depth=round(definition.depth / 2))

    return (*conv_defs[:first], *(half(d) for d in conv_defs[first : last + 1]), *conv_defs[last + 1 :])


MOBILENETV3_LARGE_DETECTION_CONV_DEFS = _halved(MOBILENETV3_LARGE_CONV_DEFS, 13, 16)
"""MobileNet v3 large for detection: half the channels from the last stride on (the paper's section 6.3)."""

MOBILENETV3_SMALL_DETECTION_CONV_DEFS = _halved(MOBILENETV3_SMALL_CONV_DEFS, 9, 12)
"""MobileNet v3 small for detection, likewise."""

MOBILENET_EDGETPU_CONV_DEFS: ConvDefs = (
    Conv(3, 2, 32),
    FusedInvertedResidual(3, 1, 16, 1),
    FusedInvertedResidual(3, 2, 32, 8),
    FusedInvertedResidual(3, 1, 32, 4),
    FusedInvertedResidual(3, 1, 32, 4),
    FusedInvertedResidual(3, 1, 32, 4),
    FusedInvertedResidual(3, 2, 48, 8),
    FusedInvertedResidual(3, 1, 48, 4),
    FusedInvertedResidual(3, 1, 48, 4),
    FusedInvertedResidual(3, 1, 48, 4),
    InvertedResidual(3, 2, 96, 8),
    InvertedResidual(3, 1, 96, 4),
    InvertedResidual(3, 1, 96, 4),
    InvertedResidual(3, 1, 96, 4),
    InvertedResidual(3, 1, 96, 8, residual=False),
    InvertedResidual(3, 1, 96, 4),
    InvertedResidual(3, 1, 96, 4),
    InvertedResidual(3, 1, 96, 4),
    InvertedResidual(5, 2, 160, 8),
    InvertedResidual(5, 1, 160, 4),
    InvertedResidual(5, 1, 160, 4),
    InvertedResidual(5, 1, 160, 4),
    InvertedResidual(3, 1, 192, 8),
    Conv(1, 1, 1280),
)
"""MobileNet-EdgeTPU: fused blocks in front (TF-slim's ``V3_EDGETPU``)."""
