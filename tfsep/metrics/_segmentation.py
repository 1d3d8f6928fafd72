"""Mean intersection over union of segmentations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfsep._utils.arguments import number_in_range


@dataclass(frozen=True)
class SegmentationResult:
    """How well segmentations agree with masks.

    Attributes:
        confusion: pixels by class of the mask (row) and of the segmentation (column), ints (K, K).

    Examples:
        >>> result = SegmentationResult(np.array([[2, 1], [0, 3]]))
        >>> round(result.mean_iou, 4), round(result.accuracy, 4)
        (0.7083, 0.8333)
    """

    confusion: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class, (K,); NaN for a class in no mask and no segmentation."""
        shared = np.diag(self.confusion).astype(float)
        union = self.confusion.sum(0) + self.confusion.sum(1) - shared
        return np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that are there."""
        return float(np.nanmean(self.iou))

    @property
    def accuracy(self) -> float:
        """Share of the pixels whose class is right."""
        return float(np.trace(self.confusion) / self.confusion.sum())


class SegmentationMetric:
    """Intersection over union of segmentations, over all pixels of all images.

    Args:
        num_classes: number of classes, the background included.
        ignored: label of pixels of a mask that do not count; None for none.

    Source: M. Everingham et al., "The PASCAL Visual Object Classes Challenge" (IJCV 2015), section 4.3.

    Examples:
        >>> metric = SegmentationMetric(2)
        >>> metric.update([[0, 0], [1, 1]], [[0, 1], [1, 1]])
        >>> round(metric.result().mean_iou, 4)
        0.5833
    """

    def __init__(self, num_classes: int, ignored: int | None = 255) -> None:
        self.num_classes = number_in_range(num_classes, "num_classes", int, 1, 2**15)
        self.ignored = ignored
        self._confusion = np.zeros((self.num_classes, self.num_classes), np.int64)

    def update(self, masks: ArrayLike, predictions: ArrayLike) -> None:
        """Count the pixels of one image or several.

        Args:
            masks: class of each pixel, ints of any shape.
            predictions: class of each pixel that a network says, ints of the same shape.

        Raises:
            ValueError: for other shapes, numbers that are no ints, or classes out of range.
        """
        right, said = np.asarray(masks), np.asarray(predictions)
        if right.shape != said.shape:
            raise ValueError(f"predictions: expected the shape of the masks, {right.shape}, got {said.shape}")
        kept = np.ones(right.shape, bool) if self.ignored is None else right != self.ignored
        pixels = [self._classes(each, kept, name) for each, name in ((right, "masks"), (said, "predictions"))]
        counts = np.bincount(pixels[0] * self.num_classes + pixels[1], minlength=self.num_classes**2)
        self._confusion += counts.reshape(self._confusion.shape)

    def _classes(self, values: np.ndarray, kept: np.ndarray, name: str) -> np.ndarray:
        if values.dtype.kind not in "iu":
            raise ValueError(f"{name}: expected ints, got {values.dtype}")
        classes = values[kept].astype(np.int64)
        if classes.size and not 0 <= classes.min() <= classes.max() < self.num_classes:
            wrong = classes.min() if classes.min() < 0 else classes.max()
            raise ValueError(f"{name}: expected classes in [0, {self.num_classes - 1}], got {wrong}")
        return classes

    def result(self) -> SegmentationResult:
        """Return what was counted.

        Raises:
            ValueError: if no pixel was.
        """
        if not self._confusion.any():
            raise ValueError("masks: expected at least one pixel that counts, got none")
        return SegmentationResult(self._confusion.copy())
