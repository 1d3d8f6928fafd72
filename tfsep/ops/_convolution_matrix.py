"""A convolution as a matrix, most of whose elements are zero."""

from collections.abc import Sequence

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.geometry import PaddingLike, PairLike, Window
from tfsep.geometry._sizes import normalize_shape
from tfsep.ops import _arguments as arguments

__all__ = ["convolution_matrix"]


def convolution_matrix(
    filter: TensorLike,
    input_shape: Sequence[int | None] | tf.TensorShape,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    rate: PairLike = 1,
) -> tf.SparseTensor:
    """Return the sparse matrix C of a convolution: y = Cx, and x' = Cᵀy is its transposed convolution.

    A row for each output, a column for each input, both flattened in row-major order. Each row holds the taps that meet
    the image; those that meet padding are left out. Nothing is convolved to find them, so C is an oracle for `conv2d`,
    `depthwise_conv2d` and their transposes.

    Args:
        filter: (kh, kw), for images of one channel; or (kh, kw, C / groups, F), the filter of a `conv2d`. A depthwise
            filter (kh, kw, C, M) is reshaped to (kh, kw, 1, C·M).
        input_shape: (H, W) for a filter of rank 2, (H, W, C) for one of rank 4.
        strides: step of the window, an int or a pair (rows, columns).
        padding: ``"valid"``, ``"same"`` (TensorFlow's), an int, ``(ph, pw)`` or ``((top, bottom), (left, right))``.
        rate: dilation, an int or a pair (rows, columns); any stride goes with any rate.

    Returns:
        A ``tf.sparse.SparseTensor`` (H'·W', H·W), or (H'·W'·F, H·W·C), of the filter's dtype, its indices in order.
        Its values are gathered from the filter, so it has a gradient to the filter.

    Raises:
        ValueError: for another rank, sizes open or under 1, groups that do not divide, or an output of no size.
        TypeError: for a filter that is not floating.

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (arXiv 1603.07285), section
    4.1.

    Examples:
        >>> matrix = convolution_matrix([[1.0, 2.0], [3.0, 4.0]], (3, 3))
        >>> tf.sparse.to_dense(matrix).numpy().astype(int)
        array([[1, 2, 0, 3, 4, 0, 0, 0, 0],
               [0, 1, 2, 0, 3, 4, 0, 0, 0],
               [0, 0, 0, 1, 2, 0, 3, 4, 0],
               [0, 0, 0, 0, 1, 2, 0, 3, 4]])
    """
    filter, (height, width, channels) = _checked(filter, input_shape)
    taps, (per_group, filters) = tuple(filter.shape[:2]), filter.shape[2:]
    window = Window.of(taps, strides, padding, rate)
    rows, columns = (n for n in window.output_size((height, width)) if n is not None)

    # One element for each output (i, j, f) and each tap of its filter (di, dj, c of its group).
    shape = rows, columns, filters, *taps, per_group
    i, j, f, di, dj, c = np.indices(shape, sparse=True)
    (top, _), (left, _) = window.pads((height, width))
    row, column = i * window.strides[0] + di * window.rate[0] - top, j * window.strides[1] + dj * window.rate[1] - left
    channel = f // (filters * per_group // channels) * per_group + c
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)

    output, given, tap = (
        np.broadcast_to(flat, shape)[np.broadcast_to(inside, shape)]
        for flat in (
            (i * columns + j) * filters + f,
            (row * width + column) * channels + channel,
            ((di * taps[1] + dj) * per_group + c) * filters + f,
        )
    )
    # The taps of one output are in the order of the image already.
    indices = np.stack([output, given], axis=1).astype(np.int64)
    values = tf.gather(tf.reshape(filter, [-1]), tap)
    return tf.sparse.SparseTensor(indices, values, (rows * columns * filters, height * width * channels))


def _checked(
    filter: TensorLike, input_shape: Sequence[int | None] | tf.TensorShape
) -> tuple[Tensor, tuple[int, int, int]]:
    """The filter as (kh, kw, C / groups, F), and the image's height, width and channels."""
    given = input_shape.as_list() if isinstance(input_shape, tf.TensorShape) else input_shape
    shape = normalize_shape(given, "input_shape")
    if len(shape) not in (2, 3) or None in shape:
        raise ValueError(f"input_shape: expected (H, W) or (H, W, C), all of them known, got {input_shape!r}")
    if len(shape) == 2:
        filter, shape = arguments.to_tensor(filter, "filter", 2, "(kh, kw)")[..., None, None], (*shape, 1)
    filter = arguments.checked_filter(filter, "filter", "C / groups, F")
    height, width, channels = (int(side) for side in shape if side is not None)
    arguments.check_groups(filter, channels)
    return filter, (height, width, channels)
