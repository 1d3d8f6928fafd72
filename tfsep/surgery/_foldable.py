"""The layers that take a normalization in: how they do, and why one of them does not."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tfsep import layers
from tfsep._keras.backend import keras

Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]


class _Kind(NamedTuple):
    """A kind of layer that takes a normalization in: its classes, its last kernel, and how channels scale that."""

    classes: tuple[type, ...]
    kernel: str
    scale: Scale


def _of_groups(scale: np.ndarray, per_group: int, channels: int) -> np.ndarray:
    """The scales (F,) as a transposed kernel (…, F / groups, C) has its filters: each group's on its own channels."""
    grouped = scale.reshape(-1, per_group)
    return np.repeat(grouped, channels // len(grouped), axis=0).T


_KINDS = (
    _Kind(
        (
            *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
            *(layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.DepthwiseConv2DTranspose),
        ),
        "kernel",
        lambda kernel, scale: kernel * scale.reshape(kernel.shape[-2:]),
    ),
    _Kind(
        (
            *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
            *(layers.SeparableConv1D, layers.SeparableConv2D, layers.SeparableConv2DTranspose),
        ),
        "pointwise_kernel",
        lambda kernel, scale: kernel * scale,
    ),
    _Kind(
        (
            *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
            layers.Conv2DTranspose,
        ),
        "kernel",
        lambda kernel, scale: kernel * _of_groups(scale, *kernel.shape[-2:]),
    ),
    _Kind(
        (
            *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense),
            *(layers.Conv1D, layers.Conv2D, layers.DeformableConv2D),
        ),
        "kernel",
        lambda kernel, scale: kernel * scale,
    ),
)
_CLASSES = tuple(own for kind in _KINDS for own in kind.classes)
_NORMALIZATIONS = (keras.layers.BatchNormalization, layers.BatchNormalization)
_BOOKKEEPING = {"get_config", "from_config", "compute_output_shape"}
"""What a subclass may have of its own, beside `__init__`, and still compute what its base does."""


def is_normalization(layer: Any) -> bool:
    """Whether a layer is a batch normalization, of Keras, ours, or a subclass's."""
    return isinstance(layer, keras.layers.BatchNormalization)


def is_settled(normalization: Any) -> bool:
    """Whether a normalization goes by its moving statistics even if it is told to train."""
    frozen = isinstance(normalization, layers.BatchNormalization) and normalization.frozen
    return frozen or not normalization.trainable


def takes_one_in(layer: Any) -> bool:
    """Whether a layer is of a kind that takes a normalization in."""
    return isinstance(layer, _CLASSES)


def plain_class(layer: Any) -> type:
    """The class of those above that a layer is, or was subclassed from."""
    return _base(layer, _CLASSES)


def change(layer: Any, bases: Iterable[type]) -> str | None:
    """What a layer's class computes with that its base, one of those given, has otherwise; None if it has nothing."""
    base, weights = _base(layer, bases), {weight.name for weight in layer.weights}
    subclasses = type(layer).__mro__[: type(layer).__mro__.index(base)]
    for name in (name for subclass in subclasses for name in vars(subclass)):
        special = name.startswith("__") and name != "__call__"
        if not special and name not in _BOOKKEEPING and (hasattr(base, name) or name in weights):
            return f"class {type(layer).__name__}, which overrides {name}"
    return None


def _base(layer: Any, bases: Iterable[type]) -> type:
    known = set(bases)
    return next(each for each in type(layer).__mro__ if each in known)


def misfits(layer: Any, normalization: Any) -> Iterator[str]:
    """Why a layer of these kinds does not take in the normalization that follows it."""
    name, channels_last = repr(layer.name), getattr(layer, "data_format", "channels_last") == "channels_last"
    rank, axis = normalization.input_spec.ndim, normalization.axis
    if changed := change(normalization, _NORMALIZATIONS):
        yield f"it is of {changed}"
    if changed := change(layer, _CLASSES):
        yield f"it follows {name} of {changed}"
    if layer.activation not in (None, keras.activations.linear):
        yield f"{name} has an activation"
    if getattr(layer, "quantization_mode", None):
        yield f"{name} is quantized"
    if getattr(layer, "lora_enabled", False):
        yield f"{name} has a low-rank adaptation (LoRA)"
    if normalization.compute_dtype != layer.compute_dtype:
        yield f"it computes in {normalization.compute_dtype}, {name} in {layer.compute_dtype}"
    if axis % rank != (rank - 1 if channels_last else 1):
        yield f"it normalizes axis {axis}, not the channels of {name}"


def is_foldable(layer: Any, normalization: Any) -> bool:
    """Return whether a layer takes in the normalization that follows it, which was built.

    Examples:
        >>> normalization = keras.layers.BatchNormalization()
        >>> normalization.build((None, 4))
        >>> is_foldable(keras.layers.Dense(4), normalization), is_foldable(keras.layers.ReLU(), normalization)
        (True, False)
    """
    return takes_one_in(layer) and not any(misfits(layer, normalization))


def fold_in(layer: Any, normalization: Any, into: Any) -> None:
    """Give the layer `into`, made as `layer` but with a bias, the weights of that with its normalization folded in."""
    kind = next(kind for kind in _KINDS if isinstance(layer, kind.classes))
    scale, shift = _affine(normalization)
    values = {weight.name: _float64(weight) for weight in layer.weights}
    values["bias"] = values.get("bias", 0.0) * scale + shift
    values[kind.kernel] = kind.scale(values[kind.kernel], scale)
    for weight in into.weights:
        weight.assign(values[weight.name])


def _affine(normalization: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a normalization multiplies each channel by, and what it adds then."""
    mean, variance = _float64(normalization.moving_mean), _float64(normalization.moving_variance)
    scale = 1.0 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * _float64(normalization.gamma)
    shift = -mean * scale
    return scale, shift + _float64(normalization.beta) if normalization.center else shift


def _float64(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.cast(variable, "float64"))
