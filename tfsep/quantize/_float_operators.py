"""What layers without an integer kernel do to numbers, by which it is known where they stay in float32."""

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer
from tfsep.layers._layer_kinds import kind_of
from tfsep.quantize._operations import ACTIVATION_LAYERS, moves

L = keras.layers

_NO_AVERAGES = (
    *(*ACTIVATION_LAYERS, L.ELU, L.PReLU, L.Embedding, L.EinsumDense, L.Attention, L.MultiHeadAttention),
    *(L.BatchNormalization, L.LayerNormalization, L.GroupNormalization, L.UnitNormalization, L.RMSNormalization),
    *(L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Dot),
    *(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D),
)
"""Layers whose last operator is none that averages by the scale of its result, or moves what they take again."""


def prepares(layer: Layer) -> bool:
    """Return whether a layer prepares images or numbers in a way that has no operation, as interpolation."""
    crops = keras.layers.CenterCrop | keras.layers.RandomCrop
    scales = keras.layers.Normalization | keras.layers.Rescaling
    return isinstance(layer, crops | scales | keras.layers.Resizing | keras.layers.UpSampling2D) and not moves(layer)


def may_average(layer: Layer) -> bool:
    """Return whether a layer that is not quantized may return means of numbers, as pooling and interpolation do.

    All may that are not known, those inside of others too.
    """
    of_others = type(layer).__module__.split(".")[0] not in ("keras", "tfsep")
    known = moves(layer) or kind_of(layer) is not None or isinstance(layer, _NO_AVERAGES)
    return of_others or not known


def may_keep_scale(layer: Layer) -> bool:
    """Return whether a layer that is not quantized may be an operator whose result has the scale of what it takes."""
    return may_average(layer) or moves(layer) or isinstance(layer, keras.layers.Maximum | keras.layers.Minimum)
