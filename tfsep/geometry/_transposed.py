"""Geometry of transposed convolutions: the convolution that is transposed, and the output's size.

Formulas follow section 4 of "A guide to convolution arithmetic for deep learning" (arXiv 1603.07285).
"""

from dataclasses import replace
from typing import NamedTuple

from tfsep.geometry._padding import normalize_row_padding
from tfsep.geometry._sizes import PaddingLike, Pair, PairLike, Sizes, pair, single
from tfsep.geometry._window import Window


class Transposed(NamedTuple):
    """The geometry of a transposed convolution: an axis of size ``i`` gives ``(i - 1)·s + reach`` outputs.

    Attributes:
        window: window of the convolution that is transposed, with its padding in pixels.
        reach: rows and columns of output for an input of one pixel; under 1 if the padding crops more than that.
    """

    window: Window
    reach: Pair

    @classmethod
    def of(cls, window: Window, output_padding: PairLike | None = None) -> "Transposed":
        """Make the geometry of images, by the rules of Keras and, for padding in pixels, of PyTorch.

        With the effective kernel ``k' = (k - 1)·r + 1``, the output has, along each axis,

        - ``"valid"``: ``(i - 1)·s + max(k', s)``, or ``(i - 1)·s + k' + output_padding`` where that is given;
        - ``"same"``: ``i·s``, or ``(i - 1)·s + k' - 2·(k' // 2) + output_padding``;
        - pixels: ``(i - 1)·s + k' - before - after + output_padding``.

        Args:
            window: window of the convolution that is transposed.
            output_padding: additional rows and columns at the end, an int or a pair, each less than the stride; or
                None.

        Raises:
            ValueError: for an `output_padding` that is negative, or not less than the stride.

        Examples:
            >>> Transposed.of(Window.of(3, 2, padding=1), output_padding=1).output_size((7, None))
            (14, None)
        """
        more = None if output_padding is None else pair(output_padding, "output_padding", minimum=0)
        _check_output_padding(more, window.strides, output_padding)
        return cls._of(window, more)

    @classmethod
    def of_row(
        cls,
        kernel: PairLike,
        strides: PairLike = 1,
        padding: PaddingLike = "valid",
        rate: PairLike = 1,
        output_padding: PairLike | None = None,
    ) -> "Transposed":
        """Make the geometry of sequences, images of one row, from arguments as a caller writes them.

        Args:
            kernel: size of the kernel.
            strides: step of the window in the result.
            padding: ``"valid"``, ``"same"``, an int or ``(before, after)``; causal padding has no transpose.
            rate: dilation.
            output_padding: additional outputs at the end, less than the stride; or None.

        Raises:
            ValueError: for an argument out of range; the message names it.

        Examples:
            >>> Transposed.of_row(3, 2, padding=1, output_padding=1).output_size((1, 7))
            (1, 14)
        """
        window = Window.of_row(kernel, strides, normalize_row_padding(padding, causal=False), rate)
        more = None if output_padding is None else single(output_padding, "output_padding", minimum=0)
        strides = single(strides, "strides")
        _check_output_padding(more, strides, output_padding)
        # A stride between rows would put rows of zeros behind the only one.
        return cls._of(replace(window, strides=(1, *strides)), more and (0, *more))

    @classmethod
    def _of(cls, window: Window, more: Pair | None) -> "Transposed":
        """Make the geometry with its output padding as a pair."""
        pads, reach = zip(*(_transposed_side(window, axis, more and more[axis]) for axis in (0, 1)), strict=True)
        return cls(replace(window, padding=pads), reach)

    def output_size(self, size: Sizes) -> Sizes:
        """Return rows and columns of the output, None where the input's are not known.

        Args:
            size: rows and columns of the input.

        Raises:
            ValueError: if a side of the input or of the output would have no element.
        """
        rows, columns = (
            None if i is None else (i - 1) * s + reach
            for i, s, reach in zip(size, self.window.strides, self.reach, strict=True)
        )
        if any(n is not None and n < 1 for n in (*size, rows, columns)):
            least, padding, given = map(self.window.as_given, (self.smallest, self.window.padding, size))
            raise ValueError(
                f"input size: expected at least {least} under padding {padding}, got {given}, which leaves an output "
                "of no size"
            )
        return rows, columns

    @property
    def smallest(self) -> Pair:
        """Rows and columns of the smallest input that leaves an output."""
        rows, columns = (
            max(-(-(1 - reach) // s) + 1, 1) for s, reach in zip(self.window.strides, self.reach, strict=True)
        )
        return rows, columns


def _check_output_padding(more: tuple[int, ...] | None, strides: tuple[int, ...], given: PairLike | None) -> None:
    if more is not None and any(m >= s for m, s in zip(more, strides, strict=True)):
        raise ValueError(f"output_padding: expected less than the strides {strides}, got {given!r}")


def _transposed_side(window: Window, axis: int, more: int | None) -> tuple[Pair, int]:
    """The padding of the convolution that is transposed, and the outputs of one pixel, along one axis."""
    k, s = window.effective_kernel[axis], window.strides[axis]
    if window.padding == "valid":
        return (0, 0), max(k, s) if more is None else k + more
    if window.padding == "same":
        reach = s if more is None else k % 2 + more
        total = max(k - reach, 0)
        return (total // 2, total - total // 2), reach
    before, after = window.padding[axis]
    return (before, after), k - before - after + (more or 0)
