"""What layers without an integer kernel do to numbers, by which it is known where they stay in float32."""

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer
from tfsep.quantize._operations import moves


def prepares(layer: Layer) -> bool:
    """Return whether a layer prepares images or numbers in a way that has no operation, as interpolation."""
    crops = keras.layers.CenterCrop | keras.layers.RandomCrop
    scales = keras.layers.Normalization | keras.layers.Rescaling
    return isinstance(layer, crops | scales | keras.layers.Resizing | keras.layers.UpSampling2D) and not moves(layer)


def may_average(layer: Layer) -> bool:
    """Return whether a layer that is not quantized may return means of numbers, as pooling and interpolation do."""
    averages = keras.layers.AveragePooling1D | keras.layers.AveragePooling2D | keras.layers.AveragePooling3D
    resizes = keras.layers.UpSampling2D | keras.layers.UpSampling3D | keras.layers.Resizing | keras.layers.CenterCrop
    of_others = type(layer).__module__.split(".")[0] not in ("keras", "tfsep") or isinstance(layer, keras.layers.Lambda)
    return of_others or not isinstance(layer, keras.layers.Layer) or isinstance(layer, averages | resizes)


def may_keep_scale(layer: Layer) -> bool:
    """Return whether a layer that is not quantized may be an operator whose result has the scale of what it takes."""
    return may_average(layer) or moves(layer) or isinstance(layer, keras.layers.Maximum | keras.layers.Minimum)
