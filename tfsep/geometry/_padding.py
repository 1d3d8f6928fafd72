"""Paddings, layouts and dilations of convolutions, brought to one form."""

from collections.abc import Callable, Sequence
from typing import Any

from tfsep.geometry._sizes import Padding, PaddingLike, Pads, Pair, PairLike, RowPadding, as_python, pair

DATA_FORMATS = ("channels_last", "channels_first")


def normalize_padding(padding: PaddingLike) -> Padding:
    """Return the padding of images as ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``.

    Args:
        padding: one of those, an int (all four sides) or a pair ``(ph, pw)`` (top and bottom, left and right); a
            sequence may be a NumPy array.

    Raises:
        ValueError: for anything else, negative numbers included.

    Examples:
        >>> normalize_padding("SAME"), normalize_padding(1), normalize_padding((0, 2))
        ('same', ((1, 1), (1, 1)), ((0, 0), (2, 2)))
    """
    padding = as_python(padding)
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


def normalize_row_padding(padding: PaddingLike, *, causal: bool = True) -> RowPadding:
    """Return the padding of a sequence as ``"valid"``, ``"same"``, ``"causal"`` or ``(before, after)``.

    ``"causal"`` is ``(k - 1)·r`` before and nothing after: no output depends on a later input.

    Args:
        padding: one of those, or an int (both sides); a pair may be a NumPy array.
        causal: whether ``"causal"`` is allowed; it has no transpose.

    Raises:
        ValueError: for anything else, negative numbers included.

    Examples:
        >>> normalize_row_padding("CAUSAL"), normalize_row_padding(1), normalize_row_padding((0, 2))
        ('causal', (1, 1), (0, 2))
    """
    padding = as_python(padding)
    if isinstance(padding, str):
        name = padding.lower()
        if name == "causal" and causal:
            return "causal"
        if name in ("valid", "same"):
            return "valid" if name == "valid" else "same"
    else:
        try:
            return pair(padding, "padding", minimum=0)
        except ValueError:
            pass
    named = "'valid', 'same', 'causal'" if causal else "'valid', 'same'"
    raise ValueError(f"padding: expected {named}, a non-negative int or (before, after), got {padding!r}")


def normalize_data_format(data_format: str) -> str:
    """Check a data format.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Returns:
        The same string.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> normalize_data_format("channels_last")
        'channels_last'
    """
    if not isinstance(data_format, str) or data_format not in DATA_FORMATS:
        raise ValueError(f"data_format: expected one of {', '.join(map(repr, DATA_FORMATS))}, got {data_format!r}")
    return str(data_format)


def choose_rate(
    rate: PairLike | None,
    dilation_rate: PairLike,
    normalize: Callable[[Any, str], tuple[int, ...]] = pair,
) -> tuple[int, ...]:
    """Return the dilation given under either of its two names, 1 if neither is given.

    Args:
        rate: the dilation under this library's name; None if not given.
        dilation_rate: the dilation under Keras's name; 1 if not given.
        normalize: `pair` for images, `single` for sequences.

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
    """Return the (before, after) padding of TensorFlow's SAME along one axis.

    The output has ``ceil(i / s)`` elements. The total padding that this takes is halved, an odd pixel goes after.

    Args:
        size: size of the input, i.
        kernel: number of taps, k.
        stride: step of the window, s.
        rate: dilation, r.

    Examples:
        >>> same_pads(4, kernel=3, stride=2, rate=1), same_pads(7, kernel=3, stride=1, rate=2)
        ((0, 1), (2, 2))
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * rate + 1 - size, 0)
    return total // 2, total - total // 2


def fixed_padding(kernel: Pair, rate: Pair = (1, 1)) -> Pads:
    """Return the padding of TF-slim's ``use_explicit_padding``, which depends on the kernel only, not on the input.

    Args:
        kernel: rows and columns.
        rate: dilation along rows and columns.

    Examples:
        >>> fixed_padding((3, 3)), fixed_padding((3, 3), (2, 2))
        (((1, 1), (1, 1)), ((2, 2), (2, 2)))
    """
    rows, columns = ((((k - 1) * r) // 2, (k - 1) * r - ((k - 1) * r) // 2) for k, r in zip(kernel, rate, strict=True))
    return rows, columns
