"""Types of sizes, and the checks that bring a caller's sizes to one form."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from tfsep._utils.arguments import integer, positive_int

Pair: TypeAlias = tuple[int, int]
"""Rows and columns."""
Sizes: TypeAlias = tuple[int | None, int | None]
"""Rows and columns of an image; None where one is not known."""
Pads: TypeAlias = tuple[Pair, Pair]
"""Padding in pixels, ``((top, bottom), (left, right))``."""
Padding: TypeAlias = Literal["valid", "same"] | Pads
"""A padding of images in one form."""
RowPadding: TypeAlias = Literal["valid", "same", "causal"] | Pair
"""A padding of sequences in one form."""
PairLike: TypeAlias = int | Sequence[int]
"""A size, stride or rate as a caller gives it: an int for both axes, or one for each axis."""
PaddingLike: TypeAlias = str | int | Sequence[int] | Sequence[Sequence[int]]
"""A padding as a caller gives it: ``"valid"``, ``"same"``, of sequences ``"causal"``, or pixels."""

_OF_THEM = {2: " or a pair of them", 3: " or three of them"}

LARGEST = 2**31 - 1
"""The upper limit of the sizes of kernels, strides, rates and images, which TensorFlow's kernels count in 32 bits."""


def pair(value: Any, name: str, *, minimum: int = 1) -> Pair:
    """Return an int, or a pair of ints (a sequence or a NumPy array), as a pair (rows, columns).

    Args:
        value: the caller's argument.
        name: name of the argument, which an error starts with.
        minimum: the smallest int that is allowed.

    Raises:
        ValueError: if an element is no int, or out of range.

    Examples:
        >>> pair(3, "kernel_size"), pair([1, 2], "strides")
        ((3, 3), (1, 2))
    """
    rows, columns = sides(value, name, 2, minimum)
    return rows, columns


def single(value: Any, name: str, *, minimum: int = 1) -> tuple[int]:
    """Return an int, or a sequence of one int, as a tuple of one: the counterpart of `pair` for sequences.

    Args:
        value: the caller's argument.
        name: name of the argument, which an error starts with.
        minimum: the smallest int that is allowed.

    Raises:
        ValueError: for anything else, or an int out of range.

    Examples:
        >>> single(3, "kernel_size"), single([2], "strides")
        ((3,), (2,))
    """
    (number,) = sides(value, name, 1, minimum)
    return (number,)


def sides(value: Any, name: str, count: int, minimum: int = 1) -> list[int]:
    """Return an int, or a sequence of ints, as a list of one for each axis.

    Args:
        value: the caller's argument.
        name: name of the argument, which an error starts with.
        count: number of axes.
        minimum: the smallest int that is allowed.

    Raises:
        ValueError: for another number of them, or an int out of range.

    Examples:
        >>> sides(3, "kernel_size", 3)
        [3, 3, 3]
    """
    value = as_python(value)
    items = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * count
    numbers = [n for n in map(integer, items) if n is not None and minimum <= n <= LARGEST]
    if not len(items) == len(numbers) == count:
        kind = "a positive int" if minimum == 1 else f"an int of at least {minimum}"
        if any((integer(item) or 0) > LARGEST for item in items):
            kind += " and at most 2**31 - 1"
        raise ValueError(f"{name}: expected {kind}{_OF_THEM.get(count, '')}, got {value!r}")
    return numbers


def normalize_shape(value: Any, name: str) -> tuple[int | None, ...]:
    """Return a shape without the batch as positive ints, None for a size that is left open.

    Args:
        value: the caller's argument.
        name: name of the argument, which an error starts with.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> normalize_shape([28, None, 1], "input_shape")
        (28, None, 1)
    """
    items = as_python(value)
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ValueError(f"{name}: expected sizes such as (H, W, C), got {value!r}")
    return tuple(None if side is None else positive_int(side, name) for side in items)


def as_python(value: Any) -> Any:
    """Return NumPy's arrays and numbers as Python's lists and numbers, anything else as it is.

    Examples:
        >>> as_python((1, 2))
        (1, 2)
    """
    return value.tolist() if hasattr(value, "tolist") else value
