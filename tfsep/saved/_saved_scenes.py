"""Segmentation networks and detectors that ship with the package, with scenes to show them on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._keras.types import Model
from tfsep.boxes import Decoding
from tfsep.data import Preprocessing, Scene, SceneData, read_decoding, read_preprocessing
from tfsep.models import load_model
from tfsep.saved._saved_folder import SAMPLES, model_folder, saved_models
from tfsep.train._run_directory import MODEL

_SHIPPED_SCENES = 24


@dataclass(frozen=True)
class SavedSceneModel:
    """A shipped segmentation network or detector, loaded.

    Attributes:
        name: name of the model's folder.
        folder: path of the folder.
        model: model from prepared images to probabilities of each pixel, or to offsets and scores.
        class_names: names of the garments' classes; the background is none of them.
        preprocessing: preprocessing of the images.
        decoding: how a detector's outputs become objects; None for a segmentation network.
        scenes: test scenes.
    """

    name: str
    folder: Path
    model: Model
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    decoding: Decoding | None
    scenes: tuple[Scene, ...]


def load_scene_model(name: str) -> SavedSceneModel:
    """Load a shipped segmentation network or detector with test scenes.

    Args:
        name: name of the model's folder.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: for a model of another task.

    Examples:
        >>> load_scene_model("fashion_mnist")
        Traceback (most recent call last):
        ValueError: name: expected a model of scenes, got 'fashion_mnist'
    """
    folder = model_folder(name)
    with np.load(folder / SAMPLES) as samples:
        if not set(Scene._fields) <= set(samples.files):
            raise ValueError(f"name: expected a model of scenes, got {name!r}")
        scenes = tuple(map(Scene, *(samples[field] for field in Scene._fields)))
        class_names = tuple(samples["class_names"].tolist())
    path = folder / MODEL
    how = read_preprocessing(path) or Preprocessing()
    return SavedSceneModel(name, folder, load_model(path), class_names, how, read_decoding(path), scenes)


def scene_models() -> tuple[str, ...]:
    """Return the names of the shipped segmentation networks and detectors.

    Examples:
        >>> all(load_scene_model(name).scenes for name in scene_models())
        True
    """
    names = []
    for path in sorted(saved_models().glob(f"*/{SAMPLES}")):
        with np.load(path) as samples:
            if set(Scene._fields) <= set(samples.files) and (path.parent / MODEL).is_file():
                names.append(path.parent.name)
    return tuple(names)


def write_scenes(folder: Path, data: SceneData) -> None:
    """Write the first test scenes into the folder of a model.

    Args:
        folder: the folder.
        data: the scenes.
    """
    shown = [data.test.scene(number) for number in range(min(_SHIPPED_SCENES, data.test.size))]
    parts = zip(Scene._fields, zip(*shown, strict=True), strict=True)
    arrays: dict[str, Any] = {name: np.stack(part) for name, part in parts}
    np.savez_compressed(folder / SAMPLES, class_names=np.array(data.class_names), **arrays)
