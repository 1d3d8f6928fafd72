"""What surrounds a prepared model's inference and changes it: data that only set ranges, or an export."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tfsep.ops import is_exporting

_OBSERVING: ContextVar[bool] = ContextVar("observing", default=False)


@contextmanager
def observing() -> Iterator[None]:
    """While open, inference follows the ranges of what it sees."""
    token = _OBSERVING.set(True)
    try:
        yield
    finally:
        _OBSERVING.reset(token)


def is_observing() -> bool:
    """Whether `observing` is open."""
    return _OBSERVING.get()


def in_real_numbers() -> bool:
    """Whether inference is computed in real numbers, as the converter and the ranges want it, and not in integers."""
    return is_exporting() or is_observing()
