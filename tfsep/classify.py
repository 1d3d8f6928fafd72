"""Classification of image files: the most likely classes of each."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike, fsdecode
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfsep import tflite
from tfsep._utils.arguments import as_found, as_path, positive_int
from tfsep._utils.table import Table
from tfsep.data import CENTRAL, Preprocessing, known_preprocessing, read_class_names
from tfsep.data._pictures import decode_picture, image_names, left_out_note, picture_input, resize_picture
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._predict import outputs_of

if TYPE_CHECKING:
    from tfsep._keras.types import Model

__all__ = ["Classification", "Guess", "ImageModel", "classify"]

BACKGROUND = "background"
"""First line of slim's ImageNet labels, a class that models of 1000 classes do not have."""


class ImageModel(NamedTuple):
    """A model of images, opened.

    Attributes:
        path: path of its file.
        shape: (H, W, C) of its input; H and W may be None.
        run: function from an image, (1, H, W, C), to the outputs as arrays.
        outputs: shape of each output; none where they are not known.
        loaded: the model, where Keras loads it.
    """

    path: Path
    shape: tuple[Any, ...]
    run: Callable[[np.ndarray], Any]
    outputs: tuple[tuple[Any, ...], ...]
    loaded: "Model | None"

    @property
    def is_classifier(self) -> bool:
        """Whether it has one output, a row of numbers for each image, as far as its outputs are known."""
        return not self.outputs or (len(self.outputs) == 1 and len(self.outputs[0]) == 2)


class Guess(NamedTuple):
    """A class of an image.

    Attributes:
        number: number of the class, from 0.
        label: None where there are no labels.
        score: output of the model for it.
    """

    number: int
    label: str | None
    score: float


class ImagesReport(ABC):
    """What a model says of images, as a table and as JSON."""

    model: str
    preprocessing: Preprocessing
    source: str
    images: tuple[str, ...]
    notes: tuple[str, ...]

    @abstractmethod
    def table(self) -> Table:
        """Return a table of what is said of each image."""

    @abstractmethod
    def _said(self) -> list[dict[str, Any]]:
        """What is said of each image, for JSON."""

    def to_json(self) -> str:
        """Return the record as JSON."""
        images = [{"image": image, **said} for image, said in zip(self.images, self._said(), strict=True)]
        own = {"model": self.model, "preprocessing": self.preprocessing.to_dict(), "from": self.source}
        return json.dumps({**own, "notes": list(self.notes), "images": images}, indent=2)

    def __str__(self) -> str:
        """Return the table under a line about the preprocessing."""
        head = f"{self.model}: {self.preprocessing.describe()} ({self.source})"
        return "\n".join([head, *self.notes, "", self.table().text()])


@dataclass(frozen=True)
class Classification(ImagesReport):
    """The most likely classes of images.

    Attributes:
        model: path of the model.
        preprocessing: preprocessing of the images.
        source: origin of the preprocessing, in words.
        images: paths of the images.
        guesses: guesses for each image, the most likely first.
        notes: remarks for the reader.
    """

    model: str
    preprocessing: Preprocessing
    source: str
    images: tuple[str, ...]
    guesses: tuple[tuple[Guess, ...], ...]
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return a table with a row for each guess."""
        rows = [
            (image if place == 0 else "", guess.number, guess.label or "", f"{guess.score:.4f}")
            for image, guesses in zip(self.images, self.guesses, strict=True)
            for place, guess in enumerate(guesses)
        ]
        return Table(("image", "class", "label", "score"), rows)

    def _said(self) -> list[dict[str, Any]]:
        return [
            {"top": [{"class": g.number, "label": g.label, "score": g.score} for g in guesses]}
            for guesses in self.guesses
        ]


def classify(
    model: str | PathLike[str] | ImageModel,
    images: Sequence[str | PathLike[str]],
    labels: str | PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    top: int = 5,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Classification:
    """Return the most likely classes of image files.

    Args:
        model: a ``.tflite`` file, of floats or quantized, what `tfsep.models.load_model` takes, or an opened model.
        images: image files, of any kind that Pillow reads, and folders of them, at any depth.
        labels: a text file with a line for each class, optionally after a first line "background"; None for the names
            recorded beside the model.
        preprocessing: preprocessing of the images; None for what `tfsep.data.known_preprocessing` finds, the record
            beside the model or what its first layers say, and without it a central crop of 0.875 and [-1, 1].
        top: number of classes for each image.
        custom_objects: classes and functions of one's own that a file of Keras names, by name.
        safe_mode: whether to refuse ``Lambda`` layers, whose Python code loading would run.

    Raises:
        TypeError: if an argument is no path.
        FileNotFoundError: if a file does not exist.
        ValueError: for a damaged model, a model that is no classifier of images, an image that cannot be decoded, or
            labels of another number of classes.

    Examples:
        >>> classify("missing.tflite", ["cat.png"])
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras or .tflite file, got missing.tflite, which does not exist
    """
    top = positive_int(top, "top")
    opened = open_image_model(model, custom_objects, safe_mode)
    how, source = preparation_of(opened, preprocessing)
    names, notes = image_files(images)
    path = opened.path
    scores = [_scores(opened.run(picture_input(read_image(name, how, opened), how)[None]), path) for name in names]
    words, remarks = _labels(labels, len(scores[0])) if labels is not None else _own_labels(path, len(scores[0]))
    notes += remarks
    guesses = tuple(
        tuple(Guess(int(i), words[i] if words else None, float(each[i])) for i in np.argsort(-each)[:top])
        for each in scores
    )
    return Classification(str(path), how, source, tuple(map(str, names)), guesses, notes)


def open_image_model(
    given: str | PathLike[str] | ImageModel, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> ImageModel:
    """Return a model of images, opened; see `classify`."""
    if isinstance(given, ImageModel):
        return given
    path, model = as_path(given, "model"), None
    if not path.exists():
        raise FileNotFoundError(f"model: expected a .keras or .tflite file, got {as_found(path)}")
    if path.suffix == ".tflite":
        found = tflite.inspect(path)
        inputs = found.role("input")
        shape = inputs[0].shape[1:] if len(inputs) == 1 else ()
        outputs = tuple(each.shape for each in found.role("output"))
        run: Callable[[np.ndarray], Any] = partial(outputs_of, LiteRTModel(path))
    else:
        from tfsep._keras.backend import tf
        from tfsep.models import load_model

        model = loaded = load_model(path, custom_objects, safe_mode)
        shape = tuple(getattr(loaded, "input_shape", ()))[1:]
        run = lambda x: tf.nest.map_structure(np.asarray, loaded(x, training=False))  # noqa: E731
        outputs = tuple(tuple(each.shape) for each in tf.nest.flatten(_outputs_of(loaded)))
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"model: expected one input of images (H, W, 1) or (H, W, 3), got {path} of {shape}")
    return ImageModel(path, shape, run, outputs, model)


def preparation_of(model: ImageModel, given: Preprocessing | None) -> tuple[Preprocessing, str]:
    """Return the preprocessing of images for a model, and its origin in words."""
    known = None if given else known_preprocessing(model.path, model.loaded)
    how = given or (known.preprocessing if known else CENTRAL)
    rows, columns, channels = model.shape
    how.require_channels(channels)
    if how.size is None and None in (rows, columns):
        raise ValueError(
            f"preprocessing: expected a size for a model that leaves its own open, {model.shape}, got None"
        )
    return how, "as given" if given else known.source if known else "the default"


def _outputs_of(model: "Model") -> Any:
    """The outputs of a model; none of a subclassed one."""
    from tfsep._keras.model_io import outputs_of

    return outputs_of(model) if getattr(model, "outputs", None) else ()


def image_files(given: Sequence[str | PathLike[str]]) -> tuple[list[Path], tuple[str, ...]]:
    """Return image files, those of folders in the order of their names, and notes on files that are left out."""
    files: list[Path] = []
    left_out: Counter[str] = Counter()
    for each in given:
        path = as_path(each, "images")
        inside = [path / name for name in sorted(image_names(path, left_out))] if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"images: expected a folder with images, got {as_found(path)} without any")
        files += inside
    if not files:
        raise ValueError("images: expected at least one file, got none")
    note = left_out_note(left_out)
    return files, (note,) if note else ()


def read_image(path: Path, how: Preprocessing, model: ImageModel) -> np.ndarray:
    """Return an image file at the size of a model's input, uint8 (H, W, C)."""
    rows, columns, channels = model.shape
    if not path.is_file():
        raise FileNotFoundError(f"images: expected an image file, got {as_found(path)}")
    try:
        pixels = decode_picture(path.read_bytes(), channels)
    except ValueError as error:
        raise ValueError(f"images: expected an image file that decodes to (H, W, {channels}), got {path}") from error
    return resize_picture(pixels, how, (rows, columns))


def _scores(output: Any, path: Path) -> np.ndarray:
    """The scores of the classes of one image."""
    if not isinstance(output, np.ndarray) or output.ndim != 2:
        raise ValueError(f"model: expected one output (N, classes), got another of {path}")
    return output[0]


def _own_labels(path: Path, classes: int) -> tuple[Sequence[str] | None, tuple[str, ...]]:
    """The labels recorded beside a model, and notes on them."""
    names = read_class_names(path)
    if len(names) in (0, classes):
        return names or None, ()
    return None, (other_labels_note(len(names), classes),)


def other_labels_note(count: int, classes: int) -> str:
    """Return why labels recorded beside a model are left out, in words."""
    return f"labels: {count} are recorded beside the model, which has {classes} classes: left out"


def _labels(path: str | PathLike[str], classes: int) -> tuple[Sequence[str], tuple[str, ...]]:
    """A label for each class, and notes on them."""
    lines = read_labels(path)
    if len(lines) == classes:
        return lines, ()
    if len(lines) == classes + 1 and lines[0].strip().lower() == BACKGROUND:
        return lines[1:], (f"labels: the first, {BACKGROUND}, is left out: the model has {classes} classes",)
    raise ValueError(f"labels: expected a line for each of {classes} classes, got {len(lines)} in {fsdecode(path)}")


def read_labels(path: str | PathLike[str]) -> list[str]:
    """Return the lines of a text file of labels."""
    path = as_path(path, "labels")
    if not path.is_file():
        raise FileNotFoundError(f"labels: expected a text file, got {as_found(path)}")
    try:
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except ValueError as error:
        raise ValueError(f"labels: expected a text file, got {fsdecode(path)} ({error})") from error
