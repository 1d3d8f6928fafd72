"""Metrics: mean IoU against loops and Keras, average precision against pycocotools and loops."""

import box_oracles as oracle
import keras
import numpy as np
import pytest
from checks import assert_close, assert_refused

from tfsep.boxes import Detections
from tfsep.metrics import DetectionMetric, SegmentationMetric

CLASSES = 4


def random_images(seed, count=12):
    """Objects of three of four classes, and detections near most of them, with mistakes and equal scores."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        most = int(rng.integers(0, 6))
        corner, size = rng.uniform(0, 0.6, (most, 2)), rng.uniform(0.1, 0.4, (most, 2))
        boxes, classes = np.concatenate([corner, corner + size], 1), rng.integers(0, 3, most)
        kept = rng.uniform(size=most) < 0.8
        near = boxes[kept] + rng.normal(0, 0.03, (kept.sum(), 4))
        said = np.where(rng.uniform(size=kept.sum()) < 0.85, classes[kept], rng.integers(0, CLASSES, kept.sum()))
        again = near + rng.normal(0, 0.02, near.shape)  # most are found twice
        wild = int(rng.integers(0, 4))
        corner, size = rng.uniform(0, 0.6, (wild, 2)), rng.uniform(0.1, 0.4, (wild, 2))
        found = np.concatenate([near, again, np.concatenate([corner, corner + size], 1)])
        numbers = np.concatenate([said, said, rng.integers(0, CLASSES, wild)])
        scores = np.round(rng.uniform(size=len(found)), 2)
        images.append((boxes, classes, Detections(found, numbers, scores)))
    return images


COCO = {
    0: (0.1520998803, 0.4064664708, 0.0608974359, (0.14323432, 0.18126428, 0.13180104)),
    1: (0.2307679816, 0.4989784693, 0.1856278485, (0.32787993, 0.21293887, 0.15148515)),
    2: (0.1147224982, 0.4136288742, 0.0348099516, (0.10439623, 0.12896268, 0.11080858)),
}
"""By seed of `random_images`: pycocotools 2.0.11's AP, AP at 0.5 and at 0.75, and AP of each class that has objects."""


def average_precision(images, number, threshold):
    """The area under the precision of a class, one detection at a time, read at 101 recalls."""
    total = sum(int(k == number) for _, classes, _ in images for k in classes)
    if not total:
        return float("nan")
    hits = []
    for boxes, classes, found in images:
        objects = [box for box, k in zip(boxes, classes, strict=True) if k == number]
        own = [(s, b) for b, k, s in zip(*found, strict=True) if k == number]
        taken = set()
        for score, box in sorted(own, key=lambda each: -each[0]):
            shares = [(oracle.iou(box, other), i) for i, other in enumerate(objects) if i not in taken]
            most, place = max(shares, default=(0.0, -1))
            if right := most >= threshold:
                taken.add(place)
            hits.append((score, right))
    hits.sort(key=lambda each: -each[0])
    curve, found = [], 0
    for count, (_, right) in enumerate(hits, 1):
        found += right
        curve.append((found / total, found / count))
    read = [max((p for r, p in curve if r >= recall), default=0.0) for recall in np.linspace(0, 1, 101)]
    return sum(read) / 101


def measured(images, **options):
    metric = DetectionMetric(CLASSES, **options)
    for image in images:
        metric.update(*image)
    return metric.result()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_average_precision(seed):
    images = random_images(seed)
    result = measured(images)
    expected = [[average_precision(images, k, t) for t in result.thresholds] for k in range(CLASSES)]
    np.testing.assert_allclose(result.precision, expected, atol=1e-9)
    assert np.isnan(expected[3]).all()  # a class that is detected, but never there
    mean, half, three_quarters, by_class = COCO[seed]
    assert_close([result.mean, result.at(0.5), result.at(0.75)], [mean, half, three_quarters], 1e-8)
    assert_close(np.nanmean(result.precision[:3], axis=1), by_class, 1e-7)
    assert 0.05 < mean < half < 0.95
    worse = [(boxes, classes, found._replace(scores=-found.scores)) for boxes, classes, found in images]
    assert abs(measured(worse).mean - mean) > 0.01


def found_at(boxes, classes, scores):
    return Detections(np.reshape(boxes, (-1, 4)), np.array(classes, int), np.array(scores, float))


BOX, FAR = [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([([BOX], [1], found_at([BOX], [1], [0.1]))], 1.0),
        ([([BOX, [0, 0, 0, 0]], [1, -1], found_at([BOX], [1], [0.1]))], 1.0),
        ([([BOX], [1], found_at([], [], []))], 0.0),
        ([([BOX], [1], found_at([BOX], [2], [0.1]))], 0.0),
        ([([BOX], [1], found_at([FAR, BOX], [1, 1], [0.9, 0.8]))], 0.5),
        ([([BOX], [1], found_at([BOX, BOX], [1, 1], [0.9, 0.8]))], 1.0),  # the second find comes after full recall
        ([([BOX, FAR], [1, 1], found_at([BOX], [1], [0.9]))], 51 / 101),
        ([([BOX], [1], found_at([BOX], [1], [0.9])), ([], [], found_at([FAR], [1], [0.95]))], 0.5),
        ([([BOX], [1], found_at([BOX], [1], [0.9])), ([], [], found_at([FAR], [0], [0.95]))], 1.0),
    ],
)
def test_average_precision_by_hand(images, expected):
    result = measured(images)
    assert_close(result.mean, expected, 1e-12)
    assert np.isnan(result.precision[0]).all()


def test_thresholds_and_the_most_detections_of_an_image():
    moved = [0.1, 0.1, 0.5, 0.4]  # three quarters of the box
    image = [([BOX], [0], found_at([moved, FAR], [0, 0], [0.5, 0.9]))]
    result = measured(image, thresholds=(0.7, 0.75, 0.8))
    assert [result.at(threshold) for threshold in (0.7, 0.8)] == [0.5, 0.0]
    assert measured(image, max_detections=1).at(0.5) == 0.0
    assert_refused(lambda: result.at(0.5), "threshold")


def test_mean_iou():
    rng = np.random.default_rng(0)
    masks, said = rng.integers(0, 3, (3, 6, 5)), rng.integers(0, 4, (3, 6, 5))
    masks[0, 0, :2] = 255
    metric, reference = SegmentationMetric(6), keras.metrics.MeanIoU(6, ignore_class=255)
    for mask, prediction in zip(masks, said.astype(np.uint8), strict=True):
        metric.update(mask, prediction)
    reference.update_state(masks, said)
    result = metric.result()
    expected = []
    for k in range(6):
        pairs = [(a == k, b == k) for a, b in zip(masks.ravel(), said.ravel(), strict=True) if a != 255]
        union = sum(a or b for a, b in pairs)
        expected.append(sum(a and b for a, b in pairs) / union if union else np.nan)
    np.testing.assert_allclose(result.iou, expected)
    assert np.isnan(expected[4:]).all()
    assert_close(result.mean_iou, np.nanmean(expected), 1e-12)
    assert_close(result.mean_iou, reference.result(), 1e-6)
    assert_close(result.accuracy, np.mean(masks[masks != 255] == said[masks != 255]), 1e-12)
    metric.update(masks, said)
    assert_close(metric.result().mean_iou, np.nanmean(expected), 1e-12)
    assert_close(result.confusion.sum(), 88, 0)  # a result stays as it was


def update(*arguments):
    DetectionMetric(CLASSES).update(*arguments)


GOOD = found_at([BOX], [1], [0.5])


@pytest.mark.parametrize(
    ("argument", "run"),
    [
        ("num_classes", lambda: DetectionMetric(0)),
        *(
            ("thresholds", lambda t=t: DetectionMetric(2, t))
            for t in ((), (0.5, 0.5), (0.7, 0.5), (0,), (1.5,), ("a",))
        ),
        ("max_detections", lambda: DetectionMetric(2, max_detections=0)),
        *(("boxes", lambda b=b: update(b, [1], GOOD)) for b in ([[0, 0, 40, 30]], [[0, 0, 1]], [[0, 0, np.nan, 1]])),
        ("boxes", lambda: update([[0.5, 0, 0.5, 1]], [1], GOOD)),
        *(("classes", lambda c=c: update([BOX], c, GOOD)) for c in ([4], [-2], [1, 2], [0.5], 1)),
        ("found", lambda: update([BOX], [1], found_at([BOX], [4], [0.5]))),
        ("found", lambda: update([BOX], [1], found_at([BOX], [-1], [0.5]))),
        ("found", lambda: update([BOX], [1], found_at([BOX], [1], [np.nan]))),
        ("found", lambda: update([BOX], [1], found_at([BOX], [1], [0.5, 0.6]))),
        ("found", lambda: update([BOX], [1], found_at([[0.5, 0, 0.1, 1]], [1], [0.5]))),
        ("boxes", DetectionMetric(3).result),
        ("num_classes", lambda: SegmentationMetric(0)),
        ("predictions", lambda: SegmentationMetric(3).update([[0, 1]], [0, 1])),
        ("predictions", lambda: SegmentationMetric(3).update([0], [3])),
        ("predictions", lambda: SegmentationMetric(3).update([0], [0.5])),
        ("masks", lambda: SegmentationMetric(3).update([-1], [0])),
        ("masks", lambda: SegmentationMetric(3, ignored=None).update([255], [0])),
        ("masks", SegmentationMetric(3).result),
    ],
)
def test_bad_input_is_refused(argument, run):
    assert_refused(run, argument)


def test_images_without_objects_alone_are_refused():
    metric = DetectionMetric(3)
    metric.update([], [], found_at([BOX], [1], [0.5]))
    assert_refused(metric.result, "boxes")
