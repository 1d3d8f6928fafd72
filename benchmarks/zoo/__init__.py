"""The networks of ``networks.py`` and ``quantize.py``."""

from zoo import attention, classifiers, family, images, interfaces, maps, modules, sequences, small
from zoo.blocks import Network

ZOO: dict[str, Network] = {
    network.name: network for module in (classifiers, images, sequences, interfaces) for network in module.ROWS
}
"""The networks of ``networks.py`` by name."""
QUANTIZED = {
    network.name: network for module in (small, modules, maps, attention, family) for network in module.ROWS
} | ZOO
"""Those of ``quantize.py``: more of them."""
FAMILY = {network.name: network for network in (*family.ROWS, *family.HEADS)}
"""Those of ``family.py``."""
