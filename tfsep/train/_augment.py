"""Augmentation of whole batches, each image by its own row of random numbers.

The numbers are drawn for the batch of all workers together, from the seed and the step, and a worker takes the rows of
its share: results do not depend on the number of workers.
"""

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep.train._config import FitConfig

NUMBERS_PER_IMAGE = 10
"""Random numbers by which an image is augmented."""

_ERASED_AREA = 0.02, 0.33
_ERASED_ASPECT = 0.3, 3.3


def random_numbers(config: FitConfig, step: int | Tensor) -> Tensor:
    """Return the random numbers of a step, float32 (batch_size, NUMBERS_PER_IMAGE).

    All but the last of a row are uniform in [0, 1); the last is the weight of the image itself in `mix`.

    Args:
        config: the settings.
        step: number of the step since the beginning of the run.

    Examples:
        >>> random_numbers(FitConfig(batch_size=4), 7).shape
        TensorShape([4, 10])
    """
    key = tf.stack([tf.cast(config.seed, "int64"), tf.cast(step, "int64")])
    uniform = tf.random.stateless_uniform((config.images_per_step, NUMBERS_PER_IMAGE - 1), key)
    return tf.concat([uniform, _mixup_shares(config, key)[:, None]], axis=1)


def _mixup_shares(config: FitConfig, key: Tensor) -> Tensor:
    """A sample of Beta(mixup, mixup) for each pair of neighbours in the batch, from two gammas; 1 without mixup."""
    if not config.mixup:
        return tf.ones(config.images_per_step)
    pairs = -(-config.images_per_step // 2)
    first, second = tf.unstack(tf.random.stateless_gamma((2, pairs), key, config.mixup))
    # Both gammas of a small alpha can be zero in float32.
    return tf.repeat(tf.math.divide_no_nan(first, first + second), 2)[: config.images_per_step]


def augment(images: Tensor, numbers: Tensor, config: FitConfig) -> Tensor:
    """Return images mirrored, shifted and partly erased at random.

    Args:
        images: uint8 (N, H, W, C).
        numbers: float32 (N, NUMBERS_PER_IMAGE), of `random_numbers`.
        config: which augmentations there are, and how strong.

    Examples:
        >>> augment(tf.zeros((2, 28, 28, 1), "uint8"), random_numbers(FitConfig(batch_size=2), 0), FitConfig()).shape
        TensorShape([2, 28, 28, 1])
    """
    flip, down, right, *erasing = tf.unstack(numbers[:, :9], axis=1)
    if config.flip:
        images = tf.where((flip < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    if config.shift:
        images = _shift(images, _offsets(down, config.shift), _offsets(right, config.shift), config.shift)
    if config.erase:
        images = _erase(images, erasing, config.erase)
    return images


def mix(images: Tensor, labels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image, and its probabilities, mixed with its neighbour in the batch.

    The first and second of a batch are mixed with each other by the same weights, the third and fourth, and so on; the
    last of an odd number stays as it is.

    Args:
        images: (N, H, W, C).
        labels: probabilities (N, K).
        numbers: float32 (N, NUMBERS_PER_IMAGE), of `random_numbers`.

    Source: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412).

    Examples:
        >>> images, labels = tf.constant([[[[0.0]]], [[[1.0]]]]), tf.eye(2)
        >>> mixed, parts = mix(images, labels, random_numbers(FitConfig(batch_size=2, mixup=1.0), 0))
        >>> bool(tf.abs(tf.reduce_sum(mixed) - 1.0) < 1e-6), parts.shape
        (True, TensorShape([2, 2]))
    """
    count = tf.shape(images)[0]
    neighbour = tf.minimum(tf.bitwise.bitwise_xor(tf.range(count), 1), count - 1)

    def mixed(values: Tensor) -> Tensor:
        share = tf.reshape(numbers[:, -1], [-1] + [1] * (values.shape.rank - 1))
        return share * values + (1.0 - share) * tf.gather(values, neighbour)

    return mixed(images), mixed(labels)


def _offsets(uniform: Tensor, limit: int) -> Tensor:
    """Whole numbers in [0, 2·limit], equally often."""
    return tf.cast(uniform * (2 * limit + 1), "int32")


def _shift(images: Tensor, down: Tensor, right: Tensor, limit: int) -> Tensor:
    """Images shifted by crops of a copy with a border of zeros, each with its own offset."""
    rows, columns = images.shape[1:3]
    padded = tf.pad(images, [(0, 0), (limit, limit), (limit, limit), (0, 0)])
    padded = tf.gather(padded, tf.range(rows) + down[:, None], axis=1, batch_dims=1)
    return tf.gather(padded, tf.range(columns) + right[:, None], axis=2, batch_dims=1)


def _erase(images: Tensor, numbers: list[Tensor], share: float) -> Tensor:
    """A share of the images with a rectangle filled with one level of grey.

    Area and aspect are drawn as in arXiv 1708.04896; the rectangle is no larger than the image.
    """
    chance, area, aspect, across, along, level = numbers
    rows, columns = images.shape[1:3]
    smallest, largest = _ERASED_AREA
    narrow, wide = _ERASED_ASPECT
    pixels = (smallest + area * (largest - smallest)) * rows * columns
    ratio = narrow * (wide / narrow) ** aspect
    inside = (
        _interval_mask(rows, tf.sqrt(pixels * ratio), across)[:, :, None]
        & _interval_mask(columns, tf.sqrt(pixels / ratio), along)[:, None, :]
        & (chance < share)[:, None, None]
    )
    grey = tf.cast(level * 256.0, images.dtype)[:, None, None, None]
    return tf.where(inside[..., None], grey, images)


def _interval_mask(side: int, length: Tensor, position: Tensor) -> Tensor:
    """Which of `side` pixels lie in an interval of a length, at a position in [0, 1): (N, side)."""
    length = tf.clip_by_value(tf.round(length), 1.0, side)
    start = tf.floor(position * (side - length + 1.0))
    pixel = tf.range(side, dtype="float32")
    return (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
