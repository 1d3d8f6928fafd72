"""What a user names as data, opened."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._utils.arguments import as_path, positive_int
from tfsep.data._fashion_mnist import fashion_mnist
from tfsep.data._image_data import ImageData
from tfsep.data._image_folder import image_folder, is_loose, loose_images
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._record_index import RECORDS_INDEX
from tfsep.data._records import open_records


def open_data(
    source: str | PathLike[str],
    image_shape: tuple[int | None, ...] | None = None,
    preprocessing: Preprocessing | None = None,
) -> ImageData:
    """Return the data set that a user names.

    Args:
        source: ``"fashion_mnist"``, a folder of its four IDX files, of records, or of images by class.
        image_shape: (H, W, C) that a folder's images are brought to; 224×224 in colour where not given, and that of the
            index for records.
        preprocessing: how images are prepared; None for `Preprocessing`'s defaults. IDX files and records of pixels
            have their size already, so that only their numbers change.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no such data, or `image_shape` is none.

    Examples:
        >>> open_data("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: data: expected 'fashion_mnist' or a folder, got no such folder, which does not exist
    """
    if str(source) == "fashion_mnist":
        return _prepared(fashion_mnist(), preprocessing)
    folder = as_path(source, "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"data: expected 'fashion_mnist' or a folder, got {folder}, which does not exist")
    if (folder / RECORDS_INDEX).is_file():
        return _prepared(open_records(folder, image_shape), preprocessing)
    if any(folder.glob("*-idx?-ubyte*")):
        return _prepared(fashion_mnist(folder), preprocessing)
    if image_shape is not None and len(image_shape) != 3:
        raise ValueError(f"image_shape: expected (H, W, C) for a folder of images, got {image_shape}")
    rows, columns, channels = image_shape or (None, None, None)
    (preprocessing or DEFAULT).require_channels(channels or 3)
    return image_folder(folder, (rows or 224, columns or 224), channels or 3, preprocessing=preprocessing)


def _prepared(data: ImageData, how: Preprocessing | None) -> ImageData:
    """The same data under another preprocessing."""
    if how is None:
        return data
    how.require_channels(data.image_shape[2])
    train, test = (replace(split, preprocessing=how) for split in (data.train, data.test))  # type: ignore[type-var]
    return replace(data, train=train, test=test)


def open_batches(
    source: str | PathLike[str],
    image_shape: tuple[int | None, ...],
    split: str = "test",
    limit: int | None = None,
    preprocessing: Preprocessing | None = None,
    classes: int | None = None,
) -> Any:
    """Return batches to calibrate or verify a model on, in order, as `tfsep.tflite` takes them.

    Files of images are all decoded once before the first batch is given, to see that they can be.

    Args:
        source: as in `open_data`, or a folder of images without classes, whose images are preprocessed; or a ``.npy``
            file, or a ``.npz`` file with ``x`` and perhaps ``y``, whose arrays are taken as they are.
        image_shape: (H, W, C) of the model's input.
        split: of the data set, ``"train"`` or ``"test"``.
        limit: most samples to take.
        preprocessing: of images, as in `open_data`; None for `Preprocessing`'s defaults.
        classes: how many the model has, where that is known: labels of a data set with another number are left out.

    Returns:
        An array, batches of (images, labels), or batches of images.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no such data, an image that cannot be decoded, or another number of labels than of
            samples.

    Examples:
        >>> open_batches("no such folder", (28, 28, 1))
        Traceback (most recent call last):
        FileNotFoundError: data: expected 'fashion_mnist' or a folder, got no such folder, which does not exist
    """
    path = as_path(source, "data")
    if split not in ("train", "test"):
        raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
    limit = None if limit is None else positive_int(limit, "limit")
    if path.suffix in (".npy", ".npz"):
        arrays, labels = _samples(path, ("x",), limit)
        return arrays["x"] if labels is None else tf.data.Dataset.from_tensor_slices((arrays["x"], labels)).batch(128)
    if is_loose(path):
        rows, columns, channels = image_shape
        (preprocessing or DEFAULT).require_channels(channels or 3)
        chosen, named = loose_images(path, (rows or 224, columns or 224), channels or 3, preprocessing), None
    else:
        opened = open_data(source, image_shape, preprocessing)
        chosen, named = getattr(opened, split), len(opened.class_names)
    chosen = chosen.take(0, limit)
    chosen.check()
    batches = chosen.batches()
    labelled = named is not None and classes in (None, named)
    return batches if labelled else batches.map(lambda images, _: images)


def class_names_of(source: str | PathLike[str]) -> tuple[str, ...]:
    """Return the names of the classes of a data set; none where it is arrays, or images without classes.

    Raises:
        TypeError, FileNotFoundError, ValueError: as `open_data`.

    Examples:
        >>> class_names_of("images.npz")
        ()
    """
    path = as_path(source, "data")
    return () if path.suffix in (".npy", ".npz") or is_loose(path) else open_data(source).class_names


def open_arrays(source: str | PathLike[str], names: Sequence[str], limit: int | None = None) -> Any:
    """Return samples for a model of several inputs, as `tfsep.tflite` takes them, from a ``.npz`` file.

    Args:
        source: the file, with an array (N, ...) under each name, and perhaps labels (N,) under ``y``.
        names: of the inputs.
        limit: most samples to take.

    Returns:
        A dict of arrays, or that and the labels.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no ``.npz`` file, or an array is missing, or of another length.

    Examples:
        >>> open_arrays("no such.npz", ("photo", "position"))
        Traceback (most recent call last):
        FileNotFoundError: data: expected a file, got no such.npz, which does not exist
    """
    path = as_path(source, "data")
    if path.suffix != ".npz":
        raise ValueError(f"data: expected a .npz file with arrays {', '.join(names)}, got {path}")
    arrays, labels = _samples(path, names, None if limit is None else positive_int(limit, "limit"))
    return arrays if labels is None else (arrays, labels)


def _samples(path: Path, names: Sequence[str], limit: int | None) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The first samples under these names, and their labels, under ``y``, where there are any."""
    stored = _stored_arrays(path)
    for name in names:
        if name not in stored:
            raise ValueError(f"data: expected an array {name} in {path}, got {', '.join(stored) or 'none'}")
    arrays = {name: stored[name] for name in (*names, "y") if name in stored}
    for name, array in arrays.items():
        if array.ndim == 0:
            raise ValueError(f"data: expected an array {name} of samples in {path}, got a single {array.dtype}")
        count, what = len(arrays[names[0]]), "label y" if name == "y" else name
        if len(array) != count:
            raise ValueError(f"data: expected one {what} a sample {names[0]} in {path}, got {len(array)} and {count}")
    return {name: arrays[name][:limit] for name in names}, arrays["y"][:limit] if "y" in arrays else None


def _stored_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.npz`` file, or the one of a ``.npy`` file, which is ``x``."""
    if not path.is_file():
        raise FileNotFoundError(f"data: expected a file, got {path}, which does not exist")
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {"x": stored}
        with stored:
            return dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"data: expected a whole {path.suffix} file of numbers, got {path} ({error})") from error
