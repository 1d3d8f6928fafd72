"""Transposed convolutions that no one integer operator computes, as convolutions of images taken apart."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfsep import layers, ops
from tfsep._keras.backend import keras, tf
from tfsep.geometry import Pads, Transposed, Window
from tfsep.quantize._built_layers import filled

ONE_OPERATOR = (keras.layers.Conv2DTranspose, layers.Conv2DTranspose)
"""Layers that the integer kernels of transposed convolution compute, where their window is one that these have."""

TRANSPOSED = (
    *(*ONE_OPERATOR, keras.layers.Conv1DTranspose),
    *(layers.DepthwiseConv2DTranspose, layers.SeparableConv2DTranspose),
)


@keras.saving.register_keras_serializable(package="tfsep")
class Spread(keras.layers.Layer):
    """Takes pixels apart: a stride from one to the next, zeros between and around them.

    A transposed convolution is a convolution of these by its filter turned around.

    Args:
        strides: rows and columns, or steps of a sequence, from one to the next.
        padding: zeros before and behind, a pair an axis; what is negative is cut off.

    Input: (N, H, W, C), or (N, L, C).

    Output: (N, H', W', C), or (N, L', C).

    Examples:
        >>> Spread([2], [[1, 0]])(np.array([[[5.0], [7.0]]])).numpy().ravel().tolist()
        [0.0, 5.0, 0.0, 7.0]
    """

    def __init__(self, strides: Any, padding: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides = tuple(strides)
        self.padding = tuple(map(tuple, padding))

    def call(self, inputs: Any) -> Any:
        """Return the pixels, taken apart."""
        if len(self.strides) == 2:
            rows, columns = self.padding
            return ops.insert_zeros(inputs, self.strides, (rows, columns))
        row, (steps,) = tf.expand_dims(inputs, 1), self.padding
        return tf.squeeze(ops.insert_zeros(row, (1, *self.strides), ((0, 0), steps)), 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "strides": self.strides, "padding": self.padding}


def transposed_parts(layer: Any, shape: tuple[int | None, ...]) -> Iterator[Any]:
    """The layers that a transposed convolution whose result has a shape is a chain of: itself, of one operator's."""
    rank = len(shape) - 2
    ones = (1,) * (2 - rank)
    kernel = _pair(layer.kernel_size, ones)
    window = Window.of(kernel, _pair(layer.strides, ones), layer.padding, _pair(layer.dilation_rate, ones))
    more = layer.output_padding
    geometry = Transposed.of(window, None if more is None else _pair(more, (0,) * len(ones)))
    if layer.data_format != "channels_last" or (isinstance(layer, ONE_OPERATOR) and _is_one(layer, geometry, shape)):
        yield layer
        return
    yield Spread(layer.strides, _pads(geometry)[-rank:], name=f"{layer.name}_spread")
    yield from _convolutions(layer, rank)


def _pair(value: Any, ones: tuple[int, ...]) -> tuple[int, ...]:
    """A number an axis of an image, of which a sequence is a row."""
    return (*ones, *((value,) * (2 - len(ones)) if isinstance(value, int) else value))


def _is_one(layer: Any, geometry: Transposed, shape: tuple[int | None, ...]) -> bool:
    """Whether a file has one operator for it, whose every output pixel is a sum and whose bias is inside."""
    window, (rows, columns), reach = geometry.window, shape[1:3], geometry.window.effective_kernel
    if getattr(layer, "groups", 1) > 1 or reach != window.kernel:
        return False
    if any(k < s for k, s in zip(window.kernel, window.strides, strict=True)):
        return False
    if layer.padding == "same" and layer.output_padding is None:
        return True
    if rows is not None and columns is not None:
        same = Window.of(window.kernel, window.strides, "same")
        if window.padding == same.pads((rows, columns)):
            return True
    return window.padding == ((0, 0), (0, 0)) and geometry.reach == reach


def _pads(geometry: Transposed) -> Pads:
    """The zeros around pixels that are a stride apart, under which the turned filter makes the result."""
    (top, _), (left, _) = geometry.window.pads((1, 1))
    (rows, columns), (height, width) = geometry.window.effective_kernel, geometry.reach
    return (rows - 1 - top, height - 1 + top), (columns - 1 - left, width - 1 + left)


def _convolutions(layer: Any, rank: int) -> Iterator[Any]:
    """The convolution by the filter turned around, and the 1×1 one behind it where there is one."""
    names = ("kernel", "depthwise", "pointwise")
    if any(getattr(layer, f"{name}_constraint", None) is not None for name in names):
        raise ValueError(
            f"model: expected transposed convolutions without constraints, whose kernels are turned around, got "
            f"{layer.name!r}"
        )
    last = {
        "activation": layer.activation,
        "use_bias": layer.use_bias,
        "bias_regularizer": layer.bias_regularizer,
        "bias_constraint": layer.bias_constraint,
        "name": layer.name,
    }
    bias = [] if layer.bias is None else [layer.bias]
    if isinstance(layer, layers.SeparableConv2DTranspose):
        mixing = np.asarray(layer.pointwise_kernel)
        yield _depthwise(layer, layer.depthwise_kernel, [], use_bias=False, name=f"{layer.name}_depthwise")
        mixer = layers.Conv2D(layer.filters, 1, kernel_regularizer=layer.pointwise_regularizer, **last)
        yield filled(mixer, (None, None, None, mixing.shape[2]), [mixing, *bias])
    elif isinstance(layer, layers.DepthwiseConv2DTranspose):
        yield _depthwise(layer, layer.kernel, bias, **last)
    else:
        groups = getattr(layer, "groups", 1)
        kernel = _as_forward(_turned(layer.kernel, rank), groups)
        made = (layers.Conv1D, layers.Conv2D)[rank - 1](
            layer.filters,
            layer.kernel_size,
            dilation_rate=layer.dilation_rate,
            groups=groups,
            kernel_regularizer=layer.kernel_regularizer,
            **last,
        )
        yield filled(made, (*(None,) * (rank + 1), kernel.shape[-2] * groups), [kernel, *bias])


def _depthwise(layer: Any, kernel: Any, bias: list[Any], **last: Any) -> Any:
    made = layers.DepthwiseConv2D(
        layer.kernel_size,
        depth_multiplier=kernel.shape[3],
        dilation_rate=layer.dilation_rate,
        depthwise_regularizer=layer.depthwise_regularizer,
        **last,
    )
    return filled(made, (None, None, None, kernel.shape[2]), [_turned(kernel, 2), *bias])


def _turned(kernel: Any, rank: int) -> np.ndarray:
    return np.flip(np.asarray(kernel), tuple(range(rank)))


def _as_forward(kernel: np.ndarray, groups: int) -> np.ndarray:
    """(..., F / groups, C) as a convolution has it, (..., C / groups, F)."""
    *sides, filters, channels = kernel.shape
    grouped = np.moveaxis(kernel.reshape(*sides, filters, groups, channels // groups), -3, -1)
    return np.moveaxis(grouped, -3, -2).reshape(*sides, channels // groups, groups * filters)
