"""What a detector has to put out for scenes, as a step of an input pipeline."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep._utils.arguments import number_in_range
from tfsep.boxes import BOX_SCALES, Anchors, targets
from tfsep.data._fashion_scenes import SceneTarget

DetectionTarget: TypeAlias = dict[str, Tensor]
"""``classes``, (A,), and ``offsets``, (A, 5): the right outputs of a detector for its A anchors."""


def detection_targets(
    anchors: Anchors, positive: float = 0.5, negative: float | None = None, scales: ArrayLike = BOX_SCALES
) -> Callable[[Tensor, SceneTarget], tuple[Tensor, DetectionTarget]]:
    """Return a function for ``tf.data.Dataset.map`` of scenes: it puts what a detector has to put out for the target.

    Args:
        anchors: the detector's anchors, A of them.
        positive: see `tfsep.boxes.match`.
        negative: see `tfsep.boxes.match`.
        scales: see `tfsep.boxes.encode`.

    Returns:
        A function from an image, and a dict with ``boxes`` (M, 4) and ``classes`` (M,), to the same image and a dict:
        ``classes``, int32 (A,), of `tfsep.boxes.Targets`, and ``offsets``, float32 (A, 5), whose last column is 1 where
        an anchor has an object.

    Raises:
        TypeError: if `anchors` are no `Anchors`.
        ValueError: for a limit out of range. Boxes that `tfsep.boxes.targets` refuses are an error of TensorFlow, with
            the same sentence, when they are read.

    Examples:
        >>> from tfsep.boxes import multibox_anchors
        >>> scene = {"boxes": np.array([[0.1, 0.1, 0.6, 0.6]], "float32"), "classes": np.array([3], "int32")}
        >>> _, target = detection_targets(multibox_anchors([2, 1]))(tf.zeros((8, 8, 1)), scene)
        >>> target["classes"].shape, int(tf.reduce_max(target["classes"]))
        (TensorShape([18]), 4)
    """
    if not isinstance(anchors, Anchors):
        raise TypeError(f"anchors: expected Anchors, got a {type(anchors).__name__}")
    positive = number_in_range(positive, "positive", float, 0, 1)
    negative = None if negative is None else number_in_range(negative, "negative", float, 0, positive)

    def make(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = targets(boxes, classes, anchors, positive, negative, scales)
        weights = (found.classes > 0)[:, None].astype(np.float32)
        return found.classes, np.concatenate([found.offsets, weights], axis=1)

    def assign(image: Tensor, target: SceneTarget) -> tuple[Tensor, DetectionTarget]:
        found = tf.numpy_function(make, [target["boxes"], target["classes"]], (tf.int32, tf.float32), stateful=False)
        shapes = {"classes": (anchors.count,), "offsets": (anchors.count, 5)}
        return image, {
            name: tf.ensure_shape(part, shape) for (name, shape), part in zip(shapes.items(), found, strict=True)
        }

    return assign
