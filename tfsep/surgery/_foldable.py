"""Which layers a batch normalization folds into, the reasons against it, and the folded weights.

Along which axes of a kernel a normalization is folded is a fact of the kernel: `KernelSpec.channel_axes`, in the row of
the layer's kind (`tfsep.layers._layer_kinds`).
"""

from collections.abc import Container, Iterable, Iterator

import numpy as np

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.types import Layer
from tfsep.layers._batch_normalization import scale_and_shift_of
from tfsep.layers._layer_kinds import LAYER_KINDS, kind_of

_NORMALIZATIONS = (keras.layers.BatchNormalization, layers.BatchNormalization)
_FOLDABLE = tuple(each for kind in LAYER_KINDS if kind.kernels for each in kind.classes)
"""Classes of layers whose output channels are products with a kernel, which can take a factor for each channel."""

_BOOKKEEPING = {"get_config", "from_config", "compute_output_shape"}
"""Methods that a subclass can override, beside `__init__`, and still compute what its base does."""


def is_normalization(layer: Layer) -> bool:
    """Whether a layer is a batch normalization: Keras's, ours, or a subclass."""
    return isinstance(layer, keras.layers.BatchNormalization)


def uses_moving_statistics(normalization: Layer) -> bool:
    """Whether a normalization goes by its moving statistics even with ``training=True``."""
    frozen = isinstance(normalization, layers.BatchNormalization) and normalization.frozen
    return frozen or not normalization.trainable


def has_foldable_class(layer: Layer) -> bool:
    """Whether a layer's class, or a base of it, is one that a normalization folds into."""
    return isinstance(layer, _FOLDABLE)


def foldable_base(layer: Layer) -> type[Layer]:
    """The foldable class that a layer's class is or derives from."""
    return _base(layer, _FOLDABLE)


def overrides(layer: Layer, bases: Iterable[type[Layer]], allowed: Container[str] = ()) -> str | None:
    """Describe a layer's class by the first attribute of its base, one of `bases`, that it overrides; None if none.

    Attributes that are `allowed`, and those of bookkeeping, do not count.
    """
    base, weights = _base(layer, bases), {weight.name for weight in layer.weights}
    subclasses = type(layer).__mro__[: type(layer).__mro__.index(base)]
    for name in (name for subclass in subclasses for name in vars(subclass)):
        special = name.startswith("__") and name != "__call__"
        if special or name in _BOOKKEEPING or name in allowed:
            continue
        if hasattr(base, name) or name in weights:
            return f"class {type(layer).__name__}, which overrides {name}"
    return None


def _base(layer: Layer, bases: Iterable[type[Layer]]) -> type[Layer]:
    known = set(bases)
    return next(each for each in type(layer).__mro__ if each in known)


def mismatches(layer: Layer, normalization: Layer) -> Iterator[str]:
    """Reasons why a layer of a foldable class does not take in the normalization behind it."""
    name, channels_last = repr(layer.name), getattr(layer, "data_format", "channels_last") == "channels_last"
    rank, axis = normalization.input_spec.ndim, normalization.axis
    if overridden := overrides(normalization, _NORMALIZATIONS):
        yield f"it is of {overridden}"
    if overridden := overrides(layer, _FOLDABLE):
        yield f"it follows {name} of {overridden}"
    if layer.activation not in (None, keras.activations.linear):
        yield f"{name} has an activation"
    if getattr(layer, "quantization_mode", None):
        yield f"{name} is quantized"
    if normalization.compute_dtype != layer.compute_dtype:
        yield f"it computes in {normalization.compute_dtype}, {name} in {layer.compute_dtype}"
    if axis % rank != (rank - 1 if channels_last else 1):
        yield f"it normalizes axis {axis}, not the channels of {name}"


def is_foldable(layer: Layer, normalization: Layer) -> bool:
    """Return whether a built normalization folds into the layer in front of it.

    Examples:
        >>> normalization = keras.layers.BatchNormalization()
        >>> normalization.build((None, 4))
        >>> is_foldable(keras.layers.Dense(4), normalization), is_foldable(keras.layers.ReLU(), normalization)
        (True, False)
    """
    return has_foldable_class(layer) and not any(mismatches(layer, normalization))


def assign_folded(layer: Layer, normalization: Layer, into: Layer) -> None:
    """Assign `layer`'s weights, with its normalization folded in, to `into`: a copy of it that has a bias.

    The last kernel of the layer's kind takes the scale, along its `channel_axes`. A low-rank adaptation (LoRA) of it is
    added to it.
    """
    kind = kind_of(layer)
    assert kind is not None
    kernel = kind.kernels[-1]
    scale, shift = (np.asarray(part) for part in scale_and_shift_of(normalization))
    values = {weight.name: np.asarray(keras.ops.cast(weight, "float64")) for weight in layer.weights}
    values["bias"] = values.get("bias", 0.0) * scale + shift
    whole = np.asarray(keras.ops.cast(getattr(layer, kernel.name), "float64"))
    values[kernel.name] = np.asarray(kernel.scaled(whole, scale))
    for weight in into.weights:
        weight.assign(values[weight.name])
