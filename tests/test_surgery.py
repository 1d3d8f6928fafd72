"""Batch normalization folded away: the same numbers from fewer layers, and a word on what stays."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence

from tfsep import layers, models, saved, surgery

L = keras.layers


def randomized(model):
    """The model with weights, statistics included, that a folding could not get right by chance."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "seed_generator" not in weight.path:
            positive = weight.path.endswith(("variance", "gamma"))
            value = rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(size=weight.shape) * 0.2
            weight.assign(value)
    return model


def normalizations(model):
    count = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            count += normalizations(layer)
        count += isinstance(layer, L.BatchNormalization)
    return count


def assert_same(model, *inputs, tolerance=1e-5):
    """Fold it, and compare; returns what came of it."""
    before = [w.numpy().copy() for w in randomized(model).weights]
    folded = surgery.fold_batch_norm(model)
    outputs = tf.nest.flatten(model(*inputs)), tf.nest.flatten(folded(*inputs))
    for old, new in zip(*outputs, strict=True):
        assert float(tf.math.reduce_std(old)) > 1e-3, "a signal that vanished shows nothing"
        assert_close(new, old, tolerance)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new, "the given model was changed")
    assert not {id(w) for w in model.weights} & {id(w) for w in folded.weights}
    return folded


def image(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("f")


FAMILIES = {
    "mobilenet": lambda: keras.applications.MobileNet((64, 64, 3), 0.25, include_top=False, weights=None),
    "mobilenet v2": lambda: keras.applications.MobileNetV2((64, 64, 3), 0.35, include_top=False, weights=None),
    "ours": lambda: models.MobileNetV1((64, 64, 3), None, alpha=0.25),
    "ours, output stride": lambda: models.MobileNetV1((64, 64, 3), None, alpha=0.25, output_stride=8),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_whole_networks(family):
    """In float64: random deep networks make a rounding of float32 larger than 1e-5, whichever way it is made."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        folded = assert_same(FAMILIES[family](), image(2, 64, 64, 3), tolerance=1e-11)
    finally:
        keras.config.set_dtype_policy(policy)
    assert normalizations(folded) == 0


def test_a_trained_network():
    trained = saved.load("fashion_mnist")
    model, images = trained.model, trained.images[:100] / np.float32(127.5) - 1
    folded = surgery.fold_batch_norm(model)
    assert normalizations(folded) == 0
    assert_close(folded(images), model(images), 1e-5)


KINDS = {
    "Conv1D": ((12, 3), lambda: L.Conv1D(4, 3)),
    "Conv2D": ((9, 8, 3), lambda: L.Conv2D(6, 3, 2, groups=3, use_bias=False)),
    "Conv3D": ((5, 6, 7, 2), lambda: L.Conv3D(4, 2)),
    "DepthwiseConv1D": ((12, 3), lambda: L.DepthwiseConv1D(3, depth_multiplier=2)),
    "DepthwiseConv2D": ((9, 8, 3), lambda: L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)),
    "SeparableConv1D": ((12, 3), lambda: L.SeparableConv1D(5, 3)),
    "SeparableConv2D": ((9, 8, 3), lambda: L.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)),
    "Conv1DTranspose": ((12, 3), lambda: L.Conv1DTranspose(4, 3, strides=2)),
    "Conv2DTranspose": ((9, 8, 3), lambda: L.Conv2DTranspose(4, 3, strides=2, use_bias=False)),
    "Conv3DTranspose": ((4, 5, 3, 2), lambda: L.Conv3DTranspose(4, 2)),
    "Dense": ((7,), lambda: L.Dense(5)),
    "Dense of images": ((4, 5, 7), lambda: L.Dense(5, use_bias=False)),
    "tfsep Conv2D": ((9, 8, 4), lambda: layers.Conv2D(6, 3, 2, "same", groups=2, rate=2)),
    "tfsep DepthwiseConv2D": ((9, 8, 3), lambda: layers.DepthwiseConv2D(3, 2, "same", 2, rate=2, use_bias=False)),
    "tfsep SeparableConv2D": ((9, 8, 3), lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2)),
}
NORMALIZATIONS = {
    "keras": L.BatchNormalization,
    "tfsep, no scale": lambda: layers.BatchNormalization(scale=False, epsilon=1e-5),
    "no center": lambda: L.BatchNormalization(center=False),
}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_layer(kind, normalization):
    shape, make = KINDS[kind]
    model = keras.Sequential([L.Input(shape), make(), NORMALIZATIONS[normalization](), L.ReLU()])
    folded = assert_same(model, image(2, *shape))
    assert isinstance(folded, keras.Sequential)
    assert normalizations(folded) == 0
    assert [layer.name for layer in folded.layers] == [model.layers[0].name, model.layers[2].name]


def test_channels_first():
    inputs = L.Input((3, 9, 8))
    y = layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    model = keras.Model(inputs, L.BatchNormalization(axis=1)(y))
    assert normalizations(assert_same(model, image(2, 3, 9, 8))) == 0


def test_blocks_and_nested_models():
    inputs = L.Input((16, 16, 3))
    inner = keras.Sequential([layers.Conv2D(5, 3), L.BatchNormalization(), L.ReLU()], name="inner")
    y = layers.DepthwiseSeparableConv(6, strides=2)(inputs)
    y = layers.DepthwiseSeparableConv(7, pointwise_normalization=False)(y)
    y = inner(y)
    twice = keras.Sequential([L.Dense(5), L.BatchNormalization()], name="twice")
    model = keras.Model(inputs, [twice(y), twice(y * 2)])
    folded = assert_same(model, image(2, 16, 16, 3))
    assert normalizations(folded) == 0
    assert not any("_bn" in weight.path for weight in folded.weights)


def test_folded_models_round_trip_and_train(tmp_path):
    model = models.MobileNetV1((32, 32, 3), 10, alpha=0.25)
    folded = assert_same(model, image(2, 32, 32, 3))
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(image(2, 32, 32, 3)), folded(image(2, 32, 32, 3)))
    folded.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(folded.train_on_batch(image(2, 32, 32, 3), np.array([0, 1])))


def test_a_layer_in_half_precision():
    model = keras.Sequential([L.Input((9, 8, 3)), layers.Conv2D(4, 3, dtype="mixed_bfloat16"), L.BatchNormalization()])
    folded = assert_same(model, image(2, 9, 8, 3), tolerance=0.03)
    assert folded.layers[0].compute_dtype == "bfloat16"
    assert folded.layers[0].variable_dtype == "float32"


def kept(build):
    inputs = L.Input((9, 8, 3))
    model = keras.Model(inputs, build(inputs))
    with pytest.warns(UserWarning, match="as they are") as caught:
        folded = assert_same(model, image(2, 9, 8, 3))
    (warning,) = caught
    assert normalizations(folded) == 1
    return str(warning.message)


def used_twice(inputs):
    y = L.Conv2D(4, 3, name="c")(inputs)
    return L.BatchNormalization(name="n")(y) + y


def called_twice(inputs):
    layer = L.Conv2D(3, 3, padding="same", name="c")
    return L.BatchNormalization(name="n")(layer(layer(inputs)))


def an_output_too(inputs):
    y = L.Conv2D(4, 3, name="c")(inputs)
    return [y, L.BatchNormalization(name="n")(y)]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (used_twice, "n (it, or what it follows, is used more than once)"),
        (called_twice, "n (it, or what it follows, is used more than once)"),
        (an_output_too, "n (it, or what it follows, is used more than once)"),
        (lambda x: L.BatchNormalization(name="n")(L.Conv2D(4, 3, activation="relu", name="c")(x)), "'c' has an activ"),
        (lambda x: L.BatchNormalization(name="n")(L.ReLU(name="r")(x)), "it follows 'r', no convolution"),
        (lambda x: L.BatchNormalization(name="n")(1.0 * x), "no convolution"),
        (lambda x: L.BatchNormalization(1, name="n")(L.Conv2D(4, 3, name="c")(x)), "axis 1, not the channels of 'c'"),
    ],
)
def test_what_stays_is_said(build, reason):
    assert reason in kept(build)


def test_assert_same_complains(monkeypatch):
    right = surgery._affine
    monkeypatch.setattr(surgery, "_affine", lambda n: tuple(1.001 * part for part in right(n)))
    with pytest.raises(AssertionError):
        assert_same(keras.Sequential([L.Input((7,)), L.Dense(5), L.BatchNormalization()]), image(2, 7))


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize("given", [None, [], L.Dense(3), Subclassed()])
def test_what_is_no_model(given):
    with pytest.raises(TypeError) as error:
        surgery.fold_batch_norm(given)
    assert_sentence(error.value, "model")


def test_a_model_that_was_not_built():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        surgery.fold_batch_norm(keras.Sequential([L.Dense(3), L.BatchNormalization()]))
    assert_sentence(error.value, "model")
