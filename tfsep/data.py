"""Data sets of labelled images: Fashion-MNIST, and a folder of images by class.

A data set is a record of two `Split` s; a split loads an image when it is asked for it, so memory does not grow with a
folder of files. Images stay uint8 until `preprocess`, the one function by which training, calibration, verification
and prediction turn pixels into what a network is given.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST" (arXiv 1708.07747).
"""

import gzip
import os
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._backend import keras, tf
from tfsep.geometry import pair, positive

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FASHION_MNIST_NOTICE = """\
The images in samples.npz are from Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747).
The model was trained on Fashion-MNIST.

Copyright 2017 Zalando SE

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

FASHION_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")

_IDX_UINT8 = 0x08


def preprocess(images: Any) -> Any:
    """Return pixels in [0, 255] as float32 in [-1, 1]: ``pixel / 127.5 - 1``.

    Example:
        >>> preprocess(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
    """
    return tf.cast(images, "float32") / 127.5 - 1.0


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        sources: a uint8 tensor of images (N, H, W, C), or a string tensor of N paths.
        labels: an int32 tensor (N,).
        image_shape: (H, W, C) of each image that `load` returns.
    """

    sources: Any
    labels: Any
    image_shape: tuple[int, int, int]

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> "Split":
        """Make a split from uint8 images (N, H, W, C) and integer labels (N,).

        Raises:
            ValueError: for other shapes.
            TypeError: for images that are not uint8.
        """
        if images.dtype != np.uint8:
            raise TypeError(f"images: expected uint8, got {images.dtype}")
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ValueError(f"images, labels: expected (N, H, W, C) and (N,), got {images.shape} and {labels.shape}")
        return cls(tf.constant(images), tf.constant(labels.astype("int32")), images.shape[1:])

    @property
    def size(self) -> int:
        """The number of images."""
        return int(self.labels.shape[0])

    def images(self) -> np.ndarray:
        """Return all images at once, uint8 (N, H, W, C)."""
        if self.sources.dtype != tf.string:
            return np.asarray(self.sources)
        return np.stack([np.asarray(self.load(i)[0]) for i in range(self.size)])

    def load(self, index: Any) -> tuple[Any, Any]:
        """Return one image, uint8 (H, W, C), and its label; works inside ``tf.data``."""
        source = self.sources[index]
        if self.sources.dtype == tf.string:
            source = _decode(source, self.image_shape)
        return source, self.labels[index]

    def take(self, start: int, stop: int | None = None) -> "Split":
        """Return the part from `start` to `stop`."""
        return Split(self.sources[start:stop], self.labels[start:stop], self.image_shape)

    def batches(self, batch_size: int = 128) -> Any:
        """Return a ``tf.data.Dataset`` of (preprocessed images, labels), in order.

        Raises:
            ValueError: if `batch_size` is not a positive int.
        """
        batch_size = positive(batch_size, "batch_size")
        examples = tf.data.Dataset.range(self.size).map(self.load, num_parallel_calls=tf.data.AUTOTUNE)
        return examples.batch(batch_size).map(lambda x, y: (preprocess(x), y)).prefetch(tf.data.AUTOTUNE)


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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.train.image_shape


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """Read an IDX file of bytes, gzip'd or not: the format of MNIST and its kin.

    Returns:
        A uint8 array of the shape that the file says.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no IDX file of bytes, or not whole.

    Example:
        >>> read_idx("missing-idx1-ubyte")
        Traceback (most recent call last):
        FileNotFoundError: path: expected an IDX file, got missing-idx1-ubyte, which does not exist
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected an IDX file, got {path}, which does not exist")
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        zeros, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
    except (struct.error, EOFError, OSError) as error:
        raise ValueError(f"path: expected a whole IDX file, got {path} ({error})") from error
    if zeros != 0 or kind != _IDX_UINT8:
        raise ValueError(f"path: expected an IDX file of bytes, got {path} with the header {content[:4].hex()}")
    start = 4 + 4 * rank
    if len(content) - start != int(np.prod(shape)):
        raise ValueError(
            f"path: expected {np.prod(shape)} elements for shape {shape}, got {len(content) - start} in {path}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _shared_folders() -> Iterable[Path]:
    """Where a system keeps data that packages install (the XDG base directories)."""
    folders = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return (Path(folder) / "datasets" / "fashion-mnist" for folder in folders.split(":"))


def _idx_file(folder: Path, name: str) -> Path:
    zipped = folder / f"{name}.gz"
    return zipped if zipped.is_file() else folder / name


def fashion_mnist(folder: str | PathLike[str] | None = None) -> ImageData:
    """Return Fashion-MNIST: 60,000 and 10,000 grey images of 28×28 in ten classes.

    Args:
        folder: with the four IDX files, gzip'd or not. None takes the Debian package ``dataset-fashion-mnist`` where it
            is installed, and downloads through Keras where it is not.

    Raises:
        FileNotFoundError: if a file is missing from `folder`.
        ValueError: if a file is not what it should be.

    Example:
        >>> fashion_mnist("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: path: expected an IDX file, got no such folder/train-images-idx3-ubyte, which does not exist
    """
    if folder is None:
        folder = next((found for found in _shared_folders() if found.is_dir()), None)
    if folder is None:
        train, test = keras.datasets.fashion_mnist.load_data()
        arrays = {"train": train, "test": test}
    else:
        arrays = {
            split: (read_idx(_idx_file(Path(folder), images)), read_idx(_idx_file(Path(folder), labels)))
            for split, (images, labels) in FASHION_MNIST_FILES.items()
        }
    splits = {name: Split.of(images[..., None], labels) for name, (images, labels) in arrays.items()}
    return ImageData("fashion_mnist", FASHION_MNIST_CLASSES, splits["train"], splits["test"], FASHION_MNIST_NOTICE)


def _decode(path: Any, image_shape: tuple[int, int, int]) -> Any:
    """Read one image file as uint8 (H, W, C), scaled to size bilinearly with antialiasing."""
    rows, columns, channels = image_shape
    image = tf.io.decode_image(tf.io.read_file(path), channels=channels, expand_animations=False)
    image.set_shape((None, None, channels))
    image = tf.image.resize(image, (rows, columns), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def _files_by_class(folder: Path, class_names: tuple[str, ...]) -> tuple[list[str], list[int]]:
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = sorted(str(p) for p in (folder / name).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        paths += found
        labels += [label] * len(found)
    return paths, labels


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def image_folder(
    folder: str | PathLike[str],
    image_size: Any = 224,
    channels: int = 3,
    test_share: float = 0.1,
    seed: int = 0,
) -> ImageData:
    """Return a data set from a folder with one folder of images a class.

    Args:
        folder: ``folder/<class>/*.png`` (JPEG, PNG, BMP or GIF), which is split here, or
            ``folder/train/<class>/*`` with ``folder/test/<class>/*``.
        image_size: rows and columns that every image is scaled to, an int or a pair.
        channels: 1 for grey, 3 for colour.
        test_share: share of the images that becomes the test split, where the folder has none of its own.
        seed: of that split.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds fewer than two classes, a class without images, or an argument is out of range.

    Example:
        >>> image_folder("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: folder: expected a folder with one folder a class, got no such folder, which does not exist
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder: expected a folder with one folder a class, got {folder}, which does not exist"
        )
    rows, columns = pair(image_size, "image_size")
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a number in (0, 1), got {test_share!r}")
    is_split = (folder / "train").is_dir() and (folder / "test").is_dir()
    class_names = _class_names(folder / "train" if is_split else folder)
    if len(class_names) < 2:
        raise ValueError(f"folder: expected at least two folders of classes, got {len(class_names)} in {folder}")

    parts = {name: _files_by_class(folder / name, class_names) for name in ("train", "test")} if is_split else {}
    if not is_split:
        paths, labels = _files_by_class(folder, class_names)
        order = np.random.default_rng(seed).permutation(len(paths))
        held = max(1, round(len(paths) * test_share))
        for name, chosen in (("test", order[:held]), ("train", order[held:])):
            parts[name] = [paths[i] for i in chosen], [labels[i] for i in chosen]
    empty = [class_names[i] for i in range(len(class_names)) if i not in parts["train"][1]]
    if empty:
        raise ValueError(f"folder: expected training images of every class, got none of {', '.join(empty)} in {folder}")
    shape = (rows, columns, channels)
    splits = {name: Split(tf.constant(p), tf.constant(y, tf.int32), shape) for name, (p, y) in parts.items()}
    return ImageData(folder.name, class_names, splits["train"], splits["test"])


def open_data(source: str | PathLike[str], image_shape: tuple[int | None, ...] | None = None) -> ImageData:
    """Return the data set that a user names.

    Args:
        source: ``"fashion_mnist"``, a folder of its four IDX files, or a folder of images by class.
        image_shape: (H, W, C) that a folder's images are brought to; 224×224 in colour where not given.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no such data.

    Example:
        >>> open_data("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: data: expected 'fashion_mnist' or a folder, got no such folder, which does not exist
    """
    if str(source) == "fashion_mnist":
        return fashion_mnist()
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"data: expected 'fashion_mnist' or a folder, got {folder}, which does not exist")
    if any(folder.glob("*-idx?-ubyte*")):
        return fashion_mnist(folder)
    rows, columns, channels = image_shape or (None, None, None)
    return image_folder(folder, (rows or 224, columns or 224), channels or 3)


def open_batches(
    source: str | PathLike[str], image_shape: tuple[int | None, ...], split: str = "test", limit: int | None = None
) -> Any:
    """Return batches to calibrate or verify a model on, in order, as `tfsep.tflite` takes them.

    Args:
        source: as in `open_data`, whose images are preprocessed; or a ``.npy`` file, or a ``.npz`` file with ``x`` and
            perhaps ``y``, whose arrays are taken as they are.
        image_shape: (H, W, C) of the model's input.
        split: of the data set, ``"train"`` or ``"test"``.
        limit: most samples to take.

    Returns:
        An array, or batches of (images, labels).

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no such data.

    Example:
        >>> open_batches("no such folder", (28, 28, 1))
        Traceback (most recent call last):
        FileNotFoundError: data: expected 'fashion_mnist' or a folder, got no such folder, which does not exist
    """
    path = Path(source)
    if path.suffix not in (".npy", ".npz"):
        chosen = getattr(open_data(source, image_shape), split)
        return chosen.take(0, limit).batches()
    if not path.is_file():
        raise FileNotFoundError(f"data: expected a file, got {path}, which does not exist")
    try:
        stored = np.load(path, allow_pickle=False)
        arrays = {"x": stored} if path.suffix == ".npy" else dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"data: expected a whole {path.suffix} file of numbers, got {path} ({error})") from error
    if "x" not in arrays:
        raise ValueError(f"data: expected an array x in {path}, got {', '.join(arrays) or 'none'}")
    x, y = arrays["x"][:limit], arrays.get("y")
    return x if y is None else tf.data.Dataset.from_tensor_slices((x, y[:limit])).batch(128)
