"""Flags that are set for the duration of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class ContextFlag:
    """A flag of a context: each thread and task has its own.

    Args:
        name: its name in debuggers.

    Examples:
        >>> flag = ContextFlag("flag")
        >>> with flag.set():
        ...     flag.is_set()
        True
        >>> flag.is_set()
        False
    """

    def __init__(self, name: str) -> None:
        self._value = ContextVar(name, default=False)

    @contextmanager
    def set(self) -> Iterator[None]:
        """Temporarily set the flag; it has its former value again at the end of the block."""
        token = self._value.set(True)
        try:
            yield
        finally:
            self._value.reset(token)

    def is_set(self) -> bool:
        """Return whether the code runs in such a block."""
        return self._value.get()
