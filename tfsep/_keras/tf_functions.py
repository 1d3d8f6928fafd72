"""TensorFlow's functions on symbolic Keras tensors, as the operations of `keras.ops` that compute the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from inspect import signature
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._utils.context_flag import set_flag

_TAKING = ContextVar("taking_keras_tensors", default=False)

_OPERATIONS: dict[str, tuple[Callable[..., Any], int]] = {
    **{name: (getattr(keras.ops, name), 1) for name in ("abs", "elu", "exp", "relu", "relu6", "rsqrt", "selu")},
    **{name: (getattr(keras.ops, name), 1) for name in ("sigmoid", "softplus", "sqrt", "square", "tanh")},
    **{name: (getattr(keras.ops, name), 2) for name in ("add", "divide", "maximum", "minimum", "multiply", "subtract")},
    **{f"reduce_{name}": (getattr(keras.ops, name), 3) for name in ("max", "mean", "min", "sum")},
    "bias_add": (keras.ops.add, 2),
    "clip_by_value": (keras.ops.clip, 3),
    "concat": (keras.ops.concatenate, 2),
    "expand_dims": (keras.ops.expand_dims, 2),
    "gelu": (keras.ops.gelu, 2),
    "identity": (keras.ops.copy, 1),
    "leaky_relu": (keras.ops.leaky_relu, 2),
    "matmul": (keras.ops.matmul, 2),
    "pad": (keras.ops.pad, 2),
    "reshape": (keras.ops.reshape, 2),
    "softmax": (lambda logits, axis: keras.ops.softmax(logits, -1 if axis is None else axis), 2),
    "split": (keras.ops.split, 3),
    "squeeze": (keras.ops.squeeze, 2),
    "stack": (keras.ops.stack, 2),
    "swish": (keras.ops.silu, 1),
    "transpose": (keras.ops.transpose, 2),
}
"""By the name of TensorFlow's function, the operation, and how many of the first arguments both have in one order.

The others of TensorFlow's arguments, such as a name, are left out: who traces with these compares what comes out.
"""


@contextmanager
def taking_keras_tensors() -> Iterator[None]:
    """Let TensorFlow's functions take symbolic Keras tensors, as the operations of `keras.ops` do."""
    _register()
    with set_flag(_TAKING):
        yield


@cache
def _register() -> None:
    """Register with TensorFlow, which has no other public way, once; it is without effect outside of the context."""

    class Dispatcher(tf.__internal__.dispatch.GlobalOpDispatcher):
        """What TensorFlow asks for a function that does not take its arguments."""

        def handle(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            known = _OPERATIONS.get(getattr(function, "__name__", "").removesuffix("_v2"))
            if not _TAKING.get() or known is None:
                return self.NOT_SUPPORTED
            operation, count = known
            bound = signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            return operation(*[*bound.arguments.values()][:count])

    Dispatcher().register()
