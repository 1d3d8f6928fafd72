"""Scenes of garments: boxes and masks are those of what can be seen, the same for a seed, of garments of one split."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from checks import assert_refused
from test_data import write_idx

from tfsep import boxes, data, plots
from tfsep.data import EpochShard
from tfsep.data._compose_scene import silhouette
from tfsep.data._fashion_mnist import FASHION_MNIST_FILES


def garment_images(greys):
    """Filled rectangles of 20×12, each of its own grey level, with a black spot inside."""
    images = np.zeros((len(greys), 28, 28), np.uint8)
    images[:, 4:24, 8:20] = np.array(greys, np.uint8)[:, None, None]
    images[:, 10:14, 12:14] = 0
    return images


GREYS = {"train": list(range(200, 224)), "test": list(range(230, 235))}


def images_of(greys):
    return data.Split.of(garment_images(greys)[..., None], np.arange(len(greys)) % 10)


SOURCE = data.ImageData("greys", tuple("abcdefghij"), images_of(GREYS["train"]), images_of(GREYS["test"]), "none")


@pytest.fixture(scope="module")
def scenes():
    return data.fashion_scenes(3, 40, 10, 10, source=SOURCE)


def assert_right(scene, greys, labels, most):
    """Assert, pixel by pixel, that boxes and masks are those of garments of these grey levels and classes."""
    count = int((scene.classes >= 0).sum())
    assert 1 <= count <= most
    assert scene.boxes.shape == (most, 4)
    assert (scene.classes[count:] == -1).all()
    assert not scene.boxes[count:].any()
    assert scene.instances.max() == count
    rows, columns = scene.instances.shape
    for i in range(count):
        places = [(r, c) for r in range(rows) for c in range(columns) if scene.instances[r, c] == i + 1]
        tops, lefts = [r for r, _ in places], [c for _, c in places]
        box = np.array([min(tops) / rows, min(lefts) / columns, (max(tops) + 1) / rows, (max(lefts) + 1) / columns])
        np.testing.assert_allclose(scene.boxes[i], box, atol=1e-7)
        assert all(scene.mask[place] == scene.classes[i] + 1 for place in places)
        # Most of what is seen has the garment's grey, or is its black spot: edges are mixed with what lies below.
        seen = np.array([scene.image[(*place, 0)] for place in places])
        own = [grey for grey, label in zip(greys, labels, strict=True) if label == scene.classes[i]]
        assert max(np.mean(seen == grey) for grey in own) > 0.3, (i, own, seen)
    assert not scene.mask[scene.instances == 0].any()


def test_boxes_and_masks_are_those_of_the_garments(scenes):
    labels = np.arange(24) % 10
    parts = {
        "train": (GREYS["train"][:-2], labels[:-2]),
        "held_out": (GREYS["train"][-2:], labels[-2:]),
        "test": (GREYS["test"], labels[:5]),
    }
    seen = 0
    for name, (greys, classes) in parts.items():
        split = getattr(scenes, name)
        for i in range(8):
            assert_right(split.scene(i), greys, classes, 5)
            seen += (split.scene(i).classes >= 0).sum()
    assert seen > 40
    wrong = scenes.train.scene(0)
    with pytest.raises(AssertionError):
        assert_right(wrong._replace(boxes=wrong.boxes + 0.01), *parts["train"], 5)
    with pytest.raises(AssertionError):
        assert_right(scenes.test.scene(0), *parts["train"], 5)


def test_garments_are_in_one_split_and_leave_others_to_be_seen():
    crowded = data.fashion_scenes(0, 30, 1, 1, garments=(9, 9), scale=(1.0, 1.0), visible=0.7, source=SOURCE)
    splits = crowded.train, crowded.held_out, crowded.test
    own = [{int(image.max()) for image in split.garments} for split in splits]
    assert [len(greys) for greys in own] == [22, 2, 5]
    assert set.intersection(*own) == set()
    hidden = 0
    for i in range(30):
        scene = crowded.train.scene(i)
        shown = np.bincount(scene.instances.ravel())[1:]
        assert shown.min() >= 0.7 * 240
        hidden += (shown < 240).sum()
    assert hidden > 30  # they do overlap


def test_scenes_depend_on_the_seed_the_split_and_the_number(scenes):
    again = data.fashion_scenes(3, 10**12, 10, 10, source=SOURCE)  # as many as there may be: none is stored
    for i in (0, 39):
        for one, other in zip(scenes.train.scene(i), again.train.scene(i), strict=True):
            np.testing.assert_array_equal(one, other)
    assert again.train.scene(10**12 - 1).image.shape == (96, 96, 1)
    other = data.fashion_scenes(4, 1, 1, 1, source=SOURCE)
    images = [s.image.tobytes() for s in (scenes.train.scene(0), scenes.train.scene(1), other.train.scene(0))]
    assert len(set(images)) == 3


def test_splits_of_scenes_are_read_like_others(scenes):
    split = scenes.train
    part = split.take(2, -3)
    assert (part.size, scenes.image_shape) == (35, (96, 96, 1))
    assert [split.shard(3, i).numbers for i in range(3)] == [range(13), range(13, 26), range(26, 40)]
    np.testing.assert_array_equal(part.scene(0).image, split.scene(2).image)
    images, targets = next(iter(split.batches(4)))
    np.testing.assert_allclose(images[1], split.scene(1).image / 127.5 - 1, atol=1e-6)
    assert images.shape == (4, 96, 96, 1)
    for name, value in targets.items():
        np.testing.assert_array_equal(value[1], getattr(split.scene(1), name))
    assert {name: (value.dtype.name, tuple(value.shape)) for name, value in targets.items()} == {
        "mask": ("uint8", (4, 96, 96)),
        "instances": ("uint8", (4, 96, 96)),
        "boxes": ("float32", (4, 5, 4)),
        "classes": ("int32", (4, 5)),
    }
    shares = [split.examples(1, 0, EpochShard(i, 2, 4)) for i in range(2)]
    seen = [[image.tobytes() for image, _ in share.as_numpy_iterator()] for share in shares]
    assert [len(each) for each in seen] == [20, 20]
    assert {*seen[0], *seen[1]} == {split.scene(i).image.tobytes() for i in range(40)}


def test_silhouettes_hold_dark_spots_but_no_gaps_between_legs():
    garment = np.zeros((9, 9), np.uint8)
    garment[1:8, 1:8] = 90
    garment[3:8, 4] = 0  # legs, open at the bottom
    garment[2, 2] = 3  # a dark spot
    expected = garment > 10
    expected[2, 2] = True
    np.testing.assert_array_equal(silhouette(garment), expected)


def test_a_scene_without_room_for_all_has_fewer_garments():
    full = data.fashion_scenes(0, 5, 1, 1, size=28, garments=(6, 6), scale=(1, 1), visible=1, source=SOURCE)
    for i in range(5):
        assert_right(full.train.scene(i), GREYS["train"][:-2], np.arange(22) % 10, 6)
        assert (full.train.scene(i).classes >= 0).sum() == 1


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        *(("seed", each) for each in (-1, 1.5, None)),
        *((name, each) for name in ("train", "held_out", "test", "size") for each in (0, 2.5)),
        *(("garments", each) for each in (3, (0, 2), (0, 0), (3, 2), (1,), (1, 256), ("a", 2))),
        *(("scale", each) for each in (1.0, (0, 1), (2, 1), (1, 3.5), (1, float("inf")), (float("nan"), 1), "ab")),
        *(("visible", each) for each in (-0.1, 1.1, "all")),
    ],
)
def test_bad_arguments_are_refused(argument, wrong):
    assert_refused(lambda: data.fashion_scenes(**{"source": SOURCE, argument: wrong}), argument)


def test_detection_targets_are_those_of_each_scene(scenes):
    anchors = boxes.multibox_anchors([3, 1])
    pairs = scenes.train.in_order().map(data.detection_targets(anchors, 0.5, 0.3, scales=(10, 8, 4, 2)))
    for number, (image, target) in enumerate(pairs.take(4)):
        scene = scenes.train.scene(number)
        right = boxes.targets(scene.boxes, scene.classes, anchors, 0.5, 0.3, (10, 8, 4, 2))
        np.testing.assert_array_equal(image, scene.image)
        np.testing.assert_array_equal(target["classes"], right.classes)
        np.testing.assert_array_equal(target["offsets"][:, :4], right.offsets)
        np.testing.assert_array_equal(target["offsets"][:, 4], right.classes > 0)
    assert (right.classes > 0).any()
    assert pairs.element_spec[1]["offsets"].shape == (anchors.count, 5)
    assert_refused(lambda: data.detection_targets(anchors, 2), "positive")
    assert_refused(lambda: data.detection_targets(anchors, 0.5, 0.6), "negative")
    assert_refused(lambda: data.detection_targets([1]), "anchors", TypeError)
    wrong = {"boxes": np.array([[0, 0, 40, 30]], "float32"), "classes": np.array([1], "int32")}
    assert_refused(lambda: data.detection_targets(anchors)(image, wrong), "boxes")
    read = tf.data.Dataset.from_tensors((image, wrong)).map(data.detection_targets(anchors))
    with pytest.raises(tf.errors.OpError, match="boxes: expected shares of the image"):
        list(read)


def test_other_sources_are_refused():
    one, wide = images_of([200]), data.Split.of(np.ones((3, 28, 20, 1), "uint8"), np.arange(3))
    colour = data.Split.of(np.ones((3, 28, 28, 3), "uint8"), np.arange(3))
    for split in (one, wide, colour):
        source = data.ImageData("few", ("a", "b", "c"), split, split)
        assert_refused(lambda source=source: data.fashion_scenes(source=source), "source")
    assert_refused(lambda: data.fashion_scenes(source="folder"), "source", TypeError)


def test_fashion_mnist_is_the_source(tmp_path):
    """Of its files, in a folder here."""
    for split, (images, labels) in FASHION_MNIST_FILES.items():
        write_idx(tmp_path / images, garment_images(GREYS[split]))
        write_idx(tmp_path / labels, np.arange(len(GREYS[split]), dtype=np.uint8) % 10)
    found = data.fashion_scenes(3, 40, 10, 10, source=data.fashion_mnist(tmp_path))
    assert found.class_names == data.FASHION_MNIST_CLASSES
    assert "Zalando" in found.notice
    expected = data.fashion_scenes(3, 40, 10, 10, source=SOURCE)
    np.testing.assert_array_equal(found.test.scene(1).image, expected.test.scene(1).image)


def test_a_scene_that_does_not_exist_is_refused(scenes):
    with pytest.raises(IndexError):
        scenes.test.scene(10)


def test_scenes_are_drawn(scenes):
    pictures = [scenes.train.scene(number) for number in range(5)]
    found = boxes.Detections(np.array([[0.25, 0.5, 0.75, 1.0]]), np.array([3]), np.array([0.9]))
    picture = SimpleNamespace(image=np.zeros((40, 20, 3), "uint8"), boxes=found.boxes, classes=found.classes)
    figure = plots.scenes([*pictures, picture], scenes.class_names)
    assert len(figure.axes) == 6
    for scene, axes in zip(pictures, figure.axes, strict=False):
        kept = scene.classes[scene.classes >= 0]
        assert [text.get_text() for text in axes.texts] == [scenes.class_names[number] for number in kept]
        edges = [[p.get_y(), p.get_x(), p.get_y() + p.get_height(), p.get_x() + p.get_width()] for p in axes.patches]
        np.testing.assert_allclose((np.array(edges) + 0.5) / 96, scene.boxes[: len(kept)], atol=1e-6)
        np.testing.assert_array_equal(axes.images[1].get_array().filled(0), scene.mask)
    (patch,) = figure.axes[5].patches
    assert (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) == (9.5, 9.5, 10, 20)
    assert len(figure.axes[5].images) == 1
    figure.canvas.draw()
    assert_refused(lambda: plots.scenes([], scenes.class_names), "pictures")
    assert_refused(lambda: plots.scenes(pictures, scenes.class_names, figure=figure), "figure")
