"""Matching: which object each anchor of a detector is to find, and what it has to put out for that."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfsep._utils.arguments import number_in_range
from tfsep.boxes._anchors import Anchors
from tfsep.boxes._box_coder import BOX_SCALES, encode
from tfsep.boxes._box_geometry import as_objects, iou

BACKGROUND = -1
"""What an anchor has in place of an object where there is none."""

IGNORED = -2
"""What it has where there is so little of one that neither is right."""


class Targets(NamedTuple):
    """What a detector has to put out for each of N anchors.

    Attributes:
        classes: int32 (N,): 0 for the background, ``k + 1`` for class k, -1 where the anchor counts for nothing.
        offsets: float32 (N, 4), see `encode`; zeros where there is no object.
    """

    classes: np.ndarray
    offsets: np.ndarray


def match(boxes: ArrayLike, anchors: Anchors, positive: float = 0.5, negative: float | None = None) -> np.ndarray:
    """Return the object of each anchor.

    Each object gets one anchor: of all pairs left, that of the largest overlap, one after the other. Each other anchor
    gets the object of which it has most, if the overlap is large enough.

    Args:
        boxes: edges of the objects, (M, 4); there may be none.
        anchors: the anchors, N of them.
        positive: least `iou` of an anchor and its object.
        negative: overlap below which an anchor is background; between the two it is ignored. None for `positive`.

    Returns:
        ints (N,): a row of `boxes`, `BACKGROUND` or `IGNORED`.

    Source: W. Liu et al., "SSD" (arXiv 1512.02325), section 2.2.

    Raises:
        TypeError: if `anchors` are no `Anchors`.
        ValueError: for boxes of another shape, without an area or outside the image, or a limit out of range.

    Examples:
        >>> from tfsep.boxes import AnchorGrid
        >>> anchors = Anchors((AnchorGrid(1, 4, ((1.0, 0.25),)),))
        >>> match([[0.0, 0.25, 1.0, 0.5]], anchors).tolist()
        [-1, 0, -1, -1]
    """
    if not isinstance(anchors, Anchors):
        raise TypeError(f"anchors: expected Anchors, got a {type(anchors).__name__}")
    positive = number_in_range(positive, "positive", float, 0, 1)
    negative = positive if negative is None else number_in_range(negative, "negative", float, 0, positive)
    objects = as_objects(boxes, "boxes")
    found = np.full(anchors.count, BACKGROUND)
    if not len(objects):
        return found
    overlap = iou(objects, anchors.boxes())
    most = overlap.max(0)
    found[most >= negative] = IGNORED
    found[most >= positive] = overlap.argmax(0)[most >= positive]
    for _ in range(min(overlap.shape)):
        place = np.unravel_index(overlap.argmax(), overlap.shape)
        if overlap[place] <= 0:
            break
        row, anchor = place
        found[anchor] = row
        overlap[row], overlap[:, anchor] = 0, 0
    return found


def targets(
    boxes: ArrayLike,
    classes: ArrayLike,
    anchors: Anchors,
    positive: float = 0.5,
    negative: float | None = None,
    scales: ArrayLike = BOX_SCALES,
) -> Targets:
    """Return what a detector has to put out for an image.

    Args:
        boxes: edges of the objects, (M, 4).
        classes: class of each object from 0, ints (M,); rows of -1 are none.
        anchors: the anchors, N of them.
        positive: see `match`.
        negative: see `match`.
        scales: see `encode`.

    Raises:
        TypeError: if `anchors` are no `Anchors`.
        ValueError: for classes of another shape or below -1, and where `match` and `encode` raise one.

    Examples:
        >>> from tfsep.boxes import AnchorGrid
        >>> anchors = Anchors((AnchorGrid(1, 4, ((1.0, 0.25),)),))
        >>> targets([[0.0, 0.25, 1.0, 0.5], [0, 0, 0, 0]], [7, -1], anchors).classes.tolist()
        [0, 8, 0, 0]
    """
    numbers, rows = np.asarray(classes), np.asarray(boxes)
    if numbers.shape != rows.shape[:1] or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(f"classes: expected an int for each of {len(rows)} boxes, got {numbers.dtype} {numbers.shape}")
    if (numbers < -1).any():
        raise ValueError(f"classes: expected ints of at least -1, got {numbers.min()}")
    kept = numbers >= 0
    own, numbers = rows[kept], numbers[kept]
    found = match(own, anchors, positive, negative)
    result = Targets(np.zeros(anchors.count, np.int32), np.zeros((anchors.count, 4), np.float32))
    result.classes[found == IGNORED] = -1
    objects = found >= 0
    result.classes[objects] = numbers[found[objects]] + 1
    result.offsets[objects] = encode(own[found[objects]], anchors.centers()[objects], scales)
    return result
