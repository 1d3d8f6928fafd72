"""Arguments that every room takes: numbers in a range, and paths, or one sentence that says what was expected."""

import math
import numbers
from pathlib import Path
from typing import Any

_KINDS: dict[type, tuple[str, Any]] = {int: ("an int", numbers.Integral), float: ("a number", numbers.Real)}


def number(value: Any, name: str, kind: type, low: float, high: float = math.inf) -> Any:
    """Return `value`, Python's or NumPy's, as an int or a float in [low, high].

    Args:
        value: what a user gave.
        name: of the argument.
        kind: ``int`` or ``float``; a bool is neither.
        low, high: the range, both ends in it.

    Raises:
        ValueError: if it is anything else; the message starts with `name`.

    Examples:
        >>> number(2, "dropout", float, 0, 0.99)
        Traceback (most recent call last):
        ValueError: dropout: expected a number in [0, 0.99], got 2
    """
    words, accepted = _KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, accepted) or not low <= value <= high:
        allowed = f"of at least {low}" if high == math.inf else f"in [{low}, {high}]"
        raise ValueError(f"{name}: expected {words} {allowed}, got {value!r}")
    return kind(value)


def shown(value: Any) -> str:
    """Return how a message shows a value: on one line, and not all of a long one.

    Examples:
        >>> shown(list(range(100)))
        '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21...'
    """
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:77].rstrip(', ')}..."


def as_path(value: Any, name: str) -> Path:
    """Return a path as a `Path`.

    Raises:
        TypeError: if it is none; the message starts with `name`.

    Examples:
        >>> as_path(None, "folder")
        Traceback (most recent call last):
        TypeError: folder: expected a path, got None
    """
    try:
        return Path(value)
    except TypeError as error:
        raise TypeError(f"{name}: expected a path, got {value!r}") from error
