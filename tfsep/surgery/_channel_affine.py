"""A batch normalization as a scale and a shift of each channel, and the layers that it passes through unchanged."""

from dataclasses import dataclass, replace

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.inference_identities import INFERENCE_IDENTITIES
from tfsep._keras.model_graph import NamedCall
from tfsep._keras.types import Layer
from tfsep.layers._batch_normalization import scale_and_shift_of

L = keras.layers

_GLOBAL_POOLING = (
    *(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D),
    *(L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D),
)
_MEANS = (
    *(L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D, *_GLOBAL_POOLING[:3]),
    *(L.UpSampling1D, L.UpSampling2D, L.UpSampling3D, L.Cropping1D, L.Cropping2D, L.Cropping3D),
)
"""Layers whose results are means of pixels, weighted or of a single one: the mean of a·x + b is a·(mean of x) + b."""

_MAXIMA = (L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, *_GLOBAL_POOLING[3:])
"""Layers whose results are maxima of pixels: the maximum of a·x + b is a·(maximum of x) + b where a ≥ 0."""

_ZERO_PADDING = (L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D)
_SHAPES = (L.Flatten, L.Reshape)


class Obstacle(Exception):
    """The reason why a normalization stays."""


@dataclass(frozen=True)
class ChannelAffine:
    """``scale · x + shift``, with a number each for every channel.

    Attributes:
        scale: factors (C,), float64.
        shift: summands (C,), float64.
        channels_last: whether the channels are the last axis; the first behind the batch otherwise.
    """

    scale: np.ndarray
    shift: np.ndarray
    channels_last: bool = True

    @classmethod
    def of(cls, normalization: Layer) -> "ChannelAffine":
        """Return what a built normalization computes at inference.

        Raises:
            Obstacle: if it normalizes another axis.
        """
        rank, axis = normalization.input_spec.ndim, normalization.axis
        place = axis % rank
        if place not in (1, rank - 1):
            raise Obstacle(f"it normalizes axis {axis}")
        scale, shift = (np.asarray(part) for part in scale_and_shift_of(normalization))
        return cls(scale, shift, place == rank - 1)

    def tiled(self, channels: int) -> "ChannelAffine":
        """Return it for as many channels, over which it repeats."""
        times = channels // len(self.scale)
        return replace(self, scale=np.tile(self.scale, times), shift=np.tile(self.shift, times))


def is_transparent(layer: Layer) -> bool:
    """Whether a layer may let a scale and a shift through; `through` says whether it does."""
    if type(layer) is L.Activation:  # a subclass may compute anything
        return layer.activation is keras.activations.linear
    return type(layer) in (*INFERENCE_IDENTITIES, *_MEANS, *_MAXIMA, *_ZERO_PADDING, *_SHAPES)


def through(layer: Layer, call: NamedCall, affine: ChannelAffine, forward: bool) -> ChannelAffine:
    """Return what a scale and a shift on one side of a transparent layer are on its other side.

    Args:
        layer: a layer that `is_transparent`.
        call: its call.
        affine: the scale and shift in front of the layer, or behind it.
        forward: whether they are in front.

    Raises:
        Obstacle: if they are none on the other side.
    """
    name, kind = repr(layer.name), type(layer)
    own = getattr(layer, "data_format", None)
    if own is not None and (own == "channels_last") != affine.channels_last and kind not in INFERENCE_IDENTITIES:
        raise Obstacle(f"{name} has the channels on another axis")
    if kind in _MAXIMA and np.any(affine.scale < 0):
        raise Obstacle(f"{name} takes maxima, and the scale is negative")
    if kind in _ZERO_PADDING and np.any(affine.shift):
        raise Obstacle(f"{name} pads with zeros")
    if kind in _SHAPES:
        channels = call.result_shape[-1] if forward else call.shape[-1]
        if not affine.channels_last or channels is None or channels % len(affine.scale):
            raise Obstacle(f"{name} mixes the channels with other axes")
        return affine.tiled(channels)
    if kind in _GLOBAL_POOLING and forward and not layer.keepdims:
        return replace(affine, channels_last=True)
    return affine
