"""Preprocessing, from the pixels of an image to a network's input: one record, kept in the JSON beside a model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tfsep._utils.arguments import as_path, number_in_range, one_of, short_repr
from tfsep._utils.atomic_files import atomic_file, atomic_files
from tfsep.boxes import Decoding
from tfsep.geometry._sizes import pair

if TYPE_CHECKING:
    from tfsep._keras.types import Model, Tensor, TensorLike

_Record = TypeVar("_Record")

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3")
JSON_KEY, CLASS_NAMES_KEY, DETECTION_KEY = "preprocessing", "class_names", "detection"
"""Keys of the record, and of the names of the classes, in the JSON beside a model."""


@dataclass(frozen=True)
class Preprocessing:
    """Preparation of images: a central crop, a resize, and ``pixel / scale - offset`` of pixels in [0, 255].

    Attributes:
        crop: share of rows and of columns to keep, in the middle, in (0, 1].
        size: rows and columns to resize to, an int or a pair; None for the input size of the network.
        interpolation: interpolation of the resize, by its name in ``tf.image.resize``; antialiased.
        scale: divisor of a pixel, one number or one per channel; the default, with that of `offset`, gives [-1, 1].
        offset: subtracted after the division, one number or one for each channel.

    Raises:
        ValueError: for a field of another type or out of range; the message starts with its name.

    Examples:
        >>> Preprocessing()(np.array([0, 255], "uint8")).numpy().tolist()
        [-1.0, 1.0]
        >>> Preprocessing(crop=0.875).describe()
        'central crop 0.875, bilinear, pixel / 127.5 - 1'
    """

    crop: float = 1.0
    size: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    scale: float | tuple[float, ...] = 127.5
    offset: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        """Validate the fields and bring each to its type."""
        self._set("crop", number_in_range(self.crop, "crop", float, 0, 1))
        if not self.crop:
            raise ValueError(f"crop: expected a number greater than zero, got {self.crop}")
        if self.size is not None:
            self._set("size", pair(self.size, "size"))
        one_of(self.interpolation, "interpolation", INTERPOLATIONS)
        for name in ("scale", "offset"):
            self._set(name, _one_or_several(getattr(self, name), name))
        if not np.all(self.scale):
            raise ValueError(f"scale: expected numbers other than zero, got {self.scale}")
        sizes = {len(each) for each in (self.scale, self.offset) if isinstance(each, tuple)}
        if len(sizes) > 1:
            raise ValueError(f"offset: expected one number, or as many as scale, got {self.offset} for {self.scale}")

    def _set(self, name: str, value: Any) -> None:
        """Set a field of the frozen record during its initialization."""
        object.__setattr__(self, name, value)

    @classmethod
    def standardizing(cls, mean: "TensorLike", deviation: "TensorLike", **options: Any) -> "Preprocessing":
        """Return the record of ``(pixel / 255 - mean) / deviation``, the form of torchvision and timm.

        Args:
            mean: mean of pixels in [0, 1], one number or one for each channel.
            deviation: standard deviation of these pixels, one number or one for each channel.
            **options: other fields of the record.

        Examples:
            >>> Preprocessing.standardizing(0.5, 0.5).describe()
            'bilinear, pixel / 127.5 - 1'
        """
        mean, deviation = np.asarray(mean, float), np.asarray(deviation, float)
        return cls(scale=(255 * deviation).tolist(), offset=(mean / deviation).tolist(), **options)

    def __call__(self, images: "Tensor | np.ndarray") -> "Tensor":
        """Return pixels in [0, 255], (..., C), as the float32 input of a network."""
        from tfsep._keras.backend import tf

        self.require_channels(images.shape[-1])
        return tf.cast(images, "float32") / self.scale - self.offset

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean in ``(pixel - mean) / std`` of pixels in [0, 255]: one number, or one for each channel."""
        return tuple(float(each) for each in np.atleast_1d(np.multiply(self.offset, self.scale)))

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation in ``(pixel - mean) / std`` of pixels in [0, 255]: one number, or one for each channel."""
        return tuple(float(each) for each in np.atleast_1d(np.multiply(self.scale, np.ones_like(self.offset))))

    def require_channels(self, channels: int | None) -> None:
        """Raise unless `scale` and `offset` fit images of this number of channels.

        Args:
            channels: number of channels of the images; None where it is not known.

        Raises:
            ValueError: if there is neither one number nor one for each channel.

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

    def crop_and_resize(self, image: "Tensor", size: tuple[int, int]) -> "Tensor":
        """Return an image cropped and resized, as uint8.

        Args:
            image: pixels in [0, 255], (H, W, C).
            size: rows and columns where the record has no size.
        """
        from tfsep._keras.backend import tf

        image = image if self.crop == 1 else tf.image.central_crop(image, self.crop)
        image = tf.image.resize(image, self.size or size, method=self.interpolation, antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)

    def describe(self) -> str:
        """Return the record in words."""
        crop = [] if self.crop == 1 else [f"central crop {self.crop:g}"]
        size = "" if self.size is None else f" to {self.size[0]}×{self.size[1]}"
        scale, offset = _text_of(self.scale), _text_of(self.offset)
        pixels = "pixels in [0, 255]" if (self.scale, self.offset) == (1, 0) else f"pixel / {scale} - {offset}"
        return ", ".join([*crop, f"{self.interpolation}{size}", pixels])

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dict for JSON."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Preprocessing":
        """Return the record of a dict.

        Args:
            record: dict from `to_dict`.

        Raises:
            ValueError: for another dict, or no dict.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(record, dict) or not record.keys() <= set(names):
            raise ValueError(f"{JSON_KEY}: expected {', '.join(names)}, got {short_repr(record)}")
        return cls(**record)


def _one_or_several(value: Any, name: str) -> float | tuple[float, ...]:
    """A number, or a tuple of numbers that differ."""
    if isinstance(value, list | tuple) and value:
        several = tuple(number_in_range(each, name, float, -1e6, 1e6) for each in value)
        return several if len(set(several)) > 1 else several[0]
    return number_in_range(value, name, float, -1e6, 1e6)


def _text_of(value: float | tuple[float, ...]) -> str:
    return f"({', '.join(f'{each:g}' for each in value)})" if isinstance(value, tuple) else f"{value:g}"


DEFAULT = Preprocessing()
"""Whole images in [-1, 1], the default of training."""

CENTRAL = Preprocessing(crop=0.875)
"""TF-slim's evaluation on ImageNet, by which most published MobileNets were measured."""


def read_preprocessing(model: str | PathLike[str]) -> Preprocessing | None:
    """Return the record in the JSON beside a model, ``model.json`` of ``model.keras``.

    Args:
        model: path of the model.

    Returns:
        The record; None where there is none.

    Raises:
        TypeError: if `model` is no path.
        ValueError: if the JSON or the record is damaged.

    Examples:
        >>> read_preprocessing("missing.keras") is None
        True
    """
    return _read_record(model, JSON_KEY, Preprocessing.from_dict)


def read_class_names(model: str | PathLike[str]) -> tuple[str, ...]:
    """Return the names of the classes in the JSON beside a model; none where it has none.

    Args:
        model: path of the model.

    Raises:
        TypeError: if `model` is no path.
        ValueError: if the JSON is damaged, or they are no names.

    Examples:
        >>> read_class_names("missing.keras")
        ()
    """
    names = _read_json(model).get(CLASS_NAMES_KEY) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        path = as_path(model, "model").with_suffix(".json")
        raise ValueError(f"model: expected a list of class names beside it, got {short_repr(names)} in {path}")
    return tuple(names)


def read_decoding(model: str | PathLike[str]) -> Decoding | None:
    """Return how the outputs of a detector become objects, as the JSON beside it says; None where it says nothing.

    Args:
        model: path of the model.

    Raises:
        TypeError: if `model` is no path.
        ValueError: if the JSON or the record is damaged.

    Examples:
        >>> read_decoding("missing.keras") is None
        True
    """
    return _read_record(model, DETECTION_KEY, Decoding.from_dict)


def _read_record(
    model: str | PathLike[str], key: str, from_dict: Callable[[dict[str, Any]], _Record]
) -> _Record | None:
    """What a key of the JSON beside a model holds, as a record; None where it holds nothing."""
    record = _read_json(model).get(key)
    try:
        return None if record is None else from_dict(record)
    except ValueError as error:
        path = as_path(model, "model").with_suffix(".json")
        raise ValueError(f"model: expected a right record beside it, got {path} ({error})") from error


def _read_json(model: str | PathLike[str]) -> dict[str, Any]:
    """The object in the JSON beside a model; an empty one where there is none."""
    path = as_path(model, "model").with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model: expected whole JSON beside it, got a damaged {path} ({error})") from error
    return found if isinstance(found, dict) else {}


def write_preprocessing(
    preprocessing: Preprocessing,
    model: str | PathLike[str],
    class_names: Sequence[str] = (),
    decoding: Decoding | None = None,
) -> Path:
    """Write the record into a JSON beside a model.

    Args:
        preprocessing: the record.
        model: path of the model.
        class_names: names of the classes, in the order of the model's output; none where they are not known.
        decoding: how a detector's outputs become objects; None for any other model.

    Returns:
        The path of the JSON: the model's, with the ending ``.json``.

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
        partial.write_text(_to_json(preprocessing, class_names, decoding), encoding="utf-8")
    return path


def save_with_preprocessing(
    model: "Model",
    preprocessing: Preprocessing,
    path: str | PathLike[str],
    argument: str = "path",
    class_names: Sequence[str] = (),
    decoding: Decoding | None = None,
) -> Path:
    """Save a Keras model with the record beside it.

    Both are written to temporary files and then renamed, so that an interrupted save leaves the old pair or the new
    one. Only an interruption between the two renames can mix them.

    Args:
        model: model to save.
        preprocessing: the record.
        path: path of the ``.keras`` file.
        argument: the name of `path` in error messages.
        class_names: names of the classes, in the order of the model's output; none where they are not known.
        decoding: how a detector's outputs become objects; None for any other model.

    Returns:
        The path of the JSON.

    Raises:
        TypeError: if `path` is no path.
        OSError: if they cannot be written.

    Examples:
        >>> model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_with_preprocessing(model, Preprocessing(), f"{folder}/model.keras").name
        'model.json'
    """
    path = as_path(path, argument)
    record = path.with_suffix(".json")
    with atomic_files([path, record], argument) as (partial, partial_record):
        model.save(partial)
        partial_record.write_text(_to_json(preprocessing, class_names, decoding), encoding="utf-8")
    return record


def _to_json(preprocessing: Preprocessing, class_names: Sequence[str], decoding: Decoding | None) -> str:
    named = {CLASS_NAMES_KEY: list(class_names)} if class_names else {}
    found = {} if decoding is None else {DETECTION_KEY: decoding.to_dict()}
    return json.dumps({JSON_KEY: preprocessing.to_dict(), **named, **found}, indent=2) + "\n"
