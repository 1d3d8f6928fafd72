"""The record of a network, and the blocks that many of them have.

A builder returns a model with the weights of its initializers; ``networks.py`` gives the batch normalizations
statistics. Sizes are as small as the architecture allows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras.layers import Activation, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePooling2D, Input


class Network(NamedTuple):
    """A row of the table.

    Attributes:
        name: what it is.
        build: the model.
        input_shape: the sizes of a model that leaves them open, or has a class of its own; None for others.
        classes: one more than the largest index of integer inputs.
        other_macs: MACs of the model that are no products of its file: of the converter, or element by element.
        values: smallest and largest number of float inputs.
        refused: recipes that have to be refused, though the converter writes a file.
    """

    name: str
    build: Callable[[], keras.Model]
    input_shape: tuple[int, ...] | None = None
    classes: int = 50
    other_macs: int = 0
    values: tuple[float, float] = (-1.5, 1.5)
    refused: tuple[str, ...] = ()


PIXELS = (0.0, 255.0)
"""Values of images that the model itself scales."""


def conv(
    x: Any, filters: int, kernel: int = 3, stride: int = 1, activation: str | None = "relu", **options: Any
) -> Any:
    """Convolution, batch normalization and activation."""
    x = Conv2D(filters, kernel, stride, padding="same", use_bias=False, **options)(x)
    x = BatchNormalization()(x)
    return Activation(activation)(x) if activation else x


def depthwise(x: Any, stride: int = 1, kernel: int = 3, activation: str | None = "relu", rate: int = 1) -> Any:
    """Depthwise convolution, batch normalization and activation."""
    x = DepthwiseConv2D(kernel, stride, padding="same", dilation_rate=rate, use_bias=False)(x)
    x = BatchNormalization()(x)
    return Activation(activation)(x) if activation else x


def classify(x: Any, classes: int = 10) -> Any:
    """Mean over the image, and probabilities."""
    return Dense(classes, activation="softmax")(GlobalAveragePooling2D()(x))


def image(size: int = 32, channels: int = 3, **options: Any) -> Any:
    """An input of images."""
    return Input((size, size, channels), **options)
