"""Images taken apart into pixels at a distance, and put together again.

Strided slices of images are slow in TensorFlow: their kernel copies on one thread, element by element, and costs ten
times what a convolution of the same image does. A reshape that makes the step an axis of its own, and a slice or a pad
of that axis, do the same in one pass.
"""

from typing import Any

from tfsep._keras.backend import tf
from tfsep.geometry import Pads, Pair, pair

__all__ = ["spread"]

Side = Any
"""A number of rows or columns: an int, or a scalar tensor where it is not known."""
Sides = tuple[Side, Side]


def sides(x: Any) -> Sides:
    """Rows and columns of an image: ints where they are known, scalar tensors where they are not."""
    known = x.shape[1], x.shape[2]
    if None not in known:
        return known
    size = tf.shape(x)[1:3]
    return tuple(size[axis] if known[axis] is None else known[axis] for axis in (0, 1))


def images(x: Any) -> Any:
    """The number of images in a batch: an int, or a scalar tensor where it is not known."""
    return tf.shape(x)[0] if x.shape[0] is None else x.shape[0]


def with_channels(x: Any, channels: int) -> Any:
    """Return x, with this number of channels expected of it where its own is not known before it comes."""
    return tf.ensure_shape(x, [None, None, None, channels]) if x.shape[3] is None else x


def are_known(*values: Side) -> bool:
    """Whether all of these are ints."""
    return all(isinstance(value, int) for value in values)


def fit(x: Any, before: Sides, size: Sides) -> Any:
    """Return x shown through a window of this size that begins `before` pixels ahead of it, zeros around it.

    A negative `before`, or a size that x goes beyond, crops.
    """
    begins, ends, pads = [0], [images(x)], [(0, 0)]
    for given, ahead, wanted in zip(sides(x), before, size, strict=True):
        behind = wanted - ahead - given
        if are_known(given, ahead, wanted):
            pads.append((max(ahead, 0), max(behind, 0)))
            begins.append(max(-ahead, 0))
        else:
            pads.append((tf.maximum(ahead, 0), tf.maximum(behind, 0)))
            begins.append(tf.maximum(-ahead, 0))
        ends.append(wanted)
    pads, begins, ends = [*pads, (0, 0)], [*begins, 0], [*ends, x.shape[3]]
    if _is_any(pads):
        x = tf.pad(x, pads)
    given = sides(x)
    if are_known(*given, *size) and given == tuple(size):
        return x
    return tf.slice(x, begins, ends)


def framed(x: Any, before: Sides, size: Sides) -> tuple[Any, Pads]:
    """Return x, and the padding that shows it through a window of this size, as `fit` does.

    Padding that is left to the op behind may cost nothing. A crop, or a size that is not known, cannot be left to it,
    and is done here.
    """
    after = tuple(wanted - ahead - given for wanted, ahead, given in zip(size, before, sides(x), strict=True))
    if are_known(*before, *after) and min(*before, *after) >= 0:
        return x, ((before[0], after[0]), (before[1], after[1]))
    return fit(x, before, size), ((0, 0), (0, 0))


def _is_any(pads: Any) -> bool:
    return any(not isinstance(amount, int) or amount for side in pads for amount in side)


def subsample(x: Any, step: Pair, before: Sides, count: Sides) -> Any:
    """Return every step-th pixel of x, `count` of them, the first one `before` pixels ahead of x, zeros around it."""
    x = fit(x, before, (count[0] * step[0], count[1] * step[1]))
    channels = x.shape[3]
    x = tf.reshape(x, [images(x), count[0], step[0], count[1], step[1] * channels])
    return tf.reshape(x[:, :, 0, :, :channels], [images(x), *count, channels])


def scatter(x: Any, step: Pair) -> Any:
    """Return x with its pixels `step` apart, zeros between and behind them: the adjoint of `subsample`."""
    if step == (1, 1):
        return x
    number, (rows, columns), channels = images(x), sides(x), x.shape[3]
    x = tf.reshape(x, [number, rows, 1, columns, channels])
    x = tf.pad(x, [(0, 0), (0, 0), (0, step[0] - 1), (0, 0), (0, (step[1] - 1) * channels)])
    return tf.reshape(x, [number, rows * step[0], columns * step[1], channels])


def spread(x: Any, strides: Any, padding: Pads = ((0, 0), (0, 0))) -> Any:
    """Take the pixels of images apart: a stride from one to the next, with zeros between and around them.

    What a transposed convolution is a plain one of: by its filter turned around, with strides of 1.

    Args:
        x: tensor (N, H, W, C).
        strides: rows and columns from one pixel to the next, an int or a pair.
        padding: rows and columns of zeros around them, ``((top, bottom), (left, right))``; a negative number cuts off.

    Returns:
        A tensor (N, (H - 1)·s + 1 + top + bottom, (W - 1)·s + 1 + left + right, C) of x's dtype.

    Raises:
        ValueError: for strides under 1.

    Examples:
        >>> spread(tf.constant([[[[5], [7]]]]), 2, ((0, 0), (1, 0)))[0, 0, :, 0].numpy().tolist()
        [0, 5, 0, 7]
    """
    steps = pair(strides, "strides")
    (top, bottom), (left, right) = padding
    rows, columns = ((side - 1) * step + 1 for side, step in zip(sides(x), steps, strict=True))
    return fit(scatter(x, steps), (top, left), (rows + top + bottom, columns + left + right))


def to_phases(x: Any, rate: Pair, before: Sides, count: Sides) -> Any:
    """Return the pixels of each phase, those `rate` apart, as images of a batch, `count` rows and columns each."""
    size = count[0] * rate[0], count[1] * rate[1]
    x, pads = framed(x, before, size)
    return tf.space_to_batch(x, rate, pads)


def from_phases(x: Any, rate: Pair, size: Sides) -> Any:
    """Return an image of this size put together from its phases."""
    given = sides(x)
    return tf.batch_to_space(x, rate, [[0, given[axis] * rate[axis] - size[axis]] for axis in (0, 1)])
