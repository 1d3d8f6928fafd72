"""A folder of images by class, as a data set."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._utils.arguments import as_path, number_in_range
from tfsep.data._decode import decoded, scaled
from tfsep.data._image_data import ImageData
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._split import IndexedSplit
from tfsep.geometry._sizes import pair

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class FileSplit(IndexedSplit):
    """Images in files, of which the names are in memory: 28 bytes an image with its label, and the name where it is
    longer than 22 bytes.

    Attributes:
        folders: a string tensor (K,), the folder of each class.
        names: a string tensor (N,), the path of each image inside its class's folder.
        labels: an int32 tensor (N,).
        image_shape: (H, W, C) that each image is scaled to.
        preprocessing: how files become images, and images what a network is given.
    """

    folders: Any
    names: Any
    labels: Any
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = DEFAULT
    encoding = "file"

    def path(self, index: Any) -> Any:
        """Return the path of one image, a string tensor; works inside ``tf.data``."""
        return tf.strings.join([self.folders[self.labels[index]], self.names[index]], "/")

    def load(self, index: Any) -> tuple[Any, Any]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""
        return scaled(tf.io.read_file(self.path(index)), self.image_shape, self.preprocessing), self.labels[index]

    def take(self, start: int, stop: int | None = None) -> "FileSplit":
        """Return the part from `start` to `stop`, as a slice would."""
        return replace(self, names=self.names[start:stop], labels=self.labels[start:stop])

    def stored(self) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes of each file, which can be decoded, and its label, in order.

        Raises:
            ValueError: if a file cannot be decoded; the message names it.
        """

        def read(index: Any) -> tuple[Any, Any, Any]:
            content = tf.io.read_file(self.path(index))
            # The size is asked for because TensorFlow leaves out what nothing depends on.
            return content, self.labels[index], tf.size(decoded(content, self.image_shape[2]))

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


def _names(folder: Path, below: str = "") -> Iterator[str]:
    """Paths of the images in a folder, relative to it, at any depth; of the files alone, as a `Path` each is slow."""
    with os.scandir(folder / below) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _names(folder, f"{below}{entry.name}/")
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                yield below + entry.name


def _listed(folder: Path, class_names: tuple[str, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Names and labels, shuffled, so that any few of them, the first or the last, are of all classes.

    Names become arrays a class at a time: as Python's strings they would take four times the room.
    """
    names = [np.array([os.fsencode(n) for n in sorted(_names(folder / name))], bytes) for name in class_names]
    labels = np.repeat(np.arange(len(names), dtype="int32"), [len(n) for n in names])
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate(names)[order], labels[order]


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def is_loose(folder: Path) -> bool:
    """Whether a path is a folder of images without classes: there are some in it, and not two folders."""
    return (
        folder.is_dir()
        and any(path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() for path in folder.iterdir())
        and len(_class_names(folder)) < 2
    )


def loose_images(
    folder: Path, size: tuple[int, int], channels: int, preprocessing: Preprocessing | None = None
) -> FileSplit:
    """Return the images in a folder, at any depth and in a shuffled order, as a split whose labels say nothing."""
    how = preprocessing or DEFAULT
    names, labels = (tf.constant(each) for each in _listed(folder, ("",), seed=0))
    return FileSplit(tf.constant([os.fsencode(folder)]), names, labels, (*(how.size or size), channels), how)


def image_folder(
    folder: str | PathLike[str],
    image_size: Any = 224,
    channels: int = 3,
    test_share: float = 0.1,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> ImageData:
    """Return a data set from a folder with one folder of images a class.

    Args:
        folder: ``folder/<class>/*.png`` (JPEG, PNG, BMP or GIF), which is split here, or
            ``folder/train/<class>/*`` with ``folder/test/<class>/*``.
        image_size: rows and columns that every image is scaled to, an int or a pair.
        channels: 1 for grey, 3 for colour.
        test_share: share of the images that becomes the test split, where the folder has none of its own.
        seed: of the order of the images, and with it of that split.
        preprocessing: how images are cropped, scaled and made numbers; None for `Preprocessing`'s defaults.

    Raises:
        TypeError: if `folder` is no path.
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds fewer than two classes, a class without training images, no test images or some of
            other classes, or if an argument is out of range.

    Examples:
        >>> image_folder("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: folder: expected a folder with one folder a class, got no such folder, which does not exist
    """
    folder = as_path(folder, "folder")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder: expected a folder with one folder a class, got {folder}, which does not exist"
        )
    how = preprocessing or DEFAULT
    rows, columns = how.size or pair(image_size, "image_size")
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
    if not isinstance(test_share, float | np.floating) or not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a number in (0, 1), got {test_share!r}")
    seed = number_in_range(seed, "seed", int, 0)
    is_split = (folder / "train").is_dir() and (folder / "test").is_dir()
    class_names = _class_names(folder / "train" if is_split else folder)
    if len(class_names) < 2:
        raise ValueError(f"folder: expected at least two folders of classes, got {len(class_names)} in {folder}")

    if is_split:
        unknown = sorted(set(_class_names(folder / "test")) - set(class_names))
        if unknown:
            raise ValueError(f"folder: expected test images of the classes in train, got {', '.join(unknown)}")
        train, test = (_listed(folder / name, class_names, seed) for name in ("train", "test"))
        if not len(test[1]):
            raise ValueError(f"folder: expected test images, got none in {folder / 'test'}")
    else:
        names, labels = _listed(folder, class_names, seed)
        held = max(1, round(len(labels) * test_share))
        train, test = (names[held:], labels[held:]), (names[:held], labels[:held])
    seen = np.bincount(train[1], minlength=len(class_names))
    empty = [name for name, count in zip(class_names, seen, strict=True) if count == 0]
    if empty:
        raise ValueError(f"folder: expected training images of every class, got none of {', '.join(empty)} in {folder}")

    def split(below: str, listed: tuple[np.ndarray, np.ndarray]) -> FileSplit:
        folders = [os.fsencode(folder / below / name) for name in class_names]
        names, labels = (tf.constant(each) for each in listed)
        return FileSplit(tf.constant(folders), names, labels, (rows, columns, channels), how)

    parts = ("train", "test") if is_split else ("", "")
    return ImageData(folder.name, class_names, split(parts[0], train), split(parts[1], test))
