"""Integer geometry of convolutions: pairs, paddings, output sizes, and the wording of errors about them.

Nothing here knows TensorFlow. Arguments as a user writes them (``3``, ``(3, 5)``, ``"same"``, ``((0, 1), (0, 1))``)
are turned into one form, once, by `Window.of`; everything behind it sees pairs of positive ints only.

Formulas follow Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (arXiv 1603.07285), with input
size ``i``, kernel ``k``, stride ``s``, rate (dilation) ``r`` and padding ``p``; ``"same"`` is TensorFlow's, which puts
the odd pixel at the end. A sequence is an image of one row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan
from numbers import Real
from operator import index
from typing import Any, Literal

Pair = tuple[int, int]
Sizes = tuple[int | None, int | None]
Pads = tuple[Pair, Pair]
Padding = Literal["valid", "same"] | Pads
RowPadding = Literal["valid", "same", "causal"] | Pair
PairLike = int | Sequence[int]
"""A size, stride or rate as a user gives it: an int for both axes, or one an axis."""
PaddingLike = str | int | Sequence[int] | Sequence[Sequence[int]]
"""A padding as a user gives it: ``"valid"``, ``"same"``, of sequences ``"causal"``, or pixels."""

LARGEST = 2**31 - 1
"""What the sizes of kernels, strides, rates and images may be: TensorFlow's kernels count them in 32 bits."""

DATA_FORMATS = ("channels_last", "channels_first")


def integer(value: Any) -> int | None:
    """Return the int that `value` is (NumPy's ints too), or None for anything else, booleans and floats included.

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


def positive(value: Any, name: str) -> int:
    """Return `value` as an int of at least 1.

    Raises:
        ValueError: if it is anything else; the message starts with `name`.

    Examples:
        >>> positive(3, "filters")
        3
    """
    number = integer(value)
    if number is None or number < 1:
        raise ValueError(f"{name}: expected a positive int, got {value!r}")
    return number


def positive_number(value: Any, name: str) -> float:
    """Return `value`, an int or a float (NumPy's too), as a finite float greater than zero.

    Raises:
        ValueError: if it is anything else; the message starts with `name`.

    Examples:
        >>> positive_number(2, "tolerance")
        2.0
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    except OverflowError:
        number = inf
    if not 0 < number < inf:
        raise ValueError(f"{name}: expected a number greater than zero, got {value!r}")
    return number


def sides(value: Any, name: str) -> tuple[int | None, ...]:
    """Return the sizes of a shape without the batch as ints; None for one that is left open.

    Raises:
        ValueError: if it is anything else; the message starts with `name`.

    Examples:
        >>> sides([28, None, 1], "input_shape")
        (28, None, 1)
    """
    items = _plain(value)
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ValueError(f"{name}: expected sizes such as (H, W, C), got {value!r}")
    return tuple(None if side is None else positive(side, name) for side in items)


def _plain(value: Any) -> Any:
    """NumPy's arrays and numbers as Python's; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def pair(value: Any, name: str, *, minimum: int = 1) -> Pair:
    """Return an int, or a pair of ints (a sequence or a NumPy array), as a pair (rows, columns).

    Raises:
        ValueError: if an element is no int or is under `minimum`; the message starts with `name`.

    Examples:
        >>> pair(3, "kernel_size"), pair([1, 2], "strides")
        ((3, 3), (1, 2))
    """
    rows, columns = _ints(value, name, 2, minimum)
    return rows, columns


def single(value: Any, name: str, *, minimum: int = 1) -> tuple[int]:
    """Return a positive int, or a sequence of one, as a sequence of one: what a pair is to images.

    Raises:
        ValueError: if it is anything else; the message starts with `name`.

    Examples:
        >>> single(3, "kernel_size"), single([2], "strides")
        ((3,), (2,))
    """
    (number,) = _ints(value, name, 1, minimum)
    return (number,)


def _ints(value: Any, name: str, count: int, minimum: int) -> list[int]:
    value = _plain(value)
    items = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * count
    numbers = [n for n in map(integer, items) if n is not None and minimum <= n <= LARGEST]
    if not len(items) == len(numbers) == count:
        kind = "a positive int" if minimum == 1 else f"an int of at least {minimum}"
        if any((integer(item) or 0) > LARGEST for item in items):
            kind += " and at most 2**31 - 1"
        raise ValueError(f"{name}: expected {kind}{' or a pair of them' if count == 2 else ''}, got {value!r}")
    return numbers


def normalize_padding(padding: Any) -> Padding:
    """Return a padding as ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``.

    Args:
        padding: one of those, an int (all four sides) or a pair ``(ph, pw)`` (top and bottom, left and right); NumPy
            arrays too.

    Raises:
        ValueError: for anything else, negative numbers included.

    Examples:
        >>> normalize_padding("SAME"), normalize_padding(1), normalize_padding((0, 2))
        ('same', ((1, 1), (1, 1)), ((0, 0), (2, 2)))
    """
    padding = _plain(padding)
    if isinstance(padding, str):
        name = padding.lower()
        if name == "valid":
            return "valid"
        if name == "same":
            return "same"
    else:
        sides = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
        try:
            if len(sides) == 2:
                top_bottom, left_right = (pair(side, "padding", minimum=0) for side in sides)
                return top_bottom, left_right
        except ValueError:
            pass
    raise ValueError(
        "padding: expected 'valid', 'same', a non-negative int, (ph, pw) or ((top, bottom), (left, right)), "
        f"got {padding!r}"
    )


def normalize_row_padding(padding: Any) -> RowPadding:
    """Return the padding of a sequence as ``"valid"``, ``"same"``, ``"causal"`` or ``(before, after)``.

    ``"causal"`` is ``(k - 1)·r`` before and nothing after: no output sees an input that comes later.

    Args:
        padding: one of those, or an int (both sides); NumPy arrays too.

    Raises:
        ValueError: for anything else, negative numbers included.

    Examples:
        >>> normalize_row_padding("CAUSAL"), normalize_row_padding(1), normalize_row_padding((0, 2))
        ('causal', (1, 1), (0, 2))
    """
    padding = _plain(padding)
    if isinstance(padding, str):
        name = padding.lower()
        if name == "causal":
            return "causal"
        if name in ("valid", "same"):
            return "valid" if name == "valid" else "same"
    else:
        try:
            return pair(padding, "padding", minimum=0)
        except ValueError:
            pass
    raise ValueError(
        f"padding: expected 'valid', 'same', 'causal', a non-negative int or (before, after), got {padding!r}"
    )


def normalize_data_format(data_format: Any) -> str:
    """Return ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> normalize_data_format("channels_last")
        'channels_last'
    """
    if not isinstance(data_format, str) or data_format not in DATA_FORMATS:
        raise ValueError(f"data_format: expected one of {', '.join(map(repr, DATA_FORMATS))}, got {data_format!r}")
    return str(data_format)


def choose_rate(rate: Any, dilation_rate: Any, normalize: Callable[[Any, str], Any] = pair) -> Any:
    """Return the dilation that a user gave under either of its two names, 1 where neither is given.

    Args:
        rate, dilation_rate: what was given; None and 1 are nothing.
        normalize: `pair`, or `single` for a sequence.

    Raises:
        ValueError: if both are given and differ.

    Examples:
        >>> choose_rate(None, (1, 1)), choose_rate(2, (1, 1)), choose_rate(None, (1, 3))
        ((1, 1), (2, 2), (1, 3))
    """
    dilation = normalize(dilation_rate, "dilation_rate")
    if rate is None:
        return dilation
    chosen = normalize(rate, "rate")
    if dilation not in (normalize(1, "rate"), chosen):
        raise ValueError(f"rate: expected the same as dilation_rate where both are given, got {rate} and {dilation}")
    return chosen


def same_pads(size: int, kernel: int, stride: int, rate: int) -> Pair:
    """Return the (before, after) padding that TensorFlow's SAME puts along one axis.

    The output has ``ceil(i / s)`` elements; the total padding that this takes is split in two, the odd one after.

    Examples:
        >>> same_pads(4, kernel=3, stride=2, rate=1), same_pads(7, kernel=3, stride=1, rate=2)
        ((0, 1), (2, 2))
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * rate + 1 - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Window:
    """A sliding window: what a convolution is, apart from its channels.

    Attributes:
        kernel: rows and columns of the kernel.
        strides: steps of the window.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``.
        rate: dilation, the distance between neighbouring taps.
    """

    kernel: Pair
    strides: Pair
    padding: Padding
    rate: Pair

    @classmethod
    def of(cls, kernel: Any, strides: Any = 1, padding: Any = "valid", rate: Any = 1) -> "Window":
        """Make a window from arguments as a user writes them.

        Raises:
            ValueError: naming the argument that is wrong.

        Examples:
            >>> Window.of(3, strides=2, padding="same").output_size((5, 6))
            (3, 3)
        """
        return cls(
            pair(kernel, "kernel_size"), pair(strides, "strides"), normalize_padding(padding), pair(rate, "rate")
        )

    @classmethod
    def of_row(cls, kernel: Any, strides: Any = 1, padding: Any = "valid", rate: Any = 1) -> "Window":
        """Make the window of a sequence, an image of one row, from arguments as a user writes them.

        A row has no second row to step to, so rows may have the stride of the columns: more of TensorFlow's kernels are
        right for equal strides.

        Raises:
            ValueError: naming the argument that is wrong.

        Examples:
            >>> Window.of_row(3, rate=2, padding="causal").padding
            ((0, 0), (4, 0))
        """
        (k,), (s,), (r,) = single(kernel, "kernel_size"), single(strides, "strides"), single(rate, "rate")
        sides = normalize_row_padding(padding)
        if sides == "causal":
            sides = ((k - 1) * r, 0)
        return cls((1, k), (s, s), sides if isinstance(sides, str) else ((0, 0), sides), (1, r))

    @property
    def effective_kernel(self) -> Pair:
        """The extent of the dilated kernel, ``(k - 1)·r + 1`` a side."""
        return (self.kernel[0] - 1) * self.rate[0] + 1, (self.kernel[1] - 1) * self.rate[1] + 1

    def pads(self, size: Pair) -> Pads:
        """The padding in pixels, ``((top, bottom), (left, right))``, for an input of this size."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding == "same":
            rows, columns = (
                same_pads(i, k, s, r) for i, k, s, r in zip(size, self.kernel, self.strides, self.rate, strict=True)
            )
            return rows, columns
        return self.padding

    def output_size(self, size: Sizes) -> Sizes:
        """Rows and columns of the output; None where the input's are not known.

        Raises:
            ValueError: if a side of the output would have no element.
        """
        height, width = (self._output_side(size, axis) for axis in (0, 1))
        return height, width

    def _output_side(self, size: Sizes, axis: int) -> int | None:
        i, s, k = size[axis], self.strides[axis], self.effective_kernel[axis]
        if i is None:
            return None
        if self.padding == "same":
            out = -(-i // s)
        else:
            before, after = (0, 0) if self.padding == "valid" else self.padding[axis]
            if i + before + after > LARGEST:
                raise ValueError(f"padding: expected at most 2**31 - 1 pixels a side, got {self.padding} around {size}")
            out = (i + before + after - k) // s + 1
        if out < 1:
            raise ValueError(
                f"input size: expected at least the effective kernel {self.effective_kernel} under padding "
                f"{self.padding!r}, got {size}, which leaves an output of no size"
            )
        return out


def fixed_padding(kernel: Pair, rate: Pair = (1, 1)) -> Pads:
    """Return the padding of TF-slim's ``use_explicit_padding``: it depends on the kernel alone, never on the input.

    Examples:
        >>> fixed_padding((3, 3)), fixed_padding((3, 3), (2, 2))
        (((1, 1), (1, 1)), ((2, 2), (2, 2)))
    """
    rows, columns = ((((k - 1) * r) // 2, (k - 1) * r - ((k - 1) * r) // 2) for k, r in zip(kernel, rate, strict=True))
    return rows, columns
