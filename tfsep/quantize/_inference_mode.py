"""Context flags that change how a prepared model infers: calibration, export, and LiteRT's rounding."""

from contextlib import AbstractContextManager
from contextvars import ContextVar

from tfsep._utils.context_flag import set_flag
from tfsep.ops import is_exporting

_OBSERVING: ContextVar[bool] = ContextVar("observing", default=False)
_LITERT_ROUNDING: ContextVar[bool] = ContextVar("litert_rounding", default=False)


def observing() -> AbstractContextManager[None]:
    """Let inference extend the ranges to the data that it gets."""
    return set_flag(_OBSERVING)


def is_observing() -> bool:
    """Return whether `observing` is active."""
    return _OBSERVING.get()


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


def computes_in_float() -> bool:
    """Return whether inference computes real numbers, for the converter or for the ranges, in place of integers."""
    return is_exporting() or is_observing()
