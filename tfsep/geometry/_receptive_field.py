"""Receptive fields of stacks of convolutions: their size, their position, and the holes in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import gcd, prod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from tfsep.geometry._sizes import PaddingLike, Pair, PairLike, pair
from tfsep.geometry._window import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COUNTED = 2**14
"""The upper limit of the pixels along one axis of a receptive field, which are counted one by one."""

Rate: TypeAlias = int | Pair


class Definition(Protocol):
    """A layer of a network's definition, such as `tfsep.Conv`."""

    @property
    def kernel(self) -> PairLike: ...
    @property
    def stride(self) -> PairLike: ...
    @property
    def rate(self) -> PairLike: ...


@dataclass(frozen=True)
class ReceptiveField:
    """The region of the input that one output of a stack of layers depends on.

    Attributes:
        size: rows and columns of the region.
        stride: pixels between the regions of neighbouring outputs, the product of the strides ("jump").
        padding: rows above and columns left of the image at the beginning of the first output's region.

    Examples:
        >>> field = receptive_field([1, 2], padding="same")
        >>> field.region(0, 4), field.center(0, 4)
        (((-3, 3), (1, 7)), (0.0, 4.0))
    """

    size: Pair
    stride: Pair
    padding: Pair

    def region(self, row: int, column: int) -> tuple[Pair, Pair]:
        """Return the first and last row, and the first and last column, of an output's region; some may be padding.

        Args:
            row: row of the output.
            column: column of the output.
        """
        rows, columns = (
            (at * stride - before, at * stride - before + size - 1)
            for at, size, stride, before in zip((row, column), self.size, self.stride, self.padding, strict=True)
        )
        return rows, columns

    def center(self, row: int, column: int) -> tuple[float, float]:
        """Return row and column of the middle of an output's region.

        Args:
            row: row of the output.
            column: column of the output.
        """
        (top, bottom), (left, right) = self.region(row, column)
        return (top + bottom) / 2, (left + right) / 2


def receptive_field(
    layers: Iterable[Definition | Rate],
    kernel: PairLike = 3,
    padding: PaddingLike = "valid",
    size: PairLike | None = None,
) -> ReceptiveField:
    """Compute the receptive field of a stack of layers.

    ``size = 1 + sum of (k - 1)·r·S``, where S is the product of the strides before a layer, and the paddings add up to
    ``sum of p·S``.

    Args:
        layers: definitions (`tfsep.Conv`, `tfsep.DepthSepConv`, or anything with kernel, stride and rate), from the
            input on; or rates, ints or pairs, of layers with stride 1.
        kernel: kernel size of layers that are given by their rates, an int or a pair.
        padding: padding of every layer: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left,
            right))``.
        size: rows and columns of the input, an int or a pair; needed only for ``"same"`` with a stride, which pads
            depending on the size.

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


def coverage(rates: Iterable[Rate], kernel: PairLike = 3) -> "NDArray[np.int64]":
    """Count how many times each pixel of the input feeds one output of a stack of dilated convolutions.

    This is the number of paths from the pixel to the output, or the stack's impulse response if every weight is one. A
    count of 0 is a hole: the output does not depend on the pixel. Rows and columns are independent, so the array is
    the outer product of the counts along each.

    Args:
        rates: rates of the layers, ints or pairs (rows, columns), from the input on; the strides are 1.
        kernel: rows and columns, an int or a pair.

    Returns:
        An int64 array of the size of the receptive field, the output at its middle.

    Raises:
        ValueError: if there is no rate, a number is no positive int, or the receptive field or a count is too large.

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
    """The holes in the receptive field of a stack of dilated convolutions.

    Attributes:
        rates: the rates checked, a pair (rows, columns) for each layer.
        kernel: rows and columns of the kernel.
        size: rows and columns of the receptive field.
        holes: number of its pixels that the output does not depend on.
        largest_hole: the longest run of rows, and of columns, that are left out.
        common_divisor: greatest common divisor of the rates, along rows and along columns. Above 1, neighbouring
            outputs share no pixel.
        distance: the paper's M2, the largest distance between the pixels that the layers after the first use. The
            paper's rule is M2 ≤ kernel. It assumes a first rate of 1 and depends on the order of the rates, so it can
            differ from the exact count in `holes`.
        suggestion: rates without a common divisor that leave no hole, with the same receptive field or, if so many
            layers cannot reach it, the largest; the given rates if they leave no hole.
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
        """Whether the output depends on every pixel of the receptive field."""
        return not self.holes

    def __str__(self) -> str:
        """Return the check as a sentence."""
        field = f"rates {_shown(self.rates)}, kernel {_short(self.kernel)}: receptive field {_by(self.size)}"
        if self.complete:
            return f"{field}, no holes"
        return (
            f"{field}, {self.holes:,} of its {prod(self.size):,} pixels never seen, in holes up to "
            f"{self.largest_hole[0]}×{self.largest_hole[1]} pixels, common divisor "
            f"{_short(self.common_divisor)}; try {_shown(self.suggestion)}"
        )


def check_rates(rates: Iterable[Rate], kernel: PairLike = 3) -> RatesCheck:
    """Check whether a stack of dilated convolutions leaves holes in its receptive field, and suggest rates without.

    Sorted rates leave no hole if and only if each is at most the receptive field of those before it: larger rates skip
    pixels that no smaller one fills in. Among the rates without holes that have the same sum, and so the same receptive
    field, those with the smallest maximum are suggested.

    Args:
        rates: rates of the layers, ints or pairs (rows, columns), from the input on; the strides are 1.
        kernel: rows and columns, an int or a pair.

    Raises:
        ValueError: if there is no rate, a number is no positive int, or the receptive field is too large to count.

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
    """The fields of `RatesCheck` along one axis; `seen` is the number of its `size` pixels that are no hole."""

    size: int
    seen: int
    largest_hole: int
    divisor: int
    distance: int
    suggestion: list[int]

    @classmethod
    def of(cls, rates: list[int], taps: int) -> "_Axis":
        """Check the rates of one axis."""
        counts = _counts(rates, taps)
        holes = [len(list(run)) for seen, run in groupby(counts, bool) if not seen]
        suggestion = _without_holes(rates, taps) if holes else rates
        seen = len(counts) - sum(holes)
        return cls(len(counts), seen, max(holes, default=0), gcd(*rates), _distance(rates), suggestion)


def _windows(layers: Iterable[Definition | Rate], kernel: PairLike) -> list[tuple[PairLike, PairLike, PairLike]]:
    """Kernel, stride and rate of each layer; some may be given by their rate alone."""
    if not isinstance(layers, Iterable):
        raise ValueError(f"layers: expected a sequence of definitions or rates, got {layers!r}")
    given: list[Any] = list(layers)
    found = [
        (layer.kernel, layer.stride, layer.rate) if hasattr(layer, "kernel") else (kernel, 1, pair(layer, "layers"))
        for layer in given
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
    """The same number of rates without holes, of the same sum or the nearest to it, as even as possible."""
    limit, wanted = 1, sum(rates)
    while sum(fitting := _up_to(limit, len(rates), taps)) < wanted and fitting[-1] == limit:
        limit += 1
    # The excess is less than the number of rates at the limit: with all of these one less, the sum was too small.
    excess = max(sum(fitting) - wanted, 0)
    at_limit = fitting.index(fitting[-1])
    return [rate - (at_limit <= i < at_limit + excess) for i, rate in enumerate(fitting)]


def _up_to(limit: int, count: int, taps: int) -> list[int]:
    """The largest rates without holes that are at most `limit`."""
    fitting: list[int] = []
    for _ in range(count):
        fitting.append(min(limit, 1 + (taps - 1) * sum(fitting)))
    return fitting


def _by(size: Pair) -> str:
    return f"{size[0]}×{size[1]}"


def _short(value: Rate) -> str:
    """A pair, or one number if both are equal."""
    return str(value[0] if isinstance(value, tuple) and value[0] == value[1] else value)


def _shown(rates: tuple[Rate, ...]) -> str:
    return f"({', '.join(map(_short, rates))})"
