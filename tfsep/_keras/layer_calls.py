"""Observation of the calls of Keras layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer


@contextmanager
def watch_layer_calls(enter: Callable[[Layer], None], leave: Callable[[Layer, Any, Any], None]) -> Iterator[None]:
    """Temporarily report every call of a layer, nested layers included.

    Keras has no hook for this, and a model's list of layers contains neither the inner layers of a composite layer nor
    the order of a subclassed model. So the public `Layer.__call__` is wrapped, and restored at the end.

    Args:
        enter: called as ``enter(layer)`` before each call.
        leave: called as ``leave(layer, inputs, outputs)`` after each call.
    """
    original = keras.layers.Layer.__call__

    def watched(self: Layer, *args: Any, **kwargs: Any) -> Any:
        enter(self)
        outputs = original(self, *args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        leave(self, inputs, outputs)
        return outputs

    keras.layers.Layer.__call__ = watched
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original
