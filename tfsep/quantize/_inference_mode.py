"""What surrounds a prepared model's inference and changes it: data that only set ranges, an export, or a check."""

from contextlib import AbstractContextManager
from contextvars import ContextVar

from tfsep._utils.context_flag import set_flag
from tfsep.ops import is_exporting

_OBSERVING: ContextVar[bool] = ContextVar("observing", default=False)
_AS_LITERT: ContextVar[bool] = ContextVar("as_litert", default=False)


def observing() -> AbstractContextManager[None]:
    """While open, inference follows the ranges of what it sees."""
    return set_flag(_OBSERVING)


def is_observing() -> bool:
    """Whether `observing` is open."""
    return _OBSERVING.get()


def litert_rounding() -> AbstractContextManager[None]:
    """While open, inference rounds as LiteRT does where that differs from what the model was prepared for.

    That is at the end of the dense layers of the reference kernels: LiteRT's round once, those of TensorFlow Lite for
    Microcontrollers, which ``runtime="reference"`` stands for, twice. A file is held to its model by this.

    Examples:
        >>> with litert_rounding():
        ...     rounds_as_litert()
        True
    """
    return set_flag(_AS_LITERT)


def rounds_as_litert() -> bool:
    """Whether `litert_rounding` is open."""
    return _AS_LITERT.get()


def in_real_numbers() -> bool:
    """Whether inference is computed in real numbers, as the converter and the ranges want it, and not in integers."""
    return is_exporting() or is_observing()
