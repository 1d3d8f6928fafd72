"""A part of a data set: what every kind of it can do, and the two kinds whose images are found by a number."""

import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._utils.arguments import number_in_range, positive_int
from tfsep.data._decode import as_array
from tfsep.data._epoch_shard import Part
from tfsep.data._preprocessing import DEFAULT, Preprocessing

_LARGEST_LABEL = int(np.iinfo("int32").max)


def add_to(digest: Any, content: bytes, label: int) -> None:
    """Take one image, as it is stored, and its label into a hash, so that none can pass for two."""
    digest.update(struct.pack("<iQ", label, len(content)))
    digest.update(content)


def generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator of an epoch's order, a function of these two numbers alone.

    TensorFlow's own ``shuffle`` mixes the global seed in, and its stateless ``index_shuffle`` gives successive seeds
    nearly the same permutation (a correlation of 0.9 at 60,000 images).
    """
    return np.random.default_rng((number_in_range(seed, "seed", int, 0), number_in_range(epoch, "epoch", int, 0)))


class Split(ABC):
    """A part of a data set: labelled images, read when they are asked for.

    Its kinds are `ArraySplit`, `FileSplit` and `RecordSplit`; each says what of it grows with the number of images.

    Attributes:
        image_shape: (H, W, C) of each image.
        labels: all labels at once, an int32 tensor (N,).
        preprocessing: how files become images, and images what a network is given.

    Examples:
        >>> split = Split.of(np.zeros((5, 2, 2, 1), "uint8"), np.arange(5))
        >>> split.size, split.take(3).labels.numpy().tolist()
        (5, [3, 4])
        >>> sorted(int(label) for image, label in split.examples(seed=0, epoch=0))
        [0, 1, 2, 3, 4]
    """

    image_shape: tuple[int, int, int]
    labels: Any
    preprocessing: Preprocessing

    @staticmethod
    def of(images: Any, labels: Any) -> "ArraySplit":
        """Make a split from uint8 images (N, H, W, C) and integer labels (N,).

        Raises:
            ValueError: for other shapes, or labels out of range.
            TypeError: for images that are not uint8, or labels that are not ints.
        """
        images, labels = as_array(images, "images"), as_array(labels, "labels")
        if images.dtype != np.uint8:
            raise TypeError(f"images: expected uint8, got {images.dtype}")
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ValueError(f"images, labels: expected (N, H, W, C) and (N,), got {images.shape} and {labels.shape}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels: expected ints, got {labels.dtype}")
        wrong = labels[(labels < 0) | (labels > _LARGEST_LABEL)]
        if wrong.size:
            raise ValueError(f"labels: expected ints in [0, {_LARGEST_LABEL}], got {wrong[0]}")
        return ArraySplit(tf.constant(images), tf.constant(labels.astype("int32")), images.shape[1:])

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of images."""

    @property
    @abstractmethod
    def largest_label(self) -> int:
        """The largest label, for which no image is read."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """How an image is stored: ``"pixels"``, uint8 in the order (H, W, C), or ``"file"``, as of a file."""

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """How many images are read of each shard, on which an epoch's order depends; none where there are no shards."""
        return ()

    @abstractmethod
    def take(self, start: int, stop: int | None = None) -> "Split":
        """Return the part from `start` to `stop`, as a slice would."""

    @abstractmethod
    def in_order(self) -> Any:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label), in order."""

    @abstractmethod
    def examples(self, seed: int, epoch: int, part: Part | None = None) -> Any:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label) in the shuffled order of an epoch.

        The same arguments give the same examples in the same order, in any process, whatever else is seeded. All
        workers together see every image once.

        Args:
            seed, epoch: ints of at least 0.
            part: this worker's; everything where not given. ``part.size(split.size)`` is the number of its examples.

        Raises:
            ValueError: if `seed` or `epoch` is something else.
        """

    @abstractmethod
    def stored(self) -> Iterator[tuple[bytes, int]]:
        """Yield each image as it is stored, and its label, in order; it is decoded first, to see that it can be.

        Raises:
            ValueError: if an image cannot be decoded; the message names the file.
        """

    def shard(self, count: int, index: int) -> "Split":
        """Return the `index`-th of `count` parts: every image is in one of them, and their sizes differ by one at most.

        Raises:
            ValueError: if `count` is not a positive int, or `index` is none in [0, count).

        Examples:
            >>> split = Split.of(np.zeros((5, 2, 2, 1), "uint8"), np.arange(5))
            >>> [split.shard(2, i).labels.numpy().tolist() for i in range(2)]
            [[0, 1], [2, 3, 4]]
        """
        part = Part(index, count)
        return self.take(self.size * part.index // part.count, self.size * (part.index + 1) // part.count)

    def images(self) -> np.ndarray:
        """Return all images at once, uint8 (N, H, W, C).

        Raises:
            ValueError: if an image cannot be decoded; the message names the file.
        """
        self.check()
        images = [image for image, _ in self.in_order().as_numpy_iterator()]
        return np.array(images, np.uint8).reshape(-1, *self.image_shape)

    def check(self) -> None:
        """Read every image once, keeping none, so that a bad file is found before work is spent on the good ones.

        Raises:
            ValueError: if an image cannot be decoded; the message names the file.
        """
        for _ in self.stored():
            pass

    def fingerprint(self) -> str:
        """Return a hash of all images, as they are stored, and their labels, in order; it checks, too.

        Records of a split have the fingerprint of that split.

        Raises:
            ValueError: if an image cannot be decoded; the message names the file.
        """
        digest = hashlib.sha256()
        for content, label in self.stored():
            add_to(digest, content, label)
        return digest.hexdigest()

    def batches(self, batch_size: int = 128) -> Any:
        """Return a ``tf.data.Dataset`` of (preprocessed images, labels), in order.

        An image that cannot be decoded is TensorFlow's error when its batch is read; `check` finds it before.

        Raises:
            ValueError: if `batch_size` is not a positive int.
        """
        batches = self.in_order().batch(positive_int(batch_size, "batch_size"))
        return batches.map(lambda x, y: (self.preprocessing(x), y)).prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class IndexedSplit(Split):
    """A split any image of which can be read at once, by its number.

    A global batch of several workers is, in any epoch, the batch that one process would have had. An epoch's order
    takes 8 bytes an image while the epoch lasts, divided by the number of workers.
    """

    @abstractmethod
    def load(self, index: Any) -> tuple[Any, Any]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""

    @property
    def size(self) -> int:
        """The number of images."""
        return int(self.labels.shape[0])

    @property
    def largest_label(self) -> int:
        """The largest label."""
        return int(np.max(self.labels))

    def in_order(self) -> Any:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label), in order."""
        return tf.data.Dataset.range(self.size).map(self.load, num_parallel_calls=tf.data.AUTOTUNE)

    def examples(self, seed: int, epoch: int, part: Part | None = None) -> Any:
        """Return the examples of an epoch, shuffled evenly; see `Split.examples`."""
        order = generator(seed, epoch).permutation(self.size)
        own = order if part is None else order[part.positions(self.size)]
        return tf.data.Dataset.from_tensor_slices(own).map(self.load, num_parallel_calls=tf.data.AUTOTUNE)


@dataclass(frozen=True)
class ArraySplit(IndexedSplit):
    """Images in memory.

    Attributes:
        pixels: a uint8 tensor of images (N, H, W, C).
        labels: an int32 tensor (N,).
        image_shape: (H, W, C).
        preprocessing: how images become what a network is given.
    """

    pixels: Any
    labels: Any
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = DEFAULT
    encoding = "pixels"

    def load(self, index: Any) -> tuple[Any, Any]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""
        return self.pixels[index], self.labels[index]

    def take(self, start: int, stop: int | None = None) -> "ArraySplit":
        """Return the part from `start` to `stop`, as a slice would."""
        return replace(self, pixels=self.pixels[start:stop], labels=self.labels[start:stop])

    def stored(self) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes of each image, and its label, in order."""
        for image, label in zip(np.asarray(self.pixels), np.asarray(self.labels), strict=True):
            yield image.tobytes(), int(label)

    def images(self) -> np.ndarray:
        """Return all images at once, uint8 (N, H, W, C)."""
        return np.asarray(self.pixels)
