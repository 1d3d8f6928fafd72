"""Boxes as edges and as centre and size, their checks, and how far two overlap."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_ROUNDING = 1e-5
"""How far a box may be out of the image, or an edge before its opposite one, by the rounding of float32."""


def as_rows(value: ArrayLike, name: str, columns: int | None = 4) -> np.ndarray:
    """Return finite numbers, float64 (N, columns), of the caller's argument; None for any number of columns.

    Raises:
        ValueError: for another shape, or numbers that are not finite.
    """
    wanted = f"(N, {columns or 'K'})"
    try:
        rows = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers {wanted}, got a {type(value).__name__}") from error
    if rows.size == 0 and rows.ndim == 1:
        rows = rows.reshape(0, columns or 0)
    if rows.ndim != 2 or columns not in (None, rows.shape[1]):
        raise ValueError(f"{name}: expected {wanted}, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name}: expected finite numbers, got {_first(rows, ~np.isfinite(rows).all(1))}")
    return rows


def as_boxes(value: ArrayLike, name: str) -> np.ndarray:
    """Return boxes, float64 (N, 4), of the caller's argument.

    Raises:
        ValueError: for another shape, numbers that are not finite, or a bottom above its top.
    """
    boxes = as_rows(value, name)
    wrong = (boxes[:, 2:] < boxes[:, :2] - _ROUNDING).any(1)
    if wrong.any():
        raise ValueError(f"{name}: expected top ≤ bottom and left ≤ right, got {_first(boxes, wrong)}")
    return boxes


def as_objects(value: ArrayLike, name: str) -> np.ndarray:
    """Return the boxes of objects in an image, float64 (N, 4), of the caller's argument.

    Raises:
        ValueError: where `as_boxes` does, for a box without an area, or one outside the image.
    """
    boxes = as_boxes(value, name)
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if empty.any():
        raise ValueError(f"{name}: expected boxes with an area, got {_first(boxes, empty)}")
    outside = ((boxes < -_ROUNDING) | (boxes > 1 + _ROUNDING)).any(1)
    if outside.any():
        raise ValueError(f"{name}: expected shares of the image, in [0, 1], got {_first(boxes, outside)}")
    return boxes


def _first(rows: np.ndarray, wrong: Any) -> list[float]:
    """The first row that is wrong, for a message."""
    return [float(f"{number:.6g}") for number in rows[wrong][0][:6]]


def to_centers(boxes: ArrayLike) -> np.ndarray:
    """Return boxes as the rows and columns of their centres, their heights and their widths.

    Args:
        boxes: top, left, bottom and right edges, (N, 4).

    Returns:
        float64 (N, 4).

    Raises:
        ValueError: for other shapes, or a bottom above its top.

    Examples:
        >>> to_centers([[0, 0, 0.5, 1]]).tolist()
        [[0.25, 0.5, 0.5, 1.0]]
    """
    corners = as_boxes(boxes, "boxes")
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)


def to_corners(centers: ArrayLike) -> np.ndarray:
    """Return boxes by their edges, the opposite of `to_centers`.

    Args:
        centers: row and column of the centre, height and width, (N, 4).

    Returns:
        float64 (N, 4).

    Raises:
        ValueError: for other shapes, or a negative size.

    Examples:
        >>> to_corners([[0.25, 0.5, 0.5, 1.0]]).tolist()
        [[0.0, 0.0, 0.5, 1.0]]
    """
    rows = as_rows(centers, "centers")
    return as_boxes(np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], axis=1), "centers")


def iou(boxes: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Return the overlap of each box with each other: the area of the intersection by that of the union.

    Args:
        boxes: edges, (N, 4), in any unit.
        others: edges in the same unit, (M, 4).

    Returns:
        float64 (N, M), in [0, 1]; 0 for a box without an area.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a bottom above its top.

    Examples:
        >>> iou([[0, 0, 2, 2]], [[0, 1, 2, 3], [0, 0, 2, 2]]).round(4).tolist()
        [[0.3333, 1.0]]
    """
    return overlaps(as_boxes(boxes, "boxes"), as_boxes(others, "others"))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return `iou` of checked boxes, computed in their own type."""
    shared = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    shared = np.maximum(shared, 0).prod(2)
    areas, other_areas = (np.maximum(each[:, 2:] - each[:, :2], 0).prod(1) for each in (boxes, others))
    union = areas[:, None] + other_areas - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
