"""Watching the calls of Keras layers, however deep they are nested."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tfsep._keras.backend import keras


@contextmanager
def watching(enter: Callable[[Any], None], leave: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    """While open, `enter` and `leave` are told of every layer's call, however deep it is nested.

    Keras has no hook for this, and a model's own list of layers knows neither the inside of a composite layer nor a
    subclassed model's order: so the public `Layer.__call__` is wrapped, and put back.
    """
    original = keras.layers.Layer.__call__

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
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
