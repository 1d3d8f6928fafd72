"""A folder of images by class, as a data set."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep._utils.arguments import as_found, as_path, number_in_range
from tfsep.data._decode import decode_file, decoded_size
from tfsep.data._image_data import ImageData
from tfsep.data._pictures import image_names, image_suffixes, left_out_note, upright_size
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._split import IndexedSplit
from tfsep.geometry import PairLike
from tfsep.geometry._sizes import pair

_logger = logging.getLogger(__name__)

LARGEST_SIDE = 224
"""Rows and columns of the images of a folder, where its files have more and no size is given: ImageNet's."""

_LOOKED_AT = 64
"""Files whose sizes are looked at."""


@dataclass(frozen=True)
class FileSplit(IndexedSplit):
    """Images in files.

    Memory holds names and labels: 28 bytes per image, and the name where it is longer than 22 bytes.

    Attributes:
        folders: folder of each class, a string tensor (K,).
        names: path of each image inside the folder of its class, a string tensor (N,).
        labels: int32 tensor (N,).
        image_shape: (H, W, C) after the resize.
        preprocessing: preprocessing from files to images, and from images to the input of a network.
    """

    folders: Tensor
    names: Tensor
    labels: Tensor
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = DEFAULT
    encoding = "file"

    def path(self, index: Tensor) -> Tensor:
        """Return the path of one image, a string tensor; works inside ``tf.data``."""
        return tf.strings.join([self.folders[self.labels[index]], self.names[index]], "/")

    def load(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""
        return decode_file(tf.io.read_file(self.path(index)), self.image_shape, self.preprocessing), self.labels[index]

    def take(self, start: int, stop: int | None = None) -> "FileSplit":
        """Return the images from `start` to `stop`; see `Split.take`."""
        return replace(self, names=self.names[start:stop], labels=self.labels[start:stop])

    def encoded_images(self) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes of each file, decoded once as a check, and its label, in order.

        Raises:
            ValueError: for a file that cannot be decoded; the message names it.
        """

        def read(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            content = tf.io.read_file(self.path(index))
            # TensorFlow leaves out operations without a consumer, such as a decoded image: its size is one.
            return content, self.labels[index], decoded_size(content, self.image_shape[2])

        files = tf.data.Dataset.range(self.size).map(read, num_parallel_calls=tf.data.AUTOTUNE)
        count = 0
        try:
            for content, label, _ in files.as_numpy_iterator():
                yield content, int(label)
                count += 1
        except tf.errors.OpError as error:
            path = os.fsdecode(self.path(count).numpy())
            raise ValueError(
                f"data: expected files that decode to (H, W, {self.image_shape[2]}), got {path}"
            ) from error


def _names_and_labels(folder: Path, class_names: tuple[str, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Names and labels of all images, shuffled: the first or the last few of them are of all classes.

    Names become arrays class by class, because Python's strings take four times the memory.
    """
    left_out: Counter[str] = Counter()
    names = [
        np.array([os.fsencode(n) for n in sorted(image_names(folder / name, left_out))], bytes) for name in class_names
    ]
    if class_names != ("",):
        left_out["in no folder of a class"] = sum(1 for path in folder.iterdir() if _is_image(path))
    if note := left_out_note(left_out):
        _logger.info(f"{folder}: {note}")
    labels = np.repeat(np.arange(len(names), dtype="int32"), [len(n) for n in names])
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate(names)[order], labels[order]


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def folder_class_names(folder: Path) -> tuple[str, ...]:
    """Return the class names of a folder of images, by the names of its folders alone."""
    return _class_names(folder / "train" if _is_split(folder) else folder)


def _is_split(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in image_suffixes() and not path.name.startswith(".") and path.is_file()


def size_of_images(folder: Path) -> tuple[int, int]:
    """Return rows and columns for the images of a folder: those of its files, or a square of their smaller side.

    It is no larger than `LARGEST_SIDE`. Sizes of some files are looked at, evenly spread over the folder.

    Args:
        folder: a folder of images, at any depth.
    """
    names = sorted(image_names(folder, Counter()))
    some = names[:: -(-len(names) // _LOOKED_AT) or 1]
    found = [size for name in some if (size := upright_size(folder / name)) is not None]
    if not found:
        return LARGEST_SIDE, LARGEST_SIDE
    if len(set(found)) == 1 and max(found[0]) <= LARGEST_SIDE:
        return found[0]
    side = min(LARGEST_SIDE, int(np.median([min(size) for size in found])))
    return side, side


def is_unlabelled(folder: Path) -> bool:
    """Whether a folder has images but no classes: image files in it, and fewer than two folders."""
    return folder.is_dir() and any(map(_is_image, folder.iterdir())) and len(_class_names(folder)) < 2


def unlabelled_images(
    folder: Path, size: tuple[int, int], channels: int, preprocessing: Preprocessing = DEFAULT
) -> FileSplit:
    """Return the images in a folder, at any depth and in a shuffled order, as a split whose labels are all 0."""
    names, labels = (tf.constant(each) for each in _names_and_labels(folder, ("",), seed=0))
    shape = (*(preprocessing.size or size), channels)
    return FileSplit(tf.constant([os.fsencode(folder)]), names, labels, shape, preprocessing)


def image_folder(
    folder: str | PathLike[str],
    image_size: PairLike = 224,
    channels: int = 3,
    test_share: float = 0.1,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> ImageData:
    """Return the data set of a folder with one folder of images for each class.

    Args:
        folder: ``folder/<class>/*.png`` (any kind of image that Pillow reads), to be split by `test_share`, or
            ``folder/train/<class>/*`` with ``folder/test/<class>/*``. The logger counts other files.
        image_size: rows and columns of every image after the resize, an int or a pair.
        channels: 1 for grey, 3 for colour.
        test_share: share of the images for the test split, in a folder without one of its own.
        seed: seed of the order of the images, and so of the split.
        preprocessing: preprocessing from files to the input of a network; None for the defaults of `Preprocessing`.

    Raises:
        TypeError: if `folder` is no path.
        FileNotFoundError: if there is no such folder.
        ValueError: for a folder of fewer than two classes, without training images of a class, without test images, or
            with test images of other classes; for an argument out of range.

    Examples:
        >>> image_folder("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: folder: expected a folder with one folder per class, got no such folder, which does not exist
    """
    folder = as_path(folder, "folder")
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: expected a folder with one folder per class, got {as_found(folder)}")
    preprocessing = preprocessing or DEFAULT
    rows, columns = preprocessing.size or pair(image_size, "image_size")
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
    if not isinstance(test_share, float | np.floating) or not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a number in (0, 1), got {test_share!r}")
    seed = number_in_range(seed, "seed", int, 0)
    is_split, class_names = _is_split(folder), folder_class_names(folder)
    if len(class_names) < 2:
        what = "images in at least two folders" if not class_names else "at least two folders"
        raise ValueError(f"folder: expected {what} of classes, got {len(class_names) or 'none'} in {folder}")

    if is_split:
        others = sorted(set(_class_names(folder)) - {"train", "test"})
        if others:
            _logger.info(f"{folder}: {', '.join(others)} left out: train and test are there")
        unknown = sorted(set(_class_names(folder / "test")) - set(class_names))
        if unknown:
            raise ValueError(f"folder: expected test images of the classes in train, got {', '.join(unknown)}")
        train, test = (_names_and_labels(folder / name, class_names, seed) for name in ("train", "test"))
        if not len(test[1]):
            raise ValueError(f"folder: expected test images, got none in {folder / 'test'}")
    else:
        names, labels = _names_and_labels(folder, class_names, seed)
        held = max(1, round(len(labels) * test_share))
        train, test = (names[held:], labels[held:]), (names[:held], labels[:held])
    seen = np.bincount(train[1], minlength=len(class_names))
    empty = [name for name, count in zip(class_names, seen, strict=True) if count == 0]
    if empty:
        raise ValueError(f"folder: expected training images of every class, got none of {', '.join(empty)} in {folder}")

    def split(below: str, names_and_labels: tuple[np.ndarray, np.ndarray]) -> FileSplit:
        folders = [os.fsencode(folder / below / name) for name in class_names]
        names, labels = (tf.constant(each) for each in names_and_labels)
        return FileSplit(tf.constant(folders), names, labels, (rows, columns, channels), preprocessing)

    parts = ("train", "test") if is_split else ("", "")
    return ImageData(folder.name, class_names, split(parts[0], train), split(parts[1], test))
