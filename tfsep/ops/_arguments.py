"""Argument checks of the public ops: tensors and windows, checked once and brought to one form.

Behind these checks all images and filters have rank 4: a sequence is an image of one row. `rank` is the number of
spatial axes of the caller's tensors, 2 for images and 1 for sequences.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep._utils.arguments import positive_int
from tfsep.geometry import PaddingLike, PairLike, Transposed, Window
from tfsep.geometry._padding import normalize_data_format
from tfsep.ops._pixel_layout import ensure_channels

_SIDES = {1: "L", 2: "H, W"}
_TAPS = {1: "k", 2: "kh, kw"}


class WindowArguments(NamedTuple):
    """A window as a caller writes it; the filter gives its kernel size."""

    strides: PairLike
    padding: PaddingLike
    rate: PairLike

    def parse(self, taps: tuple[int, int], rank: int) -> Window:
        """Return the window of a filter with so many taps (rows, columns)."""
        return Window.of_row(taps[1], *self) if rank == 1 else Window.of(taps, *self)


class TransposedArguments(NamedTuple):
    """A transposed window as a caller writes it; the filter gives its kernel size."""

    strides: PairLike
    padding: PaddingLike
    rate: PairLike
    output_padding: PairLike | None

    def parse(self, taps: tuple[int, int], rank: int) -> Transposed:
        """Return the geometry of a transposed convolution with so many taps (rows, columns)."""
        if rank == 1:
            return Transposed.of_row(taps[1], *self)
        return Transposed.of(Window.of(taps, self.strides, self.padding, self.rate), self.output_padding)


WindowLike: TypeAlias = Window | WindowArguments
TransposedLike: TypeAlias = Transposed | TransposedArguments


def to_tensor(value: TensorLike, name: str, rank: int, axes: str, like: Tensor | None = None) -> Tensor:
    """Return `value` as a floating tensor of this rank; a list or float takes the dtype of `like`.

    Raises:
        ValueError: for another rank.
        TypeError: for what is no tensor, a dtype that is not floating, or not that of `like`.
    """
    hint = like.dtype if like is not None and isinstance(value, list | tuple | float) else None
    try:
        value = tf.convert_to_tensor(value, dtype_hint=hint)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a tensor or a full array, got {type(value).__name__}") from error
    if not value.dtype.is_floating:
        raise TypeError(f"{name}: expected a floating dtype, got {value.dtype.name}")
    if like is not None and value.dtype != like.dtype:
        raise TypeError(f"{name}: expected the dtype of x, {like.dtype.name}, got {value.dtype.name}")
    if value.shape.rank is not None and value.shape.rank != rank:
        raise ValueError(f"{name}: expected rank {rank}, {axes}, got shape {tuple(value.shape)}")
    # Where a graph does not know the rank, that is checked when it runs.
    return value if value.shape.rank is not None else tf.ensure_shape(value, [None] * rank)


def to_nhwc(x: TensorLike, data_format: str, rank: int = 2, name: str = "x", like: Tensor | None = None) -> Tensor:
    """Return images or sequences as a floating NHWC tensor of rank 4, of the dtype of `like` where that is given.

    Raises:
        ValueError: for another rank, or no channels; the message starts with `name`.
        TypeError: for what is no tensor, a dtype that is not floating, or not that of `like`.
    """
    last = normalize_data_format(data_format) == "channels_last"
    axes = f"(N, {_SIDES[rank]}, C)" if last else f"(N, C, {_SIDES[rank]})"
    x = to_tensor(x, name, rank + 2, axes, like)
    if x.shape[rank + 1 if last else 1] == 0:
        raise ValueError(f"{name}: expected {axes} with at least one channel, got shape {tuple(x.shape)}")
    x = x if last else tf.transpose(x, [0, *range(2, rank + 2), 1])
    return x if rank == 2 else tf.expand_dims(x, 1)


def from_nhwc(y: Tensor, data_format: str, rank: int = 2) -> Tensor:
    """Return an NHWC result in the caller's layout."""
    y = y if rank == 2 else tf.squeeze(y, 1)
    return y if data_format == "channels_last" else tf.transpose(y, [0, rank + 1, *range(1, rank + 1)])


def checked_filter(value: TensorLike, name: str, channels: str, x: Tensor | None = None, rank: int = 2) -> Tensor:
    """Return a filter as a tensor of rank 4 with known, positive dimensions.

    Args:
        value: the caller's filter.
        name: name of the argument.
        channels: the last two axes in words, such as ``"C, M"``.
        x: the image, whose dtype the filter must have; None for any dtype.
        rank: number of spatial axes.

    Raises:
        ValueError: for another rank, or a dimension of 0 or unknown.
        TypeError: for what is no tensor, a dtype that is not floating, or not that of `x`.
    """
    axes = f"({_TAPS[rank]}, {channels})"
    value = to_tensor(value, name, rank + 2, axes, like=x)
    if not value.shape.is_fully_defined() or 0 in value.shape:
        raise ValueError(f"{name}: expected known, positive dimensions {axes}, got {tuple(value.shape)}")
    return value if rank == 2 else tf.expand_dims(value, 0)


def standard_operands(x: TensorLike, filter: TensorLike, data_format: str, rank: int) -> tuple[Tensor, Tensor]:
    """Return the NHWC image and the filter (kh, kw, C / groups, F) of a standard convolution.

    Raises:
        ValueError: for another rank, dimensions of 0, or groups that do not divide both C and F.
        TypeError: for a dtype that is not floating, or that differs between x and filter.
    """
    x = to_nhwc(x, data_format, rank)
    filter = checked_filter(filter, "filter", "C / groups, F", x, rank)
    x = ensure_channels(x, filter.shape[2])
    check_groups(filter, x.shape[3], rank)
    return x, filter


def check_groups(filter: Tensor, channels: int, rank: int = 2) -> None:
    """Check a filter (kh, kw, C / groups, F) against the channels of an image.

    Raises:
        ValueError: if the number of groups that its shape implies does not divide both C and F.
    """
    per_group, filters = filter.shape[2:]
    if channels % per_group or filters % (channels // per_group):
        raise ValueError(
            f"filter: expected ({_TAPS[rank]}, C / groups, F) with groups dividing both C = {channels} and "
            f"F = {filters}, got {_caller_shape(filter, rank)}"
        )


def depthwise_operands(
    x: TensorLike, filter: TensorLike, data_format: str, rank: int, name: str = "filter"
) -> tuple[Tensor, Tensor]:
    """Return the NHWC image and the filter (kh, kw, C, M) of a depthwise convolution.

    Raises:
        ValueError: for another rank, dimensions of 0, or another number of channels than x has.
        TypeError: for a dtype that is not floating, or that differs between x and filter.
    """
    x = to_nhwc(x, data_format, rank)
    filter = checked_filter(filter, name, "C, M", x, rank)
    x = ensure_channels(x, filter.shape[2])
    if x.shape[3] != filter.shape[2]:
        raise ValueError(
            f"{name}: expected ({_TAPS[rank]}, C, M) with C = {x.shape[3]}, got {_caller_shape(filter, rank)}"
        )
    return x, filter


def separable_operands(
    x: TensorLike, depthwise_filter: TensorLike, pointwise_filter: TensorLike, data_format: str, rank: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the NHWC image and the filters (kh, kw, C, M) and (1, 1, C·M, F) of a separable convolution.

    Raises:
        ValueError: for another rank, dimensions of 0, or channels that do not match.
        TypeError: for a dtype that is not floating, or that differs between the three.
    """
    x, depthwise = depthwise_operands(x, depthwise_filter, data_format, rank, "depthwise_filter")
    pointwise = checked_filter(pointwise_filter, "pointwise_filter", "C·M, F", x, rank)
    expected = (1, 1, depthwise.shape[2] * depthwise.shape[3])
    if tuple(pointwise.shape[:3]) != expected:
        axes = ", ".join(map(str, expected[2 - rank :]))
        raise ValueError(f"pointwise_filter: expected ({axes}, F), got {_caller_shape(pointwise, rank)}")
    return x, depthwise, pointwise


def transposed_operands(
    x: TensorLike, filter: TensorLike, groups: int, data_format: str, rank: int
) -> tuple[Tensor, Tensor]:
    """Return the NHWC image and the filter (kh, kw, F / groups, C) of a transposed convolution.

    Raises:
        ValueError: for another rank, dimensions of 0, another number of channels than x has, or groups that do not
            divide it.
        TypeError: for a dtype that is not floating, or that differs between x and filter.
    """
    x = to_nhwc(x, data_format, rank)
    filter = checked_filter(filter, "filter", "F / groups, C", x, rank)
    x = ensure_channels(x, filter.shape[3])
    channels = x.shape[3]
    if channels != filter.shape[3]:
        raise ValueError(
            f"filter: expected ({_TAPS[rank]}, F / groups, C) with C = {channels}, got {_caller_shape(filter, rank)}"
        )
    if channels % positive_int(groups, "groups"):
        raise ValueError(f"groups: expected a divisor of C = {channels}, got {groups}")
    return x, filter


def depthwise_transposed_operands(x: TensorLike, filter: TensorLike, data_format: str) -> tuple[Tensor, Tensor]:
    """Return the NHWC image of C·M channels and the filter (kh, kw, C, M) of a depthwise transposed convolution.

    Raises:
        ValueError: for another rank, dimensions of 0, or another number of channels than x has.
        TypeError: for a dtype that is not floating, or that differs between x and filter.
    """
    x = to_nhwc(x, data_format)
    filter = checked_filter(filter, "filter", "C, M", x)
    channels = filter.shape[2] * filter.shape[3]
    x = ensure_channels(x, channels)
    if x.shape[3] != channels:
        raise ValueError(f"filter: expected (kh, kw, C, M) with C·M = {x.shape[3]}, got {tuple(filter.shape)}")
    return x, filter


def checked_window(x: Tensor, filter: Tensor, window: WindowLike, rank: int = 2) -> Window:
    """Return the window of a convolution, parsed if need be, whose output for an NHWC `x` has a size.

    Raises:
        ValueError: for an argument out of range, or an output of no size; the message ends with the shapes.
    """
    with _shapes_in_errors(x, filter, rank):
        parsed = window.parse(tuple(filter.shape[:2]), rank) if isinstance(window, WindowArguments) else window
        parsed.output_size((x.shape[1], x.shape[2]))
    return parsed


def checked_transposed(x: Tensor, filter: Tensor, geometry: TransposedLike, rank: int = 2) -> Transposed:
    """Return the geometry of a transposed convolution, parsed if need be, whose output for an NHWC `x` has a size.

    Raises:
        ValueError: for an argument out of range, or an output of no size; the message ends with the shapes.
    """
    with _shapes_in_errors(x, filter, rank):
        parsed = (
            geometry.parse(tuple(filter.shape[:2]), rank) if isinstance(geometry, TransposedArguments) else geometry
        )
        parsed.output_size((x.shape[1], x.shape[2]))
    return parsed


@contextmanager
def _shapes_in_errors(x: Tensor, filter: Tensor, rank: int) -> Iterator[None]:
    """Add the shapes of an NHWC `x` and of its filter to a geometry error."""
    try:
        yield
    except ValueError as error:
        shape = tuple(x.shape) if rank == 2 else (x.shape[0], *x.shape[2:])
        axes = f"(N, {_SIDES[rank]}, C)"
        raise ValueError(f"{error}, where x {axes} is {shape} and the filter {_caller_shape(filter, rank)}") from None


def _caller_shape(filter: Tensor, rank: int) -> tuple[Any, ...]:
    """The shape of a filter as the caller gave it."""
    return tuple(filter.shape[2 - rank :])
