"""Data against what a model says of those that it was trained on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.layer_calls import watch_layer_calls
from tfsep._keras.types import Layer

_FAR = 16.0
"""Largest plausible ratio of the variance to that of training, or its inverse: pixels in [0, 255] for a model of
[-1, 1] have a ratio of 127²."""

_PIXEL_MAX = 255


class Convolved(NamedTuple):
    """A call of a layer that holds a convolution or dense layer, and the normalization behind it.

    Attributes:
        layer: the convolution or dense layer.
        inputs: what it took.
        normalization: the normalization; None for none.
        outputs: the result behind it.
    """

    layer: Layer
    inputs: Any
    normalization: Layer | None
    outputs: Any


def _plain(layer: Layer, inputs: Any, outputs: Any) -> Convolved | None:
    return Convolved(layer, inputs, None, outputs) if hasattr(layer, "kernel_size") else None


def unlike_training(
    run: Callable[[], object], data: str, convolved: Callable[[Layer, Any, Any], Convolved | None] = _plain
) -> str | None:
    """Return a note if a model's input is not distributed as in training, as far as the model says it, or None.

    Its first batch normalization does. Of a model without, images of whole numbers up to 255 are noted that reach its
    first convolution as they are. Nothing is known of one with normalizations that were never trained.

    Args:
        run: runs the model on samples, without a graph.
        data: the samples, in words.
        convolved: what a call of a layer, (layer, inputs, outputs), is; None for neither.
    """
    normalized: list[tuple[Layer, np.ndarray]] = []
    images: list[tuple[Layer, np.ndarray]] = []

    def leave(layer: Layer, inputs: Any, outputs: Any) -> None:
        if tf.is_symbolic_tensor(keras.tree.flatten(inputs)[0]):
            return
        own, squares = convolved(layer, inputs, outputs), None
        if isinstance(layer, keras.layers.BatchNormalization):
            squares = _squares(layer, inputs)
        elif own is not None and own.normalization is not None:
            layer, squares = own.normalization, _squares_behind(own.normalization, own.outputs)
        if squares is not None and (not normalized or layer is normalized[0][0]):
            normalized.append((layer, squares))
        if own is not None and not _only_scales(own.layer) and (not images or own.layer is images[0][0]):
            images.append((own.layer, np.asarray(own.inputs)))

    with watch_layer_calls(lambda _: None, leave):
        run()
    asked = "were they prepared as the training data were?"
    if not normalized:
        if images and all(_are_pixels(each) for _, each in images):
            return f"{data}, reach {images[0][0].name!r}, the first convolution, as whole numbers up to 255: {asked}"
        return None
    layer, squares = normalized[0][0], np.concatenate([each for _, each in normalized])
    mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
    if np.all(mean == 0) and np.all(variance == 1):
        return None
    ratio = float(np.nanmedian(np.mean(squares, axis=0)))
    if not (ratio < 1 / _FAR or ratio > _FAR):
        return None
    return (
        f"{data}, give the first batch normalization, {layer.name!r}, {ratio:.3g} times the variance of its training: "
        f"{asked}"
    )


def range_of(arrays: Sequence[np.ndarray]) -> str:
    """Return the range of a batch, in words.

    Examples:
        >>> range_of([np.array([0.5, 2.0])])
        'from 0.5 to 2'
    """
    ends = min(array.min() for array in arrays), max(array.max() for array in arrays)
    return "from {:.6g} to {:.6g}".format(*ends)


def _squares(layer: Layer, inputs: Any) -> np.ndarray:
    """The squares of what a normalization makes of its inputs, (N, channels), without its factor and shift."""
    mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
    channels = np.moveaxis(np.asarray(inputs, np.float64), layer.axis, -1).reshape(-1, mean.size)
    return (channels - mean) ** 2 / (variance + layer.epsilon)


def _squares_behind(layer: Layer, outputs: Any) -> np.ndarray:
    """The same of its results; NaN for a channel without a factor."""
    factor = np.asarray(layer.gamma, np.float64) if layer.scale else 1.0
    shift = np.asarray(layer.beta, np.float64) if layer.center else 0.0
    channels = np.asarray(outputs, np.float64).reshape(-1, np.shape(outputs)[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(factor, (channels - shift) / factor, np.nan) ** 2


def _only_scales(layer: Layer) -> bool:
    """Whether a convolution is a factor and a shift of each channel, as rescaled pixels are."""
    kernel = getattr(layer, "kernel", None)
    return kernel is not None and "Depthwise" in type(layer).__name__ and set(layer.kernel_size) == {1}


def _are_pixels(images: np.ndarray) -> bool:
    """Whether images (N, H, W, C) are whole numbers from 0 to 255, some of them above the half."""
    if images.ndim != 4 or not images.size:
        return False
    ends = images.min() >= 0 and _PIXEL_MAX / 2 < images.max() <= _PIXEL_MAX
    return bool(ends and np.all(images == np.rint(images)))
