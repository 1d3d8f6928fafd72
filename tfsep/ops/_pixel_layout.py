"""Rearrangement of pixels: pad and crop, subsample, insert zeros, split into phases.

TensorFlow's strided slices of images are slow: the kernel copies element by element on one thread and takes ten times
as long as a convolution of the same image. A reshape that makes the step an axis of its own, followed by a slice or a
pad of that axis, does the same in one pass.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.geometry import Pads, Pair, PairLike
from tfsep.geometry._sizes import pair

Length: TypeAlias = int | tf.Tensor
"""A number of rows, columns or images: an int where it is known, else a scalar tensor."""
Size: TypeAlias = tuple[Length, Length]
"""Rows and columns."""


def spatial_size(x: Tensor) -> Size:
    """Rows and columns of an image: ints where they are known, else scalar tensors."""
    known = x.shape[1], x.shape[2]
    if None not in known:
        return known
    size = tf.shape(x)[1:3]
    rows, columns = (size[axis] if known[axis] is None else known[axis] for axis in (0, 1))
    return rows, columns


def batch_size(x: Tensor) -> Length:
    """The number of images in a batch: an int where it is known, else a scalar tensor."""
    return tf.shape(x)[0] if x.shape[0] is None else x.shape[0]


def images_and(x: Tensor, *sides: Length) -> list[Length]:
    """The shape of as many images as x has with these sides, for a reshape: -1 for a number that alone is unknown.

    A file converter computes any other unknown number by three operators.
    """
    return [-1 if x.shape[0] is None and are_known(*sides) else batch_size(x), *sides]


def with_shape(value: Tensor, count: Length, size: Size, channels: int) -> Tensor:
    """Return `value` in the right shape, which it lacks only where an unknown batch is empty.

    Graph optimization removes a reshape with a single unknown dimension, as one that changes nothing. So the number of
    rows is made unknown to it, too.
    """
    if isinstance(count, int) or _is_shaped_as_images(value):
        return value
    shaped = tf.reshape(value, [count, size[0] + tf.minimum(count, 0), size[1], channels])
    shaped.set_shape([None, *(side if isinstance(side, int) else None for side in size), channels])
    return shaped


def _is_shaped_as_images(value: Tensor) -> bool:
    """Whether a convolution's result has the shape of its images, which is what oneDNN gives the result of none.

    Not without SAME: oneDNN takes padding in front into such an op, which then has other images.
    """
    op = value.op
    if op.type not in ("Conv2D", "DepthwiseConv2dNative") or op.get_attr("padding") != b"SAME":
        return False
    images, results = op.inputs[0].shape[1:], value.shape[1:]
    return images.is_fully_defined() and images == results


def ensure_channels(x: Tensor, channels: int) -> Tensor:
    """Return x with its number of channels set, and checked when the graph runs, where it is unknown."""
    return tf.ensure_shape(x, [None, None, None, channels]) if x.shape[3] is None else x


def are_known(*values: Length) -> bool:
    """Whether all of these are ints."""
    return all(isinstance(value, int) for value in values)


def crop_or_pad(x: Tensor, before: Size, size: Size) -> Tensor:
    """Return the region of x of this size that begins `before` pixels ahead of it, with zeros around x.

    A negative `before` crops at the beginning, a size that ends inside x crops at the end.
    """
    begins, lengths, pads = [0], images_and(x), [(0, 0)]
    for given, ahead, wanted in zip(spatial_size(x), before, size, strict=True):
        behind = wanted - ahead - given
        if are_known(given, ahead, wanted):
            pads.append((max(ahead, 0), max(behind, 0)))
            begins.append(max(-ahead, 0))
        else:
            pads.append((tf.maximum(ahead, 0), tf.maximum(behind, 0)))
            begins.append(tf.maximum(-ahead, 0))
        lengths.append(wanted)
    pads, begins, lengths = [*pads, (0, 0)], [*begins, 0], [*lengths, x.shape[3]]
    if _may_be_nonzero(pads):
        x = tf.pad(x, pads)
    given_size = spatial_size(x)
    if are_known(*given_size, *size) and given_size == tuple(size):
        return x
    return tf.slice(x, begins, lengths)


def remove_padding(x: Tensor, pads: Pads, size: Size) -> Tensor:
    """Return the image of this size that x, which is that image with so many zeros around it, holds."""
    (top, bottom), (left, right) = pads
    if not any((top, bottom, left, right)):
        return x
    if min(top, bottom, left, right) < 0 or are_known(*size):
        return crop_or_pad(x, (-top, -left), size)
    return tf.slice(x, [0, top, left, 0], [*images_and(x), *size, x.shape[3]])


def crop_and_defer_padding(x: Tensor, before: Size, size: Size) -> tuple[Tensor, Pads]:
    """Return x and the padding that turn it into `crop_or_pad(x, before, size)`.

    Padding may cost nothing as an argument of the next op. A crop, or an unknown size, cannot be left to the next op
    and is applied to x here.
    """
    after = tuple(wanted - ahead - given for wanted, ahead, given in zip(size, before, spatial_size(x), strict=True))
    if are_known(*before, *after) and min(*before, *after) >= 0:
        return x, ((before[0], after[0]), (before[1], after[1]))
    return crop_or_pad(x, before, size), ((0, 0), (0, 0))


def _may_be_nonzero(pads: Iterable[Sequence[Length]]) -> bool:
    return any(not isinstance(amount, int) or amount for side in pads for amount in side)


def subsample(x: Tensor, step: Pair, before: Size, count: Size) -> Tensor:
    """Return `count` pixels of x, `step` apart, the first one `before` pixels ahead of x, with zeros around x."""
    x = crop_or_pad(x, before, (count[0] * step[0], count[1] * step[1]))
    channels = x.shape[3]
    x = tf.reshape(x, images_and(x, count[0], step[0], count[1], step[1] * channels))
    return tf.reshape(x[:, :, 0, :, :channels], images_and(x, *count, channels))


def interleave_zeros(x: Tensor, step: Pair) -> Tensor:
    """Return x with its pixels `step` apart, zeros between and behind them: the adjoint of `subsample`."""
    if step == (1, 1):
        return x
    (rows, columns), channels = spatial_size(x), x.shape[3]
    x = tf.reshape(x, images_and(x, rows, 1, columns, channels))
    x = tf.pad(x, [(0, 0), (0, 0), (0, step[0] - 1), (0, 0), (0, (step[1] - 1) * channels)])
    return tf.reshape(x, images_and(x, rows * step[0], columns * step[1], channels))


def insert_zeros(x: Tensor, strides: PairLike, padding: Pads = ((0, 0), (0, 0))) -> Tensor:
    """Insert zeros between the pixels of images, and around them.

    A transposed convolution is a convolution of the result with the flipped filter, at stride 1.

    Args:
        x: tensor (N, H, W, C).
        strides: rows and columns from one pixel to the next, an int or a pair.
        padding: rows and columns of zeros around the image, ``((top, bottom), (left, right))``; a negative number
            crops.

    Returns:
        A tensor (N, (H - 1)·s + 1 + top + bottom, (W - 1)·s + 1 + left + right, C) of x's dtype.

    Raises:
        ValueError: for strides under 1.

    Examples:
        >>> insert_zeros(tf.constant([[[[5], [7]]]]), 2, ((0, 0), (1, 0)))[0, 0, :, 0].numpy().tolist()
        [0, 5, 0, 7]
    """
    steps = pair(strides, "strides")
    (top, bottom), (left, right) = padding
    rows, columns = ((side - 1) * step + 1 for side, step in zip(spatial_size(x), steps, strict=True))
    return crop_or_pad(interleave_zeros(x, steps), (top, left), (rows + top + bottom, columns + left + right))


def to_phases(x: Tensor, rate: Pair, before: Size, count: Size) -> Tensor:
    """Return the phases of x, pixels `rate` apart, as the images of a batch, `count` rows and columns each.

    The first pixel of the first phase is `before` pixels ahead of x, with zeros around x.
    """
    size = count[0] * rate[0], count[1] * rate[1]
    x, pads = crop_and_defer_padding(x, before, size)
    return tf.space_to_batch(x, rate, pads)


def from_phases(x: Tensor, rate: Pair, size: Size) -> Tensor:
    """Return the image of this size whose phases are the images of a batch."""
    given = spatial_size(x)
    return tf.batch_to_space(x, rate, [[0, given[axis] * rate[axis] - size[axis]] for axis in (0, 1)])
