"""Augmentation of whole batches, each image by its own row of random numbers.

The numbers are drawn from the seed, the epoch and the step for the batch of all workers together, and a worker takes
the rows of its share: so how many workers there are changes nothing.
"""

from typing import Any

from tfsep._keras.backend import tf
from tfsep.train._config import FitConfig

NUMBERS = 10
"""How many numbers in [0, 1) an image is augmented by."""

_ERASED_AREA = 0.02, 0.33
_ERASED_ASPECT = 0.3, 3.3


def draws(config: FitConfig, step: Any) -> Any:
    """Return the random numbers of a step, float32 (batch_size, NUMBERS).

    All but the last are in [0, 1); the last is the share of itself that `mix` leaves an image.

    Examples:
        >>> draws(FitConfig(batch_size=4), 7).shape
        TensorShape([4, 10])
    """
    key = tf.stack([tf.cast(config.seed, "int64"), tf.cast(step, "int64")])
    uniform = tf.random.stateless_uniform((config.batch_size, NUMBERS - 1), key)
    return tf.concat([uniform, _shares(config, key)[:, None]], axis=1)


def _shares(config: FitConfig, key: Any) -> Any:
    """One Beta(mixup, mixup) for every two neighbours in the batch, from two gammas; 1 without mixup."""
    if not config.mixup:
        return tf.ones(config.batch_size)
    pairs = -(-config.batch_size // 2)
    first, second = tf.unstack(tf.random.stateless_gamma((2, pairs), key, config.mixup))
    # Both gammas of a small alpha can be zero in float32.
    return tf.repeat(tf.math.divide_no_nan(first, first + second), 2)[: config.batch_size]


def augment(images: Any, numbers: Any, config: FitConfig) -> Any:
    """Mirror, move and erase uint8 images (N, H, W, C) as their rows of `numbers` (N, NUMBERS) say.

    Examples:
        >>> augment(tf.zeros((2, 28, 28, 1), "uint8"), draws(FitConfig(batch_size=2), 0), FitConfig()).shape
        TensorShape([2, 28, 28, 1])
    """
    flip, down, right, *erasing = tf.unstack(numbers[:, :9], axis=1)
    if config.flip:
        images = tf.where((flip < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    if config.shift:
        images = _move(images, _offsets(down, config.shift), _offsets(right, config.shift), config.shift)
    if config.erase:
        images = _erase(images, erasing, config.erase)
    return images


def mix(images: Any, labels: Any, numbers: Any) -> tuple[Any, Any]:
    """Give each image (N, H, W, C), and its probabilities (N, K), a part of its neighbour in the batch.

    The first and second of a batch are given as much of each other, the third and fourth, and so on; the last of an
    odd number stays as it is.

    Source: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412).

    Examples:
        >>> images, labels = tf.constant([[[[0.0]]], [[[1.0]]]]), tf.eye(2)
        >>> mixed, parts = mix(images, labels, draws(FitConfig(batch_size=2, mixup=1.0), 0))
        >>> bool(tf.abs(tf.reduce_sum(mixed) - 1.0) < 1e-6), parts.shape
        (True, TensorShape([2, 2]))
    """
    count = tf.shape(images)[0]
    neighbour = tf.minimum(tf.bitwise.bitwise_xor(tf.range(count), 1), count - 1)

    def mixed(values: Any) -> Any:
        share = tf.reshape(numbers[:, -1], [-1] + [1] * (values.shape.rank - 1))
        return share * values + (1.0 - share) * tf.gather(values, neighbour)

    return mixed(images), mixed(labels)


def _offsets(uniform: Any, most: int) -> Any:
    """Whole numbers in [0, 2·most], equally often."""
    return tf.cast(uniform * (2 * most + 1), "int32")


def _move(images: Any, down: Any, right: Any, most: int) -> Any:
    """Cut from images with a border of zeros, each at its own place."""
    rows, columns = images.shape[1:3]
    padded = tf.pad(images, [(0, 0), (most, most), (most, most), (0, 0)])
    padded = tf.gather(padded, tf.range(rows) + down[:, None], axis=1, batch_dims=1)
    return tf.gather(padded, tf.range(columns) + right[:, None], axis=2, batch_dims=1)


def _erase(images: Any, numbers: list[Any], share: float) -> Any:
    """Fill a rectangle of a share of the images with one level of grey.

    Area and shape are drawn as in arXiv 1708.04896; a side is cut at the image's.
    """
    chance, area, aspect, across, along, level = numbers
    rows, columns = images.shape[1:3]
    smallest, largest = _ERASED_AREA
    narrow, wide = _ERASED_ASPECT
    pixels = (smallest + area * (largest - smallest)) * rows * columns
    ratio = narrow * (wide / narrow) ** aspect
    inside = (
        _between(rows, tf.sqrt(pixels * ratio), across)[:, :, None]
        & _between(columns, tf.sqrt(pixels / ratio), along)[:, None, :]
        & (chance < share)[:, None, None]
    )
    grey = tf.cast(level * 256.0, images.dtype)[:, None, None, None]
    return tf.where(inside[..., None], grey, images)


def _between(side: int, length: Any, place: Any) -> Any:
    """Which of `side` pixels lie in a stretch of a length, somewhere in them: (N, side)."""
    length = tf.clip_by_value(tf.round(length), 1.0, side)
    start = tf.floor(place * (side - length + 1.0))
    pixel = tf.range(side, dtype="float32")
    return (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
