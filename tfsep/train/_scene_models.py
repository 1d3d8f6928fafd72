"""Networks for scenes in training, and their tasks."""

from typing import Any

from tfsep import models
from tfsep._keras.backend import keras
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.types import Model
from tfsep.boxes import Anchors, Decoding, PostProcessing, multibox_anchors
from tfsep.data import SceneData
from tfsep.defs import NETWORKS
from tfsep.losses import ClassLoss
from tfsep.train._model_setup import arg_scope_of
from tfsep.train._scene_config import SEGMENTATION, SceneConfig
from tfsep.train._tasks import Detection, Segmentation

_MOST_DETECTIONS = 10
"""Boxes of an image that a detector returns: twice as many as a scene of `fashion_scenes` has at most."""


def scene_task(config: SceneConfig, data: SceneData) -> Segmentation | Detection:
    """Return the task of settings.

    Args:
        config: the settings.
        data: gives the size of the images and the number of classes.
    """
    if config.task == SEGMENTATION:
        return Segmentation()
    settings = PostProcessing(len(data.class_names), max_detections=_MOST_DETECTIONS)
    return Detection(Decoding(_anchors(config, data), settings), ClassLoss(config.mining), config.box_weight)


def build_scene_model(config: SceneConfig, data: SceneData, precision: str = "float32") -> Model:
    """Return a new model from images to logits; its weights are a function of `config.seed`.

    Args:
        config: the settings.
        data: gives the shape of the images and the number of classes.
        precision: precision of the computation, a dtype policy.

    Raises:
        ValueError: for strides that the network has not.
    """
    keras.utils.set_random_seed(config.seed)
    scope = arg_scope_of(config)
    with dtype_policy(precision):
        try:
            backbone = models.from_definitions(
                NETWORKS[config.network], data.image_shape, None, config.alpha, features=config.strides, arg_scope=scope
            )
        except ValueError as error:
            raise ValueError(str(error).replace("features: ", "strides: ", 1)) from error
        return _BUILDERS[config.head](backbone, config, data, {"classifier_activation": None, "arg_scope": scope})


def _deeplab_v3(backbone: Model, config: SceneConfig, data: SceneData, options: dict[str, Any]) -> Model:
    *low, deep = config.strides
    options |= {"output_stride": deep, "decoder": bool(low), "rates": config.rates, "filters": config.filters}
    return models.deeplab_v3(backbone, len(data.class_names) + 1, dropout=config.dropout, **options)


def _lraspp(backbone: Model, config: SceneConfig, data: SceneData, options: dict[str, Any]) -> Model:
    low, deep = config.strides
    options |= {"output_stride": deep, "low_stride": low, "filters": config.filters}
    return models.lraspp(backbone, len(data.class_names) + 1, **options)


def _ssdlite(backbone: Model, config: SceneConfig, data: SceneData, options: dict[str, Any]) -> Model:
    return models.ssdlite(backbone, len(data.class_names), _anchors(config, data), **options)


_BUILDERS = {"deeplab_v3": _deeplab_v3, "lraspp": _lraspp, "ssdlite": _ssdlite}
"""The builders of `HEADS`."""


def _anchors(config: SceneConfig, data: SceneData) -> Anchors:
    """The anchors: a grid for each of the strides."""
    sides = data.image_shape[:2]
    maps = [tuple(-(-side // stride) for side in sides) for stride in config.strides]
    return multibox_anchors(maps, *config.scales, reduce_lowest=False, image_size=sides)
