"""Context flags that change how a prepared model infers: calibration, real numbers, export, and a file's rounding."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from tfsep._keras.types import Tensor
from tfsep._utils.context_flag import set_flag
from tfsep.ops import is_exporting

EdgeRounding: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(real numbers, quantization parameters, their integers from the zero point) → the integers, some of them others."""

_OBSERVING: ContextVar[bool] = ContextVar("observing", default=False)
_REAL_NUMBERS: ContextVar[bool] = ContextVar("real_numbers", default=False)
_LITERT_ROUNDING: ContextVar[bool] = ContextVar("litert_rounding", default=False)
_EDGE_ROUNDING: ContextVar[EdgeRounding | None] = ContextVar("edge_rounding", default=None)


def observing() -> AbstractContextManager[None]:
    """Let inference extend the ranges to the data that it gets."""
    return set_flag(_OBSERVING)


def is_observing() -> bool:
    """Return whether `observing` is active."""
    return _OBSERVING.get()


def real_numbers() -> AbstractContextManager[None]:
    """Let inference compute what the float model does: nothing is rounded, and no range changes.

    Examples:
        >>> with real_numbers():
        ...     rounds_nothing()
        True
    """
    return set_flag(_REAL_NUMBERS)


def is_in_real_numbers() -> bool:
    """Return whether `real_numbers` is active."""
    return _REAL_NUMBERS.get()


def rounds_nothing() -> bool:
    """Return whether weights and biases stay as they are, as for the converter they do not."""
    return is_observing() or is_in_real_numbers()


def litert_rounding() -> AbstractContextManager[None]:
    """Let inference round as LiteRT does where that differs from the runtime that a model was prepared for.

    The one difference is in the dense layers of the reference kernels: LiteRT rounds their sums once, TensorFlow Lite
    for Microcontrollers, which ``runtime="reference"`` stands for, twice. Files are compared with their model in this
    mode.

    Examples:
        >>> with litert_rounding():
        ...     is_litert_rounding()
        True
    """
    return set_flag(_LITERT_ROUNDING)


def is_litert_rounding() -> bool:
    """Return whether `litert_rounding` is active."""
    return _LITERT_ROUNDING.get()


@contextmanager
def rounding_edges_by(function: EdgeRounding) -> Iterator[None]:
    """Let eager inference round the numbers that a float32 island makes as a function says.

    Args:
        function: it is called for each quantization, in the order of the model's calls.

    Examples:
        >>> with rounding_edges_by(lambda real, qparams, integers: integers + 1.0):
        ...     edge_rounding()(0.5, None, 1.0)
        2.0
    """
    token = _EDGE_ROUNDING.set(function)
    try:
        yield
    finally:
        _EDGE_ROUNDING.reset(token)


def edge_rounding() -> EdgeRounding | None:
    """Return the function of `rounding_edges_by`; None where it is not active."""
    return _EDGE_ROUNDING.get()


def computes_in_float() -> bool:
    """Return whether inference computes real numbers, for the converter or for the ranges, in place of integers."""
    return is_exporting() or rounds_nothing()
