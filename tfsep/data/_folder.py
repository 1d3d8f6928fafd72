"""A folder of images by class, as a data set."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._arguments import as_path, number
from tfsep._backend import tf
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._split import ImageData, Split
from tfsep.geometry import pair

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def _examples(folder: Path, class_names: tuple[str, ...], seed: int) -> list[tuple[str, int]]:
    """Paths and labels, shuffled, so that any few of them, the first or the last, are of all classes."""
    found = [
        (path, label)
        for label, name in enumerate(class_names)
        for path in sorted(
            str(p) for p in (folder / name).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
        )
    ]
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def _split(examples: list[tuple[str, int]], image_shape: tuple[int, int, int], how: Preprocessing) -> Split:
    paths, labels = zip(*examples, strict=True)
    return Split(tf.constant(paths), tf.constant(labels, tf.int32), image_shape, how)


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


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

    Example:
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
    seed = number(seed, "seed", int, 0)
    is_split = (folder / "train").is_dir() and (folder / "test").is_dir()
    class_names = _class_names(folder / "train" if is_split else folder)
    if len(class_names) < 2:
        raise ValueError(f"folder: expected at least two folders of classes, got {len(class_names)} in {folder}")

    if is_split:
        unknown = sorted(set(_class_names(folder / "test")) - set(class_names))
        if unknown:
            raise ValueError(f"folder: expected test images of the classes in train, got {', '.join(unknown)}")
        train, test = (_examples(folder / name, class_names, seed) for name in ("train", "test"))
        if not test:
            raise ValueError(f"folder: expected test images, got none in {folder / 'test'}")
    else:
        examples = _examples(folder, class_names, seed)
        held = max(1, round(len(examples) * test_share))
        train, test = examples[held:], examples[:held]
    empty = sorted(set(class_names) - {class_names[label] for _, label in train})
    if empty:
        raise ValueError(f"folder: expected training images of every class, got none of {', '.join(empty)} in {folder}")
    shape = (rows, columns, channels)
    return ImageData(folder.name, class_names, _split(train, shape, how), _split(test, shape, how))
