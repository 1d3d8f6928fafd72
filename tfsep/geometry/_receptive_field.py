"""What an output of a stack of convolutions sees of the input: how far, where, and whether with holes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import gcd, prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tfsep.geometry._window import Pair, Window, pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTED = 2**14
"""Pixels a side of a receptive field that are counted one by one."""

Rate = int | Pair


@dataclass(frozen=True)
class ReceptiveField:
    """The region of the input that one output of a stack of layers depends on.

    Attributes:
        size: its rows and columns.
        stride: pixels between the regions of neighbouring outputs, the product of the strides ("jump").
        padding: rows above and columns left of the image that the first output's region begins with.
    """

    size: Pair
    stride: Pair
    padding: Pair

    def region(self, row: int, column: int) -> tuple[Pair, Pair]:
        """Return the first and last row, and the first and last column, that an output sees; some may be padding.

        Examples:
            >>> receptive_field([1, 2], padding="same").region(0, 4)
            ((-3, 3), (1, 7))
        """
        rows, columns = (
            (at * stride - before, at * stride - before + size - 1)
            for at, size, stride, before in zip((row, column), self.size, self.stride, self.padding, strict=True)
        )
        return rows, columns

    def center(self, row: int, column: int) -> tuple[float, float]:
        """Return the row and column in the middle of what an output sees.

        Examples:
            >>> receptive_field([1, 2], padding="same").center(0, 4)
            (0.0, 4.0)
        """
        (top, bottom), (left, right) = self.region(row, column)
        return (top + bottom) / 2, (left + right) / 2


def receptive_field(layers: Iterable[Any], kernel: Any = 3, padding: Any = "valid", size: Any = None) -> ReceptiveField:
    """Return what an output of a stack of layers sees of the input.

    ``size = 1 + sum of (k - 1)·r·S``, where S is the product of the strides before a layer, and the paddings add up as
    ``sum of p·S``.

    Args:
        layers: definitions (`tfsep.Conv`, `tfsep.DepthSepConv`, or anything with kernel, stride and rate), from the
            input on; or rates, ints or pairs, of layers with stride 1.
        kernel: of layers that are given by their rates.
        padding: of every layer, as `normalize_padding` takes it.
        size: rows and columns of the input. Only ``"same"`` beside a stride needs it, as it pads by the size.

    Raises:
        ValueError: if there is no layer, an argument is no positive int, or a size is needed, or too small.

    Source: A. Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019), equations 2
    to 4.

    Examples:
        >>> receptive_field([1, 2, 4])
        ReceptiveField(size=(15, 15), stride=(1, 1), padding=(0, 0))
        >>> from tfsep import MOBILENETV1_CONV_DEFS
        >>> receptive_field(MOBILENETV1_CONV_DEFS, padding="same", size=224)
        ReceptiveField(size=(315, 315), stride=(32, 32), padding=(126, 126))
    """
    at = None if size is None else pair(size, "size")
    seen, stride, before = [1, 1], [1, 1], [0, 0]
    for kernel_size, step, rate in _windows(layers, kernel):
        window = Window.of(kernel_size, step, padding, rate)
        if window.padding == "same" and window.strides != (1, 1) and at is None:
            raise ValueError(f"size: expected (H, W) for padding 'same' beside stride {window.strides}, got None")
        # At stride 1 the padding does not depend on the size, and any will do.
        pads = window.pads(at or (1, 1))
        for axis in (0, 1):
            seen[axis] += (window.effective_kernel[axis] - 1) * stride[axis]
            before[axis] += pads[axis][0] * stride[axis]
            stride[axis] *= window.strides[axis]
        at = None if at is None else window.output_size(at)  # type: ignore[assignment]
    return ReceptiveField((seen[0], seen[1]), (stride[0], stride[1]), (before[0], before[1]))


def coverage(rates: Iterable[Rate], kernel: Any = 3) -> "NDArray[Any]":
    """Count how many times each pixel of the input feeds one output of a stack of dilated convolutions.

    The number of paths from the pixel to the output, or what the stack gives for an impulse where every weight is one.
    A pixel of 0 is a hole: the output does not depend on it. Rows and columns are independent, so the array is the
    outer product of the counts along each.

    Args:
        rates: of the layers, ints or pairs (rows, columns), from the input on; the strides are 1.
        kernel: rows and columns, an int or a pair.

    Returns:
        An int64 array of the size of the receptive field, the output at its middle.

    Raises:
        ValueError: if there is no rate, a number is no positive int, or there is too much to count.

    Source: P. Wang et al., "Understanding Convolution for Semantic Segmentation" (arXiv 1702.08502), section 3.2.

    Examples:
        >>> coverage([2, 2])
        array([[1, 0, 2, 0, 3, 0, 2, 0, 1],
               [0, 0, 0, 0, 0, 0, 0, 0, 0],
               [2, 0, 4, 0, 6, 0, 4, 0, 2],
               [0, 0, 0, 0, 0, 0, 0, 0, 0],
               [3, 0, 6, 0, 9, 0, 6, 0, 3],
               [0, 0, 0, 0, 0, 0, 0, 0, 0],
               [2, 0, 4, 0, 6, 0, 4, 0, 2],
               [0, 0, 0, 0, 0, 0, 0, 0, 0],
               [1, 0, 2, 0, 3, 0, 2, 0, 1]])
    """
    import numpy as np

    stack, taps = _rates(rates), pair(kernel, "kernel")
    if prod(taps) ** len(stack) >= 2**63:
        raise ValueError(f"rates: expected fewer layers of kernel {taps}, whose paths 64 bits count, got {len(stack)}")
    rows, columns = (_counts([rate[axis] for rate in stack], taps[axis]) for axis in (0, 1))
    return np.outer(np.array(rows, np.int64), np.array(columns, np.int64))


@dataclass(frozen=True)
class RatesCheck:
    """What a stack of dilated convolutions leaves out of its receptive field.

    Attributes:
        rates: that were checked, one a layer, pairs (rows, columns).
        kernel: rows and columns.
        size: of the receptive field.
        holes: pixels of it that no output depends on.
        largest_hole: the longest run of rows, and of columns, that are left out.
        common_divisor: of the rates, along rows and along columns. Over 1, outputs side by side share no pixel.
        distance: the paper's M2, the largest distance between pixels that the layers behind the first look at. Its rule
            is M2 ≤ kernel. That takes the first rate for 1 and looks at the rates in their order, so what it says and
            what is there can differ; `holes` is what is there.
        suggestion: rates without a common divisor that leave no hole, whose receptive field is the same or, where no so
            many layers reach it, the largest; the given rates where those leave none.
    """

    rates: tuple[Pair, ...]
    kernel: Pair
    size: Pair
    holes: int
    largest_hole: Pair
    common_divisor: Pair
    distance: Pair
    suggestion: tuple[Rate, ...]

    @property
    def complete(self) -> bool:
        """Whether every pixel of the receptive field is seen."""
        return not self.holes

    def __str__(self) -> str:
        """Say it in a sentence."""
        field = f"rates {_shown(self.rates)}, kernel {_short(self.kernel)}: receptive field {_by(self.size)}"
        if self.complete:
            return f"{field}, no holes"
        return (
            f"{field}, {self.holes:,} of its {prod(self.size):,} pixels never seen, in holes up to "
            f"{self.largest_hole[0]}×{self.largest_hole[1]} pixels, common divisor "
            f"{_short(self.common_divisor)}; try {_shown(self.suggestion)}"
        )


def check_rates(rates: Iterable[Rate], kernel: Any = 3) -> RatesCheck:
    """Say whether a stack of dilated convolutions leaves holes in what an output sees, and which rates would not.

    Sorted, rates leave no hole just where each is at most the receptive field of those before it: a smaller one cannot
    fill the gap, a larger one goes beyond it. Of the rates that fit, with the same sum and so the same receptive field,
    those are suggested whose largest is smallest.

    Args:
        rates, kernel: as in `coverage`.

    Raises:
        ValueError: as `coverage`.

    Source: P. Wang et al., "Understanding Convolution for Semantic Segmentation" (arXiv 1702.08502), section 3.2 and
    equation 2 (hybrid dilated convolution).

    Examples:
        >>> check = check_rates([2, 2, 2])
        >>> check.holes, check.largest_hole, check.common_divisor, check.suggestion
        (120, (1, 1), (2, 2), (1, 2, 3))
        >>> print(check_rates([1, 2, 5]))
        rates (1, 2, 5), kernel 3: receptive field 17×17, no holes
    """
    stack, taps = _rates(rates), pair(kernel, "kernel")
    rows, columns = (_Axis.of([rate[axis] for rate in stack], taps[axis]) for axis in (0, 1))
    suggestion = zip(rows.suggestion, columns.suggestion, strict=True)
    return RatesCheck(
        stack,
        taps,
        (rows.size, columns.size),
        rows.size * columns.size - rows.seen * columns.seen,
        (rows.largest_hole, columns.largest_hole),
        (rows.divisor, columns.divisor),
        (rows.distance, columns.distance),
        tuple(row if row == column else (row, column) for row, column in suggestion),
    )


class _Axis(NamedTuple):
    """What `RatesCheck` says, along one axis; `seen` is how many of `size` pixels are no hole."""

    size: int
    seen: int
    largest_hole: int
    divisor: int
    distance: int
    suggestion: list[int]

    @classmethod
    def of(cls, rates: list[int], taps: int) -> "_Axis":
        """Check the rates of one axis, by counting."""
        counts = _counts(rates, taps)
        holes = [len(list(run)) for seen, run in groupby(counts, bool) if not seen]
        suggestion = _without_holes(rates, taps) if holes else rates
        seen = len(counts) - sum(holes)
        return cls(len(counts), seen, max(holes, default=0), gcd(*rates), _distance(rates), suggestion)


def _windows(layers: Iterable[Any], kernel: Any) -> list[tuple[Any, Any, Any]]:
    """Kernel, stride and rate of each layer, of which some may be given by their rate alone."""
    if not isinstance(layers, Iterable):
        raise ValueError(f"layers: expected a sequence of definitions or rates, got {layers!r}")
    found = [
        (layer.kernel, layer.stride, layer.rate) if hasattr(layer, "kernel") else (kernel, 1, pair(layer, "layers"))
        for layer in layers
    ]
    if not found:
        raise ValueError("layers: expected at least one definition or rate, got none")
    return found


def _rates(rates: Any) -> tuple[Pair, ...]:
    if not isinstance(rates, Iterable) or isinstance(rates, str):
        raise ValueError(f"rates: expected a sequence of positive ints or pairs of them, got {rates!r}")
    stack = tuple(pair(rate, "rates") for rate in rates)
    if not stack:
        raise ValueError("rates: expected at least one, got none")
    return stack


def _counts(rates: list[int], taps: int) -> list[int]:
    """The number of paths to an output from each pixel of its receptive field, along one axis."""
    size = 1 + (taps - 1) * sum(rates)
    if size > COUNTED:
        raise ValueError(f"rates: expected a receptive field of at most {COUNTED:,} pixels a side, got {size:,}")
    counts = [1]
    for rate in rates:
        before, counts = counts, [0] * (len(counts) + (taps - 1) * rate)
        for tap in range(taps):
            for place, count in enumerate(before, tap * rate):
                counts[place] += count
    return counts


def _distance(rates: list[int]) -> int:
    """The paper's M2: ``M_i = max(M_(i+1) - 2·r_i, 2·r_i - M_(i+1), r_i)`` from ``M_n = r_n`` on."""
    *others, distance = rates[1:] or rates
    for rate in reversed(others):
        distance = max(abs(distance - 2 * rate), rate)
    return distance


def _without_holes(rates: list[int], taps: int) -> list[int]:
    """As many rates that leave no hole, with the sum of these or the nearest to it, and of those the most even."""
    limit, wanted = 1, sum(rates)
    while sum(fitting := _up_to(limit, len(rates), taps)) < wanted and fitting[-1] == limit:
        limit += 1
    # Fewer are too many than are at the limit, for with one less for each of these there were too few.
    excess = max(sum(fitting) - wanted, 0)
    at_limit = fitting.index(fitting[-1])
    return [rate - (at_limit <= i < at_limit + excess) for i, rate in enumerate(fitting)]


def _up_to(limit: int, count: int, taps: int) -> list[int]:
    """The largest rates that leave no hole and are at most this."""
    fitting: list[int] = []
    for _ in range(count):
        fitting.append(min(limit, 1 + (taps - 1) * sum(fitting)))
    return fitting


def _by(size: Pair) -> str:
    return f"{size[0]}×{size[1]}"


def _short(value: Rate) -> str:
    """A pair, or one number for two that are equal."""
    return str(value[0] if isinstance(value, tuple) and value[0] == value[1] else value)


def _shown(rates: tuple[Rate, ...]) -> str:
    return f"({', '.join(map(_short, rates))})"
