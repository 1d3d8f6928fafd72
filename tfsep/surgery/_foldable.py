"""Which layers a batch normalization folds into, the reasons against it, and the folded weights.

Along which axes of a kernel a normalization is folded is a fact of the kernel: `KernelSpec.channel_axes`, in the row of
the layer's kind (`tfsep.layers._layer_kinds`).
"""

from collections.abc import Container, Iterable, Iterator, Sequence

import numpy as np

from tfsep import layers
from tfsep._keras.backend import keras
from tfsep._keras.model_graph import NamedCall
from tfsep._keras.types import Layer, Shape
from tfsep.geometry._padding import same_pads
from tfsep.layers._kernel_spec import TRANSPOSED_AXES, KernelSpec
from tfsep.layers._layer_kinds import LAYER_KINDS, LayerKind, kind_of
from tfsep.surgery._channel_affine import ChannelAffine

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
    name, rank, axis = repr(layer.name), normalization.input_spec.ndim, normalization.axis
    if overridden := overrides(normalization, _NORMALIZATIONS):
        yield f"it is of {overridden}"
    if overridden := overrides(layer, _FOLDABLE):
        yield f"it follows {name} of {overridden}"
    if layer.activation not in (None, keras.activations.linear):
        yield f"{name} has an activation"
    yield from _unlike(layer, normalization)
    if axis % rank != (rank - 1 if _has_channels_last(layer) else 1):
        yield f"it normalizes axis {axis}, not the channels of {name}"


def mismatches_ahead(layer: Layer, normalization: Layer, affine: ChannelAffine, call: NamedCall) -> Iterator[str]:
    """Reasons why a layer of a foldable class does not take in a normalization in front of it.

    Args:
        layer: the layer, of a foldable class.
        normalization: the normalization.
        affine: its scale and shift, as they reach the layer.
        call: the layer's call.
    """
    name, kind = repr(layer.name), kind_of(layer)
    assert kind is not None
    if overridden := overrides(normalization, _NORMALIZATIONS):
        yield f"it is of {overridden}"
    if overridden := overrides(layer, _FOLDABLE):
        yield f"it precedes {name} of {overridden}"
    if kind.kernels[0].bias is not None:
        yield f"{name} takes its offsets from it"
    yield from _unlike(layer, normalization)
    if affine.channels_last != _has_channels_last(layer):
        yield f"{name} has the channels on another axis"
    if np.any(affine.shift) and kind.transposed and not _gives_every_pixel_alike(layer, kind, affine.shift):
        yield f"{name} gives its results different sums of the shift"
    if np.any(affine.shift) and sees_zeros(layer, kind, call.shape):
        yield f"{name} pads its input with zeros"


def _unlike(layer: Layer, normalization: Layer) -> Iterator[str]:
    """Reasons on either side: how the layer stores and computes its numbers."""
    if getattr(layer, "quantization_mode", None):
        yield f"{layer.name!r} is quantized"
    if normalization.compute_dtype != layer.compute_dtype:
        yield f"it computes in {normalization.compute_dtype}, {layer.name!r} in {layer.compute_dtype}"


def _has_channels_last(layer: Layer) -> bool:
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def sees_zeros(layer: Layer, kind: LayerKind, shape: Shape) -> bool:
    """Return whether a layer, of an input of this shape, computes some results from pixels and from zeros."""
    if not hasattr(layer, "kernel_size") or kind.transposed:
        return False
    if not isinstance(layer.padding, str):
        return bool(np.any(layer.padding))
    if layer.padding != "same":
        return layer.padding != "valid" and any(side > 1 for side in layer.kernel_size)
    sizes = shape[1:-1] if _has_channels_last(layer) else shape[2:]
    windows = zip(sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    return any(k > 1 if n is None else any(same_pads(n, k, s, r)) for n, k, s, r in windows)


def _gives_every_pixel_alike(layer: Layer, kind: LayerKind, shift: np.ndarray) -> bool:
    """Whether all results of a transposed layer see one tap, of several taps alike, and so the same of a constant."""
    steps, rate = tuple(layer.strides), tuple(layer.dilation_rate)
    if tuple(layer.kernel_size) != steps or set(rate) != {1} or getattr(layer, "output_padding", None) is not None:
        return False
    kernel, rank = kind.kernels[0], len(steps)
    values = np.asarray(getattr(layer, kernel.name), "float64")
    taps = [_tap_response(layer, kernel, values[place], shift) for place in np.ndindex(*values.shape[:rank])]
    return all(np.array_equal(tap, taps[0]) for tap in taps)


def _tap_response(layer: Layer, kernel: KernelSpec, tap: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """The results (F,) of one tap of a transposed kernel for a constant in each input channel."""
    if kernel.channel_axes != TRANSPOSED_AXES:
        return kernel.response(tap, constants)
    return KernelSpec().response(kernel.standard(tap, getattr(layer, "groups", 1)), constants)


def is_foldable(layer: Layer, normalization: Layer) -> bool:
    """Return whether a built normalization folds into the layer in front of it.

    Examples:
        >>> normalization = keras.layers.BatchNormalization()
        >>> normalization.build((None, 4))
        >>> is_foldable(keras.layers.Dense(4), normalization), is_foldable(keras.layers.ReLU(), normalization)
        (True, False)
    """
    return has_foldable_class(layer) and not any(mismatches(layer, normalization))


def assign_folded(layer: Layer, behind: Sequence[ChannelAffine], ahead: Sequence[ChannelAffine], into: Layer) -> None:
    """Assign `layer`'s weights, with normalizations folded in, to `into`: a copy of it that has a bias.

    A low-rank adaptation (LoRA) of a kernel is added to it.

    Args:
        layer: the layer.
        behind: the scales and shifts of its results, the next one first: the last kernel of the layer's kind takes
            them, along its `channel_axes`.
        ahead: the scales and shifts of its input, the next one first: the first kernel takes them.
        into: the copy.
    """
    kind = kind_of(layer)
    assert kind is not None
    first, last = kind.kernels[0], kind.kernels[-1]
    values = {weight.name: np.asarray(keras.ops.cast(weight, "float64")) for weight in layer.weights}
    # The attribute is the kernel with its adaptation, of which the weight is a part.
    values |= {each.name: np.asarray(keras.ops.cast(getattr(layer, each.name), "float64")) for each in kind.kernels}
    values.setdefault("bias", np.zeros(into.bias.shape))
    for affine in ahead:
        if np.any(affine.shift):
            constants = affine.shift
            for kernel in kind.kernels:
                own = values[kernel.name]
                if kind.transposed and not kernel.pointwise:
                    constants = _tap_response(layer, kernel, own[(0,) * len(layer.kernel_size)], constants)
                else:
                    constants = kernel.response(own, constants)
            values["bias"] = values["bias"] + constants
        values[first.name] = first.scaled_inputs(values[first.name], affine.scale)
    for affine in behind:
        values["bias"] = values["bias"] * affine.scale + affine.shift
        values[last.name] = np.asarray(last.scaled(values[last.name], affine.scale))
    for weight in into.weights:
        weight.assign(values[weight.name])
