"""Non-maximum suppression: of boxes that overlap, the one with the highest score."""

import numpy as np
from numpy.typing import ArrayLike

from tfsep._utils.arguments import number_in_range, positive_int
from tfsep.boxes._box_geometry import as_boxes, as_rows, overlaps


def non_max_suppression(
    boxes: ArrayLike,
    scores: ArrayLike,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    max_detections: int = 100,
) -> np.ndarray:
    """Return the rows of the boxes that are kept, the highest score first.

    A box is left out if it overlaps with one that is kept by more than the threshold.

    Args:
        boxes: edges, (N, 4), in any unit.
        scores: score of each box, (N,); the first of equal ones goes first.
        iou_threshold: `iou` of two boxes above which the lower score is left out.
        score_threshold: least score of a box that is kept; None for any.
        max_detections: most boxes that are kept.

    Returns:
        ints (K,).

    Raises:
        ValueError: for other shapes, numbers that are not finite, or an argument out of range.

    Examples:
        >>> boxes = [[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0.5, 1, 1]]
        >>> non_max_suppression(boxes, [0.7, 0.9, 0.2]).tolist()
        [1, 2]
    """
    corners = as_boxes(boxes, "boxes")
    numbers = np.asarray(scores)
    if numbers.shape != corners.shape[:1]:
        raise ValueError(f"scores: expected one for each of {len(corners)} boxes, got {numbers.shape}")
    values = as_rows(numbers[:, None], "scores", 1)[:, 0]
    iou_threshold = number_in_range(iou_threshold, "iou_threshold", float, 0, 1)
    max_detections = positive_int(max_detections, "max_detections")
    least = -np.inf if score_threshold is None else number_in_range(score_threshold, "score_threshold", float, -np.inf)
    return suppress(corners, values, iou_threshold, least, max_detections)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, score_threshold: float, max_detections: int
) -> np.ndarray:
    """Return what `non_max_suppression` does for checked arguments; overlaps are computed in the boxes' own type."""
    order = np.argsort(-scores, kind="stable")
    left = order[scores[order] >= score_threshold]
    kept: list[int] = []
    while len(left) and len(kept) < max_detections:
        first, left = left[0], left[1:]
        kept.append(int(first))
        left = left[overlaps(boxes[first : first + 1], boxes[left])[0] <= iou_threshold]
    return np.array(kept, np.int64)
