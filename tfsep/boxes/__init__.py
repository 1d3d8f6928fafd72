"""Boxes of detection, in NumPy: anchors as records, overlaps, the box coder, matching, and suppression of neighbours.

A box is its top, left, bottom and right edge, as shares of the image's height and width. An anchor is given by its
centre's row and column, its height and its width, in the same unit. These are the conventions of LiteRT's
``TFLite_Detection_PostProcess``.
"""

from tfsep.boxes._anchors import (
    AnchorGrid,
    Anchors,
    efficientdet_anchors,
    mediapipe_anchors,
    multibox_anchors,
    ssdlite_anchors,
)
from tfsep.boxes._box_coder import BOX_SCALES, decode, encode
from tfsep.boxes._box_geometry import iou, to_centers, to_corners
from tfsep.boxes._decoding import Decoding
from tfsep.boxes._detections import Detections, PostProcessing, detections
from tfsep.boxes._matching import BACKGROUND, IGNORED, Targets, match, targets
from tfsep.boxes._suppression import non_max_suppression

__all__ = [
    "BACKGROUND",
    "BOX_SCALES",
    "IGNORED",
    "AnchorGrid",
    "Anchors",
    "Decoding",
    "Detections",
    "PostProcessing",
    "Targets",
    "decode",
    "detections",
    "efficientdet_anchors",
    "encode",
    "iou",
    "match",
    "mediapipe_anchors",
    "multibox_anchors",
    "non_max_suppression",
    "ssdlite_anchors",
    "targets",
    "to_centers",
    "to_corners",
]
