"""Losses of detection against loops in Python's float64."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused

from tfsep.losses import BoxLoss, ClassLoss, focal_loss, hard_negatives, smooth_l1


def entropy(label, logit):
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if label else 1 - probability)


def focal(label, logit, alpha, gamma):
    right = 1 / (1 + math.exp(-logit if label else logit))
    return -(alpha if label else 1 - alpha) * (1 - right) ** gamma * math.log(right)


def smooth(distance, delta):
    return distance**2 / (2 * delta) if abs(distance) < delta else abs(distance) - delta / 2


@pytest.mark.parametrize("options", [(0.25, 2.0), (0.75, 0.0), (0.5, 1.5), (1.0, 5)])
def test_focal_loss(options):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 2, (4, 5)).astype(float), rng.normal(0, 5, (4, 5))
    expected = [
        [focal(*pair, *options) for pair in zip(*rows, strict=True)] for rows in zip(labels, logits, strict=True)
    ]
    assert_close(focal_loss(labels, logits, *options), expected, 1e-12)
    assert_close(focal_loss(labels.astype("float32"), logits.astype("float32"), *options), expected, 1e-5)
    with pytest.raises(AssertionError):
        assert_close(focal_loss(labels, logits, 0.3, 2.0), expected, 1e-3)


def test_focal_loss_and_its_gradient_are_finite_for_any_logit():
    logits = tf.constant([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4])
    for label in (0.0, 1.0):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = focal_loss(tf.fill(logits.shape, label), logits)
        assert np.isfinite(loss).all()
        assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("delta", [1.0, 0.1, 3])
def test_smooth_l1(delta):
    rng = np.random.default_rng(1)
    right, said = rng.normal(0, 2, (2, 3, 7))
    expected = [[smooth(b - a, delta) for a, b in zip(*rows, strict=True)] for rows in zip(right, said, strict=True)]
    assert_close(smooth_l1(right, said, delta), expected, 1e-12)


def hardest(losses, objects, negatives, ratio):
    """Rows of bools, one image at a time."""
    rows = []
    for loss, own, background in zip(losses, objects, negatives, strict=True):
        order = sorted((i for i in range(len(loss)) if background[i]), key=lambda i: (-loss[i], i))
        kept = order[: math.ceil(max(sum(own), 1) * ratio)]
        rows.append([i in kept for i in range(len(loss))])
    return rows


@pytest.mark.parametrize("ratio", [1, 2.5, 3, 100])
def test_hard_negatives(ratio):
    rng = np.random.default_rng(2)
    kinds = rng.choice([-1, 0, 1], (5, 12), p=[0.1, 0.7, 0.2])
    kinds[0], kinds[1] = 0, 1
    losses = np.round(rng.uniform(size=(5, 12)), 1)
    found = hard_negatives(losses, kinds == 1, kinds == 0, ratio).numpy()
    assert found.tolist() == hardest(losses.tolist(), kinds == 1, kinds == 0, ratio)


@pytest.mark.parametrize("mining", ["focal", "hard_negatives"])
def test_class_loss(mining):
    rng = np.random.default_rng(3)
    classes = rng.choice([-1, 0, 1, 2, 3], (3, 20), p=[0.1, 0.7, 0.1, 0.05, 0.05])
    classes[0] = 0  # an empty scene
    logits = rng.normal(0, 2, (3, 20, 3)).astype("float32")
    images = []
    for own, rows in zip(classes, logits, strict=True):
        one = focal if mining == "focal" else lambda label, logit, *_: entropy(label, logit)
        losses = [
            sum(one(number == k + 1, float(logit), 0.3, 1.5) for k, logit in enumerate(row))
            for number, row in zip(own, rows, strict=True)
        ]
        kept = own >= 0
        if mining == "hard_negatives":
            kept = (own > 0) | np.array(hardest([losses], [own > 0], [own == 0], 2)[0])
        images.append(sum(loss for loss, each in zip(losses, kept, strict=True) if each) / max((own > 0).sum(), 1))
    loss = ClassLoss(mining, alpha=0.3, gamma=1.5, ratio=2)
    assert_close(loss(classes, logits), np.mean(images), 1e-6)
    assert_close(tf.function(loss)(tf.constant(classes), tf.constant(logits)), np.mean(images), 1e-6)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert_close(restored(classes, logits), np.mean(images), 1e-6)


def test_box_loss():
    rng = np.random.default_rng(4)
    right, said = rng.normal(size=(2, 6, 5)).astype("float32"), rng.normal(size=(2, 6, 4)).astype("float32")
    right[..., 4] = [[0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 1]]
    rows = [sum(smooth(float(b - a), 0.5) for a, b in zip(right[1, i, :4], said[1, i], strict=True)) for i in (0, 2, 5)]
    loss = BoxLoss(0.5)
    assert_close(loss(right, said), sum(rows) / 3 / 2, 1e-6)
    assert_close(BoxLoss.from_config(loss.get_config())(right, said), sum(rows) / 3 / 2, 1e-6)
    assert float(loss(right[:1], said[:1])) == 0


@pytest.mark.parametrize(
    ("argument", "run"),
    [
        ("labels", lambda: focal_loss(np.zeros((2, 3)), np.zeros((3, 2)))),
        *(("alpha", lambda a=a: focal_loss([0.0], [0.0], a)) for a in (-1, 2, "high")),
        ("gamma", lambda: focal_loss([0.0], [0.0], 0.5, -1)),
        ("targets", lambda: smooth_l1(np.zeros((2, 3)), np.zeros((2, 4)))),
        ("delta", lambda: smooth_l1([0.0], [0.0], 0)),
        ("ratio", lambda: hard_negatives([[0.0]], [[True]], [[False]], 0)),
        ("mining", lambda: ClassLoss("all")),
        ("ratio", lambda: ClassLoss(ratio=-1)),
        ("alpha", lambda: ClassLoss(alpha=3)),
        ("gamma", lambda: ClassLoss(gamma=math.nan)),
        ("delta", lambda: BoxLoss(math.inf)),
    ],
)
def test_bad_input_is_refused(argument, run):
    assert_refused(run, argument)
