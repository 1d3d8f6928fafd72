"""Image files without TensorFlow: which there are, their pixels, and the input of a network that is made of them."""

import io
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

if TYPE_CHECKING:
    from tfsep.data._preprocessing import Preprocessing

_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}
"""Formats that Pillow knows by name, and that need a program of their own to read."""
_OF_16_BITS = "I;16", "I;16L", "I;16B", "I;16N"
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}
"""Pillow's filters that are those of ``tf.image.resize`` with antialiasing, by its names."""
_GREY = (0.212671, 0.715160, 0.072169)
"""Weights by which libpng, and so TensorFlow, makes grey of a PNG in colour."""


@cache
def readable_formats() -> tuple[str, ...]:
    """Return the names of the image formats that are read."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - _NO_PICTURES))


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the files that are read, in small letters.

    Examples:
        >>> {".jpg", ".png", ".webp", ".tif"} <= image_suffixes(), ".txt" in image_suffixes()
        (True, False)
    """
    formats = readable_formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def image_names(folder: Path, left_out: Counter[str], below: str = "") -> Iterator[str]:
    """Yield the paths of the images in a folder, at any depth, relative to it.

    They are strings, because a `Path` for each is slow. Hidden files are no images.

    Args:
        folder: the folder.
        left_out: counts the suffixes of files that are no images.
        below: path below the folder to look at, which ends in a slash.
    """
    suffixes = image_suffixes()
    with os.scandir(folder / below) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from image_names(folder, left_out, f"{below}{entry.name}/")
            elif entry.name.startswith(".") or not entry.is_file():
                continue
            elif (suffix := Path(entry.name).suffix.lower()) in suffixes:
                yield below + entry.name
            else:
                left_out[suffix or "without a suffix"] += 1


def left_out_note(left_out: Counter[str]) -> str:
    """Return the number of files that are not read, in words; empty where all are.

    Args:
        left_out: files by kind, see `image_names`.

    Examples:
        >>> left_out_note(Counter({".txt": 2, ".heic": 1})), left_out_note(Counter())
        ('3 files are left out (2 .txt, 1 .heic)', '')
    """
    count = left_out.total()
    kinds = ", ".join(f"{number} {kind}" for kind, number in left_out.most_common() if number)
    return f"{count:,} {'file is' if count == 1 else 'files are'} left out ({kinds})" if count else ""


def upright_size(path: Path) -> tuple[int, int] | None:
    """Return rows and columns of an image file, upright, by its header alone; None for one that is none.

    Args:
        path: path of the file.
    """
    try:
        with Image.open(path, formats=readable_formats()) as image:
            columns, rows = image.size
            turned = image.getexif().get(Base.Orientation, 1) >= 5
    except Exception:  # Pillow raises many kinds for a damaged file, which the first decoding names
        return None
    return (columns, rows) if turned else (rows, columns)


def decode_picture(content: bytes, channels: int) -> np.ndarray:
    """Return the pixels of an image file as uint8 (H, W, C), upright.

    Args:
        content: bytes of the file.
        channels: 1 for grey, 3 for colour.

    Raises:
        ValueError: for what is no whole image file.
    """
    try:
        with Image.open(io.BytesIO(content), formats=readable_formats()) as stored:
            by_libpng = stored.format == "PNG" and channels == 1 and stored.mode not in ("1", "L", "LA", *_OF_16_BITS)
            image: Image.Image = ImageOps.exif_transpose(stored)
            if image.mode in _OF_16_BITS:
                # Pillow would cut off what is over 255.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in ("F", "I"):
                raise ValueError(f"pixels of mode {image.mode}, whose range is not known")
            pixels = np.asarray(image.convert("L" if channels == 1 and not by_libpng else "RGB"))
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise ValueError(f"no whole image file: {error}") from error
    if by_libpng:
        pixels = (pixels @ np.array(_GREY)).astype(np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def resize_picture(pixels: np.ndarray, how: "Preprocessing", size: tuple[int, int]) -> np.ndarray:
    """Return an image cropped and resized, as uint8, as `Preprocessing.crop_and_resize` does it by TensorFlow.

    Args:
        pixels: uint8 (H, W, C).
        how: the preprocessing.
        size: rows and columns where the record has no size.
    """
    rows, columns = how.size or size
    if how.crop != 1:
        pixels = pixels[tuple(slice(*_middle(side, how.crop)) for side in pixels.shape[:2])]
    planes = [_resized(plane, rows, columns, how.interpolation) for plane in np.moveaxis(pixels, -1, 0)]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def picture_input(pixels: np.ndarray, how: "Preprocessing") -> np.ndarray:
    """Return pixels as the float32 input of a network, as `Preprocessing` makes it of a tensor.

    Args:
        pixels: uint8 (H, W, C).
        how: the preprocessing.
    """
    how.require_channels(pixels.shape[-1])
    scale, offset = (np.asarray(each, np.float32) for each in (how.scale, how.offset))
    return pixels.astype(np.float32) / scale - offset


def _middle(side: int, share: float) -> tuple[int, int]:
    """The begin and end of the central part of a side, as ``tf.image.central_crop`` rounds them."""
    start = int((side - side * share) / 2)
    return start, side - start


def _resized(plane: np.ndarray, rows: int, columns: int, interpolation: str) -> np.ndarray:
    """One channel in another size, in float32."""
    if plane.shape == (rows, columns):
        return plane.astype(np.float32)
    if interpolation == "area":
        return _shares(plane.shape[0], rows) @ plane @ _shares(plane.shape[1], columns).T
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((columns, rows), _FILTERS[interpolation]))


def _shares(given: int, wanted: int) -> np.ndarray:
    """The shares of each pixel in the means over equal parts of a side, (wanted, given)."""
    ends = np.arange(wanted + 1) * (given / wanted)
    covered = np.clip(ends[:, None] - np.arange(given), 0, 1)
    return np.diff(covered, axis=0) * (wanted / given)
