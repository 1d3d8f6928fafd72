"""The networks of `tfsep.defs` behind MobileNet v1, narrow and on small images: what counts is their operations."""

from collections.abc import Callable

import keras

from tfsep import models
from tfsep.defs import NETWORKS
from zoo.blocks import Network


def narrow(name: str) -> Callable[[], keras.Model]:
    """A network of a tenth of its width, drawn so that signals do not vanish."""
    scope = models.ArgScope(stddev=None)
    return lambda: models.from_definitions(NETWORKS[name], (32, 32, 3), 10, 0.1, arg_scope=scope)


ROWS = tuple(
    Network(f"family: {network.title}", narrow(name))
    for name, network in NETWORKS.items()
    if network.family.scope != "MobilenetV1"
)
