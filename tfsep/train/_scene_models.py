"""Networks for scenes in training, and their tasks."""

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
    scope, classes = arg_scope_of(config), len(data.class_names)
    with dtype_policy(precision):
        try:
            backbone = models.from_definitions(
                NETWORKS[config.network], data.image_shape, None, config.alpha, features=config.strides, arg_scope=scope
            )
        except ValueError as error:
            said = str(error)
            raise ValueError(said.replace("features: ", "strides: ", 1)) from error
        if config.head == "ssdlite":
            return models.ssdlite(
                backbone, classes, _anchors(config, data), classifier_activation=None, arg_scope=scope
            )
        *low, deep = config.strides
        if config.head == "lraspp":
            return models.lraspp(
                backbone,
                classes + 1,
                output_stride=deep,
                low_stride=low[0],
                filters=config.filters,
                classifier_activation=None,
                arg_scope=scope,
            )
        return models.deeplab_v3(
            backbone,
            classes + 1,
            output_stride=deep,
            rates=config.rates,
            decoder=bool(low),
            filters=config.filters,
            dropout=config.dropout,
            classifier_activation=None,
            arg_scope=scope,
        )


def _anchors(config: SceneConfig, data: SceneData) -> Anchors:
    """The anchors: a grid for each of the strides."""
    sides = data.image_shape[:2]
    maps = [tuple(-(-side // stride) for side in sides) for stride in config.strides]
    return multibox_anchors(maps, *config.scales, reduce_lowest=False, image_size=sides)
