"""From the outputs of a detector to the objects of an image, as LiteRT's ``TFLite_Detection_PostProcess`` does it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfsep._utils.arguments import number_in_range, positive_int
from tfsep.boxes._anchors import Anchors
from tfsep.boxes._box_coder import BOX_SCALES, as_scales, decoded_centers
from tfsep.boxes._box_geometry import as_rows
from tfsep.boxes._suppression import suppress


@dataclass(frozen=True)
class PostProcessing:
    """The settings of ``TFLite_Detection_PostProcess``.

    Attributes:
        num_classes: number of classes without the background.
        max_detections: most boxes that are returned.
        max_classes_per_detection: classes that are returned for each box, the most likely first.
        score_threshold: least score of a box.
        iou_threshold: overlap of two boxes above which the lower score is left out.
        per_class: whether only boxes of the same class suppress one another, which takes as many times longer as there
            are classes; otherwise all do, by the scores of their best classes.
        detections_per_class: most boxes of a class, if `per_class`.
        scales: scale of each offset, see `encode`.

    Raises:
        ValueError: for a field out of range; the message starts with its name.

    Examples:
        >>> PostProcessing(10).options()["nms_iou_threshold"]
        0.5
    """

    num_classes: int
    max_detections: int = 25
    max_classes_per_detection: int = 1
    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    per_class: bool = False
    detections_per_class: int = 100
    scales: tuple[float, float, float, float] = BOX_SCALES

    def __post_init__(self) -> None:
        """Validate the fields and bring each to its type."""
        for name in ("num_classes", "max_detections", "max_classes_per_detection", "detections_per_class"):
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        for name in ("score_threshold", "iou_threshold"):
            object.__setattr__(self, name, number_in_range(getattr(self, name), name, float, 0, 1))
        if self.iou_threshold == 0:
            raise ValueError("iou_threshold: expected a number in (0, 1], got 0.0")
        most = 1 if self.per_class else self.num_classes
        if self.max_classes_per_detection > most:
            raise ValueError(
                f"max_classes_per_detection: expected at most {most}, got {self.max_classes_per_detection}"
                f"{' where boxes are suppressed per class' * self.per_class}"
            )
        object.__setattr__(self, "scales", tuple(as_scales(self.scales).tolist()))

    def options(self) -> dict[str, Any]:
        """Return the settings by the names of the operator's options."""
        scales = zip(("y_scale", "x_scale", "h_scale", "w_scale"), self.scales, strict=True)
        return {
            "max_detections": self.max_detections,
            "max_classes_per_detection": self.max_classes_per_detection,
            "detections_per_class": self.detections_per_class,
            "use_regular_nms": self.per_class,
            "nms_score_threshold": self.score_threshold,
            "nms_iou_threshold": self.iou_threshold,
            "num_classes": self.num_classes,
            **dict(scales),
        }


class Detections(NamedTuple):
    """The objects that were found in an image, the highest score first.

    Attributes:
        boxes: edges, float32 (K, 4); they may lie outside the image.
        classes: class of each from 0, int32 (K,).
        scores: score of each, float32 (K,).
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def detections(
    offsets: ArrayLike, scores: ArrayLike, anchors: Anchors | ArrayLike, settings: PostProcessing
) -> Detections:
    """Return the objects of an image from the outputs of a detector.

    Boxes, overlaps and order are the operator's, computed in float32.

    Args:
        offsets: boxes relative to their anchors, (N, 4), see `encode`.
        scores: score of each class, (N, num_classes), or with the background's before them, (N, num_classes + 1).
        anchors: the anchors, or row and column of the centre, height and width of each, (N, 4).
        settings: the settings.

    Raises:
        ValueError: for other shapes, or numbers that are not finite.

    Examples:
        >>> anchors = [[0.5, 0.25, 1.0, 0.5], [0.5, 0.75, 1.0, 0.5]]
        >>> found = detections(np.zeros((2, 4)), [[0.1, 0.2], [0.9, 0.0]], anchors, PostProcessing(2))
        >>> found.classes.tolist(), found.boxes[0].tolist()
        ([0, 1], [0.0, 0.5, 1.0, 1.0])
    """
    centers = as_rows(anchors.centers() if isinstance(anchors, Anchors) else anchors, "anchors").astype(np.float32)
    values = as_rows(scores, "scores", None).astype(np.float32)
    background = values.shape[1] - settings.num_classes
    if background not in (0, 1) or len(values) != len(centers):
        raise ValueError(
            f"scores: expected {settings.num_classes} classes, with a background or without, of each of "
            f"{len(centers)} anchors, got {values.shape}"
        )
    found = decoded_centers(offsets, centers, settings.scales).astype(np.float32)
    half = found[:, 2:] / 2
    boxes = np.concatenate([found[:, :2] - half, found[:, :2] + half], axis=1)
    values = values[:, background:]
    rows, classes = (_suppress_per_class if settings.per_class else _suppress_all)(boxes, values, settings)
    return Detections(boxes[rows], classes.astype(np.int32), values[rows, classes])


def _suppress_all(boxes: np.ndarray, scores: np.ndarray, settings: PostProcessing) -> tuple[np.ndarray, np.ndarray]:
    """Row and class of each detection where all boxes suppress one another."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, : settings.max_classes_per_detection]
    limits = settings.iou_threshold, settings.score_threshold, settings.max_detections
    rows = suppress(boxes, scores.max(1, initial=0), *limits)
    return np.repeat(rows, best.shape[1]), best[rows].reshape(-1)


def _suppress_per_class(
    boxes: np.ndarray, scores: np.ndarray, settings: PostProcessing
) -> tuple[np.ndarray, np.ndarray]:
    """Row and class of each detection where boxes of the same class suppress one another."""
    limits = settings.iou_threshold, settings.score_threshold, settings.detections_per_class
    kept = [suppress(boxes, own, *limits) for own in scores.T]
    rows, classes = np.concatenate(kept), np.repeat(np.arange(len(kept)), [len(each) for each in kept])
    best = np.argsort(-scores[rows, classes], kind="stable")[: settings.max_detections]
    return rows[best], classes[best]
