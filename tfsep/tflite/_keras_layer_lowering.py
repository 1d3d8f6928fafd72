"""Keras's own convolution layers, computed for an export by this library's ops: one builtin operator each.

Left alone, a strided depthwise layer with gaps is traced as a convolution at every pixel, of which most results are
thrown away; and what becomes of other gaps depends on sizes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfsep import ops
from tfsep._keras.backend import keras


def _windowed(layer: Any) -> dict[str, Any]:
    return {"strides": layer.strides, "padding": layer.padding, "rate": layer.dilation_rate}


def _finished(layer: Any, outputs: Any) -> Any:
    """What a layer does behind its convolution."""
    outputs = outputs + layer.bias if layer.use_bias else outputs
    return outputs if layer.activation is None else layer.activation(outputs)


def _depthwise(op: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda layer, x: _finished(layer, op(x, layer.kernel, **_windowed(layer)))


def _separable(op: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def call(layer: Any, x: Any) -> Any:
        return _finished(layer, op(x, layer.depthwise_kernel, layer.pointwise_kernel, **_windowed(layer)))

    return call


def _convolution(layer: Any, x: Any, kernel: Any) -> Any:
    return ops.conv2d(x, kernel, **_windowed(layer))


def _transposed(layer: Any, x: Any) -> Any:
    return _finished(
        layer, ops.conv2d_transpose(x, layer.kernel, output_padding=layer.output_padding, **_windowed(layer))
    )


_METHODS = (
    (keras.layers.Conv2D, "convolution_op", _convolution),
    (keras.layers.Conv2DTranspose, "call", _transposed),
    (keras.layers.DepthwiseConv1D, "call", _depthwise(ops.depthwise_conv1d)),
    (keras.layers.DepthwiseConv2D, "call", _depthwise(ops.depthwise_conv2d)),
    (keras.layers.SeparableConv1D, "call", _separable(ops.separable_conv1d)),
    (keras.layers.SeparableConv2D, "call", _separable(ops.separable_conv2d)),
)
"""Class, the public method that computes, and what computes in its place."""


def _replaced(original: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """A method that leaves layers of the other layout to Keras."""

    def method(self: Any, *args: Any) -> Any:
        return (ours if self.data_format == "channels_last" else original)(self, *args)

    return method


@contextmanager
def plain_layers() -> Iterator[None]:
    """While open, Keras's convolution layers compute by this library's ops; a subclass's own method stays what it is.

    Keras has no hook for this, so the methods are replaced on its classes, and put back.
    """
    before = [(kind, name, vars(kind).get(name)) for kind, name, _ in _METHODS]
    for kind, name, ours in _METHODS:
        setattr(kind, name, _replaced(getattr(kind, name), ours))
    try:
        yield
    finally:
        for kind, name, own in before:
            if own is None:
                delattr(kind, name)
            else:
                setattr(kind, name, own)
