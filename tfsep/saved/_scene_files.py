"""The files of a segmentation network or a detector: exported, verified and scored on scenes."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfsep import tflite
from tfsep._keras.backend import tf
from tfsep._keras.types import Model
from tfsep._utils.atomic_files import make_folder
from tfsep.boxes import Decoding
from tfsep.data import Preprocessing, SceneData, SceneSplit, write_preprocessing
from tfsep.quantize._prepared_model import is_prepared
from tfsep.tflite._add_detections import DetectionReport
from tfsep.tflite._recipes import get_recipe
from tfsep.train import detection_score, segmentation_score

_logger = logging.getLogger(__name__)

SCENE_RECIPES = ("float32", "float16")
"""The recipes of a published float model: int8 is fine-tuned."""

VERIFIED_SCENES = 200
"""Scenes on which a file is compared with its model, number by number: a segmentation has 100,000 of each."""

CALIBRATION_SCENES = 200
"""Training scenes on which integer recipes are calibrated."""


@dataclass(frozen=True)
class SceneFile:
    """A file of a segmentation network or a detector.

    Attributes:
        report: report of the verified export.
        score: mean IoU, or mAP at an overlap of 0.5, of the file on all test scenes.
        score_title: which of the two.
        objects: report of the file that returns objects, beside it; None for a segmentation network.
    """

    report: tflite.ExportReport
    score: float
    score_title: str
    objects: DetectionReport | None

    def __str__(self) -> str:
        """Return the reports, and the score in a line."""
        parts = [self.report, f"{self.score_title} of the file on the test scenes: {self.score:.4f}", self.objects]
        return "\n".join(str(part) for part in parts if part is not None)


def export_scene_files(
    model: Model,
    folder: str | PathLike[str],
    data: SceneData,
    decoding: Decoding | None,
    recipes: Iterable[str],
) -> dict[str, SceneFile]:
    """Export a model with several recipes as ``model_<recipe>.tflite``, and verify and score each file.

    Beside each file of a detector stands ``detector_<recipe>.tflite``, which returns objects.

    Args:
        model: a segmentation network or a detector, of floats or prepared for int8.
        folder: folder for the files; made if it does not exist.
        data: the scenes: those to train on for calibration, those to test on for the rest.
        decoding: how a detector's outputs become objects; None for a segmentation network.
        recipes: names in `tfsep.tflite.RECIPES`.

    Returns:
        The files, by name of the recipe.
    """
    folder = make_folder(folder, "folder")
    calibration = None if is_prepared(model) else _images(data.train.take(0, CALIBRATION_SCENES))
    how, shown = data.train.preprocessing, _images(data.test.take(0, VERIFIED_SCENES))
    files = {}
    for recipe in map(get_recipe, recipes):
        path = folder / f"model_{recipe.name}.tflite"
        report = tflite.export(
            model,
            path,
            recipe,
            calibration=calibration,
            data=shown,
            preprocessing=how,
            class_names=data.class_names,
        )
        files[recipe.name] = _scored(path, report, data, decoding, shown)
        file = files[recipe.name]
        _logger.info(
            f"{recipe.name}: {report.size_bytes / 1000:.0f} kB, {file.score_title} {file.score:.4f}, "
            f"{report.delegated} of {report.nodes} nodes delegated"
        )
    return files


def export_objects(
    path: Path,
    decoding: Decoding,
    class_names: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    data: np.ndarray | None = None,
) -> DetectionReport:
    """Write the file that returns objects beside a detector's file, ``detector_x.tflite`` beside ``model_x.tflite``.

    Args:
        path: the detector's file.
        decoding: how its outputs become objects.
        class_names: names of the classes; none where they are not known.
        preprocessing: preprocessing of the images, which is recorded beside the file; None where it is not known.
        data: prepared images to verify on; None for random ones.
    """
    target = path.with_name(f"detector_{path.name.removeprefix('model_')}")
    options: dict[str, Any] = {"data": data, "labels": class_names or None, "preprocessing": preprocessing}
    report = tflite.add_detections(path, target, decoding.anchors, decoding.settings, **options)
    if preprocessing is not None:
        write_preprocessing(preprocessing, target, class_names)
    return report


def _images(split: SceneSplit) -> np.ndarray:
    return np.asarray(split.preprocessing(split.images()))


def _scored(
    path: Path, report: tflite.ExportReport, data: SceneData, decoding: Decoding | None, shown: np.ndarray
) -> SceneFile:
    """A file with its score; of a detector, with the file that returns objects."""

    def run(images: tf.Tensor) -> object:
        return tflite.predict(path, np.asarray(images))

    if decoding is None:
        score = segmentation_score(run, data.test, len(data.class_names) + 1).mean_iou
        return SceneFile(report, score, "mean IoU", None)
    objects = export_objects(path, decoding, data.class_names, data.train.preprocessing, shown[:20])
    score = detection_score(run, data.test, decoding.anchors, decoding.settings).at(0.5)
    return SceneFile(report, score, "mAP@0.5", objects)
