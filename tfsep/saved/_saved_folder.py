"""Trained models that ship with the package: location, loading, export."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from tfsep import tflite
from tfsep._keras.types import Data, Model
from tfsep._utils.atomic_files import make_folder
from tfsep.data import Preprocessing, Split
from tfsep.models import load_model
from tfsep.tflite._recipes import get_recipe
from tfsep.train._run_directory import MODEL

_logger = logging.getLogger(__name__)

SAMPLES = "samples.npz"
_SAMPLES_OF = {"fashion_mnist_int8": "fashion_mnist"}
"""Models whose samples are those of another one of the same data set: the package holds them once."""


def saved_models() -> Path:
    """Return the folder of the shipped models, in an installed package or in a checkout.

    Raises:
        FileNotFoundError: if there is none.

    Examples:
        >>> saved_models().is_dir()
        True
    """
    package = Path(__file__).parent.parent
    places = package / "_saved_models", package.parent / "saved_models"
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"saved models: expected a folder at one of {', '.join(map(str, places))}, got none")


def model_folder(name: str) -> Path:
    """Return the folder of a shipped model.

    Args:
        name: name of the folder.

    Raises:
        FileNotFoundError: if there is no such model.
    """
    folder = saved_models() / name
    if not (folder / MODEL).is_file():
        known = sorted(p.parent.name for p in saved_models().glob(f"*/{MODEL}"))
        raise FileNotFoundError(f"name: expected one of {', '.join(known)}, got {name!r}")
    return folder


@dataclass(frozen=True)
class SavedModel:
    """A shipped model, loaded.

    Attributes:
        name: name of the model's folder.
        folder: path of the folder.
        model: model from images in [-1, 1] to probabilities.
        class_names: class names by label.
        calibration: uint8 images (N, H, W, C) of the training set.
        images: uint8 images (N, H, W, C) of the test set.
        labels: int32 labels of the images (N,).
    """

    name: str
    folder: Path
    model: Model
    class_names: tuple[str, ...]
    calibration: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def test_split(self) -> Split:
        """The images with their labels, as a split of a data set."""
        return Split.of(self.images, self.labels)


def load(name: str = "fashion_mnist") -> SavedModel:
    """Load a shipped model with its images.

    Args:
        name: name of the model's folder.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: for a model of another task; see `load_scene_model`.

    Examples:
        >>> load().images.shape
        (1000, 28, 28, 1)
    """
    folder = model_folder(name)
    with np.load(folder.with_name(_SAMPLES_OF.get(name, name)) / SAMPLES) as samples:
        if "labels" not in samples.files:
            raise ValueError(f"name: expected a classifier, got {name!r}")
        return SavedModel(
            name,
            folder,
            load_model(folder / MODEL),
            tuple(samples["class_names"].tolist()),
            samples["calibration"],
            samples["images"],
            samples["labels"],
        )


def export_all(
    model: Model,
    folder: str | PathLike[str],
    calibration: Data | None,
    data: Callable[[], Data],
    recipes: Iterable[str | tflite.Recipe] = tuple(tflite.RECIPES),
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] = (),
) -> dict[str, tflite.ExportReport]:
    """Export a model with several recipes as ``model_<recipe>.tflite``, and verify each file.

    Args:
        model: a Keras model.
        folder: folder for the files; made if it does not exist.
        calibration: samples for integer recipes, in the forms of `tfsep.tflite.export`; None without such recipes.
        data: called once for each recipe; returns the samples to verify on, batches of (images, labels).
        recipes: names in `tfsep.tflite.RECIPES`, or recipes of other names.
        preprocessing: preprocessing of the images, for the reports.
        class_names: names of the classes, for the reports.

    Returns:
        The reports, by name of the recipe.
    """
    folder = make_folder(folder, "folder")
    reports = {}
    for recipe in map(get_recipe, recipes):
        reports[recipe.name] = report = tflite.export(
            model,
            folder / f"model_{recipe.name}.tflite",
            recipe,
            calibration=calibration,
            data=data(),
            preprocessing=preprocessing,
            class_names=class_names,
        )
        _logger.info(
            f"{recipe.name}: {report.size_bytes / 1000:.0f} kB, accuracy {report.accuracy:.4f} "
            f"(model {report.model_accuracy:.4f}), {report.delegated} of {report.nodes} nodes delegated"
        )
    return reports
