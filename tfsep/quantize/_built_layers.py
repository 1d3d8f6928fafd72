"""Layers that stand in for others in a prepared model, built with weights of their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.types import Layer, Shape, TensorLike


@keras.saving.register_keras_serializable(package="tfsep")
class Rearranged(keras.layers.Reshape):
    """A reshape that a prepared model has, and the model that it was prepared from has not."""


def filled(layer: Layer, input_shape: Shape, weights: Sequence[TensorLike]) -> Layer:
    """Return a layer, built for tensors of a shape, with these weights."""
    layer.build(input_shape)
    layer.set_weights([np.asarray(weight) for weight in weights])
    return layer


def one_tap(rank: int, name: str, **options: Any) -> Layer:
    """Return a depthwise convolution that multiplies each channel of tensors of a rank, as `as_rows` makes them."""
    options |= {"data_format": "channels_last", "name": name, "trainable": False}
    return (layers.DepthwiseConv1D if rank == 3 else layers.DepthwiseConv2D)(1, **options)


def dense_taps(dense: Layer, rank: int) -> Layer:
    """Return a dense layer on tensors of a rank, 3 or 4, as a convolution of one tap, with its weights."""
    kinds = ("kernel_regularizer", "kernel_constraint", "bias_regularizer", "bias_constraint")
    options = {name: getattr(dense, name) for name in ("activation", "use_bias", *kinds, "name", "trainable")}
    taps = (layers.Conv1D if rank == 3 else layers.Conv2D)(dense.units, 1, data_format="channels_last", **options)
    kernel, *bias = (np.asarray(weight) for weight in (dense.kernel, dense.bias) if weight is not None)
    kernel = kernel.reshape(*(1,) * (rank - 2), *kernel.shape)
    return filled(taps, (*(None,) * (rank - 1), kernel.shape[-2]), [kernel, *bias])


def as_rows(shape: Shape, name: str) -> tuple[Layer, Layer] | None:
    """Return reshapes to tensors that convolutions of one tap take, and back; None for a shape that these take.

    Args:
        shape: shape of a tensor, with its batch.
        name: name of the layer that computes it.

    Raises:
        ValueError: for sizes that are not known.
    """
    if len(shape) in (3, 4):
        return None
    if None in shape[1:]:
        raise ValueError("sizes that are not known")
    rows = Rearranged((1, -1, shape[-1]), name=f"{name}_rows")
    return rows, Rearranged(shape[1:], name=f"{name}_reshaped")
