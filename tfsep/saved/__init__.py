"""Trained models that ship with the package, and their publication.

A folder holds ``model.keras`` (images in [-1, 1] to probabilities), ``model_<recipe>.tflite`` with its report as JSON,
``samples.npz`` (images to calibrate and to try the model on), ``config.toml`` with ``log.jsonl`` and ``curves.png`` of
its training, and ``README.md``, the card.
"""

from tfsep.saved._publish import publish
from tfsep.saved._saved_folder import SavedModel, export_all, load, saved_models
from tfsep.saved._saved_scenes import SavedSceneModel, load_scene_model, scene_models
from tfsep.saved._scene_files import SceneFile, export_scene_files

__all__ = [
    "SavedModel",
    "SavedSceneModel",
    "SceneFile",
    "export_all",
    "export_scene_files",
    "load",
    "load_scene_model",
    "publish",
    "saved_models",
    "scene_models",
]
