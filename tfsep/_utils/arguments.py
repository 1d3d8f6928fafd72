"""Checks of arguments that every subpackage takes: names, ints, numbers in a range, paths.

Each takes the caller's argument, `value`, and its `name`, returns it in one form, or raises a ValueError (`as_path`, a
TypeError) of one sentence: the name, what was expected, what came.
"""

import math
import numbers
from collections.abc import Iterable, Sequence
from operator import index
from pathlib import Path
from typing import Any, TypeVar

_KINDS: dict[type, tuple[str, Any]] = {int: ("an int", numbers.Integral), float: ("a number", numbers.Real)}

_Number = TypeVar("_Number", int, float)


def integer(value: Any) -> int | None:
    """Return an int, Python's or NumPy's, as Python's; None for anything else, booleans and floats included.

    Args:
        value: the caller's argument.

    Examples:
        >>> integer(3), integer(3.0)
        (3, None)
    """
    if isinstance(value, bool):
        return None
    try:
        return index(value)
    except TypeError:
        return None


def one_of(value: Any, name: str, known: Iterable[str]) -> str:
    """Return `value` as one of the names known.

    Examples:
        >>> one_of("fixed", "ranges", ("moving", "learned"))
        Traceback (most recent call last):
        ValueError: ranges: expected one of moving, learned, got 'fixed'
    """
    names = tuple(known)
    if value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(names)}, got {short_repr(value)}")
    return str(value)


def positive_int(value: Any, name: str) -> int:
    """Return `value` as an int of at least 1.

    Examples:
        >>> positive_int(3, "filters")
        3
    """
    number = integer(value)
    if number is None or number < 1:
        raise ValueError(f"{name}: expected a positive int, got {value!r}")
    return number


def positive_ints(value: Any, name: str, example: tuple[int, ...], least: int = 0) -> list[int]:
    """Return `value` as a list of ints of at least 1, `least` of them or more.

    Examples:
        >>> positive_ints(12, "rates", (6, 12, 18))
        Traceback (most recent call last):
        ValueError: rates: expected positive ints, such as (6, 12, 18), got 12
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) < least:
        raise ValueError(f"{name}: expected positive ints, such as {example}, got {short_repr(value)}")
    return [positive_int(each, name) for each in value]


def positive_number(value: Any, name: str) -> float:
    """Return `value`, an int or a float (NumPy's too), as a finite float greater than zero.

    Examples:
        >>> positive_number(2, "tolerance")
        2.0
    """
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not 0 < number < math.inf:
        raise ValueError(f"{name}: expected a number greater than zero, got {value!r}")
    return number


def text(value: Any, name: str) -> str:
    """Return `value`, a string that is not empty.

    Examples:
        >>> text("MobilenetV1", "scope")
        'MobilenetV1'
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: expected a string that is not empty, got {value!r}")
    return value


def number_in_range(value: Any, name: str, kind: type[_Number], low: float, high: float = math.inf) -> _Number:
    """Return `value`, Python's or NumPy's, as an int or a float in [low, high].

    Args:
        value: the caller's argument.
        name: its name.
        kind: ``int`` or ``float``; a bool is neither.
        low: the smallest value allowed.
        high: the largest value allowed.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> number_in_range(2, "dropout", float, 0, 0.99)
        Traceback (most recent call last):
        ValueError: dropout: expected a number in [0, 0.99], got 2
    """
    words, accepted = _KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, accepted) or not low <= value <= high:
        allowed = f"of at least {low}" if high == math.inf else f"in [{low}, {high}]"
        raise ValueError(f"{name}: expected {words} {allowed}, got {value!r}")
    return kind(value)


def short_repr(value: Any) -> str:
    """Return the repr of a value for a message: on one line, and cut off if it is long.

    Args:
        value: any object.

    Examples:
        >>> short_repr(list(range(100)))
        '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21...'
    """
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:77].rstrip(', ')}..."


def as_path(value: Any, name: str) -> Path:
    """Return a path as a `Path`.

    Examples:
        >>> as_path(None, "folder")
        Traceback (most recent call last):
        TypeError: folder: expected a path, got None
    """
    try:
        return Path(value)
    except TypeError as error:
        raise TypeError(f"{name}: expected a path, got {value!r}") from error


def as_found(path: Path) -> str:
    """Return a path and what is there, for the message of an error that expected something else there.

    Args:
        path: path of what was expected.

    Examples:
        >>> as_found(Path("missing.tflite"))
        'missing.tflite, which does not exist'
    """
    return f"{path}, which {'is a folder' if path.is_dir() else 'is a file' if path.is_file() else 'does not exist'}"
