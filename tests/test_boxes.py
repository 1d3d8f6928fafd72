"""Boxes: anchors, overlaps, coder, matching and suppression, each against loops in Python's float64."""

import math

import box_oracles as oracle
import numpy as np
import pytest
from checks import assert_close, assert_refused

from tfsep import boxes
from tfsep.boxes import AnchorGrid, Anchors, PostProcessing

RNG = np.random.default_rng(5)


def random_boxes(rng, count, low=0.0, high=1.0):
    """Boxes of any size inside [low, high]."""
    edges = np.sort(rng.uniform(low, high, (count, 2, 2)), axis=2)
    return np.stack([edges[:, 0, 0], edges[:, 1, 0], edges[:, 0, 1], edges[:, 1, 1]], axis=1)


ANCHORS = boxes.multibox_anchors([(4, 3), (2, 2), 1])


def test_overlaps_are_areas_of_intersections_by_those_of_unions():
    ours = [*random_boxes(RNG, 6, -0.5, 1.5), [0.2, 0.2, 0.2, 0.9], [0, 0, 1, 1], [0.5, 0.5, 1, 1]]
    others = [*random_boxes(RNG, 5), [0.3, 0.3, 0.3, 0.3], [0, 0, 0.5, 0.5], [0, 0, 1, 1]]
    expected = [[oracle.iou(a, b) for b in others] for a in ours]
    assert_close(boxes.iou(ours, others), expected, 1e-12)
    assert np.max(expected) == 1
    assert boxes.iou([], others).shape == (0, 8)
    with pytest.raises(AssertionError):
        assert_close(boxes.iou(ours, others), np.transpose(expected[:8]), 1e-12)


def test_boxes_are_centres_and_sizes():
    edges = random_boxes(RNG, 7)
    centers = boxes.to_centers(edges)
    assert_close([oracle.corners(*center) for center in centers], edges, 1e-12)
    assert_close(boxes.to_corners(centers), edges, 1e-12)


@pytest.mark.parametrize("scales", [boxes.BOX_SCALES, (1, 1, 1, 1), (10, 8, 4, 2.5)])
def test_box_coder(scales):
    objects, anchors = random_boxes(RNG, 9), ANCHORS.centers()[:9]
    offsets = boxes.encode(objects, anchors, scales)
    assert_close(offsets, [oracle.encode(*pair, scales) for pair in zip(objects, anchors, strict=True)], 1e-12)
    assert_close(boxes.decode(offsets, anchors, scales), objects, 1e-12)
    free = RNG.normal(0, 5, (9, 4))
    assert_close(
        boxes.decode(free, anchors, scales),
        [oracle.decode(*pair, scales) for pair in zip(free, anchors, strict=True)],
        1e-12,
    )


@pytest.mark.parametrize("limits", [(0.5, 0.5), (0.5, 0.4), (0.3, 0.1), (1.0, 0.0)])
@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_anchors_are_matched(count, limits):
    objects = random_boxes(np.random.default_rng(count), count)
    found = boxes.match(objects, ANCHORS, *limits)
    assert found.tolist() == oracle.match(objects.tolist(), ANCHORS.centers().tolist(), *limits)
    assert set(range(count)) <= set(found.tolist())  # every object has an anchor


def test_two_objects_in_one_place_have_an_anchor_each():
    same = [[0.1, 0.1, 0.4, 0.4]] * 3
    found = boxes.match(same, ANCHORS)
    assert found.tolist() == oracle.match(same, ANCHORS.centers().tolist(), 0.5, 0.5)
    assert {0, 1, 2} <= set(found.tolist())


def test_more_objects_than_anchors_are_matched_as_far_as_these_go():
    objects = random_boxes(RNG, 5)
    one = Anchors((AnchorGrid(1, 1, ((1.0, 1.0),)),))
    assert boxes.match(objects, one).tolist() == [int(np.argmax(np.prod(objects[:, 2:] - objects[:, :2], axis=1)))]


def test_targets_are_classes_and_offsets_of_the_matched_objects():
    objects = np.concatenate([random_boxes(RNG, 3), np.zeros((2, 4))])
    classes = np.array([4, 0, 2, -1, -1])
    found = boxes.targets(objects, classes, ANCHORS, 0.5, 0.3, scales=(10, 8, 4, 2))
    matched = oracle.match(objects[:3].tolist(), ANCHORS.centers().tolist(), 0.5, 0.3)
    for anchor, row, number, offset in zip(ANCHORS.centers(), matched, *found, strict=True):
        assert number == {-1: 0, -2: -1}.get(row, classes[row] + 1)
        expected = oracle.encode(objects[row], anchor, (10, 8, 4, 2)) if row >= 0 else np.zeros(4)
        assert_close(offset, expected, 1e-6)
    assert {-1, -2} < set(matched)
    assert (found.classes.dtype, found.offsets.dtype) == (np.int32, np.float32)
    empty = boxes.targets(np.zeros((2, 4)), [-1, -1], ANCHORS)
    assert not empty.classes.any()
    assert not empty.offsets.any()


@pytest.mark.parametrize("limits", [(0.5, 0.0, 100), (0.3, 0.4, 100), (0.0, 0.0, 100), (1.0, 0.5, 4), (0.7, 2.0, 9)])
def test_suppression(limits):
    rng = np.random.default_rng(7)
    rivals, scores = random_boxes(rng, 40), np.round(rng.uniform(size=40), 1)  # many scores are equal
    kept = boxes.non_max_suppression(rivals, scores, *limits)
    assert kept.tolist() == oracle.suppress(rivals.tolist(), scores.tolist(), *limits)


def test_suppression_of_none_and_of_any_score():
    assert boxes.non_max_suppression([], []).tolist() == []
    assert boxes.non_max_suppression([[0, 0, 1, 1], [2, 2, 3, 3]], [-5.0, -3.0]).tolist() == [1, 0]


@pytest.mark.parametrize("background", [0, 1])
@pytest.mark.parametrize(
    "settings",
    [
        PostProcessing(3),
        PostProcessing(3, max_detections=4, score_threshold=0.6, iou_threshold=0.2),
        PostProcessing(3, max_classes_per_detection=2, scales=(5, 6, 7, 8)),
        PostProcessing(3, max_detections=9, per_class=True),
        PostProcessing(3, per_class=True, detections_per_class=2, score_threshold=0.3),
        PostProcessing(3, score_threshold=1.0),
    ],
)
def test_detections(settings, background):
    rng = np.random.default_rng(3)
    offsets, scores = rng.normal(0, 1.5, (ANCHORS.count, 4)), rng.uniform(size=(ANCHORS.count, 3 + background))
    found = boxes.detections(offsets, scores.astype("float32"), ANCHORS, settings)
    expected = oracle.detections(offsets, np.float32(scores), ANCHORS.centers(), settings, background)
    assert (len(expected) == 0) == (settings.score_threshold == 1.0)
    assert found.classes.tolist() == [number for _, number, _ in expected]
    assert_close(found.boxes, np.reshape([box for box, _, _ in expected], (-1, 4)), 1e-6)
    assert_close(found.scores, [score for _, _, score in expected], 1e-7)
    again = boxes.detections(offsets, scores, ANCHORS.centers(), settings)
    assert again.boxes.tobytes() == found.boxes.tobytes()


@pytest.mark.parametrize(
    ("maps", "options", "image"),
    [
        ([(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], {}, (1, 1)),
        ([(4, 6), (2, 3)], {"min_scale": 0.3, "max_scale": 0.6, "image_size": (200, 300)}, (200, 300)),
        ([(3, 2)], {"reduce_lowest": False, "ratios": (1, 1.5)}, (1, 1)),
        ([(2, 2), (1, 1)], {"interpolated_ratio": None, "ratios": (0.5,), "reduce_lowest": False}, (1, 1)),
    ],
)
def test_multibox_anchors(maps, options, image):
    found = boxes.multibox_anchors(maps, **options)
    rules = {"min_scale": 0.2, "max_scale": 0.95, "ratios": (1, 2, 0.5, 3, 1 / 3), "interpolated_ratio": 1.0}
    rules = {**rules, "reduce_lowest": True, **options}
    rules.pop("image_size", None)
    shorter = min(image) / image[0], min(image) / image[1]
    expected = list(oracle.multibox(maps, *rules.values(), shorter))
    assert_close(found.centers(), expected, 1e-12)
    assert found.count == len(expected)
    assert_close(found.boxes(), [oracle.corners(*anchor) for anchor in expected], 1e-12)


def test_published_numbers_of_anchors():
    """Of SSD MobileNet at 300, BlazeFace's two, BlazePose and EfficientDet-D0."""
    assert boxes.multibox_anchors([19, 10, 5, 3, 2, 1]).count == 1917
    face = boxes.mediapipe_anchors(128, (8, 16, 16, 16), fixed_size=True)
    assert (face.count, [len(grid.sizes) for grid in face.grids]) == (896, [2, 6])
    assert boxes.mediapipe_anchors(192, (4,), interpolated_ratio=0.0).count == 2304
    assert boxes.mediapipe_anchors(224, (8, 16, 32, 32, 32)).count == 2254
    assert boxes.efficientdet_anchors([64, 32, 16, 8, 4]).count == 49104


def test_anchors_of_an_image_go_on_to_a_single_position():
    found = boxes.ssdlite_anchors((100, 40), stride=8)
    maps = [(13, 5), (7, 3), (4, 2), (2, 1), (1, 1)]
    assert found == boxes.multibox_anchors(maps, image_size=(100, 40))
    assert len(boxes.ssdlite_anchors(8).grids) == 1


def test_mediapipe_layers_of_a_stride_share_positions():
    found = boxes.mediapipe_anchors((64, 100), (16, 32, 32), 0.2, 0.8, (1.0, 2.0), reduce_lowest=True).centers()
    expected = []
    layers = [[(0.1, 1), (0.2, 2), (0.2, 0.5)]]
    layers += [[(s, 1), (s, 2), (math.sqrt(s * t), 1)] for s, t in ((0.5, 0.8), (0.8, 1.0))]
    for rows, columns, shapes in ((4, 7, layers[0]), (2, 4, layers[1] + layers[2])):
        for i in range(rows):
            for j in range(columns):
                for scale, ratio in shapes:
                    size = scale / math.sqrt(ratio), scale * math.sqrt(ratio)
                    expected.append(((i + 0.5) / rows, (j + 0.5) / columns, *size))
    assert_close(found, expected, 1e-12)
    fixed = boxes.mediapipe_anchors((64, 100), (16, 32, 32), fixed_size=True).centers()
    assert (fixed[:, 2:] == 1).all()


def test_efficientdet_anchors_grow_by_octaves():
    found = boxes.efficientdet_anchors([(8, 4), 2], scale=3, octaves=2, ratios=(1, 2)).centers()
    expected = []
    for rows, columns in ((8, 4), (2, 2)):
        for i in range(rows):
            for j in range(columns):
                for octave in range(2):
                    for ratio in (1, 2):
                        size = 3 * 2 ** (octave / 2)
                        shape = size / math.sqrt(ratio) / rows, size * math.sqrt(ratio) / columns
                        expected.append(((i + 0.5) / rows, (j + 0.5) / columns, *shape))
    assert_close(found, expected, 1e-12)


BOX, CENTER = [[0, 0, 0.5, 0.5]], [[0.25, 0.25, 0.5, 0.5]]
NAN, OUTSIDE, EMPTY, TURNED = [[0, 0, math.nan, 1]], [[0, 0, 40, 30]], [[0.5, 0, 0.5, 1]], [[0.5, 0, 0.2, 1]]


@pytest.mark.parametrize(
    ("argument", "run"),
    [
        *(
            ("boxes", lambda b=b: boxes.iou(b, BOX))
            for b in (NAN, TURNED, [0, 0, 1, 1], [[0, 1, 2]], "ab", [[1], [1, 2]])
        ),
        *(("others", lambda b=b: boxes.iou(BOX, b)) for b in (NAN, TURNED, np.zeros((1, 2, 4)), None)),
        ("boxes", lambda: boxes.to_centers(TURNED)),
        ("centers", lambda: boxes.to_corners([[0, 0, -1, 1]])),
        *(("boxes", lambda b=b: boxes.encode(b, CENTER)) for b in (NAN, TURNED, OUTSIDE, EMPTY, [[-0.1, 0, 1, 1]])),
        ("anchors", lambda: boxes.encode(BOX, [])),
        ("anchors", lambda: boxes.encode(BOX, [[0, 0, 0, 1]])),
        *(("scales", lambda s=s: boxes.encode(BOX, CENTER, s)) for s in ((1, 1, 1), (0, 1, 1, 1), 3, "abcd")),
        ("offsets", lambda: boxes.decode(NAN, CENTER)),
        ("offsets", lambda: boxes.decode([[0, 0, 5000, 0]], CENTER)),
        ("anchors", lambda: boxes.decode([[0, 0, 0, 0]] * 2, CENTER)),
        *(("boxes", lambda b=b: boxes.match(b, ANCHORS)) for b in (NAN, TURNED, OUTSIDE, EMPTY, [[1, 2]])),
        ("positive", lambda: boxes.match(BOX, ANCHORS, 1.5)),
        ("negative", lambda: boxes.match(BOX, ANCHORS, 0.5, 0.6)),
        ("boxes", lambda: boxes.targets(OUTSIDE, [1], ANCHORS)),
        *(("classes", lambda c=c: boxes.targets(BOX, c, ANCHORS)) for c in ([1, 2], [-2], [0.5], ["cat"], 3)),
        *(("scores", lambda s=s: boxes.non_max_suppression(BOX, s)) for s in ([1, 2], [[1]], [math.nan], 1.0)),
        ("iou_threshold", lambda: boxes.non_max_suppression(BOX, [1], -0.1)),
        ("score_threshold", lambda: boxes.non_max_suppression(BOX, [1], score_threshold="high")),
        ("max_detections", lambda: boxes.non_max_suppression(BOX, [1], max_detections=0)),
        *(
            ("scores", lambda n=n: boxes.detections([[0] * 4], np.zeros((1, n)), CENTER, PostProcessing(3)))
            for n in (2, 5)
        ),
        ("offsets", lambda: boxes.detections([[0] * 3], np.zeros((1, 3)), CENTER, PostProcessing(3))),
        ("num_classes", lambda: PostProcessing(0)),
        ("max_classes_per_detection", lambda: PostProcessing(2, max_classes_per_detection=3)),
        ("max_classes_per_detection", lambda: PostProcessing(2, per_class=True, max_classes_per_detection=2)),
        ("iou_threshold", lambda: PostProcessing(2, iou_threshold=0)),
        ("score_threshold", lambda: PostProcessing(2, score_threshold=math.nan)),
        ("scales", lambda: PostProcessing(2, scales=(1, 2, 3))),
        ("rows", lambda: AnchorGrid(0, 1, ((1, 1),))),
        ("columns", lambda: AnchorGrid(1, 1.5, ((1, 1),))),
        *(("sizes", lambda s=s: AnchorGrid(1, 1, s)) for s in ((), ((1,),), ((1, 0),), (1, 2), ((1, math.inf),))),
        *(("grids", lambda g=g: Anchors(g)) for g in ((), ((1, 2),))),
        *(("maps", lambda m=m: boxes.multibox_anchors(m)) for m in ([], [0], [(1, 2, 3)])),
        ("min_scale", lambda: boxes.multibox_anchors([2], 0)),
        ("max_scale", lambda: boxes.multibox_anchors([2], 0.5, 0.4)),
        ("ratios", lambda: boxes.multibox_anchors([2], ratios=())),
        ("ratios", lambda: boxes.multibox_anchors([2], ratios=(1, -1))),
        ("interpolated_ratio", lambda: boxes.mediapipe_anchors(64, (8,), interpolated_ratio=-1)),
        *(("strides", lambda s=s: boxes.mediapipe_anchors(64, s)) for s in ((), (0,), (8.5,))),
        ("image_size", lambda: boxes.multibox_anchors([2], image_size=0)),
        ("stride", lambda: boxes.ssdlite_anchors(96, 0)),
        ("octaves", lambda: boxes.efficientdet_anchors([2], octaves=0)),
        ("scale", lambda: boxes.efficientdet_anchors([2], scale=0)),
    ],
)
def test_bad_input_is_refused(argument, run):
    assert_refused(run, argument)


def test_other_anchors_are_refused():
    assert_refused(lambda: boxes.match(BOX, CENTER), "anchors", TypeError)
