"""From a detector's file with raw outputs to one that returns the objects of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tfsep._flatbuffer.reader import pack, unpack
from tfsep._utils.arguments import as_path
from tfsep._utils.atomic_files import atomic_file, make_folder
from tfsep._utils.installed import install_command
from tfsep.boxes import Anchors, Detections, PostProcessing, detections
from tfsep.data import Preprocessing
from tfsep.tflite._convert._metadata import can_describe, channels_of, with_detection_metadata
from tfsep.tflite._detection_operator import append_detection_operator
from tfsep.tflite._litert_model import LiteRTModel

_TOLERANCE = 1e-6
"""How far an edge may be off, as a share of the image: a rounding of float32."""


@dataclass(frozen=True)
class DetectionReport:
    """A file with ``TFLite_Detection_PostProcess``, as verified.

    Attributes:
        path: path of the file.
        size_bytes: its size.
        samples: number of images that it was run on.
        detections: number of objects that it found in them, each as `tfsep.boxes.detections` finds it.
        described: whether metadata for task libraries is in the file.
        notes: remarks for the reader.
    """

    path: Path
    size_bytes: int
    samples: int
    detections: int
    described: bool
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report in words."""
        found = f"{self.detections:,} detections on {self.samples:,} images, all as computed from the outputs"
        return "\n".join([f"{self.path}: {self.size_bytes:,} bytes; {found}", *self.notes])


def add_detections(
    path: str | PathLike[str],
    out: str | PathLike[str],
    anchors: Anchors,
    settings: PostProcessing,
    *,
    data: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> DetectionReport:
    """Put LiteRT's ``TFLite_Detection_PostProcess`` behind the outputs of a detector's file, and verify the result.

    The operator decodes boxes and suppresses neighbours inside the file, as MediaPipe's object detector and Coral's
    library expect it. Its results are ``boxes`` (1, D, 4), ``classes`` (1, D), ``scores`` (1, D) and ``count`` (1,), of
    which rows behind the count say nothing. Each detection is compared with `tfsep.boxes.detections` of the outputs of
    the file that was given, which `export` has verified.

    Args:
        path: file of a model of `tfsep.models.ssdlite`, with the outputs ``offsets`` and ``classes``.
        out: path of the file to write.
        anchors: anchors of the model.
        settings: settings of the operator.
        data: images to verify on, real numbers (N, H, W, C), as the model takes them; None for random ones.
        labels: name of each class, for metadata; None for none.
        preprocessing: preparation of the images, for metadata; None where it is not known.

    Raises:
        TypeError: if a path, the anchors, the settings or the preprocessing are no such thing.
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file, outputs of other shapes, images of another shape, another number of labels, or
            detections that differ.
        OSError: if the file cannot be written.

    Examples:
        >>> from tfsep.boxes import multibox_anchors
        >>> add_detections("missing.tflite", "detector.tflite", multibox_anchors([4, 2, 1]), PostProcessing(3))
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    for name, value, kind in (("anchors", anchors, Anchors), ("settings", settings, PostProcessing)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected {kind.__name__}, got a {type(value).__name__}")
    if not isinstance(preprocessing, Preprocessing | None):
        raise TypeError(f"preprocessing: expected a Preprocessing or None, got {preprocessing!r}")
    target = as_path(out, "out")
    words = _labels(labels, settings.num_classes)
    file = LiteRTModel(path)
    places = _outputs(file, anchors, settings)
    samples = _samples(file, data)
    model = unpack(file.content, path)
    offsets, scores = (file.output_tensors[place] for place in places)
    append_detection_operator(model, offsets, scores, anchors.centers(), settings)
    content, notes = pack(model), []
    described = can_describe()
    if described:
        content = with_detection_metadata(content, target.stem, file.inputs, preprocessing, words)
    else:
        notes.append(f"no metadata in the file: the package mediapipe is not there, {install_command('metadata')}")
    if any(channels_of(info) != 3 for info in file.inputs):
        notes.append("metadata: MediaPipe's object detector takes images in colour only")
    make_folder(target.parent, "out")
    with atomic_file(target, "out") as partial:
        partial.write_bytes(content)
        count = _verify(file, places, LiteRTModel(partial, display_name=target), samples, anchors, settings)
    return DetectionReport(target, len(content), len(samples), count, described, tuple(notes))


def _labels(labels: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    if labels is None:
        return ()
    words = [] if isinstance(labels, str) else list(labels)
    if len(words) != classes or not all(isinstance(w, str) and w.strip() and "\n" not in w for w in words):
        raise ValueError(f"labels: expected a line of text for each of {classes} classes, got {labels!r:.80}")
    return tuple(words)


def _outputs(file: LiteRTModel, anchors: Anchors, settings: PostProcessing) -> tuple[int, int]:
    """The places of offsets and scores among a file's outputs."""
    shapes = {info.name: info.shape for info in file.outputs}
    sizes = settings.num_classes, settings.num_classes + 1
    wanted = {"offsets": [(1, anchors.count, 4)], "classes": [(1, anchors.count, size) for size in sizes]}
    if shapes.keys() != wanted.keys() or any(shapes[name] not in wanted[name] for name in wanted):
        expected, found = (
            ", ".join(f"{name} of {shape}" for name, shape in each.items())
            for each in ({name: first for name, (first, *_) in wanted.items()}, shapes)
        )
        raise ValueError(f"path: expected the outputs {expected}, got {found}")
    names = [info.name for info in file.outputs]
    return names.index("offsets"), names.index("classes")


def _samples(file: LiteRTModel, data: ArrayLike | None) -> np.ndarray:
    """Images for the one input of a file."""
    if len(file.inputs) != 1:
        raise ValueError(f"path: expected one input, got {len(file.inputs)}")
    spec = file.input_specs()[0]
    shape = file.inputs[0].shape[1:]
    if data is None:
        numbers = np.random.default_rng(0).uniform(-1, 1, (4, *shape))
        return (127.5 * (numbers + 1) if spec.dtype == "uint8" else numbers).astype(spec.dtype)
    samples = np.asarray(data)
    if samples.shape[1:] != shape or not len(samples):
        raise ValueError(f"data: expected images (N, {', '.join(map(str, shape))}), got {samples.shape}")
    return samples.astype(spec.dtype)


def _verify(
    file: LiteRTModel,
    places: tuple[int, int],
    made: LiteRTModel,
    samples: np.ndarray,
    anchors: Anchors,
    settings: PostProcessing,
) -> int:
    """The number of detections, after a comparison of each with those of the file without the operator."""
    total = 0
    for number in range(len(samples)):
        image = samples[number : number + 1]
        outputs = file([image])
        offsets, scores = (outputs[place][0] for place in places)
        right = detections(offsets, scores, anchors, settings)
        found = dict(zip((info.name for info in made.outputs), made([image]), strict=True))
        count = int(found["count"][0]) * settings.max_classes_per_detection
        said = Detections(found["boxes"][0, :count], found["classes"][0, :count], found["scores"][0, :count])
        if not _agree(said, right, settings):
            raise ValueError(
                f"path: expected detections in the file as those of its outputs, got others for image {number}: "
                f"{count} in place of {len(right.scores)}"
            )
        total += count
    return total


def _agree(said: Detections, right: Detections, settings: PostProcessing) -> bool:
    """Whether two sets of detections are the same."""
    if len(said.scores) != len(right.scores):
        return False
    one, other = (_in_order(each, settings) for each in (said, right))
    return one.shape == other.shape and bool(np.all(np.abs(one - other) <= _TOLERANCE))


def _in_order(found: Detections, settings: PostProcessing) -> np.ndarray:
    """Score, class and edges of detections, in an order that does not depend on that of equal scores.

    Where boxes are suppressed per class, LiteRT takes any of those with the lowest score that do not all fit.
    """
    rows = np.column_stack([-found.scores, found.classes, found.boxes]).astype(np.float64)
    if not settings.per_class:
        return rows
    if len(rows) == settings.max_detections:
        rows = rows[rows[:, 0] < rows[:, 0].max()]
    return rows[np.lexsort(rows.T[::-1])]
