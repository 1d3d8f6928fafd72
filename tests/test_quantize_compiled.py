"""Prepared models compiled by XLA: inference is what it is without XLA, and so is a step of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence
from quantize_networks import trained, with_every_layer

from tfsep import layers, quantize

L = keras.layers
SHAPE = (9, 8, 4)
X = np.random.default_rng(0).normal(size=(128, *SHAPE)).astype("float32")


def stack(*layers_, shape=SHAPE):
    return keras.Sequential([keras.Input(shape), *layers_])


def gated():
    """Most kinds of operation in one network: sums, gate, mean and pooling, each behind one another."""
    inputs = keras.Input(SHAPE)
    x = L.ReLU(6)(L.BatchNormalization()(layers.Conv2D(8, 3, 2, "same", rate=2)(inputs)))
    y = layers.DepthwiseConv2D(3, padding="same", activation="hard_silu")(x)
    x = L.AveragePooling2D(2, 1, "same")(L.Add()([x, y]))
    gate = L.Conv2D(8, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(L.Multiply()([x, gate]))))


def concatenated():
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, L.Concatenate()([L.Conv2D(4, 1)(inputs), L.MaxPooling2D(3, 1, "same")(inputs)]))


SEQUENCE = (40, 4)
KINDS = {
    "gated": gated,
    "concatenated": concatenated,
    "groups": lambda: stack(layers.Conv2D(8, 3, 2, "same", groups=2, rate=2)),
    "sums in float64": lambda: stack(L.Conv2D(16, 3), shape=(6, 6, 128)),
    "depthwise": lambda: stack(layers.DepthwiseConv2D(5, 2, "same", depth_multiplier=2, rate=3)),
    "separable": lambda: stack(layers.SeparableConv2D(12, 3, 2, "same", rate=2), L.BatchNormalization(), L.ReLU()),
    "transposed": lambda: stack(layers.Conv2DTranspose(6, 3, 2, "same"), layers.DepthwiseConv2DTranspose(3, 2)),
    "sequences": lambda: stack(
        *(layers.Conv1D(12, 5, 2, "same"), L.DepthwiseConv1D(3), L.SeparableConv1D(8, 3), L.Conv1DTranspose(4, 3, 2)),
        *(L.AveragePooling1D(3, 2, "same"), L.UpSampling1D(3), L.ZeroPadding1D(2), L.Cropping1D(1)),
        *(L.MaxPooling1D(2), L.Permute((2, 1)), L.Reshape((-1, 4)), L.GlobalAveragePooling1D()),
        shape=SEQUENCE,
    ),
    "moved": lambda: stack(
        *(L.ZeroPadding2D(2), L.Cropping2D(1), L.Resizing(7, 11, "nearest"), L.UpSampling2D(2), L.Conv2D(4, 1)),
        *(L.Rescaling(0.5, 0.1), L.AveragePooling2D(3, 2, "same"), L.GlobalMaxPooling2D()),
    ),
    "dense": lambda: stack(L.Dense(64, activation="relu"), L.Dropout(0.1), L.Dense(8), L.ReLU(2.0), shape=(700,)),
    "identities": lambda: stack(L.RandomFlip("horizontal"), L.GaussianNoise(0.1), L.Conv2D(4, 1)),
    **{
        name: lambda name=name: stack(L.Conv2D(8, 1, activation=name))
        for name in ("sigmoid", "tanh", "softmax", "hard_silu", "hard_sigmoid", "leaky_relu", "relu6")
    },
}


def prepared(make, runtime="xnnpack", **options):
    model = make()
    given = np.resize(X, (128, *model.input_shape[1:]))
    return quantize.observe(quantize.prepare(trained(model, given), runtime=runtime, **options), given), given


def runs(run):
    """The same traced for TensorFlow's kernels, and for XLA."""
    return [tf.function(run, autograph=False, jit_compile=jit) for jit in (False, True)]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_inference(kind, runtime):
    """Of all layers' elements none differs: XLA rounds where TensorFlow does."""
    if (kind, runtime) == ("tanh", "reference"):
        pytest.skip("no such integer kernel")
    model, given = prepared(KINDS[kind], runtime)
    every = with_every_layer(model)
    plain, compiled = runs(lambda x: every(x, training=False))
    expected, found = plain(given), compiled(given)
    differing = {name: int(np.sum(found[name].numpy() != expected[name].numpy())) for name in expected}
    assert sum(np.size(value) for value in expected.values()) >= 128 * 16
    assert not any(differing.values()), differing


def test_keras_compiles_fit_and_predict():
    """By the flag of `compile`, which Keras sets by itself on a GPU; every layer has to allow it."""
    model, given = prepared(lambda: stack(L.AveragePooling1D(2), L.Dense(3, activation="relu6"), shape=(8, 4)))
    labels, start = np.zeros((128, 4, 3), "float32"), model.get_weights()
    ends = []
    for jit in (False, True):
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        model.fit(given, labels, batch_size=128, verbose=0)
        assert model.jit_compile == jit
        ends.append(model.get_weights())
    moved = [not np.array_equal(*pair) for pair in zip(start, ends[0], strict=True)]
    assert sum(moved) >= 6
    for plain, compiled in zip(*ends, strict=True):
        assert_close(compiled, plain, 1e-5)
    np.testing.assert_array_equal(model.predict(given, verbose=0), model(given))


TRAINED = {
    "normalized": lambda: stack(
        layers.Conv2D(8, 3, 2, "same", use_bias=False, rate=2), L.BatchNormalization(), L.ReLU(6)
    ),
    "biased": lambda: stack(layers.Conv2D(8, 3, groups=2), shape=SHAPE),
    "depthwise": lambda: stack(layers.DepthwiseConv2D(3, 1, "same", 2, use_bias=False), L.BatchNormalization()),
    "separable": lambda: stack(layers.SeparableConv2D(6, 3, 2, "same")),
    "transposed": lambda: stack(layers.Conv2DTranspose(6, 3, 2, "same")),
    "sequences": lambda: stack(L.Conv1D(12, 5, 2, "same"), L.AveragePooling1D(3, 2, "same"), shape=SEQUENCE),
    "dense": lambda: stack(L.Dense(64, activation="relu"), shape=(70,)),
    "concatenated": concatenated,
    **{
        name: lambda name=name: stack(L.Conv2D(8, 1, activation=name))
        for name in ("sigmoid", "tanh", "softmax", "hard_silu", "hard_sigmoid", "leaky_relu")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", TRAINED)
def test_training_step(kind, frozen):
    """Gradients, to learned ranges too, and statistics, where no rounding of float32 decides what a number rounds to.

    Upstream is zero where it does: a rectifier's gradient at zero, and that at the ends of a range.
    """
    model, given = prepared(TRAINED[kind], ranges="learned", observations=1)
    quantize.freeze_batch_norm(model, frozen)
    start, rng = model.get_weights(), np.random.default_rng(0)
    y = model(given, training=True).numpy()
    model.set_weights(start)
    upstream = rng.normal(size=y.shape).astype("float32") * ((y != 0) & (y > y.min()) & (y < y.max()))

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) * upstream)
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    results = []
    for run in runs(step):
        model.set_weights(start)
        results.append([*run(given), *(weight.numpy() for weight in model.non_trainable_weights)])
    paths = [weight.path for weight in [*model.trainable_weights, *model.non_trainable_weights]]
    for plain, compiled, path in zip(*results, paths, strict=True):
        assert_close(compiled, plain, 1e-5, path)


def test_compiled_without_ranges_is_refused():
    """XLA drops assertions, so the ranges are looked at when the model is traced; then the numbers would be NaN."""
    model = quantize.prepare(stack(L.Conv2D(2, 1)))
    compiled = tf.function(lambda x: model(x, training=False), autograph=False, jit_compile=True)
    with pytest.raises(ValueError, match="expected ranges that training") as error:
        compiled(X)
    assert_sentence(error.value, "model")
    quantize.observe(model, X)
    np.testing.assert_array_equal(compiled(X), model(X))
