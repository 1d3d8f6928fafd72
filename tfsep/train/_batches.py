"""The training batches of an epoch, as a function of the settings and the epoch alone."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.data import EpochShard, Preprocessing, SceneSplit, Split
from tfsep.data._fashion_scenes import SceneTarget
from tfsep.train._augment import augment, mix, random_numbers
from tfsep.train._config import FitConfig


def smooth_labels(labels: TensorLike, classes: int, smoothing: float) -> Tensor:
    """Return smoothed probabilities (N, K) of integer labels (N,).

    Args:
        labels: classes in [0, K).
        classes: number of classes, K.
        smoothing: share of each label that is spread over all classes.

    Source: C. Szegedy et al., "Rethinking the Inception Architecture" (arXiv 1512.00567), section 7.

    Examples:
        >>> smooth_labels(np.array([1]), 2, 0.5).numpy().tolist()
        [[0.25, 0.75]]
    """
    return tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes


class Preparation(Protocol):
    """What becomes of examples and of their batches."""

    def example(self, image: Tensor, label: Any) -> tuple[Tensor, Any]:
        """Return an image, uint8 (H, W, C), and what a batch needs of its label; in the input pipeline."""

    def __call__(self, images: Tensor, labels: Any, numbers: Tensor) -> tuple[Tensor, Any]:
        """Return the input of a network and its targets; in the input pipeline or within the step.

        Args:
            images: uint8 (N, H, W, C).
            labels: of `example`, tensors (N, ...).
            numbers: float32 (N, NUMBERS_PER_IMAGE), of `random_numbers`.
        """


class ScenePreparation(NamedTuple):
    """What becomes of scenes, which are not augmented.

    Attributes:
        preprocessing: of the images.
        assign: the targets of an example.
    """

    preprocessing: Preprocessing
    assign: Callable[[Tensor, SceneTarget], tuple[Tensor, Any]]

    def example(self, image: Tensor, label: SceneTarget) -> tuple[Tensor, Any]:
        """Return an image with its targets."""
        return self.assign(image, label)

    def __call__(self, images: Tensor, labels: Any, numbers: Tensor) -> tuple[Tensor, Any]:
        """Return preprocessed images with their targets."""
        del numbers
        return self.preprocessing(images), labels


class BatchPreparation(NamedTuple):
    """What becomes of labelled images.

    Attributes:
        config: the settings.
        preprocessing: of the images.
        classes: number of classes, K.
    """

    config: FitConfig
    preprocessing: Preprocessing
    classes: int

    def example(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image and its class as they are."""
        return image, label

    def __call__(self, images: Tensor, labels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return augmented, preprocessed images, with probabilities for labels, both mixed where the settings say so.

        Args:
            images: uint8 (N, H, W, C).
            labels: classes (N,).
            numbers: float32 (N, NUMBERS_PER_IMAGE), of `random_numbers`.
        """
        prepared = self.preprocessing(augment(images, numbers, self.config))
        probabilities = smooth_labels(labels, self.classes, self.config.label_smoothing)
        return mix(prepared, probabilities, numbers) if self.config.mixup else (prepared, probabilities)


def epoch_batches(
    split: Split | SceneSplit,
    config: FitConfig,
    prepare: Preparation,
    epoch: int,
    place: tuple[int, int] = (0, 1),
    prepared: bool = True,
) -> tf.data.Dataset:
    """Return the training batches of one epoch: shuffled and prepared.

    The same arguments always give the same batches. The last, smaller batch is left out; the shuffle leaves out other
    images in every epoch.

    Args:
        split: the training images.
        config: the settings.
        prepare: what becomes of a batch.
        epoch: number of the epoch, from 0.
        place: index of this worker, whose batches are its shares of the batches of all workers; number of workers.
        prepared: whether batches are prepared here; otherwise the step has to.

    Returns:
        A ``tf.data.Dataset`` of images (N, H, W, C) and their targets, or of the arguments of `prepare`.

    Examples:
        >>> split = Split.of(np.zeros((5, 28, 28, 1), "uint8"), np.arange(5))
        >>> config = FitConfig(batch_size=2)
        >>> prepare = BatchPreparation(config, split.preprocessing, 5)
        >>> [x.shape for x, labels in epoch_batches(split, config, prepare, epoch=0)]
        [TensorShape([2, 28, 28, 1]), TensorShape([2, 28, 28, 1])]
    """
    worker, workers = place
    share = config.images_per_step // workers
    shard = EpochShard(worker, workers, share)
    steps = shard.steps(split.size)

    def with_numbers(step: Tensor, batch: tuple[Tensor, Any]) -> tuple[Any, ...]:
        numbers = random_numbers(config, epoch * steps + step)[worker * share : (worker + 1) * share]
        return prepare(*batch, numbers) if prepared else (*batch, numbers)

    examples = split.examples(config.seed, epoch, shard).map(prepare.example, num_parallel_calls=tf.data.AUTOTUNE)
    batches = examples.batch(share, drop_remainder=True).take(steps).enumerate()
    return batches.map(with_numbers, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
