"""The training batches of an epoch, as a function of the settings and the epoch alone."""

from typing import NamedTuple

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.data import EpochShard, Preprocessing, Split
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


class BatchPreparation(NamedTuple):
    """What becomes of a batch of examples, in the input pipeline or within the step.

    Attributes:
        config: the settings.
        preprocessing: of the images.
        classes: number of classes, K.
    """

    config: FitConfig
    preprocessing: Preprocessing
    classes: int

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
    split: Split, config: FitConfig, classes: int, epoch: int, place: tuple[int, int] = (0, 1), prepared: bool = True
) -> tf.data.Dataset:
    """Return the training batches of one epoch: shuffled, augmented and preprocessed, with probabilities for labels.

    The same arguments always give the same batches. The last, smaller batch is left out; the shuffle leaves out other
    images in every epoch.

    Args:
        split: the training images.
        config: the settings.
        classes: number of classes.
        epoch: number of the epoch, from 0.
        place: index of this worker, whose batches are its shares of the batches of all workers; number of workers.
        prepared: whether batches are prepared here; otherwise the step has to.

    Returns:
        A ``tf.data.Dataset`` of images (N, H, W, C) and probabilities (N, K), or of the arguments of a
        `BatchPreparation`.

    Examples:
        >>> split = Split.of(np.zeros((5, 28, 28, 1), "uint8"), np.arange(5))
        >>> [x.shape for x, labels in epoch_batches(split, FitConfig(batch_size=2), 5, epoch=0)]
        [TensorShape([2, 28, 28, 1]), TensorShape([2, 28, 28, 1])]
    """
    worker, workers = place
    share = config.images_per_step // workers
    shard = EpochShard(worker, workers, share)
    steps = shard.steps(split.size)

    prepare = BatchPreparation(config, split.preprocessing, classes)

    def with_numbers(step: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        numbers = random_numbers(config, epoch * steps + step)[worker * share : (worker + 1) * share]
        return prepare(*batch, numbers) if prepared else (*batch, numbers)

    batches = split.examples(config.seed, epoch, shard).batch(share, drop_remainder=True).take(steps).enumerate()
    return batches.map(with_numbers, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
