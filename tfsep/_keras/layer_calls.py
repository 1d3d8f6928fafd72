"""Observation of the calls of Keras layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Layer


@contextmanager
def watch_layer_calls(
    enter: Callable[[Layer], None], leave: Callable[[Layer, Any, Any], None], operations: bool = False
) -> Iterator[None]:
    """Temporarily report every call of a layer, nested layers included.

    Keras has no hook for this, and a model's list of layers contains neither the inner layers of a composite layer nor
    the order of a subclassed model. So the public `Layer.__call__` is wrapped, and restored at the end.

    Args:
        enter: called as ``enter(layer)`` before each call.
        leave: called as ``leave(layer, inputs, outputs)`` after each call.
        operations: whether to report those of operations of `keras.ops` in a model's graph, too.
    """
    layer_call, operation_call = keras.layers.Layer.__call__, keras.Operation.__call__

    def watched(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
        enter(self)
        outputs = original(self, *args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        leave(self, inputs, outputs)
        return outputs

    def watched_layer(self: Layer, *args: Any, **kwargs: Any) -> Any:
        return watched(layer_call, self, *args, **kwargs)

    def watched_operation(self: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        # A layer's own call ends in this one.
        is_layer = isinstance(self, keras.layers.Layer)
        return operation_call(self, *args, **kwargs) if is_layer else watched(operation_call, self, *args, **kwargs)

    keras.layers.Layer.__call__ = watched_layer
    if operations:
        keras.Operation.__call__ = watched_operation
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = layer_call
        keras.Operation.__call__ = operation_call
