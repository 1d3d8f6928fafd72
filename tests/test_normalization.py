"""`BatchNormalization` against Keras's own, step by step, and against the formula in float64."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close
from layer_checks import check_layer

from tfsep import layers

X = np.random.default_rng(0).normal(2.0, 3.0, size=(4, 5, 6, 3)).astype("float32")


def pair_of(**options):
    ours, theirs = layers.BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    return ours, theirs


def step(layer, x, mask=None, training=True):
    """Result, gradients to the input and to the weights, of one call."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training, **({} if mask is None else {"mask": mask}))
        loss = tf.reduce_sum(tf.cast(y, "float32") ** 2 * tf.reshape(tf.range(tf.size(y), dtype="float32"), y.shape))
    return y, tape.gradient(loss, [x, *[w.value for w in layer.trainable_weights]])


CASES = {
    "plain": ({"momentum": 0.9}, X, 1e-4),
    "no scale": ({"scale": False}, X, 1e-4),
    "no center": ({"center": False, "epsilon": 1e-2}, X, 1e-4),
    "axis 3": ({"axis": 3}, X, 1e-4),
    "axis 1": ({"axis": 1}, X, 1e-4),
    "rank 2": ({}, X[:, 0, 0], 1e-4),
    "rank 5": ({}, X[None], 1e-4),
    "float64": ({"dtype": "float64"}, X.astype("float64"), 1e-9),
    "mixed bfloat16": ({"dtype": "mixed_bfloat16"}, X, 3e-2),
    "mixed float16": ({"dtype": "mixed_float16"}, X, 1e-2),
    "bfloat16": ({"dtype": "bfloat16"}, X, 5e-2),
    "float16": ({"dtype": "float16"}, X, 1e-2),
    "renorm": ({"renorm": True}, X, 1e-4),
    "synchronized": ({"synchronized": True}, X, 1e-4),
    "far from zero": ({}, X + 300, 1e-3),
    "one image of one pixel": ({}, X[:1, :1, :1], 1e-4),
}


@pytest.mark.parametrize("options", [{}, {"scale": False, "center": False}, {"frozen": True}])
def test_the_keras_contract(options):
    check_layer(layers.BatchNormalization(**options), X, trains="scale" not in options)


@pytest.mark.parametrize("axis", [-1, 1])
def test_frozen_statistics_stay_while_gamma_and_beta_train(axis):
    """In a functional model's `fit`, where `training=False` in the call of Keras's own layer does not hold."""
    moved = []
    for layer in (layers.BatchNormalization(axis, frozen=True), keras.layers.BatchNormalization(axis)):
        inputs = keras.Input(X.shape[1:])
        model = keras.Model(inputs, layer(inputs, training=False))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        before = layer.get_weights()
        model.fit(X, np.ones_like(X), verbose=0)
        moved.append([not np.array_equal(old, new) for old, new in zip(before, layer.get_weights(), strict=True)])
    assert moved == [[True, True, False, False], [True] * 4]


@pytest.mark.parametrize("case", CASES)
def test_training_steps_equal_keras(case):
    options, x, tolerance = CASES[case]
    ours, theirs = pair_of(**options)
    for i in range(3):
        mine, their = step(ours, x * (i + 1)), step(theirs, x * (i + 1))
        assert mine[0].dtype == their[0].dtype
        assert_close(tf.cast(mine[0], "float64"), tf.cast(their[0], "float64"), tolerance, "result")
        for a, b in zip(mine[1], their[1], strict=True):
            scale = max(float(tf.reduce_max(tf.abs(tf.cast(b, "float64")))), 1.0)
            assert_close(tf.cast(a, "float64") / scale + 1, tf.cast(b, "float64") / scale + 1, tolerance, "gradient")
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(a, b, tolerance, "weights")
    assert_close(tf.cast(ours(x), "float64"), tf.cast(theirs(x), "float64"), tolerance, "inference")


def test_training_output_follows_the_formula():
    layer = layers.BatchNormalization(momentum=0.0)
    y = layer(X, training=True)
    expected, mean, variance = oracles.batch_normalization(X, 1.0, 0.0, 1e-3)
    assert_close(y, expected)
    assert_close(layer.moving_mean, mean)
    assert_close(layer.moving_variance, variance)


@pytest.mark.parametrize(("trainable", "training"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"dtype": "mixed_bfloat16"}])
def test_inference_and_its_gradients(trainable, training, options):
    """Frozen means inference, whatever `training` says; fine-tuning differentiates through it."""
    ours, theirs = pair_of(**options)
    for layer in (ours, theirs):
        layer.build(X.shape)
        layer.set_weights([np.full(3, v, "float32") for v in (2.0, 1.0, 0.5, 4.0)][-len(layer.weights) :])
        layer.trainable = trainable
    tolerance = 3e-2 if options.get("dtype") else 1e-4
    mine, their = step(ours, X, training=training), step(theirs, X, training=training)
    assert_close(tf.cast(mine[0], "float64"), tf.cast(their[0], "float64"), tolerance, "result")
    assert len(mine[1]) == 1 + len(ours.trainable_weights)
    for a, b in zip(mine[1], their[1], strict=True):
        assert_close(tf.cast(a, "float64"), tf.cast(b, "float64"), tolerance, "gradient")
    assert np.all(np.asarray(ours.moving_mean) == 0.5)
    assert np.all(np.asarray(ours.moving_variance) == 4.0)


def test_unknown_sizes():
    ours, theirs = pair_of(momentum=0.5)
    signature = [tf.TensorSpec((None, None, None, 3))]
    for layer in (ours, theirs):
        layer.build((None, None, None, 3))
    train_ours, train_theirs = (
        tf.function(lambda x, layer=layer: layer(x, training=True), signature) for layer in (ours, theirs)
    )
    for x in (X, X[:2, :3]):
        assert_close(train_ours(x), train_theirs(x), 1e-4)
    assert_close(ours.moving_variance, theirs.moving_variance)


def test_masks_are_normalized_as_in_keras():
    ours, theirs = pair_of()
    mask = np.random.default_rng(1).random(X.shape[:3]) > 0.5
    mine, their = step(ours, X, mask), step(theirs, X, mask)
    assert_close(mine[0], their[0])
    for a, b in zip(mine[1], their[1], strict=True):
        assert_close(a, b)
    assert_close(ours.moving_variance, theirs.moving_variance)


def kernels(**options):
    layer = layers.BatchNormalization(**options)
    layer.build(X.shape)
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec(X.shape, "float32"))
    return [op.type for op in graph.graph.get_operations()]


def test_fused_kernel_is_used_for_images():
    assert "FusedBatchNormV3" in kernels()
    for options in ({"axis": 2}, {"synchronized": True}, {"renorm": True}, {"dtype": "float64"}):
        assert "FusedBatchNormV3" not in kernels(**options)


def test_saved_model_keeps_its_statistics(tmp_path):
    model = keras.Sequential([keras.Input(X.shape[1:]), layers.BatchNormalization(momentum=0.5)])
    model(X, training=True)
    model.save(tmp_path / "model.keras")
    assert_close(keras.models.load_model(tmp_path / "model.keras")(X), model(X))


def test_fit_equals_keras():
    def fitted(kind):
        keras.utils.set_random_seed(0)
        layer = kind(momentum=0.5)
        model = keras.Sequential(
            [keras.Input(X.shape[1:]), keras.layers.Conv2D(3, 3, use_bias=False), layer, keras.layers.Flatten()]
        )
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.fit(X, np.ones((4, 36)), epochs=3, verbose=0, shuffle=False)
        return model.get_weights()

    for a, b in zip(fitted(layers.BatchNormalization), fitted(keras.layers.BatchNormalization), strict=True):
        assert_close(a, b, 1e-4)
