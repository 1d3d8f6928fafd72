"""What a network is trained to do: the batches, the losses, the score and the finished model of each task."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Model, Tensor
from tfsep.boxes import Decoding
from tfsep.data import SceneSplit, Split, detection_targets
from tfsep.data._preprocessing import Preprocessing
from tfsep.losses import BoxLoss, ClassLoss, smooth_l1
from tfsep.train._batches import BatchPreparation, Preparation, ScenePreparation
from tfsep.train._config import FitConfig
from tfsep.train._model_setup import with_softmax
from tfsep.train._scores import correct_predictions, detection_score, segmentation_score
from tfsep.train._strategy import Devices


class Task(ABC):
    """What a network is trained to do.

    Attributes:
        score_key: name of the score in a log.
        score_title: name of the score in sentences.
        activation: function that makes the outputs of a finished model of its logits.
        decoding: how a detector's outputs become objects; None for any other model.
    """

    score_key: ClassVar[str]
    score_title: ClassVar[str]
    activation: ClassVar[str] = "softmax"
    decoding: Decoding | None = None

    @abstractmethod
    def preparation(self, config: FitConfig, preprocessing: Preprocessing, model: Model) -> Preparation:
        """Return what becomes of a batch of examples.

        Args:
            config: the settings.
            preprocessing: of the images.
            model: the model in training.
        """

    @abstractmethod
    def losses(self, targets: Any, outputs: Any) -> Tensor:
        """Return the loss of each example, (N,).

        Args:
            targets: what the preparation makes of the examples' labels.
            outputs: outputs of the model in training, float32.
        """

    @abstractmethod
    def distillation(self, taught: Any, outputs: Any) -> Tensor:
        """Return the loss of each example, (N,), where a teacher's outputs are the targets.

        Args:
            taught: outputs of a finished model.
            outputs: outputs of the model in training, float32.
        """

    @abstractmethod
    def right(self, targets: Any, outputs: Any) -> Tensor:
        """Return the share of each example that is right, (N,) in [0, 1], for the log.

        Args:
            targets: see `losses`.
            outputs: see `losses`.
        """

    @abstractmethod
    def score(self, model: Model, split: Any, devices: Devices) -> float:
        """Return how good a model is, the same number in all workers.

        Args:
            model: a finished model.
            split: the examples.
            devices: the workers.
        """

    def finish(self, model: Model) -> Model:
        """Return the model that is saved, on the weights of one from images to logits."""
        return with_softmax(model)


class Classification(Task):
    """One class for each image; its targets are probabilities, (N, K)."""

    score_key = score_title = "accuracy"

    def preparation(self, config: FitConfig, preprocessing: Preprocessing, model: Model) -> BatchPreparation:
        """Return augmentation, and labels as probabilities."""
        return BatchPreparation(config, preprocessing, model.output_shape[-1])

    def losses(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Return the cross-entropies."""
        return tf.nn.softmax_cross_entropy_with_logits(targets, outputs)

    def distillation(self, taught: Tensor, outputs: Tensor) -> Tensor:
        """Return the cross-entropies with a teacher's probabilities."""
        return self.losses(taught, outputs)

    def right(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Return 1 where the most likely class is right."""
        return tf.cast(tf.argmax(outputs, -1) == tf.argmax(targets, -1), "float32")

    def score(self, model: Model | Callable[..., Tensor], split: Split, devices: Devices) -> float:
        """Return the accuracy; each worker evaluates a part of the split."""
        own = correct_predictions(model, split.shard(devices.worker_count, devices.worker_index))
        return float(sum(devices.exchange(own)) / split.size)


class Segmentation(Task):
    """A class for each pixel; its targets are masks, (N, H, W)."""

    score_key, score_title = "mean_iou", "mean IoU"

    def preparation(self, config: FitConfig, preprocessing: Preprocessing, model: Model) -> ScenePreparation:  # noqa: ARG002
        """Return scenes with their masks."""
        return ScenePreparation(preprocessing, lambda image, scene: (image, scene["mask"]))

    def losses(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Return the mean cross-entropy of an image's pixels."""
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(targets, "int32"), outputs)
        return tf.reduce_mean(entropies, (1, 2))

    def distillation(self, taught: Tensor, outputs: Tensor) -> Tensor:
        """Return the mean cross-entropy of an image's pixels with a teacher's probabilities."""
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(taught, outputs), (1, 2))

    def right(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Return the share of an image's pixels whose class is right."""
        said = tf.argmax(outputs, -1, "int32")
        return tf.reduce_mean(tf.cast(said == tf.cast(targets, "int32"), "float32"), (1, 2))

    def score(self, model: Model, split: SceneSplit, devices: Devices) -> float:
        """Return the mean IoU, which the chief computes."""
        return _by_chief(lambda: segmentation_score(model, split, model.output_shape[-1]).mean_iou, devices)


@dataclass(frozen=True)
class Detection(Task):
    """Objects in boxes; its targets are those of `tfsep.data.detection_targets`.

    Attributes:
        decoding: how the model's outputs become objects.
        class_loss: loss of the anchors' classes.
        box_weight: weight of the loss of boxes.
    """

    decoding: Decoding
    class_loss: ClassLoss = field(default_factory=ClassLoss)
    box_weight: float = 1.0

    score_key, score_title, activation = "map50", "mAP@0.5", "sigmoid"

    def preparation(self, config: FitConfig, preprocessing: Preprocessing, model: Model) -> ScenePreparation:  # noqa: ARG002
        """Return scenes with what the detector has to put out for them."""
        anchors, scales = self.decoding.anchors, self.decoding.settings.scales
        return ScenePreparation(preprocessing, detection_targets(anchors, scales=scales))

    def losses(self, targets: dict[str, Tensor], outputs: dict[str, Tensor]) -> Tensor:
        """Return the losses of classes and boxes."""
        boxes = BoxLoss().call(targets["offsets"], outputs["offsets"])
        return self.class_loss.call(targets["classes"], outputs["classes"]) + self.box_weight * boxes

    def distillation(self, taught: dict[str, Tensor], outputs: dict[str, Tensor]) -> Tensor:
        """Return cross-entropies with a teacher's scores, and distances to its boxes, weighted by their scores."""
        scores = taught["classes"]
        entropies = tf.nn.sigmoid_cross_entropy_with_logits(scores, outputs["classes"])
        weights = tf.reduce_max(scores, -1)
        boxes = tf.reduce_sum(smooth_l1(taught["offsets"], outputs["offsets"]), -1)
        summed = tf.reduce_sum(entropies, (1, 2)) + self.box_weight * tf.reduce_sum(weights * boxes, 1)
        return summed / tf.maximum(tf.reduce_sum(weights, 1), 1.0)

    def right(self, targets: dict[str, Tensor], outputs: dict[str, Tensor]) -> Tensor:
        """Return the share of the anchors with an object whose most likely class is right."""
        classes = tf.cast(targets["classes"], "int32")
        hits = (classes > 0) & (tf.argmax(outputs["classes"], -1, "int32") + 1 == classes)
        count = tf.reduce_sum(tf.cast(classes > 0, "float32"), 1)
        return tf.reduce_sum(tf.cast(hits, "float32"), 1) / tf.maximum(count, 1.0)

    def score(self, model: Model, split: SceneSplit, devices: Devices) -> float:
        """Return the mean average precision at an overlap of 0.5, which the chief computes."""
        anchors, settings = self.decoding.anchors, self.decoding.settings
        return _by_chief(lambda: detection_score(model, split, anchors, settings).at(0.5), devices)

    def finish(self, model: Model) -> Model:
        """Return the model whose classes are scores in [0, 1]."""
        predictions = keras.layers.Activation("sigmoid", dtype="float32", name=f"{model.name}.Predictions")
        return keras.Model(
            model.input, {**model.output, "classes": predictions(model.output["classes"])}, name=model.name
        )


def _by_chief(score: Callable[[], float], devices: Devices) -> float:
    """A score that the chief computes, in all workers."""
    return float(devices.exchange(score() if devices.is_chief else None)[0])
