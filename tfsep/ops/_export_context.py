"""What surrounds a convolution while it is traced, and changes how it should be computed: an export, or XLA."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

from tfsep._keras.backend import tf
from tfsep._utils.context_flag import raised

__all__ = ["exporting", "is_exporting"]

_EXPORTING: ContextVar[bool] = ContextVar("exporting", default=False)


def exporting() -> AbstractContextManager[None]:
    """While open, convolutions are traced in the form that the ``.tflite`` converter turns into one builtin op.

    What is traced is to be exported: its gradient is wrong.

    Examples:
        >>> from tfsep.ops import depthwise_conv2d
        >>> run = tf.function(lambda x: depthwise_conv2d(x, tf.ones((3, 3, 2, 1)), strides=2, rate=2))
        >>> with exporting():
        ...     graph = run.get_concrete_function(tf.TensorSpec((1, 8, 8, 2))).graph
        >>> [op.type for op in graph.get_operations() if "Depthwise" in op.type or "Space" in op.type]
        ['DepthwiseConv2dNative']
    """
    return raised(_EXPORTING)


def is_exporting() -> bool:
    """Whether `exporting` is open.

    Examples:
        >>> with exporting():
        ...     is_exporting()
        True
    """
    return _EXPORTING.get()


_Function = TypeVar("_Function", bound=Callable[..., Any])


def without_autograph(function: _Function) -> _Function:
    """Return a function that AutoGraph leaves alone in a ``tf.function``.

    It has no control flow on tensors, and to convert it takes several times as long as to trace it.
    """
    left: _Function = tf.autograph.experimental.do_not_convert(function)
    return left


def is_compiling() -> bool:
    """Whether what is traced now is inside a ``tf.function(jit_compile=True)``, so that XLA will compile it.

    TensorFlow knows, and has no public name for it: it keeps an XLA control flow context on the graph that it traces,
    or on one that this is nested in. Where that is not to be found, the answer is no, which costs speed and nothing
    else.
    """
    if tf.executing_eagerly():
        return False
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context() if hasattr(graph, "_get_control_flow_context") else None
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False
