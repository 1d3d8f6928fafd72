"""The networks of ``networks.py``."""

from zoo import classifiers, images, interfaces, sequences
from zoo.blocks import Network

ZOO: dict[str, Network] = {
    network.name: network for module in (classifiers, images, sequences, interfaces) for network in module.ROWS
}
"""All networks by name."""
