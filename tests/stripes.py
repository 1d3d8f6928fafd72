"""Images that a network learns in a few steps, for tests of training."""

import numpy as np

from tfsep import Conv, DepthSepConv, defs
from tfsep.data import ImageData, Split

NETWORK = "stripes"
"""Enough for them; its steps are traced in a fraction of the time that a real network takes."""
defs.NETWORKS[NETWORK] = defs.Network(
    (Conv(5, 4, 8), DepthSepConv(5, 2, 32)),
    defs.MOBILENET_V1,
    "a network of stripes",
)


def stripes(count, seed, side=28):
    """Images of two classes, bright above or bright below."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 60, (count, side, side, 1)).astype(np.uint8)
    half = side // 2
    for image, label in zip(images, labels, strict=True):
        image[half * label : half * (label + 1)] += 150
    return Split.of(images, labels)


def stripes_data():
    return ImageData("stripes", ("above", "below"), stripes(240, 0), stripes(40, 1))
