"""The networks of `tfsep.defs`, narrow and on small images, and heads: what counts is their operations."""

from collections.abc import Callable
from typing import Any

import keras

from tfsep import boxes, models
from tfsep.defs import NETWORKS
from zoo.blocks import Network


def narrow(name: str) -> Callable[[], keras.Model]:
    """A network of a tenth of its width, drawn so that signals do not vanish."""
    return lambda: models.from_definitions(NETWORKS[name], (32, 32, 3), 10, 0.1, arg_scope=SCOPE)


def headed(head: Callable[..., keras.Model], strides: tuple[int, ...], **options: Any) -> Callable[[], keras.Model]:
    """A head on MobileNet v2."""

    def build() -> keras.Model:
        network = NETWORKS["mobilenet_v2"]
        backbone = models.from_definitions(network, (64, 64, 3), alpha=0.1, features=strides, arg_scope=SCOPE)
        return head(backbone, 5, arg_scope=SCOPE, **options)

    return build


SCOPE = models.ArgScope(stddev=None)
ROWS = tuple(
    Network(f"family: {network.title}", narrow(name))
    for name, network in NETWORKS.items()
    if network.family.scope != "MobilenetV1"
)
HEADS = (
    Network("family: DeepLab v3+", headed(models.deeplab_v3, (4, 16), rates=(1, 2), decoder=True, filters=16)),
    Network("family: LR-ASPP", headed(models.lraspp, (8, 16), filters=16)),
    Network("family: LR-ASPP, arg-max", headed(models.lraspp, (8, 16), filters=16, argmax=True)),
    Network(
        "family: SSDLite",
        headed(models.ssdlite, (16, 32), anchors=boxes.multibox_anchors([4, 2, 1]), extra_filters=[16]),
    ),
)
