"""Scores of models on scenes: right outputs have the best ones, others what the metrics say."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, assert_unchanged, state_of
from keras import layers as L
from test_scenes import SOURCE

from tfsep import boxes, data, train
from tfsep.boxes import Detections, PostProcessing
from tfsep.metrics import DetectionMetric, SegmentationMetric

SCENES = data.fashion_scenes(1, 1, 1, 6, size=48, garments=(1, 2), scale=(0.7, 1.0), source=SOURCE).test
ANCHORS = boxes.multibox_anchors([6, 3])
SETTINGS = PostProcessing(10, score_threshold=0.5)


def in_order(function):
    """A model that says of each scene what a function of it returns."""
    remaining = [function(SCENES.scene(number)) for number in range(SCENES.size)]

    def model(images):
        parts = [remaining.pop(0) for _ in range(len(images))]
        return (
            {name: np.stack([part[name] for part in parts]) for name in parts[0]}
            if isinstance(parts[0], dict)
            else np.stack(parts)
        )

    return model


def right_outputs(scene):
    found = boxes.targets(scene.boxes, scene.classes, ANCHORS)
    return {"offsets": found.offsets, "classes": np.eye(11, dtype="float32")[found.classes][:, 1:]}


def test_segmentation_score():
    for form in (lambda scene: scene.mask.astype("int32"), lambda scene: np.eye(11)[scene.mask]):
        result = train.segmentation_score(in_order(form), SCENES, 11, batch_size=4)
        assert (result.mean_iou, result.accuracy) == (1.0, 1.0)
    metric = SegmentationMetric(11)
    for number in range(SCENES.size):
        metric.update(SCENES.scene(number).mask, np.zeros((48, 48), int))
    layers = [keras.layers.BatchNormalization(), keras.layers.Conv2D(11, 1, kernel_initializer="zeros")]
    model = keras.Sequential([keras.Input((48, 48, 1)), *layers])
    before = state_of(model)
    result = train.segmentation_score(model, SCENES, 11, batch_size=4)
    np.testing.assert_array_equal(result.confusion, metric.result().confusion)
    assert_unchanged(model, before)


def test_detection_score():
    assert train.detection_score(in_order(right_outputs), SCENES, ANCHORS, SETTINGS, batch_size=4).at(0.5) > 0.95
    metric = DetectionMetric(10)

    def half(scene):
        """The first object of each scene alone."""
        first = scene._replace(boxes=scene.boxes[:1], classes=scene.classes[:1])
        found = Detections(scene.boxes[:1], scene.classes[:1], np.ones(1))
        metric.update(scene.boxes, scene.classes, found)
        return right_outputs(first)

    result = train.detection_score(in_order(half), SCENES, ANCHORS, SETTINGS)
    assert_close(result.at(0.5), metric.result().at(0.5), 1e-6)
    assert 0.2 < result.at(0.5) < 0.95
    normalized = L.BatchNormalization()(image := keras.Input((48, 48, 1)))
    anchors = ANCHORS.count
    outputs = {
        name: L.Reshape((anchors, last))(L.Dense(anchors * last)(L.GlobalAveragePooling2D()(normalized)))
        for name, last in (("offsets", 4), ("classes", 10))
    }
    model = keras.Model(image, outputs)
    before = state_of(model)
    train.detection_score(model, SCENES, ANCHORS, SETTINGS)
    assert_unchanged(model, before)


@pytest.mark.parametrize(
    ("argument", "run"),
    [
        ("predictions", lambda: train.segmentation_score(lambda x: tf.zeros((len(x), 9, 9), "int32"), SCENES, 11)),
        ("predictions", lambda: train.segmentation_score(lambda x: tf.zeros(x.shape[:3]), SCENES, 11)),
        ("num_classes", lambda: train.segmentation_score(lambda x: x, SCENES, 0)),
        ("batch_size", lambda: train.segmentation_score(lambda x: x, SCENES, 11, 0)),
        ("model", lambda: train.detection_score(lambda x: x, SCENES, ANCHORS, SETTINGS)),
        ("scores", lambda: train.detection_score(in_order(right_outputs), SCENES, ANCHORS, PostProcessing(3))),
        ("scores", lambda: train.detection_score(in_order(right_outputs), SCENES, boxes.ssdlite_anchors(48), SETTINGS)),
    ],
)
def test_bad_input_is_refused(argument, run):
    assert_refused(run, argument)
