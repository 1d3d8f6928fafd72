"""The networks that have a name.

A network with a key in `NETWORKS` is counted by ``tfsep cost``, built by `tfsep.models.from_definitions`, trained by
``tfsep train --network`` and described on its card. A new network is its definitions and a row there; a network whose
names or widths follow other rules needs a `Family` first.
"""

from tfsep.defs._family import MOBILENET_V1, MOBILENET_V2, Network
from tfsep.defs._mobilenets import MOBILENETV1_CONV_DEFS, MOBILENETV2_CONV_DEFS, separable_body

__all__ = ["FASHION_CONV_DEFS", "NETWORKS"]


FASHION_CONV_DEFS = separable_body(
    (1, 32), (1, 64), (2, 160), (1, 160), (1, 160), (2, 256), (1, 256), (1, 256), (1, 320)
)
"""A MobileNet for images of 28×28: 64 times fewer pixels than 224×224 want three strides fewer."""

NETWORKS: dict[str, Network] = {
    "mobilenet_v1": Network(MOBILENETV1_CONV_DEFS, MOBILENET_V1, "MobileNet v1", (224, 224, 3)),
    "mobilenet_v2": Network(MOBILENETV2_CONV_DEFS, MOBILENET_V2, "MobileNet v2", (224, 224, 3)),
    "fashion_mnist": Network(FASHION_CONV_DEFS, MOBILENET_V1, "MobileNet v1 for images of 28×28", (28, 28, 1)),
}
"""The networks that have a name, as `tfsep.train.TrainConfig` and the command line take it."""
