"""The context in which a convolution is traced: an export, or XLA; each changes how it is best computed."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

from tfsep._keras.backend import keras, tf
from tfsep._utils.context_flag import ContextFlag

__all__ = ["exporting", "is_exporting"]

_EXPORTING = ContextFlag("exporting")


def exporting() -> AbstractContextManager[None]:
    """Trace convolutions in the form that the ``.tflite`` converter turns into one builtin operator.

    For tracing a graph that is exported, never for training: its gradient is wrong.

    Returns:
        A context manager.

    Examples:
        >>> from tfsep.ops import depthwise_conv2d
        >>> run = tf.function(lambda x: depthwise_conv2d(x, tf.ones((3, 3, 2, 1)), strides=2, rate=2))
        >>> with exporting():
        ...     graph = run.get_concrete_function(tf.TensorSpec((1, 8, 8, 2))).graph
        >>> [op.type for op in graph.get_operations() if "Depthwise" in op.type or "Space" in op.type]
        ['DepthwiseConv2dNative']
    """
    return _EXPORTING.set()


def is_exporting() -> bool:
    """Whether the code runs inside `exporting`.

    Examples:
        >>> with exporting():
        ...     is_exporting()
        True
    """
    return _EXPORTING.is_set()


def is_saving() -> bool:
    """Whether the code is traced for a file that Keras, TensorFlow's converter or tf2onnx writes.

    None of the three has a name for this: `keras.Model.export` calls a model like any other traced call. So the writer
    is looked for among the callers of the traced code. Where it is not found the graph is right, but larger.
    """
    return not tf.executing_eagerly() and _is_called_by(_writers())


def is_in_saved_model() -> bool:
    """Whether the code is traced while `tf.saved_model.save` writes, for a graph that other programs may read."""
    return not tf.executing_eagerly() and _is_called_by((tf.saved_model.save.__module__,))


def _is_called_by(modules: tuple[str, ...]) -> bool:
    """Whether a function among the callers is of a module whose name begins so."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
        frame = frame.f_back
    return False


@cache
def _writers() -> tuple[str, ...]:
    """The beginnings of the names of the modules that trace a model for a file.

    `tf.saved_model.save` is none: what it traces may be called on in this process, and by its own functions.
    """
    public = keras.export.ExportArchive, tf.lite.TFLiteConverter
    return ("tf2onnx.", *(f"{each.__module__.rpartition('.')[0]}." for each in public))


def is_for_file() -> bool:
    """Whether the traced graph becomes a file, of this library (`exporting`) or of another writer (`is_saving`)."""
    return is_exporting() or is_saving()


_Function = TypeVar("_Function", bound=Callable[..., Any])


def without_autograph(function: _Function) -> _Function:
    """Exclude a function from AutoGraph's conversion in a ``tf.function``.

    For functions without control flow on tensors: their conversion takes several times as long as their tracing.
    """
    excluded: _Function = tf.autograph.experimental.do_not_convert(function)
    return excluded


def is_compiling() -> bool:
    """Whether the traced code is inside a ``tf.function(jit_compile=True)``, so that XLA will compile it.

    TensorFlow has no public name for this. It keeps an XLA control flow context on the graph that it traces, or on one
    that encloses it. Where none is found the answer is False, which costs speed only.
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
