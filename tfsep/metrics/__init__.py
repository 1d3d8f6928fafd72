"""Metrics of detection and segmentation, in NumPy: fed image by image, so that memory holds counts, no images."""

from tfsep.metrics._detection import COCO_THRESHOLDS, DetectionMetric, DetectionResult
from tfsep.metrics._segmentation import SegmentationMetric, SegmentationResult

__all__ = [
    "COCO_THRESHOLDS",
    "DetectionMetric",
    "DetectionResult",
    "SegmentationMetric",
    "SegmentationResult",
]
