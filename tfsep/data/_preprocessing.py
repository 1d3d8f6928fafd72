"""From the pixels of an image to what a network is given: one record, which is kept in the JSON beside a model."""

import json
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._utils.arguments import as_path, number_in_range, short_repr
from tfsep._utils.atomic_files import atomic_file, atomic_files
from tfsep.geometry._sizes import pair

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3")
RECORD = "preprocessing"
"""The record's key in the JSON beside a model."""


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared: cropped, brought to size, and ``pixel / scale - offset`` of what is in [0, 255].

    Attributes:
        crop: the share of rows and of columns that is kept, in the middle, in (0, 1].
        size: rows and columns that images are brought to; None for what the network takes.
        interpolation: how, as ``tf.image.resize`` names it; with antialiasing.
        scale, offset: of all channels, or one a channel; the defaults give [-1, 1].

    Raises:
        ValueError: for anything else; the sentence starts with the name.

    Examples:
        >>> Preprocessing()(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
        >>> Preprocessing(crop=0.875).describe()
        'central crop 0.875, bilinear, pixel / 127.5 - 1'
    """

    crop: float = 1.0
    size: Any = None  # a pair once the record is made
    interpolation: str = "bilinear"
    scale: Any = 127.5  # a float, or a tuple of them
    offset: Any = 1.0

    def __post_init__(self) -> None:
        """Bring every field to its type and refuse nonsense, when the record is made."""
        self._settle("crop", number_in_range(self.crop, "crop", float, 0, 1))
        if not self.crop:
            raise ValueError(f"crop: expected a number greater than zero, got {self.crop}")
        if self.size is not None:
            self._settle("size", pair(self.size, "size"))
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation: expected one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}")
        for name in ("scale", "offset"):
            self._settle(name, _numbers(getattr(self, name), name))
        if not np.all(self.scale):
            raise ValueError(f"scale: expected numbers other than zero, got {self.scale}")
        sizes = {len(each) for each in (self.scale, self.offset) if isinstance(each, tuple)}
        if len(sizes) > 1:
            raise ValueError(f"offset: expected one number, or as many as scale, got {self.offset} for {self.scale}")

    def _settle(self, name: str, value: Any) -> None:
        """Set a field while the record is being made, which is frozen even to itself."""
        object.__setattr__(self, name, value)

    @classmethod
    def standardizing(cls, mean: Any, deviation: Any, **options: Any) -> "Preprocessing":
        """Make the record of ``(pixel / 255 - mean) / deviation``, as torchvision and timm have it.

        Examples:
            >>> Preprocessing.standardizing(0.5, 0.5).describe()
            'bilinear, pixel / 127.5 - 1'
        """
        mean, deviation = np.asarray(mean, float), np.asarray(deviation, float)
        return cls(scale=(255 * deviation).tolist(), offset=(mean / deviation).tolist(), **options)

    def __call__(self, images: Any) -> Any:
        """Return pixels in [0, 255], (..., C), as float32 numbers as the network takes them."""
        self.require_channels(images.shape[-1])
        return tf.cast(images, "float32") / self.scale - self.offset

    @property
    def mean(self) -> tuple[float, ...]:
        """What ``(pixel - mean) / std`` takes from pixels in [0, 255]: one number, or one a channel."""
        return tuple(float(each) for each in np.atleast_1d(np.multiply(self.offset, self.scale)))

    @property
    def std(self) -> tuple[float, ...]:
        """And what it divides by."""
        return tuple(float(each) for each in np.atleast_1d(np.multiply(self.scale, np.ones_like(self.offset))))

    def require_channels(self, channels: int | None) -> None:
        """Raise a ValueError unless there is one number of each kind, or one a channel.

        Examples:
            >>> Preprocessing(scale=(1.0, 2.0)).require_channels(3)
            Traceback (most recent call last):
            ValueError: preprocessing: expected a mean and deviation of all channels, or of each of 3, got 2
        """
        if channels is not None and len(self.std) not in (1, channels):
            raise ValueError(
                f"preprocessing: expected a mean and deviation of all channels, or of each of {channels}, got "
                f"{len(self.std)}"
            )

    def pixels(self, image: Any, size: tuple[int, int]) -> Any:
        """Return an image (H, W, C), cropped and brought to rows and columns, as uint8."""
        image = image if self.crop == 1 else tf.image.central_crop(image, self.crop)
        image = tf.image.resize(image, self.size or size, method=self.interpolation, antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)

    def describe(self) -> str:
        """Return the record in words."""
        words = [] if self.crop == 1 else [f"central crop {self.crop:g}"]
        size = "" if self.size is None else f" to {self.size[0]}×{self.size[1]}"
        return ", ".join([*words, f"{self.interpolation}{size}", f"pixel / {_said(self.scale)} - {_said(self.offset)}"])

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, record: Any) -> "Preprocessing":
        """Make the record of what `to_dict` returned.

        Raises:
            ValueError: if it is something else.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(record, dict) or not record.keys() <= set(names):
            raise ValueError(f"{RECORD}: expected {', '.join(names)}, got {short_repr(record)}")
        return cls(**record)


def _numbers(value: Any, name: str) -> Any:
    """A number, or a tuple of them where they differ."""
    if isinstance(value, list | tuple) and value:
        several = tuple(number_in_range(each, name, float, -1e6, 1e6) for each in value)
        return several if len(set(several)) > 1 else several[0]
    return number_in_range(value, name, float, -1e6, 1e6)


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"({', '.join(f'{each:g}' for each in value)})"


DEFAULT = Preprocessing()
"""Whole images in [-1, 1]: what training does unless it is told otherwise."""

CENTRAL = Preprocessing(crop=0.875)
"""Slim's for evaluation on ImageNet, which most published MobileNets were measured with."""


def read_preprocessing(model: str | PathLike[str]) -> Preprocessing | None:
    """Return the record in the JSON beside a model, ``model.json`` of ``model.keras``; None where there is none.

    Raises:
        TypeError: if `model` is no path.
        ValueError: if the JSON is damaged, or holds no right record.

    Examples:
        >>> read_preprocessing("missing.keras") is None
        True
    """
    path = as_path(model, "model").with_suffix(".json")
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model: expected whole JSON beside it, got a damaged {path} ({error})") from error
    own = found.get(RECORD) if isinstance(found, dict) else None
    try:
        return None if own is None else Preprocessing.from_dict(own)
    except ValueError as error:
        raise ValueError(f"model: expected a right record beside it, got {path} ({error})") from error


def write_preprocessing(preprocessing: Preprocessing, model: str | PathLike[str]) -> Path:
    """Write the record into a JSON beside a model, and return the JSON's path.

    Raises:
        TypeError: if `model` is no path.
        OSError: if it cannot be written.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_preprocessing(Preprocessing(crop=0.875), f"{folder}/model.keras")
        ...     path.name, read_preprocessing(f"{folder}/model.keras").crop
        ('model.json', 0.875)
    """
    path = as_path(model, "model").with_suffix(".json")
    with atomic_file(path, "model") as partial:
        partial.write_text(_text(preprocessing))
    return path


def save_with_preprocessing(
    model: Any, preprocessing: Preprocessing, path: str | PathLike[str], argument: str = "path"
) -> Path:
    """Save a Keras model and the record beside it, and return the JSON's path.

    Both are written first and then put in place, so that a process that is killed leaves a pair that belongs together,
    but for the instant between two renames.

    Raises:
        TypeError: if `path` is none; the message starts with `argument`.
        OSError: if they cannot be written.

    Examples:
        >>> model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_with_preprocessing(model, Preprocessing(), f"{folder}/model.keras").name
        'model.json'
    """
    path = as_path(path, argument)
    record = path.with_suffix(".json")
    with atomic_files([path, record], argument) as (partial, text):
        model.save(partial)
        text.write_text(_text(preprocessing))
    return record


def _text(preprocessing: Preprocessing) -> str:
    return json.dumps({RECORD: preprocessing.to_dict()}, indent=2) + "\n"
