"""The edge of the ops: tensors and options as a caller gives them, checked once and put into one form."""

from typing import Any

from tfsep._backend import tf
from tfsep.geometry import Window, normalize_data_format


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


def image(x: Any, data_format: str, name: str = "x", like: Any = None) -> Any:
    """Return x as a floating tensor of rank 4 in NHWC, of the dtype of `like` where that is given.

    Raises:
        ValueError: for another rank, or no channels; the message starts with `name`.
        TypeError: as `tensor`.
    """
    data_format = normalize_data_format(data_format)
    axes = "(N, H, W, C)" if data_format == "channels_last" else "(N, C, H, W)"
    x = tensor(x, name, 4, axes, like)
    if x.shape[3 if data_format == "channels_last" else 1] == 0:
        raise ValueError(f"{name}: expected {axes} with at least one channel, got shape {tuple(x.shape)}")
    return x if data_format == "channels_last" else tf.transpose(x, [0, 2, 3, 1])


def restore(y: Any, data_format: str) -> Any:
    """Return an NHWC result in the layout that the caller asked for."""
    return y if data_format == "channels_last" else tf.transpose(y, [0, 3, 1, 2])


def kernel(value: Any, name: str, axes: str, x: Any) -> Any:
    """Return a filter of rank 4 whose every dimension is known and positive.

    Raises:
        ValueError: for another rank, or a dimension of 0 or unknown.
    """
    value = tensor(value, name, 4, axes, like=x)
    if not value.shape.is_fully_defined() or 0 in value.shape:
        raise ValueError(f"{name}: expected known, positive dimensions {axes}, got {tuple(value.shape)}")
    return value


def with_channels(x: Any, channels: int) -> Any:
    """Return x, with this number of channels expected of it where its own is not known before it comes."""
    return tf.ensure_shape(x, [None, None, None, channels]) if x.shape[3] is None else x


def groups(x: Any, filter: Any) -> int:
    """Return the number of groups that the channels of an NHWC `x` and of its filter make.

    Raises:
        ValueError: if they make none.
    """
    channels, per_group, filters = x.shape[3], filter.shape[2], filter.shape[3]
    if channels % per_group or filters % (channels // per_group):
        raise ValueError(
            f"filter: expected (kh, kw, C / groups, F) with groups dividing both C = {channels} and F = {filters}, "
            f"got {tuple(filter.shape)}"
        )
    return channels // per_group


def window(x: Any, filter: Any, strides: Any, padding: Any, rate: Any) -> Window:
    """Return the window of a convolution of an NHWC `x`, having checked that its result has a size."""
    made = Window.of(tuple(filter.shape[:2]), strides, padding, rate)
    made.output_size((x.shape[1], x.shape[2]))
    return made
