"""The edge of the ops: tensors and options as a caller gives them, checked once and put into one form.

Behind it there are images and filters of rank 4 only: a sequence is an image of one row. `rank` is the number of
spatial axes that the caller's tensors have.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfsep._keras.backend import tf
from tfsep.geometry import Window, normalize_data_format
from tfsep.ops._pixel_layout import with_channels

_SIDES = {1: "L", 2: "H, W"}
_TAPS = {1: "k", 2: "kh, kw"}


def tensor(value: Any, name: str, rank: int, axes: str, like: Any = None) -> Any:
    """Return `value` as a floating tensor of this rank, of the dtype of `like` where it is a list.

    Raises:
        ValueError: for another rank.
        TypeError: for what is no tensor, a dtype that is not floating, or not that of `like`.
    """
    untyped = like is not None and isinstance(value, list | tuple | float)
    try:
        value = tf.convert_to_tensor(value, dtype_hint=like.dtype if untyped else None)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a tensor or a full array, got {type(value).__name__}") from error
    if not value.dtype.is_floating:
        raise TypeError(f"{name}: expected a floating dtype, got {value.dtype.name}")
    if like is not None and value.dtype != like.dtype:
        raise TypeError(f"{name}: expected the dtype of x, {like.dtype.name}, got {value.dtype.name}")
    if value.shape.rank is not None and value.shape.rank != rank:
        raise ValueError(f"{name}: expected rank {rank}, {axes}, got shape {tuple(value.shape)}")
    return value


def image(x: Any, data_format: str, rank: int = 2, name: str = "x", like: Any = None) -> Any:
    """Return x, images or sequences, as a floating tensor of rank 4 in NHWC, of the dtype of `like` where it is given.

    Raises:
        ValueError: for another rank, or no channels; the message starts with `name`.
        TypeError: as `tensor`.
    """
    last = normalize_data_format(data_format) == "channels_last"
    axes = f"(N, {_SIDES[rank]}, C)" if last else f"(N, C, {_SIDES[rank]})"
    x = tensor(x, name, rank + 2, axes, like)
    if x.shape[rank + 1 if last else 1] == 0:
        raise ValueError(f"{name}: expected {axes} with at least one channel, got shape {tuple(x.shape)}")
    x = x if last else tf.transpose(x, [0, *range(2, rank + 2), 1])
    return x if rank == 2 else tf.expand_dims(x, 1)


def restore(y: Any, data_format: str, rank: int = 2) -> Any:
    """Return an NHWC result in the layout that the caller asked for."""
    y = y if rank == 2 else tf.squeeze(y, 1)
    return y if data_format == "channels_last" else tf.transpose(y, [0, rank + 1, *range(1, rank + 1)])


def kernel(value: Any, name: str, channels: str, x: Any = None, rank: int = 2) -> Any:
    """Return a filter as one of rank 4, every dimension of which is known and positive.

    Args:
        value: what was given.
        name: of the argument.
        channels: what its last two axes are, in words.
        x: the image, whose dtype it has to have; None for any.
        rank: of the taps.

    Raises:
        ValueError: for another rank, or a dimension of 0 or unknown.
    """
    axes = f"({_TAPS[rank]}, {channels})"
    value = tensor(value, name, rank + 2, axes, like=x)
    if not value.shape.is_fully_defined() or 0 in value.shape:
        raise ValueError(f"{name}: expected known, positive dimensions {axes}, got {tuple(value.shape)}")
    return value if rank == 2 else tf.expand_dims(value, 0)


def full(value: Any, x: Any, rank: int = 2) -> tuple[Any, Any]:
    """Return x and a filter (kh, kw, C / groups, F) that fit each other.

    Raises:
        ValueError: as `kernel`, and if the groups that its shape means do not divide both C and F.
    """
    filter = kernel(value, "filter", "C / groups, F", x, rank)
    x = with_channels(x, filter.shape[2])
    check_groups(filter, x.shape[3], rank)
    return x, filter


def check_groups(filter: Any, channels: int, rank: int = 2) -> None:
    """Check a filter (kh, kw, C / groups, F) against the channels of an image.

    Raises:
        ValueError: if the groups that its shape means do not divide both C and F.
    """
    per_group, filters = filter.shape[2:]
    if channels % per_group or filters % (channels // per_group):
        raise ValueError(
            f"filter: expected ({_TAPS[rank]}, C / groups, F) with groups dividing both C = {channels} and "
            f"F = {filters}, got {_shown(filter, rank)}"
        )


def depthwise(value: Any, name: str, x: Any, rank: int = 2) -> tuple[Any, Any]:
    """Return x and a filter (kh, kw, C, M) that fit each other.

    Raises:
        ValueError: as `kernel`, and for another number of channels than x has.
    """
    filter = kernel(value, name, "C, M", x, rank)
    x = with_channels(x, filter.shape[2])
    if x.shape[3] != filter.shape[2]:
        raise ValueError(f"{name}: expected ({_TAPS[rank]}, C, M) with C = {x.shape[3]}, got {_shown(filter, rank)}")
    return x, filter


def pointwise(value: Any, depthwise_filter: Any, x: Any, rank: int = 2) -> Any:
    """Return a filter (1, 1, C·M, F) that takes what a depthwise filter (kh, kw, C, M) gives.

    Raises:
        ValueError: as `kernel`, and for any other shape.
    """
    filter = kernel(value, "pointwise_filter", "C·M, F", x, rank)
    expected = (1, 1, depthwise_filter.shape[2] * depthwise_filter.shape[3])
    if tuple(filter.shape[:3]) != expected:
        axes = ", ".join(map(str, expected[2 - rank :]))
        raise ValueError(f"pointwise_filter: expected ({axes}, F), got {_shown(filter, rank)}")
    return filter


def _shown(filter: Any, rank: int) -> tuple[int, ...]:
    """The shape of a filter as the caller gave it."""
    return tuple(filter.shape[2 - rank :])


def window(x: Any, filter: Any, strides: Any, padding: Any, rate: Any, rank: int = 2) -> Window:
    """Return the window of a convolution of an NHWC `x`, having checked that its result has a size."""
    taps = tuple(filter.shape[:2])
    with naming_shapes(x, filter, rank):
        made = Window.of_row(taps[1], strides, padding, rate) if rank == 1 else Window.of(taps, strides, padding, rate)
        made.output_size((x.shape[1], x.shape[2]))
    return made


@contextmanager
def naming_shapes(x: Any, filter: Any, rank: int = 2) -> Iterator[None]:
    """Add the shapes of an NHWC `x` and of its filter to what is said of their geometry."""
    try:
        yield
    except ValueError as error:
        shape = tuple(x.shape) if rank == 2 else (x.shape[0], *x.shape[2:])
        axes = f"(N, {_SIDES[rank]}, C)"
        raise ValueError(f"{error}, where x {axes} is {shape} and the filter {_shown(filter, rank)}") from None
