"""Flags that are up while a block runs, and change what is computed inside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


@contextmanager
def raised(flag: ContextVar[bool]) -> Iterator[None]:
    """Keep a flag up while open, and leave it as it was."""
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)
