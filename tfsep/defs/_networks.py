"""The networks that have a name.

A network with a key in `NETWORKS` is counted by ``tfsep cost``, built by `tfsep.models.from_definitions`, trained by
``tfsep train --network`` and described on its card. A new network is its definitions and a row there; a network whose
names or widths follow other rules needs a `Family` first.
"""

from tfsep.defs._definitions import DepthSepConv
from tfsep.defs._efficientnet_lite import (
    EFFICIENTNET_LITE0_CONV_DEFS,
    EFFICIENTNET_LITE1_CONV_DEFS,
    EFFICIENTNET_LITE2_CONV_DEFS,
    EFFICIENTNET_LITE3_CONV_DEFS,
    EFFICIENTNET_LITE4_CONV_DEFS,
)
from tfsep.defs._family import (
    EFFICIENTNET_LITE,
    MOBILENET_EDGETPU,
    MOBILENET_V1,
    MOBILENET_V2,
    MOBILENET_V3,
    MOBILENET_V4,
    Network,
)
from tfsep.defs._mobilenet_v4 import (
    MOBILENETV4_CONV_LARGE_CONV_DEFS,
    MOBILENETV4_CONV_MEDIUM_CONV_DEFS,
    MOBILENETV4_CONV_SMALL_CONV_DEFS,
)
from tfsep.defs._mobilenets import (
    MOBILENET_EDGETPU_CONV_DEFS,
    MOBILENETV1_CONV_DEFS,
    MOBILENETV2_CONV_DEFS,
    MOBILENETV3_LARGE_CONV_DEFS,
    MOBILENETV3_LARGE_MINIMALISTIC_CONV_DEFS,
    MOBILENETV3_SMALL_CONV_DEFS,
    MOBILENETV3_SMALL_MINIMALISTIC_CONV_DEFS,
    separable_body,
)

__all__ = ["FASHION_CONV_DEFS", "NETWORKS", "SCENE_CONV_DEFS"]


FASHION_CONV_DEFS = separable_body(
    (1, 32), (1, 64), (2, 160), (1, 160), (1, 160), (2, 256), (1, 256), (1, 256), (1, 320)
)
"""A MobileNet for images of 28×28: 64 times fewer pixels than 224×224 want three strides fewer."""

SCENE_CONV_DEFS = (*FASHION_CONV_DEFS, DepthSepConv((3, 3), 2, 256))
"""The same with one layer more, of stride 8, for heads on scenes of such images; a classifier's weights fit it."""

NETWORKS: dict[str, Network] = {
    "mobilenet_v1": Network(MOBILENETV1_CONV_DEFS, MOBILENET_V1, "MobileNet v1", (224, 224, 3), 70.9),
    "mobilenet_v2": Network(MOBILENETV2_CONV_DEFS, MOBILENET_V2, "MobileNet v2", (224, 224, 3), 71.8),
    "mobilenet_v3_large": Network(MOBILENETV3_LARGE_CONV_DEFS, MOBILENET_V3, "MobileNet v3 large", (224, 224, 3), 75.2),
    "mobilenet_v3_small": Network(MOBILENETV3_SMALL_CONV_DEFS, MOBILENET_V3, "MobileNet v3 small", (224, 224, 3), 67.5),
    "mobilenet_v3_large_minimalistic": Network(
        MOBILENETV3_LARGE_MINIMALISTIC_CONV_DEFS, MOBILENET_V3, "MobileNet v3 large, minimalistic", (224, 224, 3), 72.3
    ),
    "mobilenet_v3_small_minimalistic": Network(
        MOBILENETV3_SMALL_MINIMALISTIC_CONV_DEFS, MOBILENET_V3, "MobileNet v3 small, minimalistic", (224, 224, 3), 61.9
    ),
    "mobilenet_edgetpu": Network(
        MOBILENET_EDGETPU_CONV_DEFS, MOBILENET_EDGETPU, "MobileNet-EdgeTPU", (224, 224, 3), 75.6
    ),
    "mobilenet_v4_conv_small": Network(
        MOBILENETV4_CONV_SMALL_CONV_DEFS, MOBILENET_V4, "MobileNet v4 Conv-S", (224, 224, 3), 73.8
    ),
    "mobilenet_v4_conv_medium": Network(
        MOBILENETV4_CONV_MEDIUM_CONV_DEFS, MOBILENET_V4, "MobileNet v4 Conv-M", (256, 256, 3), 79.9
    ),
    "mobilenet_v4_conv_large": Network(
        MOBILENETV4_CONV_LARGE_CONV_DEFS, MOBILENET_V4, "MobileNet v4 Conv-L", (384, 384, 3), 82.9
    ),
    "efficientnet_lite0": Network(
        EFFICIENTNET_LITE0_CONV_DEFS, EFFICIENTNET_LITE, "EfficientNet-Lite0", (224, 224, 3), 75.1
    ),
    "efficientnet_lite1": Network(
        EFFICIENTNET_LITE1_CONV_DEFS, EFFICIENTNET_LITE, "EfficientNet-Lite1", (240, 240, 3), 76.7
    ),
    "efficientnet_lite2": Network(
        EFFICIENTNET_LITE2_CONV_DEFS, EFFICIENTNET_LITE, "EfficientNet-Lite2", (260, 260, 3), 77.6
    ),
    "efficientnet_lite3": Network(
        EFFICIENTNET_LITE3_CONV_DEFS, EFFICIENTNET_LITE, "EfficientNet-Lite3", (280, 280, 3), 79.8
    ),
    "efficientnet_lite4": Network(
        EFFICIENTNET_LITE4_CONV_DEFS, EFFICIENTNET_LITE, "EfficientNet-Lite4", (300, 300, 3), 81.5
    ),
    "fashion_mnist": Network(FASHION_CONV_DEFS, MOBILENET_V1, "MobileNet v1 for images of 28×28", (28, 28, 1)),
    "fashion_scenes": Network(SCENE_CONV_DEFS, MOBILENET_V1, "MobileNet v1 for scenes of 96×96", (96, 96, 1)),
}
"""The networks that have a name, as `tfsep.train.TrainConfig` and the command line take it.

Their accuracies: TF-slim's READMEs, the EfficientNet-Lite post and arXiv 2404.10518.
"""
