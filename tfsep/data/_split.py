"""A split of a data set: the interface of all kinds, and the two kinds whose images are read by number."""

import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep.data._epoch_shard import EpochShard
from tfsep.data._numbered_examples import NumberedExamples, preprocessed_batches
from tfsep.data._preprocessing import DEFAULT, Preprocessing

_LARGEST_LABEL = int(np.iinfo("int32").max)


def update_digest(digest: Any, content: bytes, label: int) -> None:
    """Add one encoded image and its label to a hash; lengths are added too, so that no two images pass for one."""
    digest.update(struct.pack("<iQ", label, len(content)))
    digest.update(content)


class Split(ABC):
    """A split of a data set: labelled images, read on demand.

    `Split.of` makes one of arrays; `image_folder` and `open_records` return data sets with splits of files and of
    records.

    Attributes:
        image_shape: (H, W, C) of each image.
        labels: all labels, an int32 tensor (N,).
        preprocessing: preprocessing from files to images, and from images to the input of a network.

    Examples:
        >>> split = Split.of(np.zeros((5, 2, 2, 1), "uint8"), np.arange(5))
        >>> split.size, split.take(3).labels.numpy().tolist()
        (5, [3, 4])
        >>> sorted(int(label) for image, label in split.examples(seed=0, epoch=0))
        [0, 1, 2, 3, 4]
    """

    image_shape: tuple[int, int, int]
    labels: Tensor
    preprocessing: Preprocessing

    @staticmethod
    def of(images: TensorLike, labels: TensorLike) -> "ArraySplit":
        """Return a split of arrays.

        Args:
            images: uint8, (N, H, W, C).
            labels: ints, (N,).

        Raises:
            ValueError: for other shapes, or labels out of range.
            TypeError: for images that are not uint8, or labels that are not ints.
        """
        images, labels = _as_array(images, "images"), _as_array(labels, "labels")
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
        """The largest label, known without reading an image."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """How images are stored: ``"pixels"``, uint8 in the order (H, W, C), or ``"file"``, bytes of an image file."""

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """The number of images of each shard, by which an epoch's order is determined; empty where there are none."""
        return ()

    @abstractmethod
    def take(self, start: int, stop: int | None = None) -> "Split":
        """Return the images from `start` to `stop`, by the rules of a slice.

        Args:
            start: first image; from the end where negative.
            stop: image after the last; None for all to the end.
        """

    @abstractmethod
    def in_order(self) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label), in order."""

    @abstractmethod
    def examples(self, seed: int, epoch: int, shard: EpochShard | None = None) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label) in the shuffled order of an epoch.

        The same arguments give the same examples in the same order in any process, whatever else is seeded. All
        workers together read every image once.

        Args:
            seed: number from 0 that draws the order.
            epoch: number of the epoch, at least 0.
            shard: this worker's share, of ``shard.size(split.size)`` examples; None for all of them.

        Raises:
            ValueError: for a seed or an epoch that is no int of at least 0.
        """

    @abstractmethod
    def encoded_images(self) -> Iterator[tuple[bytes, int]]:
        """Yield each image in its encoding, and its label, in order; each is decoded once, as a check.

        Raises:
            ValueError: for an image that cannot be decoded; the message names the file.
        """

    def shard(self, count: int, index: int) -> "Split":
        """Return one of `count` equal shares: every image is in one of them, and sizes differ by one at most.

        Args:
            count: number of shares.
            index: which of them, from 0.

        Raises:
            ValueError: if `count` is not a positive int, or `index` is not in [0, count).

        Examples:
            >>> split = Split.of(np.zeros((5, 2, 2, 1), "uint8"), np.arange(5))
            >>> [split.shard(2, i).labels.numpy().tolist() for i in range(2)]
            [[0, 1], [2, 3, 4]]
        """
        shard = EpochShard(index, count)
        return self.take(self.size * shard.index // shard.count, self.size * (shard.index + 1) // shard.count)

    def images(self) -> np.ndarray:
        """Return all images, uint8 (N, H, W, C).

        Raises:
            ValueError: for an image that cannot be decoded; the message names the file.
        """
        self.check()
        images = [image for image, _ in self.in_order().as_numpy_iterator()]
        return np.array(images, np.uint8).reshape(-1, *self.image_shape)

    def check(self) -> None:
        """Decode every image once, keeping none, to find a damaged file before work is spent on the others.

        Raises:
            ValueError: for an image that cannot be decoded; the message names the file.
        """
        for _ in self.encoded_images():
            pass

    def fingerprint(self) -> str:
        """Return a hash of all images in their encoding, and of their labels, in order; a check as well.

        The records of a split have its fingerprint.

        Raises:
            ValueError: for an image that cannot be decoded; the message names the file.
        """
        digest = hashlib.sha256()
        for content, label in self.encoded_images():
            update_digest(digest, content, label)
        return digest.hexdigest()

    def batches(self, batch_size: int = 128) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` of (preprocessed images, labels), in order.

        An image that cannot be decoded is an error of TensorFlow when its batch is read; `check` finds it before.

        Args:
            batch_size: images in a batch; the last one may have fewer.

        Raises:
            ValueError: if `batch_size` is not a positive int.
        """
        return preprocessed_batches(self.in_order(), self.preprocessing, batch_size)


@dataclass(frozen=True)
class IndexedSplit(NumberedExamples, Split):
    """A split whose images are read by number."""

    @abstractmethod
    def load(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""

    @property
    def size(self) -> int:
        """The number of images."""
        return int(self.labels.shape[0])

    @property
    def largest_label(self) -> int:
        """The largest label."""
        return int(np.max(self.labels))


@dataclass(frozen=True)
class ArraySplit(IndexedSplit):
    """Images in memory.

    Attributes:
        pixels: uint8 tensor (N, H, W, C).
        labels: int32 tensor (N,).
        image_shape: (H, W, C).
        preprocessing: preprocessing from images to the input of a network.
    """

    pixels: Tensor
    labels: Tensor
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = DEFAULT
    encoding = "pixels"

    def load(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""
        return self.pixels[index], self.labels[index]

    def take(self, start: int, stop: int | None = None) -> "ArraySplit":
        """Return the images from `start` to `stop`; see `Split.take`."""
        return replace(self, pixels=self.pixels[start:stop], labels=self.labels[start:stop])

    def encoded_images(self) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes of each image's pixels, and its label, in order."""
        for image, label in zip(np.asarray(self.pixels), np.asarray(self.labels), strict=True):
            yield image.tobytes(), int(label)

    def images(self) -> np.ndarray:
        """Return all images, uint8 (N, H, W, C)."""
        return np.asarray(self.pixels)


def _as_array(value: TensorLike, name: str) -> np.ndarray:
    """An array of the value, or an error where its rows are of unequal length."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name}: expected an array, got a {type(value).__name__} of unequal parts") from error
