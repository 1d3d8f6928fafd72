"""The box coder of SSD: boxes relative to their anchors, as detectors put them out."""

import numpy as np
from numpy.typing import ArrayLike

from tfsep.boxes._box_geometry import as_objects, as_rows, to_centers, to_corners

BOX_SCALES = (10.0, 10.0, 5.0, 5.0)
"""What offsets of row, column, height and width are multiplied by: y_scale, x_scale, h_scale and w_scale of
``TFLite_Detection_PostProcess``, the inverse of SSD's variances 0.1 and 0.2."""


def as_scales(value: ArrayLike) -> np.ndarray:
    """Return four numbers greater than zero, float64 (4,), of the argument `scales`."""
    scales = as_rows(np.expand_dims(np.asarray(value), 0), "scales")[0]
    if not (scales > 0).all():
        raise ValueError(f"scales: expected four numbers greater than zero, got {value!r}")
    return scales


def _as_anchors(value: ArrayLike, count: int, name: str) -> np.ndarray:
    """Anchors, one for each of `count` rows of the argument `name`."""
    anchors = as_rows(value, "anchors")
    if len(anchors) != count:
        raise ValueError(f"anchors: expected one for each of {count} {name}, got {len(anchors)}")
    if not (anchors[:, 2:] > 0).all():
        raise ValueError(f"anchors: expected heights and widths greater than zero, got {anchors[:, 2:].min():g}")
    return anchors


def encode(boxes: ArrayLike, anchors: ArrayLike, scales: ArrayLike = BOX_SCALES) -> np.ndarray:
    """Return boxes relative to their anchors.

    Of a box with centre y, x and size h, w, and an anchor with centre y', x' and size h', w', these are
    ``(y - y') / h'``, ``(x - x') / w'``, ``log(h / h')`` and ``log(w / w')``, each times its scale.

    Args:
        boxes: edges, (N, 4), of objects in an image.
        anchors: row and column of the centre, height and width of each box's anchor, (N, 4).
        scales: scale of each of the four numbers.

    Returns:
        float64 (N, 4).

    Source: W. Liu et al., "SSD" (arXiv 1512.02325), section 2.2.

    Raises:
        ValueError: for other shapes, numbers that are not finite, boxes outside the image or without an area.

    Examples:
        >>> encode([[0, 0, 0.5, 0.5]], [[0.25, 0.5, 0.5, 0.5]]).tolist()
        [[0.0, -5.0, 0.0, 0.0]]
    """
    own = to_centers(as_objects(boxes, "boxes"))
    base = _as_anchors(anchors, len(own), "boxes")
    offsets = np.concatenate([(own[:, :2] - base[:, :2]) / base[:, 2:], np.log(own[:, 2:] / base[:, 2:])], axis=1)
    return offsets * as_scales(scales)


def decode(offsets: ArrayLike, anchors: ArrayLike, scales: ArrayLike = BOX_SCALES) -> np.ndarray:
    """Return boxes from what `encode` returns; they may lie outside the image.

    Args:
        offsets: what a detector puts out for each anchor, (N, 4).
        anchors: row and column of the centre, height and width of each anchor, (N, 4).
        scales: scale of each of the four numbers.

    Returns:
        Edges, float64 (N, 4).

    Raises:
        ValueError: for other shapes, or numbers that are not finite.

    Examples:
        >>> decode([[0.0, -5.0, 0.0, 0.0]], [[0.25, 0.5, 0.5, 0.5]]).tolist()
        [[0.0, 0.0, 0.5, 0.5]]
    """
    return to_corners(decoded_centers(offsets, anchors, scales))


def decoded_centers(offsets: ArrayLike, anchors: ArrayLike, scales: ArrayLike) -> np.ndarray:
    """Return what `decode` does as centres and sizes."""
    rows = as_rows(offsets, "offsets")
    base = _as_anchors(anchors, len(rows), "offsets")
    own = rows / as_scales(scales)
    with np.errstate(over="ignore"):
        sizes = np.exp(own[:, 2:]) * base[:, 2:]
    if not np.isfinite(sizes).all():
        raise ValueError(f"offsets: expected boxes of finite sizes, got {own[:, 2:].max():g}, a logarithm")
    return np.concatenate([own[:, :2] * base[:, 2:] + base[:, :2], sizes], axis=1)
