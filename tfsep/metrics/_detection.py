"""Mean average precision of detections, as COCO defines it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfsep._utils.arguments import number_in_range, positive_int
from tfsep.boxes import Detections, iou
from tfsep.boxes._box_geometry import as_boxes, as_objects

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""COCO's overlaps from which on a detection is right: 0.5, 0.55, … 0.95."""

_RECALLS = np.linspace(0, 1, 101)
"""Recalls at which COCO reads the precision."""


@dataclass(frozen=True)
class DetectionResult:
    """How well detections agree with objects.

    Attributes:
        thresholds: overlaps from which on a detection is right, ascending.
        precision: average precision by class and threshold, (K, T); NaN for a class without objects.

    Examples:
        >>> result = DetectionResult((0.5, 0.75), np.array([[0.9, 0.7], [0.8, 0.6], [np.nan, np.nan]]))
        >>> round(result.mean, 4), round(result.at(0.5), 4)
        (0.75, 0.85)
    """

    thresholds: tuple[float, ...]
    precision: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the classes that have objects, and over the thresholds: COCO's AP for its thresholds."""
        return float(np.nanmean(self.precision))

    def at(self, threshold: float) -> float:
        """Return the mean over the classes that have objects, at one threshold.

        Args:
            threshold: one of `thresholds`.

        Raises:
            ValueError: for another number.
        """
        if threshold not in self.thresholds:
            raise ValueError(f"threshold: expected one of {', '.join(map(str, self.thresholds))}, got {threshold!r}")
        return float(np.nanmean(self.precision[:, self.thresholds.index(threshold)]))


class DetectionMetric:
    """Mean average precision, as COCO computes it over all sizes of objects.

    Args:
        num_classes: number of classes, without a background.
        thresholds: overlaps, as shares in (0, 1], from which on a detection is right, ascending.
        max_detections: most detections of a class in an image that count, those of the highest scores.

    Source: T.-Y. Lin et al., "Microsoft COCO" (arXiv 1405.0312), and its evaluation, ``pycocotools``.

    Examples:
        >>> metric = DetectionMetric(2)
        >>> box = [[0.1, 0.1, 0.5, 0.5]]
        >>> metric.update(box, [1], Detections(np.array(box), np.array([1]), np.array([0.9])))
        >>> metric.result().at(0.5)
        1.0
    """

    def __init__(
        self, num_classes: int, thresholds: tuple[float, ...] = COCO_THRESHOLDS, max_detections: int = 100
    ) -> None:
        self.num_classes = positive_int(num_classes, "num_classes")
        self.thresholds = tuple(number_in_range(each, "thresholds", float, 1e-6, 1) for each in thresholds)
        if not self.thresholds or list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds: expected numbers in ascending order, got {thresholds!r}")
        self.max_detections = positive_int(max_detections, "max_detections")
        self._objects = np.zeros(self.num_classes, np.int64)
        self._scores: list[list[np.ndarray]] = [[] for _ in range(self.num_classes)]
        self._right: list[list[np.ndarray]] = [[] for _ in range(self.num_classes)]

    def update(self, boxes: ArrayLike, classes: ArrayLike, found: Detections) -> None:
        """Compare the objects of an image with what was detected in it.

        Args:
            boxes: edges of the objects as shares of the image, (M, 4); there may be none.
            classes: class of each object, ints (M,); rows of -1 are none.
            found: what was detected, its boxes in the same unit; in any order.

        Raises:
            ValueError: for other shapes, classes out of range, objects outside the image, or numbers that are not
                finite.
        """
        numbers = self._classes(classes, len(np.asarray(boxes)), "classes", -1)
        objects = as_objects(np.asarray(boxes)[numbers >= 0], "boxes")
        numbers = numbers[numbers >= 0]
        rivals, scores = as_boxes(found.boxes, "found"), np.asarray(found.scores, np.float64)
        if scores.shape != rivals.shape[:1] or not np.isfinite(scores).all():
            raise ValueError(f"found: expected a finite score for each of {len(rivals)} boxes, got {scores.shape}")
        said = self._classes(found.classes, len(rivals), "found", 0)
        for number in np.union1d(numbers, said):
            own = np.flatnonzero(said == number)
            own = own[np.argsort(-scores[own], kind="stable")][: self.max_detections]
            self._objects[number] += np.count_nonzero(numbers == number)
            self._scores[number].append(scores[own])
            self._right[number].append(self._matched(iou(rivals[own], objects[numbers == number])))

    def _classes(self, values: ArrayLike, count: int, name: str, least: int) -> np.ndarray:
        """The class of each of `count` boxes."""
        classes = np.asarray(values)
        if classes.shape != (count,) or (count and classes.dtype.kind not in "iu"):
            raise ValueError(f"{name}: expected an int for each of {count} boxes, got {classes.dtype} {classes.shape}")
        if count and not least <= classes.min() <= classes.max() < self.num_classes:
            wrong = classes.min() if classes.min() < least else classes.max()
            raise ValueError(f"{name}: expected classes in [{least}, {self.num_classes - 1}], got {wrong}")
        return classes.astype(np.int64)

    def _matched(self, overlap: np.ndarray) -> np.ndarray:
        """Whether each detection, the best first, finds an object that none before it has, bool (D, T)."""
        limits = np.minimum(self.thresholds, 1 - 1e-10)[:, None]
        left = np.ones((len(self.thresholds), overlap.shape[1]), bool)
        right = np.zeros((len(overlap), len(self.thresholds)), bool)
        for row, shares in enumerate(overlap):
            open_shares = np.where(left & (shares >= limits), shares, -1.0)
            right[row] = (open_shares >= 0).any(1)
            place = open_shares.shape[1] - 1 - open_shares[:, ::-1].argmax(1) if shares.size else np.zeros(0, int)
            hits = np.flatnonzero(right[row])
            left[hits, place[hits]] = False
        return right

    def result(self) -> DetectionResult:
        """Return the average precision of what was compared.

        Raises:
            ValueError: if there was no object at all.
        """
        if not self._objects.any():
            raise ValueError("boxes: expected objects in at least one image, got none")
        rows = [self._average_precision(number) for number in range(self.num_classes)]
        return DetectionResult(self.thresholds, np.array(rows))

    def _average_precision(self, number: int) -> np.ndarray:
        """Average precision of a class at each threshold; NaN if it has no object."""
        if not self._objects[number]:
            return np.full(len(self.thresholds), np.nan)
        if not self._scores[number]:
            return np.zeros(len(self.thresholds))
        order = np.argsort(-np.concatenate(self._scores[number]), kind="stable")
        hits = np.cumsum(np.concatenate(self._right[number])[order], axis=0)
        recall = hits / self._objects[number]
        precision = hits / np.arange(1, len(hits) + 1)[:, None]
        best_from_here = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        padded = np.concatenate([best_from_here, np.zeros((1, hits.shape[1]))])
        return np.array(
            [padded[np.searchsorted(recall[:, t], _RECALLS), t].mean() for t in range(len(self.thresholds))]
        )
