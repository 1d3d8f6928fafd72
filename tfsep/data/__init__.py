"""Data sets of labelled images: Fashion-MNIST, folders of images by class, and TFRecord shards of either; and scenes.

A data set (`ImageData`) has two splits. A `Split` reads an image on demand: of a folder of files, memory holds the
names only; of shards, nothing that grows with their images. `Split.examples` is the order of an epoch, for a single
process or for each of several workers. Images stay uint8 until `Preprocessing`, the one record by which training,
calibration, verification and prediction turn pixels into the input of a network.

How images are prepared needs no TensorFlow: it is imported with the first name that reads a data set.

A data set of scenes (`SceneData`) has boxes and masks in place of labels, and its splits are read like others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfsep.data._epoch_shard import EpochShard
from tfsep.data._known_preprocessing import KnownPreprocessing, known_preprocessing
from tfsep.data._preprocessing import (
    CENTRAL,
    DEFAULT,
    Preprocessing,
    read_class_names,
    read_decoding,
    read_preprocessing,
    save_with_preprocessing,
    write_preprocessing,
)

if TYPE_CHECKING:
    from tfsep.data._compose_scene import Scene
    from tfsep.data._decode import preprocess
    from tfsep.data._detection_targets import detection_targets
    from tfsep.data._fashion_mnist import FASHION_MNIST_CLASSES, fashion_mnist, read_idx
    from tfsep.data._fashion_scenes import SceneData, SceneSplit, fashion_scenes
    from tfsep.data._image_data import ImageData
    from tfsep.data._image_folder import image_folder
    from tfsep.data._model_preprocessing import leading_preprocessing
    from tfsep.data._open_data import open_arrays, open_batches, open_data, open_scenes
    from tfsep.data._records import open_records
    from tfsep.data._split import Split
    from tfsep.data._write_records import write_records

__all__ = [
    "CENTRAL",
    "DEFAULT",
    "FASHION_MNIST_CLASSES",
    "EpochShard",
    "ImageData",
    "KnownPreprocessing",
    "Preprocessing",
    "Scene",
    "SceneData",
    "SceneSplit",
    "Split",
    "detection_targets",
    "fashion_mnist",
    "fashion_scenes",
    "image_folder",
    "known_preprocessing",
    "leading_preprocessing",
    "open_arrays",
    "open_batches",
    "open_data",
    "open_records",
    "open_scenes",
    "preprocess",
    "read_class_names",
    "read_decoding",
    "read_idx",
    "read_preprocessing",
    "save_with_preprocessing",
    "write_preprocessing",
    "write_records",
]

_WITH_TENSORFLOW = {
    "_compose_scene": ("Scene",),
    "_decode": ("preprocess",),
    "_detection_targets": ("detection_targets",),
    "_fashion_mnist": ("FASHION_MNIST_CLASSES", "fashion_mnist", "read_idx"),
    "_fashion_scenes": ("SceneData", "SceneSplit", "fashion_scenes"),
    "_image_data": ("ImageData",),
    "_image_folder": ("image_folder",),
    "_model_preprocessing": ("leading_preprocessing",),
    "_open_data": ("open_arrays", "open_batches", "open_data", "open_scenes"),
    "_records": ("open_records",),
    "_split": ("Split",),
    "_write_records": ("write_records",),
}
"""The names that need TensorFlow, by module."""


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _WITH_TENSORFLOW.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
