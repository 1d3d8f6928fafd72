"""The networks of ``networks.py`` and ``quantize.py``."""

from zoo import classifiers, family, images, interfaces, modules, sequences, small
from zoo.blocks import Network

ZOO: dict[str, Network] = {
    network.name: network for module in (classifiers, images, sequences, interfaces) for network in module.ROWS
}
"""The networks of ``networks.py`` by name."""
QUANTIZED = {network.name: network for module in (small, modules, family) for network in module.ROWS} | ZOO
"""Those of ``quantize.py``: more of them."""
