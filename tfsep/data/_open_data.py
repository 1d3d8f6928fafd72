"""Opening of data by the name or path that a user gives."""

import logging
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Data, Shape
from tfsep._utils.arguments import as_found, as_path, positive_int, short_repr
from tfsep._utils.progress import stage
from tfsep.data._fashion_mnist import fashion_mnist
from tfsep.data._fashion_scenes import SceneData, SceneSplit, fashion_scenes
from tfsep.data._image_data import ImageData
from tfsep.data._image_folder import (
    LARGEST_SIDE,
    folder_class_names,
    image_folder,
    is_unlabelled,
    size_of_images,
    unlabelled_images,
)
from tfsep.data._image_shape import open_shape
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._record_index import RECORDS_INDEX
from tfsep.data._records import open_records
from tfsep.data._split import Split

_logger = logging.getLogger(__name__)


SCENES = "fashion_scenes"
"""The name of `tfsep.data.fashion_scenes`."""


def open_data(
    source: str | PathLike[str],
    image_shape: Shape | None = None,
    preprocessing: Preprocessing | None = None,
) -> ImageData:
    """Return a data set by its name or folder.

    Args:
        source: ``"fashion_mnist"``, a folder of its four IDX files, of records, or of images by class.
        image_shape: (H, W, C) of images of files after the resize. Parts that are None or not given are, for a folder
            of images, the size of its files, at most 224×224, in colour, and those of the index for records.
        preprocessing: preprocessing of the images; None for the defaults of `Preprocessing`. Images of IDX files and of
            records of pixels have their size already and are not cropped or resized.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such folder.
        ValueError: for a folder without data, or an `image_shape` of another form.

    Examples:
        >>> open_data("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: data: expected 'fashion_mnist' or a folder, got no such folder, which does not exist
    """
    shape = open_shape(image_shape)
    if str(source) == "fashion_mnist":
        return _with_preprocessing(fashion_mnist(), preprocessing)
    folder = as_path(source, "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"data: expected 'fashion_mnist' or a folder, got {as_found(folder)}")
    if _has_records(folder):
        return _with_preprocessing(open_records(folder, shape), preprocessing)
    if _has_idx_files(folder):
        return _with_preprocessing(fashion_mnist(folder), preprocessing)
    rows, columns, channels = shape
    (preprocessing or DEFAULT).require_channels(channels or 3)
    own = size_of_images(folder) if None in (rows, columns) else (0, 0)
    data = image_folder(folder, (rows or own[0], columns or own[1]), channels or 3, preprocessing=preprocessing)
    if rows is None and columns is None:
        _logger.info(f"{folder}: images are {'×'.join(map(str, data.image_shape))}; another size can be given")
    return data


def open_scenes(
    source: str | PathLike[str], image_shape: Shape | None = None, preprocessing: Preprocessing | None = None
) -> SceneData:
    """Return a data set of scenes by its name.

    Args:
        source: ``"fashion_scenes"``.
        image_shape: (H, W, C) of the scenes, square and grey; sizes that are None or not given are 96×96.
        preprocessing: preprocessing of the images; None for the defaults of `Preprocessing`.

    Raises:
        ValueError: for another name, or scenes of another form.

    Examples:
        >>> open_scenes("photographs")
        Traceback (most recent call last):
        ValueError: data: expected 'fashion_scenes', got 'photographs'
    """
    if str(source) != SCENES:
        raise ValueError(f"data: expected {SCENES!r}, got {short_repr(source)}")
    rows, columns, channels = open_shape(image_shape)
    if rows != columns or channels not in (None, 1):
        raise ValueError(f"size: expected square grey images for {SCENES}, got {rows}×{columns}×{channels or 1}")
    scenes = fashion_scenes() if rows is None else fashion_scenes(size=rows)
    return scenes if preprocessing is None else scenes.with_preprocessing(preprocessing)


def _has_records(folder: Path) -> bool:
    return (folder / RECORDS_INDEX).is_file()


def _has_idx_files(folder: Path) -> bool:
    return any(folder.glob("*-idx?-ubyte*"))


def _has_image_files(path: Path) -> bool:
    """Whether data are a folder of image files, whose classes have the names of folders."""
    return path.is_dir() and not (_has_records(path) or _has_idx_files(path))


def _with_preprocessing(data: ImageData, preprocessing: Preprocessing | None) -> ImageData:
    """The same data with another preprocessing, or its own where that is None."""
    if preprocessing is None:
        return data
    preprocessing.require_channels(data.image_shape[2])
    splits = data.train, data.test
    train, test = (replace(split, preprocessing=preprocessing) for split in splits)  # type: ignore[type-var]
    return replace(data, train=train, test=test)


def open_batches(
    source: str | PathLike[str],
    image_shape: Shape,
    split: str = "test",
    limit: int | None = None,
    preprocessing: Preprocessing | None = None,
    classes: int | None = None,
) -> np.ndarray | tf.data.Dataset:
    """Return samples to calibrate or verify a model on, in order, for `tfsep.tflite`.

    All image files are decoded once, as a check, before the first batch.

    Args:
        source: ``"fashion_mnist"``, ``"fashion_scenes"``, a folder of IDX files, of records, of images by class or of
            images without classes; or a ``.npy`` file, or a ``.npz`` file of samples ``x`` and optional labels ``y``,
            whose arrays are not preprocessed.
        image_shape: (H, W, C) of the model's input.
        split: split of the data set, ``"train"`` or ``"test"``.
        limit: largest number of samples; None for all.
        preprocessing: preprocessing of the images; None for the defaults of `Preprocessing`.
        classes: number of classes of the model; labels of a data set with another number are left out. None where it is
            not known.

    Returns:
        An array, batches of (images, labels), or batches of images.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such file or folder.
        ValueError: for a file or folder without data, an image that cannot be decoded, or a number of labels other than
            that of the samples.

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
        arrays, labels = _read_samples(path, ("x",), limit)
        return arrays["x"] if labels is None else tf.data.Dataset.from_tensor_slices((arrays["x"], labels)).batch(128)
    if str(source) == SCENES:
        scenes: SceneSplit = getattr(open_scenes(source, image_shape, preprocessing), split)
        return scenes.take(0, limit).batches().map(lambda images, _: images)
    if is_unlabelled(path):
        rows, columns, channels = open_shape(image_shape)
        how = preprocessing or DEFAULT
        how.require_channels(channels or 3)
        size = rows or LARGEST_SIDE, columns or LARGEST_SIDE
        samples: Split = unlabelled_images(path, size, channels or 3, how)
        has_labels = False
    else:
        data = open_data(source, image_shape, preprocessing)
        samples = getattr(data, split)
        has_labels = classes in (None, len(data.class_names))
    samples = samples.take(0, limit)
    with stage("reading all images"):
        samples.check()
    batches = samples.batches()
    return batches if has_labels else batches.map(lambda images, _: images)


def class_names_of(source: str | PathLike[str]) -> tuple[str, ...]:
    """Return the class names of a data set; none for arrays, or images without classes.

    Args:
        source: the name, file or folder of `open_batches`.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such folder.
        ValueError: for a folder without data.

    Examples:
        >>> class_names_of("images.npz")
        ()
    """
    path = as_path(source, "data")
    if path.suffix in (".npy", ".npz") or str(source) == SCENES or is_unlabelled(path):
        return ()
    if str(source) != "fashion_mnist" and _has_image_files(path):
        return folder_class_names(path)
    return open_data(source).class_names


def open_arrays(source: str | PathLike[str], names: Sequence[str], limit: int | None = None) -> Data:
    """Return samples for a model of several inputs from a ``.npz`` file, for `tfsep.tflite`.

    Args:
        source: the file, with an array (N, ...) under each name and optional labels (N,) under ``y``.
        names: names of the inputs.
        limit: largest number of samples; None for all.

    Returns:
        A dict of arrays by name, or a tuple of that and the labels.

    Raises:
        TypeError: if `source` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: for another kind of file, a missing array, or arrays of different lengths.

    Examples:
        >>> open_arrays("no such.npz", ("photo", "position"))
        Traceback (most recent call last):
        FileNotFoundError: data: expected a file, got no such.npz, which does not exist
    """
    path = as_path(source, "data")
    if path.suffix != ".npz":
        raise ValueError(f"data: expected a .npz file with arrays {', '.join(names)}, got {path}")
    arrays, labels = _read_samples(path, names, None if limit is None else positive_int(limit, "limit"))
    return arrays if labels is None else (arrays, labels)


def _read_samples(
    path: Path, names: Sequence[str], limit: int | None
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The first samples under these names, and their labels, under ``y``; None where there are none."""
    stored = _read_arrays(path)
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


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file, or the one of a ``.npy`` file, as ``x``."""
    if not path.is_file():
        raise FileNotFoundError(f"data: expected a file, got {as_found(path)}")
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {"x": stored}
        with stored:
            return dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"data: expected a whole {path.suffix} file of numbers, got {path} ({error})") from error
