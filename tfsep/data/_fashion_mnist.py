"""Fashion-MNIST and the IDX format of its files.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST" (arXiv 1708.07747).
"""

import gzip
import os
import struct
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np

from tfsep._keras.backend import keras
from tfsep._utils.arguments import as_found, as_path
from tfsep.data._image_data import ImageData
from tfsep.data._split import Split

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
"""The names of Fashion-MNIST's classes, by label."""

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

_IDX_UINT8 = 0x08


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """Read an IDX file of bytes, the format of MNIST.

    Args:
        path: path of the file, gzip-compressed or not.

    Returns:
        A uint8 array of the shape in the file's header.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: for a file of another format, or one that is not whole.

    Examples:
        >>> read_idx("missing-idx1-ubyte")
        Traceback (most recent call last):
        FileNotFoundError: path: expected an IDX file, got missing-idx1-ubyte, which does not exist
    """
    path = as_path(path, "path")
    if not path.is_file():
        raise FileNotFoundError(f"path: expected an IDX file, got {as_found(path)}")
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


def _package_folders() -> Iterable[Path]:
    """Folders for the data that packages install (the XDG base directories)."""
    folders = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return (Path(folder) / "datasets" / "fashion-mnist" for folder in folders.split(":"))


def _idx_file(folder: Path, name: str) -> Path:
    zipped = folder / f"{name}.gz"
    return zipped if zipped.is_file() else folder / name


def fashion_mnist(folder: str | PathLike[str] | None = None) -> ImageData:
    """Return Fashion-MNIST: 60,000 and 10,000 grey images of 28×28 in ten classes.

    Args:
        folder: folder of the four IDX files, gzip-compressed or not. None takes the Debian package
            ``dataset-fashion-mnist`` where it is installed, and otherwise downloads through Keras.

    Raises:
        TypeError: if `folder` is no path.
        FileNotFoundError: if a file is missing from `folder`.
        ValueError: for a damaged file.

    Examples:
        >>> fashion_mnist("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: path: expected an IDX file, got no such folder/train-images-idx3-ubyte, which does not exist
    """
    if folder is None:
        folder = next((found for found in _package_folders() if found.is_dir()), None)
    if folder is None:
        train, test = keras.datasets.fashion_mnist.load_data()
        arrays = {"train": train, "test": test}
    else:
        folder = as_path(folder, "folder")
        arrays = {
            split: (read_idx(_idx_file(folder, images)), read_idx(_idx_file(folder, labels)))
            for split, (images, labels) in FASHION_MNIST_FILES.items()
        }
    splits = {name: Split.of(images[..., None], labels) for name, (images, labels) in arrays.items()}
    return ImageData("fashion_mnist", FASHION_MNIST_CLASSES, splits["train"], splits["test"], FASHION_MNIST_NOTICE)
