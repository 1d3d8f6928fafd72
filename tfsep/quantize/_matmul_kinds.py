"""The linear layers that are quantized, as data: how each is computed, and where its output channels lie."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfsep import layers, ops
from tfsep._keras.backend import keras, tf


class Kind(NamedTuple):
    """A kind of linear layer.

    Attributes:
        classes: of Keras and of this library.
        compute: (layer, x, kernel) → the result, without bias and activation.
        channels: the kernel's shape → the shape in which one number an output channel spreads over it.
    """

    classes: tuple[type, ...]
    compute: Callable[[Any, Any, Any], Any]
    channels: Callable[[tuple[int, ...]], tuple[int, ...]]


def _windowed(op: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    def compute(layer: Any, x: Any, kernel: Any) -> Any:
        return op(x, kernel, strides=layer.strides, padding=layer.padding, rate=layer.dilation_rate)

    return compute


def _transposed(layer: Any, x: Any, kernel: Any) -> Any:
    options = {"padding": layer.padding, "output_padding": layer.output_padding, "rate": layer.dilation_rate}
    return ops.conv2d_transpose(x, kernel, strides=layer.strides, **options)


def _dense(_: Any, x: Any, kernel: Any) -> Any:
    return tf.linalg.matmul(x, kernel)


def _last(kernel: tuple[int, ...]) -> tuple[int, ...]:
    return kernel[-1:]


def _last_two(kernel: tuple[int, ...]) -> tuple[int, ...]:
    return kernel[-2:]


KINDS = (
    Kind((keras.layers.Conv1D, layers.Conv1D), _windowed(ops.conv1d), _last),
    Kind((keras.layers.Conv2D, layers.Conv2D), _windowed(ops.conv2d), _last),
    Kind((keras.layers.DepthwiseConv1D, layers.DepthwiseConv1D), _windowed(ops.depthwise_conv1d), _last_two),
    Kind((keras.layers.DepthwiseConv2D, layers.DepthwiseConv2D), _windowed(ops.depthwise_conv2d), _last_two),
    Kind((keras.layers.Conv2DTranspose, layers.Conv2DTranspose), _transposed, lambda kernel: (kernel[-2], 1)),
    Kind((keras.layers.Dense,), _dense, _last),
)


def kind_of(layer: Any) -> Any:
    """Return the kind of a linear layer; None of another layer."""
    return next((kind for kind in KINDS if isinstance(layer, kind.classes)), None)


def filled(layer: Any, input_shape: tuple[int | None, ...], weights: list[Any]) -> Any:
    """Return a layer, built for tensors of a shape, with these weights."""
    layer.build(input_shape)
    layer.set_weights([np.asarray(weight) for weight in weights])
    return layer


def one_tap(rank: int, name: str, **options: Any) -> Any:
    """Return a depthwise convolution that multiplies each channel of tensors of a rank; None where there is none."""
    classes = {3: layers.DepthwiseConv1D, 4: layers.DepthwiseConv2D}
    return classes[rank](1, name=name, trainable=False, **options) if rank in classes else None
