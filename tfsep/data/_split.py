"""Splits and data sets as records: images in memory or in files, loaded when they are asked for."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfsep._backend import tf
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.geometry import positive

_LARGEST_LABEL = int(np.iinfo("int32").max)


def preprocess(images: Any) -> Any:
    """Return pixels in [0, 255] as float32 in [-1, 1]: ``pixel / 127.5 - 1``, what `Preprocessing`'s defaults do.

    Example:
        >>> preprocess(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
    """
    return DEFAULT(images)


def decoded(content: Any, channels: int) -> Any:
    """Return the bytes of one image file, JPEG, PNG, BMP or GIF, as uint8 (H, W, C).

    Example:
        >>> decoded(tf.io.encode_png(np.zeros((2, 3, 1), "uint8")), 1).shape
        TensorShape([2, 3, 1])
    """
    image = tf.io.decode_image(content, channels=channels, expand_animations=False)
    if image.shape.rank is None:
        image.set_shape((None, None, channels))
    return image


def _array(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name}: expected an array, got a {type(value).__name__} of unequal parts") from error


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        sources: a uint8 tensor of images (N, H, W, C), or a string tensor of N paths.
        labels: an int32 tensor (N,).
        image_shape: (H, W, C) of each image that `load` returns.
        preprocessing: how files become images, and images what a network is given.
    """

    sources: Any
    labels: Any
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = DEFAULT

    @classmethod
    def of(cls, images: Any, labels: Any) -> "Split":
        """Make a split from uint8 images (N, H, W, C) and integer labels (N,).

        Raises:
            ValueError: for other shapes, or labels out of range.
            TypeError: for images that are not uint8, or labels that are not ints.
        """
        images, labels = _array(images, "images"), _array(labels, "labels")
        if images.dtype != np.uint8:
            raise TypeError(f"images: expected uint8, got {images.dtype}")
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ValueError(f"images, labels: expected (N, H, W, C) and (N,), got {images.shape} and {labels.shape}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels: expected ints, got {labels.dtype}")
        wrong = labels[(labels < 0) | (labels > _LARGEST_LABEL)]
        if wrong.size:
            raise ValueError(f"labels: expected ints in [0, {_LARGEST_LABEL}], got {wrong[0]}")
        return cls(tf.constant(images), tf.constant(labels.astype("int32")), images.shape[1:])

    @property
    def size(self) -> int:
        """The number of images."""
        return int(self.labels.shape[0])

    def images(self) -> np.ndarray:
        """Return all images at once, uint8 (N, H, W, C).

        Raises:
            ValueError: if a file cannot be decoded; the message names it.
        """
        if self.sources.dtype != tf.string:
            return np.asarray(self.sources)
        self.check()
        return np.stack([np.asarray(self.load(i)[0]) for i in range(self.size)])

    def load(self, index: Any) -> tuple[Any, Any]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""
        source = self.sources[index]
        if self.sources.dtype == tf.string:
            rows, columns, channels = self.image_shape
            source = self.preprocessing.pixels(decoded(tf.io.read_file(source), channels), (rows, columns))
        return source, self.labels[index]

    def take(self, start: int, stop: int | None = None) -> "Split":
        """Return the part from `start` to `stop`."""
        return replace(self, sources=self.sources[start:stop], labels=self.labels[start:stop])

    def _contents(self) -> Iterator[Any]:
        """Yield the bytes of each image as it is stored; a file is decoded first, to see that it can be."""
        if self.sources.dtype != tf.string:
            yield from np.asarray(self.sources)
            return

        def read(path: Any) -> tuple[Any, Any]:
            content = tf.io.read_file(path)
            # The size is asked for because TensorFlow leaves out what nothing depends on.
            return content, tf.size(decoded(content, self.image_shape[2]))

        files = tf.data.Dataset.from_tensor_slices(self.sources).map(read, num_parallel_calls=tf.data.AUTOTUNE)
        count = 0
        try:
            for content, _ in files.as_numpy_iterator():
                yield content
                count += 1
        except tf.errors.OpError as error:
            path = os.fsdecode(self.sources[count].numpy())
            raise ValueError(
                f"data: expected files that decode to (H, W, {self.image_shape[2]}), got {path}"
            ) from error

    def check(self) -> None:
        """Read every image once, keeping none, so that a bad file is found before work is spent on the good ones.

        Raises:
            ValueError: if a file cannot be decoded; the message names it.
        """
        for _ in self._contents():
            pass

    def fingerprint(self) -> str:
        """Return a hash of all images, as they are stored, and their labels; it checks, too.

        Raises:
            ValueError: if a file cannot be decoded; the message names it.
        """
        digest = hashlib.sha256(np.asarray(self.labels).tobytes())
        for content in self._contents():
            digest.update(content)
        return digest.hexdigest()

    def batches(self, batch_size: int = 128) -> Any:
        """Return a ``tf.data.Dataset`` of (preprocessed images, labels), in order.

        A file that cannot be decoded is TensorFlow's error when its batch is read; `check` finds it before.

        Raises:
            ValueError: if `batch_size` is not a positive int.
        """
        batch_size = positive(batch_size, "batch_size")
        examples = tf.data.Dataset.range(self.size).map(self.load, num_parallel_calls=tf.data.AUTOTUNE)
        return examples.batch(batch_size).map(lambda x, y: (self.preprocessing(x), y)).prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class ImageData:
    """A data set: its name, its classes, and two splits.

    Attributes:
        notice: copyright and licence of the images, for whoever passes them on; empty where it is not known.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    notice: str = ""

    def __post_init__(self) -> None:
        """Refuse, when the record is made, splits that do not belong to these classes or to each other."""
        for name, part in (("train", self.train), ("test", self.test)):
            if part.size == 0:
                raise ValueError(f"{name}: expected at least one image, got none")
            largest = int(np.max(part.labels))
            if largest >= len(self.class_names):
                raise ValueError(f"{name}: expected labels of {len(self.class_names)} classes, got {largest}")
        if self.test.image_shape != self.train.image_shape:
            raise ValueError(
                f"test: expected images of {self.train.image_shape}, as in train, got {self.test.image_shape}"
            )

    def identity(self) -> dict[str, Any]:
        """Return what tells this data from other data, for JSON: shape, classes, numbers of images, and hashes.

        Every image is read once. Where a folder lies, and what it is called, is no part of it.

        Raises:
            ValueError: if a file cannot be decoded; the message names it.
        """
        return {
            "image_shape": list(self.image_shape),
            "class_names": list(self.class_names),
            "train_images": self.train.size,
            "test_images": self.test.size,
            "train_sha256": self.train.fingerprint(),
            "test_sha256": self.test.fingerprint(),
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.train.image_shape
