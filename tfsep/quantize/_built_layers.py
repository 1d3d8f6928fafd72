"""Layers that stand in for others in a prepared model, built with weights of their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfsep import layers
from tfsep._keras.types import Layer, Shape, TensorLike


def filled(layer: Layer, input_shape: Shape, weights: Sequence[TensorLike]) -> Layer:
    """Return a layer, built for tensors of a shape, with these weights."""
    layer.build(input_shape)
    layer.set_weights([np.asarray(weight) for weight in weights])
    return layer


def one_tap(rank: int, name: str, **options: Any) -> Layer | None:
    """Return a depthwise convolution that multiplies each channel of tensors of a rank; None where there is none."""
    classes = {3: layers.DepthwiseConv1D, 4: layers.DepthwiseConv2D}
    options |= {"data_format": "channels_last", "name": name, "trainable": False}
    return classes[rank](1, **options) if rank in classes else None
