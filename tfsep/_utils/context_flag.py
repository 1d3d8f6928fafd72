"""Flags that are set for the duration of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


@contextmanager
def set_flag(flag: ContextVar[bool]) -> Iterator[None]:
    """Temporarily set a flag; it has its former value again at the end of the block."""
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)
