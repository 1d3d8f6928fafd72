"""Keras's own convolution layers, computed for an export by this library's ops: one builtin operator each.

Left alone, a strided depthwise layer with gaps is traced as a convolution at every pixel, of which most results are
thrown away; and the operators of other layers with gaps depend on sizes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfsep._keras.types import Layer, Tensor
from tfsep.layers._layer_kinds import LAYER_KINDS, LayerKind

_Method = Callable[..., Tensor]


@contextmanager
def keras_layers_lowered() -> Iterator[None]:
    """While open, compute Keras's convolution layers by this library's ops, but for a subclass's own methods.

    Keras has no hook for this, so the methods that `LAYER_KINDS` names are replaced on its classes, and put back.
    """
    methods = [
        (kind.keras_class, kind.keras_method, _lowered(kind)) for kind in LAYER_KINDS if kind.keras_method is not None
    ]
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in methods]
    for owner, name, lowered in methods:
        setattr(owner, name, lowered)
    try:
        yield
    finally:
        for owner, name, own in before:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def _lowered(kind: LayerKind) -> _Method:
    """The method that takes the place of a Keras class's own, and leaves layers in channels_first to that."""
    assert kind.keras_method is not None
    original = getattr(kind.keras_class, kind.keras_method)

    def method(layer: Layer, x: Tensor, *kernel: Any) -> Tensor:
        if layer.data_format != "channels_last":
            return original(layer, x, *kernel)
        if kind.keras_method == "convolution_op":
            return kind.compute(layer, x, *kernel)
        return _finished(layer, kind.compute(layer, x, *(getattr(layer, own.name) for own in kind.kernels)))

    return method


def _finished(layer: Layer, y: Tensor) -> Tensor:
    """Add the bias and apply the activation."""
    y = y + layer.bias if layer.use_bias else y
    return y if layer.activation is None else layer.activation(y)
