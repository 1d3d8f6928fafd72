"""Losses of detection: of an anchor's classes and of its box.

A detector has two outputs: the logits of its classes, (N, A, K) for A anchors, and offsets, (N, A, 4). What they are to
be is made of a scene by `tfsep.data.detection_targets`: classes, (N, A), and offsets with a weight, (N, A, 5).
`ClassLoss` and `BoxLoss` are losses of these two outputs for ``compile``; each is divided by the number of an image's
anchors that have an object.
"""

from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep._utils.arguments import number_in_range, one_of, positive_number

__all__ = ["MINING", "BoxLoss", "ClassLoss", "focal_loss", "hard_negatives", "smooth_l1"]

MINING = ("focal", "hard_negatives")
"""Ways to train with far more background than objects."""


def focal_loss(labels: TensorLike, logits: TensorLike, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of each logit: cross-entropy, weighted down where the prediction is right already.

    With the probability p of what is right, it is ``-a (1 - p) ** gamma · log(p)``, where a is `alpha` for a label of 1
    and ``1 - alpha`` for one of 0.

    Args:
        labels: 0 or 1, of any shape.
        logits: logarithms of odds, of the same shape.
        alpha: weight of labels of 1, in [0, 1].
        gamma: exponent of at least 0; 0 for cross-entropy.

    Source: T.-Y. Lin et al., "Focal Loss" (arXiv 1708.02002).

    Raises:
        ValueError: for unlike shapes, or an argument out of range.

    Examples:
        >>> [round(float(loss), 4) for loss in focal_loss([1.0, 0.0], [0.0, 0.0])]
        [0.0433, 0.13]
    """
    alpha, gamma = number_in_range(alpha, "alpha", float, 0, 1), number_in_range(gamma, "gamma", float, 0)
    logits = tf.convert_to_tensor(logits)
    labels = _alike(labels, logits, "labels", "logits")
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    # The logarithm of 1 - p is the cross-entropy of the other label.
    wrong = tf.exp(-gamma * tf.nn.sigmoid_cross_entropy_with_logits(1 - labels, logits))
    return (labels * alpha + (1 - labels) * (1 - alpha)) * wrong * entropy


def smooth_l1(targets: TensorLike, predictions: TensorLike, delta: float = 1.0) -> Tensor:
    """Return the smooth L1 loss of each number.

    Of a difference d it is ``d² / (2 delta)`` up to `delta`, and ``|d| - delta / 2`` beyond it.

    Args:
        targets: the right numbers, of any shape.
        predictions: the predicted numbers, of the same shape.
        delta: where the parabola goes over into a line.

    Source: R. Girshick, "Fast R-CNN" (arXiv 1504.08083), section 2.3.

    Raises:
        ValueError: for unlike shapes, or a `delta` that is not greater than zero.

    Examples:
        >>> smooth_l1([0.0, 0.0, 0.0], [0.5, 1.0, -3.0]).numpy().tolist()
        [0.125, 0.5, 2.5]
    """
    delta = positive_number(delta, "delta")
    predictions = tf.convert_to_tensor(predictions)
    distance = tf.abs(predictions - _alike(targets, predictions, "targets", "predictions"))
    return tf.where(distance < delta, distance**2 / (2 * delta), distance - delta / 2)


def hard_negatives(losses: TensorLike, objects: TensorLike, negatives: TensorLike, ratio: float = 3.0) -> Tensor:
    """Return the negatives of each image that train: those of the largest losses.

    Args:
        losses: loss of each anchor, (N, A).
        objects: whether an anchor has an object, bool (N, A).
        negatives: whether an anchor is background, bool (N, A).
        ratio: negatives for each anchor with an object; an image without objects has as many as one with a single one.

    Returns:
        bool (N, A).

    Source: W. Liu et al., "SSD" (arXiv 1512.02325), section 2.2.

    Raises:
        ValueError: for a ratio that is not greater than zero.

    Examples:
        >>> losses, objects = np.array([[0.3, 0.9, 0.1, 0.5]]), np.array([[False, True, False, False]])
        >>> hard_negatives(losses, objects, ~objects, 2).numpy().tolist()
        [[True, False, False, True]]
    """
    ratio = positive_number(ratio, "ratio")
    losses, objects, negatives = (tf.convert_to_tensor(each) for each in (losses, objects, negatives))
    counts = tf.maximum(tf.reduce_sum(tf.cast(objects, "float32"), 1), 1) * ratio
    order = tf.argsort(tf.where(negatives, losses, -1), direction="DESCENDING", stable=True)
    rank = tf.argsort(order)
    return negatives & (tf.cast(rank, "float32") < counts[:, None])


@keras.saving.register_keras_serializable(package="tfsep")
class ClassLoss(keras.losses.Loss):
    """Loss of the classes of a detector's anchors, with a logit for each class and none for the background.

    Args:
        mining: ``"focal"`` for the focal loss of all anchors; ``"hard_negatives"`` for the cross-entropy of anchors
            with objects and of the hardest of the others.
        alpha: see `focal_loss`.
        gamma: see `focal_loss`.
        ratio: see `hard_negatives`.
        name: name of the loss.

    Examples:
        >>> loss = ClassLoss("hard_negatives", ratio=1)
        >>> round(float(loss(np.array([[2, 0, 0, -1]]), np.zeros((1, 4, 3), "float32"))), 4)
        4.1589
    """

    def __init__(
        self,
        mining: str = "focal",
        alpha: float = 0.25,
        gamma: float = 2.0,
        ratio: float = 3.0,
        name: str = "class_loss",
    ) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.mining = one_of(mining, "mining", MINING)
        self.alpha = number_in_range(alpha, "alpha", float, 0, 1)
        self.gamma = number_in_range(gamma, "gamma", float, 0)
        self.ratio = positive_number(ratio, "ratio")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each image, (N,).

        Args:
            y_true: classes of the anchors, ints (N, A): 0 for the background, ``k + 1`` for class k, -1 for neither.
            y_pred: logits, (N, A, K).
        """
        classes = tf.cast(y_true, "int32")
        labels = tf.one_hot(classes - 1, y_pred.shape[-1], dtype=y_pred.dtype)
        objects = classes > 0
        if self.mining == "focal":
            losses = tf.reduce_sum(focal_loss(labels, y_pred, self.alpha, self.gamma), -1)
            kept = classes >= 0
        else:
            losses = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, y_pred), -1)
            kept = objects | hard_negatives(losses, objects, classes == 0, self.ratio)
        return _per_object(tf.where(kept, losses, 0), objects)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {name: getattr(self, name) for name in ("mining", "alpha", "gamma", "ratio", "name")}


@keras.saving.register_keras_serializable(package="tfsep")
class BoxLoss(keras.losses.Loss):
    """Smooth L1 loss of the offsets of a detector's anchors, of those with an object.

    Args:
        delta: see `smooth_l1`.
        name: name of the loss.

    Examples:
        >>> right = np.array([[[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]], "float32")
        >>> float(BoxLoss()(right, np.ones((1, 2, 4), "float32")))
        2.0
    """

    def __init__(self, delta: float = 1.0, name: str = "box_loss") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.delta = positive_number(delta, "delta")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each image, (N,).

        Args:
            y_true: offsets, and 1 for an anchor with an object or 0, (N, A, 5).
            y_pred: offsets, (N, A, 4).
        """
        objects = y_true[..., 4] > 0
        losses = tf.reduce_sum(smooth_l1(y_true[..., :4], y_pred, self.delta), -1)
        return _per_object(tf.where(objects, losses, 0), objects)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"delta": self.delta, "name": self.name}


def _per_object(losses: Tensor, objects: Tensor) -> Tensor:
    """The sum over an image's anchors, (N,), by the number of those with an object."""
    return tf.reduce_sum(losses, 1) / tf.maximum(tf.reduce_sum(tf.cast(objects, losses.dtype), 1), 1)


def _alike(value: TensorLike, other: Tensor, name: str, other_name: str) -> Tensor:
    """The value as a tensor of the type of another, whose shape it has to have."""
    tensor = tf.cast(value, other.dtype)
    if not tensor.shape.is_compatible_with(other.shape):
        raise ValueError(f"{name}: expected the shape of {other_name}, {tuple(other.shape)}, got {tuple(tensor.shape)}")
    return tensor
