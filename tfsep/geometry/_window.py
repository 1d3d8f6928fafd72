"""A convolution's window: kernel, strides, padding and rate, and the output sizes that they give.

A caller's arguments (``3``, ``(3, 5)``, ``"same"``, ``((0, 1), (0, 1))``) are normalised once, by `Window.of`; all code
behind it sees pairs of positive ints.

Formulas follow Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (arXiv 1603.07285), with input
size ``i``, kernel ``k``, stride ``s``, rate (dilation) ``r`` and padding ``p``; ``"same"`` is TensorFlow's, with the
odd pixel at the end. A sequence is an image of one row.
"""

from dataclasses import dataclass, field
from typing import Any

from tfsep.geometry._padding import normalize_padding, normalize_row_padding, same_pads
from tfsep.geometry._sizes import LARGEST, Padding, PaddingLike, Pads, Pair, PairLike, Sizes, pair, single


@dataclass(frozen=True)
class Window:
    """A sliding window: a convolution's geometry, without its channels.

    Attributes:
        kernel: rows and columns of the kernel.
        strides: step of the window, along rows and columns.
        padding: ``"valid"``, ``"same"`` or ``((top, bottom), (left, right))``.
        rate: dilation, the distance between neighbouring taps, along rows and columns.
        rank: the number of spatial axes of the caller's tensors, 1 for a sequence; only errors depend on it.
    """

    kernel: Pair
    strides: Pair
    padding: Padding
    rate: Pair
    rank: int = field(default=2, compare=False, repr=False)

    @classmethod
    def of(
        cls, kernel: PairLike, strides: PairLike = 1, padding: PaddingLike = "valid", rate: PairLike = 1
    ) -> "Window":
        """Make the window of images from arguments as a caller writes them.

        Args:
            kernel: rows and columns of the kernel, an int or a pair.
            strides: step of the window, an int or a pair.
            padding: ``"valid"``, ``"same"``, an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
            rate: dilation, an int or a pair.

        Raises:
            ValueError: for an argument out of range; the message names it.

        Examples:
            >>> Window.of(3, strides=2, padding="same").output_size((5, 6))
            (3, 3)
        """
        return cls(
            pair(kernel, "kernel_size"), pair(strides, "strides"), normalize_padding(padding), pair(rate, "rate")
        )

    @classmethod
    def of_row(
        cls, kernel: PairLike, strides: PairLike = 1, padding: PaddingLike = "valid", rate: PairLike = 1
    ) -> "Window":
        """Make the window of sequences, images of one row, from arguments as a caller writes them.

        The stride of the columns is used for the single row, too, where it has no effect: more of TensorFlow's kernels
        are right for equal strides.

        Args:
            kernel: size of the kernel.
            strides: step of the window.
            padding: ``"valid"``, ``"same"``, ``"causal"``, an int or ``(before, after)``.
            rate: dilation.

        Raises:
            ValueError: for an argument out of range; the message names it.

        Examples:
            >>> Window.of_row(3, rate=2, padding="causal").padding
            ((0, 0), (4, 0))
        """
        (k,), (s,), (r,) = single(kernel, "kernel_size"), single(strides, "strides"), single(rate, "rate")
        sides = normalize_row_padding(padding)
        if sides == "causal":
            sides = ((k - 1) * r, 0)
        return cls((1, k), (s, s), sides if isinstance(sides, str) else ((0, 0), sides), (1, r), rank=1)

    @property
    def effective_kernel(self) -> Pair:
        """Rows and columns of the dilated kernel, ``(k - 1)·r + 1`` along each axis."""
        return (self.kernel[0] - 1) * self.rate[0] + 1, (self.kernel[1] - 1) * self.rate[1] + 1

    def as_given(self, value: Any) -> Any:
        """Return sizes, strides or padding as the caller wrote them: of a sequence, without the row.

        Args:
            value: one of rows and one of columns, or the name of a padding.

        Examples:
            >>> Window.of_row(3).as_given((1, 3)), Window.of(3).as_given((1, 3))
            (3, (1, 3))
        """
        return value if self.rank == 2 or isinstance(value, str) else value[1]

    def pads(self, size: Pair) -> Pads:
        """Return the padding in pixels, ``((top, bottom), (left, right))``.

        Args:
            size: rows and columns of the input, on which only ``"same"`` depends.
        """
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding == "same":
            rows, columns = (
                same_pads(i, k, s, r) for i, k, s, r in zip(size, self.kernel, self.strides, self.rate, strict=True)
            )
            return rows, columns
        return self.padding

    def output_size(self, size: Sizes) -> Sizes:
        """Return rows and columns of the output, None where the input's are not known.

        Args:
            size: rows and columns of the input.

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
                padding, given = map(self.as_given, (self.padding, size))
                raise ValueError(f"padding: expected at most 2**31 - 1 a side, got {padding} around {given}")
            out = (i + before + after - k) // s + 1
        if out < 1:
            least, padding, given = map(self.as_given, (self.effective_kernel, self.padding, size))
            raise ValueError(
                f"input size: expected at least the effective kernel {least} under padding {padding!r}, got {given}, "
                "which leaves an output of no size"
            )
        return out
