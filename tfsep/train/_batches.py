"""The batches of an epoch, as a function of the recipe and the epoch alone."""

from typing import Any

from tfsep._keras.backend import tf
from tfsep.data import EpochShard, Split
from tfsep.train._augment import augment, draws, mix
from tfsep.train._config import FitConfig


def smoothed(labels: Any, classes: int, smoothing: float) -> Any:
    """Return probabilities (N, K) of integer labels (N,), of which `smoothing` is spread over all classes.

    Source: C. Szegedy et al., "Rethinking the Inception Architecture" (arXiv 1512.00567), section 7.

    Examples:
        >>> smoothed(np.array([1]), 2, 0.5).numpy().tolist()
        [[0.25, 0.75]]
    """
    return tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes


def epoch_batches(split: Split, config: FitConfig, classes: int, epoch: int, worker: int = 0, workers: int = 1) -> Any:
    """Return the training batches of one epoch: shuffled, augmented and preprocessed, with probabilities for labels.

    The same arguments give the same batches, however often and whenever they are asked for. The last, smaller batch is
    left out; the shuffle leaves out others every time. A worker's batch is its share of the batch of all of them.

    Examples:
        >>> split = Split.of(np.zeros((5, 28, 28, 1), "uint8"), np.arange(5))
        >>> [x.shape for x, labels in epoch_batches(split, FitConfig(batch_size=2), 5, epoch=0)]
        [TensorShape([2, 28, 28, 1]), TensorShape([2, 28, 28, 1])]
    """
    share = config.batch_size // workers
    shard = EpochShard(worker, workers, share)
    steps = shard.steps(split.size)

    def prepared(step: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        images, labels = batch
        numbers = draws(config, epoch * steps + step)[worker * share : (worker + 1) * share]
        images = split.preprocessing(augment(images, numbers, config))
        targets = smoothed(labels, classes, config.label_smoothing)
        return mix(images, targets, numbers) if config.mixup else (images, targets)

    batches = split.examples(config.seed, epoch, shard).batch(share, drop_remainder=True).take(steps).enumerate()
    return batches.map(prepared, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
