"""What segmentation networks and detectors find in image files: the class of each pixel, or objects in boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfsep._utils.arguments import number_in_range, short_repr
from tfsep._utils.table import Table
from tfsep.boxes import Decoding, Detections
from tfsep.classify import (
    BACKGROUND,
    ImageModel,
    ImagesReport,
    image_files,
    open_image_model,
    other_labels_note,
    preparation_of,
    read_image,
    read_labels,
)
from tfsep.data import Preprocessing, read_class_names, read_decoding
from tfsep.data._pictures import picture_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Find", "Located", "Picture", "locate"]

_OBJECTS = {"boxes", "classes", "scores", "count"}
"""The outputs of a file of `tfsep.tflite.add_detections`."""


class Find(NamedTuple):
    """An object of an image, or a class of its pixels.

    Attributes:
        number: number of the class, from 0; for pixels, 0 is the background.
        label: its name; None where there are no labels.
        score: score of the object, or share of the pixels.
        box: top, left, bottom and right edge of the object as shares of the image file; None for pixels.
    """

    number: int
    label: str | None
    score: float
    box: tuple[float, ...] | None


class Picture(NamedTuple):
    """An image as the model sees it, and what was found, for `tfsep.plots.scenes`.

    Attributes:
        image: uint8 (H, W, C).
        boxes: edges of the objects as shares of it, (M, 4).
        classes: class of each, (M,).
        mask: class of each pixel, (H, W), 0 for the background; zeros of a detector.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Located(ImagesReport):
    """What was found in images.

    Attributes:
        model: path of the model.
        preprocessing: preprocessing of the images.
        source: origin of the preprocessing, in words.
        images: paths of the images.
        finds: what was found in each, the highest score first.
        pictures: each image as the model sees it, with what was found.
        class_names: names of the classes without a background, or their numbers.
        notes: remarks for the reader.
    """

    model: str
    preprocessing: Preprocessing
    source: str
    images: tuple[str, ...]
    finds: tuple[tuple[Find, ...], ...]
    pictures: tuple[Picture, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return a table with a row for each find, and one for each image without any."""
        rows = [
            (image if place == 0 else "", *self._row(find))
            for image, finds in zip(self.images, self.finds, strict=True)
            for place, find in enumerate(finds or (None,))
        ]
        return Table(("image", "class", "label", "score", "top, left, bottom, right (%)"), rows)

    def _row(self, find: Find | None) -> tuple[Any, ...]:
        if find is None:
            return "", "nothing found", "", ""
        box = "" if find.box is None else ", ".join(f"{100 * edge:.1f}" for edge in find.box)
        return find.number, find.label or "", f"{find.score:.4f}", box

    def _said(self) -> list[dict[str, Any]]:
        return [
            {"found": [{"class": f.number, "label": f.label, "score": f.score, "box": f.box} for f in finds]}
            for finds in self.finds
        ]

    def figure(self) -> "Figure":
        """Return the images with the boxes or masks drawn on them."""
        from tfsep import plots

        return plots.scenes(self.pictures, self.class_names)


def locate(
    model: str | PathLike[str] | ImageModel,
    images: Sequence[str | PathLike[str]],
    labels: str | PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    threshold: float = 0.5,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Located:
    """Return the objects, or the classes of the pixels, that a model finds in image files.

    Args:
        model: a segmentation network or a detector: a ``.tflite`` file, which of a detector is one of
            `tfsep.tflite.add_detections`, what `tfsep.models.load_model` takes, which of a detector has its decoding
            recorded beside it, as training records it; or an opened model.
        images: image files, of any kind that Pillow reads, and folders of them, at any depth.
        labels: a text file with a line for each class, without a background or after it; None for the names recorded
            beside the model.
        preprocessing: preprocessing of the images; None for what is known of the model, see `tfsep.classify.classify`.
        threshold: least score of an object, in [0, 1].
        custom_objects: classes and functions of one's own that a file of Keras names, by name.
        safe_mode: whether to refuse ``Lambda`` layers, whose Python code loading would run.

    Raises:
        TypeError: if an argument is no path.
        FileNotFoundError: if a file does not exist.
        ValueError: for a damaged model, one of another kind, an image that cannot be decoded, or labels of another
            number of classes.

    Examples:
        >>> locate("missing.tflite", ["street.png"])
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras or .tflite file, got missing.tflite, which does not exist
    """
    threshold = number_in_range(threshold, "threshold", float, 0, 1)
    opened = open_image_model(model, custom_objects, safe_mode)
    how, source = preparation_of(opened, preprocessing)
    files, notes = image_files(images)
    decoding = read_decoding(opened.path)
    pictures, scores = [], []
    for file in files:
        image = read_image(file, how, opened)
        output = opened.run(picture_input(image, how)[None])
        picture, own = picture_of(image, output, decoding, threshold, opened.path)
        pictures.append(picture)
        scores.append(own)
    classes = _class_count(opened, decoding)
    names, remarks = _names(labels, opened.path, classes)
    finds = tuple(
        _objects(picture, own, names, how) if own is not None else _shares(picture, names)
        for picture, own in zip(pictures, scores, strict=True)
    )
    shown = names or tuple(map(str, range(max([classes or 0, *(1 + p.mask.max(initial=0) for p in pictures)]))))
    return Located(
        str(opened.path), how, source, tuple(map(str, files)), finds, tuple(pictures), shown, (*notes, *remarks)
    )


def picture_of(
    image: np.ndarray, output: Any, decoding: Decoding | None, threshold: float, path: Path
) -> tuple[Picture, np.ndarray | None]:
    """Return an image with what was found, and the scores of objects; None for pixels.

    Args:
        image: uint8 (H, W, C).
        output: output of a model for it, a batch of one.
        decoding: how a detector's outputs become objects; None where they are objects, or for pixels.
        threshold: least score of an object.
        path: path of the model, for errors.
    """
    nothing = np.zeros((0, 4)), np.zeros(0, int)
    if isinstance(output, np.ndarray) and output.shape[1:3] == image.shape[:2]:
        mask = output[0].argmax(-1) if output.ndim == 4 else output[0]
        return Picture(image, *nothing, mask.astype(int)), None
    found = None
    if isinstance(output, dict) and output.keys() == _OBJECTS:
        count = int(output["count"][0])
        parts = (output[name][0][:count] for name in ("boxes", "classes", "scores"))
        found = Detections(*parts)
    elif isinstance(output, dict) and output.keys() == {"offsets", "classes"}:
        if decoding is None:
            raise ValueError(f"model: expected a detector with its anchors beside it, or one of objects, got {path}")
        found = decoding(output["offsets"][0], output["classes"][0])
    if found is None:
        raise ValueError(f"model: expected a class for each pixel, or boxes with classes, got other outputs of {path}")
    kept = found.scores >= threshold
    blank = np.zeros(image.shape[:2], int)
    return Picture(image, found.boxes[kept], found.classes[kept].astype(int), blank), found.scores[kept]


def _objects(picture: Picture, scores: np.ndarray, names: Sequence[str], how: Preprocessing) -> tuple[Find, ...]:
    """The objects of an image, with boxes in shares of the file, of which the picture is the middle."""
    whole = (1 - how.crop) / 2 + how.crop * np.clip(picture.boxes, 0, 1)
    return tuple(
        Find(int(number), names[number] if names else None, float(score), tuple(map(float, box)))
        for number, score, box in zip(picture.classes, scores, whole, strict=True)
    )


def _shares(picture: Picture, names: Sequence[str]) -> tuple[Find, ...]:
    """The classes of an image's pixels, the most frequent first."""
    counts = np.bincount(picture.mask.ravel())
    words = (BACKGROUND, *names) if names else None
    return tuple(
        Find(int(number), words[number] if words else None, float(counts[number] / picture.mask.size), None)
        for number in np.argsort(-counts, kind="stable")
        if counts[number]
    )


def _class_count(model: ImageModel, decoding: Decoding | None) -> int | None:
    """The number of classes without a background; None where the outputs do not say it."""
    if decoding is not None:
        return decoding.settings.num_classes
    if len(model.outputs) == 1 and len(model.outputs[0]) == 4 and model.outputs[0][3]:
        return int(model.outputs[0][3]) - 1
    return None


def _names(
    labels: str | PathLike[str] | None, path: Path, classes: int | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the classes without a background, and notes on them; none where there are none."""
    names = tuple(read_class_names(path) if labels is None else read_labels(labels))
    if names and names[0].strip().lower() == BACKGROUND and len(names) - 1 == (classes or len(names) - 1):
        names = names[1:]
    if classes is None or len(names) in (0, classes):
        return names, ()
    if labels is not None:
        raise ValueError(
            f"labels: expected a line for each of {classes} classes, got {len(names)} in {short_repr(labels)}"
        )
    return (), (other_labels_note(len(names), classes),)
