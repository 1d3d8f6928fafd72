"""How well a model classifies images, segments scenes or finds the objects in them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.types import Model, Tensor
from tfsep.boxes import Anchors, PostProcessing, detections
from tfsep.data import SceneSplit, Split
from tfsep.metrics import DetectionMetric, DetectionResult, SegmentationMetric, SegmentationResult


def accuracy(model: Model | Callable[..., Tensor], split: Split, batch_size: int = 500) -> float:
    """Return the share of a split's images that a model classifies correctly, in [0, 1]. The model is not changed.

    Args:
        model: model from prepared images (N, H, W, C) to scores (N, K), called with ``training=False``.
        split: the labelled images.
        batch_size: images per call of the model.

    Examples:
        >>> split = Split.of(np.zeros((4, 28, 28, 1), "uint8"), np.array([0, 0, 0, 1]))
        >>> accuracy(lambda x, training: tf.one_hot(tf.zeros(len(x), "int32"), depth=2), split)
        0.75
    """
    with foreign_state_kept(model), keras.StatelessScope():
        return correct_predictions(model, split, batch_size) / split.size


def correct_predictions(model: Model | Callable[..., Tensor], split: Split, batch_size: int = 500) -> int:
    """Return the number of a split's images that a model classifies correctly."""
    correct = 0
    for images, labels in split.batches(batch_size):
        predicted = tf.argmax(model(images, training=False), -1, "int32")
        correct += int(tf.reduce_sum(tf.cast(predicted == labels, "int32")))
    return correct


def segmentation_score(
    model: Model | Callable[[Tensor], Any], split: SceneSplit, num_classes: int, batch_size: int = 64
) -> SegmentationResult:
    """Return how well a model's classes of pixels agree with the masks of scenes.

    Args:
        model: model, or function, from prepared images (N, H, W, C) to scores (N, H, W, K) or to classes, ints
            (N, H, W).
        split: the scenes.
        num_classes: number of classes, the background included.
        batch_size: images per call of the model.

    Raises:
        ValueError: for results of other shapes, or an argument out of range.

    Examples:
        >>> from tfsep.data import ImageData, Split, fashion_scenes
        >>> squares = Split.of(np.full((24, 28, 28, 1), 200, "uint8"), np.arange(24) % 10)
        >>> scenes = fashion_scenes(test=8, source=ImageData("squares", tuple("abcdefghij"), squares, squares))
        >>> result = segmentation_score(lambda x: tf.zeros(x.shape[:3], "int32"), scenes.test, 11)
        >>> result.mean_iou < result.accuracy
        True
    """
    metric = SegmentationMetric(num_classes)
    for images, targets in split.batches(batch_size):
        found = np.asarray(_run(model, images))
        if found.ndim == 4:
            found = found.argmax(-1)
        metric.update(targets["mask"].numpy(), found)
    return metric.result()


def detection_score(
    model: Model | Callable[[Tensor], Any],
    split: SceneSplit,
    anchors: Anchors,
    settings: PostProcessing,
    batch_size: int = 64,
) -> DetectionResult:
    """Return how well the objects that a detector finds agree with those of scenes.

    Args:
        model: model, or function, from prepared images (N, H, W, C) to a dict of ``offsets`` (N, A, 4) and ``classes``,
            scores (N, A, K), such as a model of `tfsep.models.ssdlite`.
        split: the scenes.
        anchors: anchors of the model, A of them.
        settings: how detections are made of its outputs; a low `score_threshold` gives the whole curve.
        batch_size: images per call of the model.

    Raises:
        ValueError: for results of other shapes, or an argument out of range.

    Examples:
        >>> from tfsep.boxes import ssdlite_anchors
        >>> from tfsep.data import ImageData, Split, fashion_scenes
        >>> squares, anchors = Split.of(np.full((9, 28, 28, 1), 200, "uint8"), np.arange(9)), ssdlite_anchors(96)
        >>> scenes = fashion_scenes(test=4, source=ImageData("squares", tuple("abcdefghij"), squares, squares))
        >>> def blind(x):
        ...     return {name: tf.zeros((len(x), anchors.count, n)) for name, n in (("offsets", 4), ("classes", 10))}
        >>> detection_score(blind, scenes.test, anchors, PostProcessing(10)).mean
        0.0
    """
    metric = DetectionMetric(settings.num_classes, max_detections=settings.max_detections)
    for images, targets in split.batches(batch_size):
        found = _run(model, images)
        if not isinstance(found, dict) or found.keys() != {"offsets", "classes"}:
            raise ValueError(f"model: expected a dict of offsets and classes, got a {type(found).__name__}")
        rows = zip(*(np.asarray(part) for part in (found["offsets"], found["classes"])), strict=True)
        objects = zip(targets["boxes"].numpy(), targets["classes"].numpy(), strict=True)
        for (offsets, scores), (boxes, classes) in zip(rows, objects, strict=True):
            metric.update(boxes, classes, detections(offsets, scores, anchors, settings))
    return metric.result()


def _run(model: Model | Callable[[Tensor], Any], images: Tensor) -> Any:
    """The results of a model in inference."""
    return model(images, training=False) if isinstance(model, keras.Model) else model(tf.convert_to_tensor(images))
