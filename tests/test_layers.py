"""Layers: supersets of Keras's, equal to them where Keras can, to float64 loops where it cannot."""

import inspect
import itertools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused
from layer_checks import check_channels_first, check_config, check_layer, check_signature

from tfsep import layers, ops
from tfsep.geometry import Transposed, Window

X = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype("float32")

MAKERS = {
    "Conv2D": lambda **k: layers.Conv2D(6, 3, **k),
    "DepthwiseConv2D": lambda **k: layers.DepthwiseConv2D(3, **{"depth_multiplier": 2, **k}),
    "SeparableConv2D": lambda **k: layers.SeparableConv2D(6, 3, **{"depth_multiplier": 2, **k}),
    "DepthwiseSeparableConv": lambda **k: layers.DepthwiseSeparableConv(6, 3, **k),
    "DeformableConv2D": lambda **k: layers.DeformableConv2D(6, 3, **{"offset_groups": 2, "modulated": True, **k}),
}
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2, "padding": "same"},
        {"strides": (1, 2), "rate": (2, 3), "padding": "same"},
        {"strides": 2, "rate": 2, "padding": ((1, 0), (2, 1)), "activation": "relu"},
        {"dilation_rate": 2, "padding": 1, "activation": None},
    ],
)
def test_the_keras_contract(name, options):
    check_layer(MAKERS[name](**options), X)


def test_the_keras_contract_of_groups():
    check_layer(layers.Conv2D(6, 3, groups=2, strides=2, rate=2, padding="same"), X)


@pytest.mark.parametrize("name", MAKERS)
def test_channels_first(name):
    options = {"strides": 2, "padding": "same"}
    last, first = MAKERS[name](**options), MAKERS[name](**options, data_format="channels_first")
    y = check_channels_first(last, first, X)
    assert first.compute_output_shape((None, 4, None, 8)) == (None, y.shape[-1], None, 4)
    if name in CONVOLUTIONS:
        check_layer(MAKERS[name](**options, data_format="channels_first"), X.transpose(0, 3, 1, 2))


def keras_takes(kind, argument):
    return pytest.mark.skipif(argument not in inspect.signature(kind).parameters, reason=f"needs Keras's {argument}")


RENORM = keras_takes(keras.layers.BatchNormalization, "renorm")


@pytest.mark.parametrize("name", [*CONVOLUTIONS, pytest.param("BatchNormalization", marks=RENORM)])
def test_signatures_extend_keras(name):
    check_signature(getattr(layers, name), getattr(keras.layers, name))


@pytest.mark.parametrize("name", MAKERS)
def test_config_holds_every_argument(name):
    block = {"depthwise_normalization": False, "pointwise_normalization": False, "momentum": 0.5, "epsilon": 0.25}
    check_config(getattr(layers, name), block)


KERAS_CASES = [
    ("Conv2D", {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}),
    ("Conv2D", {"filters": 6, "kernel_size": (2, 3), "dilation_rate": 2, "groups": 2}),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "depth_multiplier": 2, "padding": "same"}),
    ("DepthwiseConv2D", {"kernel_size": 3, "dilation_rate": (2, 1), "use_bias": False}),
    ("SeparableConv2D", {"filters": 6, "kernel_size": 3, "depth_multiplier": 2, "strides": 2, "activation": "relu"}),
    ("SeparableConv2D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("name", "options"), KERAS_CASES)
def test_equal_to_keras(name, options):
    theirs, ours = getattr(keras.layers, name)(**options), getattr(layers, name)(**options)
    expected = theirs(X)
    ours.build(X.shape)
    assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
    ours.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    assert_close(ours(X), theirs(X))
    assert ours.compute_output_shape(X.shape) == theirs.compute_output_shape(X.shape) == expected.shape


@pytest.mark.parametrize(("name", "options"), KERAS_CASES)
def test_keras_config_builds_the_same_layer(name, options):
    theirs = getattr(keras.layers, name)(**options)
    ours = getattr(layers, name).from_config(theirs.get_config())
    theirs.build(X.shape)
    ours.build(X.shape)
    ours.set_weights(theirs.get_weights())
    assert_close(ours(X), theirs(X))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize(("stride", "rate"), list(itertools.product((2, (1, 2)), (2, (2, 3)))))
def test_values_of_strides_with_rates(stride, rate, dtype, tolerance):
    full = layers.Conv2D(6, 3, stride, "same", rate=rate, groups=2, dtype=dtype)
    depthwise = layers.DepthwiseConv2D(3, stride, "same", 2, rate=rate, dtype=dtype)
    separable = layers.SeparableConv2D(5, 3, stride, "same", rate=rate, dtype=dtype)
    for layer in (full, depthwise, separable):
        layer.build(X.shape)
        layer.set_weights([np.random.default_rng(2).normal(size=w.shape) for w in layer.weights])
    expected = oracles.conv2d(X, full.kernel, stride, "same", rate) + np.asarray(full.bias)
    assert_close(full(X), expected, tolerance)
    expected = oracles.depthwise_conv2d(X, np.asarray(depthwise.kernel), stride, "same", rate)
    assert_close(depthwise(X), expected + np.asarray(depthwise.bias), tolerance)
    kernels = [np.asarray(k) for k in (separable.depthwise_kernel, separable.pointwise_kernel)]
    expected = oracles.separable_conv2d(X, *kernels, stride, "same", rate)
    assert_close(separable(X), expected + np.asarray(separable.bias), tolerance)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("mixed_bfloat16", 3e-2), ("mixed_float16", 3e-3), ("bfloat16", 3e-2), ("float64", 1e-6)],
)
def test_dtype_policies(name, policy, tolerance):
    layer, reference = MAKERS[name](dtype=policy, padding="same"), MAKERS[name](padding="same")
    expected = reference(X)
    y = layer(X)
    layer.set_weights(reference.get_weights())
    y = layer(X)
    policy = keras.DTypePolicy(policy)
    assert y.dtype == policy.compute_dtype
    assert all(w.dtype == policy.variable_dtype for w in layer.weights)
    assert_close(tf.cast(y, "float64"), expected, tolerance)


@pytest.mark.parametrize("name", MAKERS)
def test_trains_under_mixed_precision(name):
    layer = MAKERS[name](dtype="mixed_bfloat16", padding="same")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer, keras.layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, np.ones((2, model.output_shape[-1])), verbose=0)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("Conv2D", ["kernel"]), ("DepthwiseConv2D", ["depthwise"]), ("SeparableConv2D", ["depthwise", "pointwise"])],
)
def test_weight_options_take_effect(name, kinds):
    options = {
        "bias_initializer": "ones",
        "bias_regularizer": "l2",
        "bias_constraint": "non_neg",
        "activity_regularizer": keras.regularizers.L2(0.5),
    }
    for kind in kinds:
        options[f"{kind}_initializer"] = keras.initializers.Constant(0.5)
        options[f"{kind}_regularizer"] = keras.regularizers.L2(0.1)
        options[f"{kind}_constraint"] = "non_neg"
    layer = MAKERS[name](**options)
    y = layer(X)
    weights = [np.asarray(w, np.float64) for w in layer.weights]
    assert all(np.all(w == 0.5) for w in weights[:-1])
    assert np.all(weights[-1] == 1.0)
    expected = sum(0.1 * np.sum(w**2) for w in weights[:-1]) + 0.01 * np.sum(weights[-1] ** 2)
    # Keras divides it by the batch from 3.14 on.
    activation = keras.layers.Activation("linear", activity_regularizer=keras.regularizers.L2(0.5))
    activation(y)
    (activity,) = activation.losses
    assert float(activity) / (0.5 * np.sum(np.asarray(y, np.float64) ** 2)) in (
        pytest.approx(1.0),
        pytest.approx(1 / len(X)),
    )
    assert float(sum(layer.losses)) == pytest.approx(expected + float(activity), rel=1e-4)
    assert all(isinstance(w.constraint, keras.constraints.NonNeg) for w in layer.weights)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        ("glorot_uniform", lambda taps, m: 2 / (taps * (1 + m))),
        ("glorot_normal", lambda taps, m: 2 / (taps * (1 + m))),
        ("he_normal", lambda taps, m: 2 / taps),
        ("lecun_uniform", lambda taps, m: 1 / taps),
        (keras.initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"), lambda taps, m: 3 / (taps * m)),
        (keras.initializers.RandomNormal(stddev=0.7), lambda taps, m: 0.49),
    ],
)
@pytest.mark.parametrize("name", ["DepthwiseConv2D", "SeparableConv2D"])
def test_depthwise_initializers_use_the_true_fan_in(name, initializer, variance):
    layer = MAKERS[name](depthwise_initializer=initializer)
    layer.build((None, 9, 8, 1024))
    kernel = np.asarray(layer.weights[0])
    assert kernel.shape == (3, 3, 1024, 2)
    assert np.var(kernel) == pytest.approx(variance(9, 2), rel=0.05)


@keras_takes(keras.initializers.VarianceScaling, "input_axes")
def test_given_axes_of_an_initializer_are_kept():
    initializer = keras.initializers.VarianceScaling(1.0, "fan_out", input_axes=(0, 1), output_axes=(2, 3))
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2, depthwise_initializer=initializer)
    layer.build((None, 9, 8, 1024))
    assert np.var(np.asarray(layer.kernel)) == pytest.approx(1 / 2048, rel=0.05)


def test_standard_kernel_is_drawn_as_in_keras():
    ours, theirs = (
        kind(6, 3, groups=2, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
        for kind in (layers.Conv2D, keras.layers.Conv2D)
    )
    ours.build(X.shape)
    theirs.build(X.shape)
    np.testing.assert_array_equal(ours.kernel, theirs.kernel)


def test_seeded_kernel_is_reproducible():
    layer = layers.DepthwiseConv2D(3, depthwise_initializer=keras.initializers.HeNormal(seed=3))
    again = type(layer).from_config(layer.get_config())
    layer.build(X.shape)
    again.build(X.shape)
    np.testing.assert_array_equal(layer.kernel, again.kernel)


def block_reference(block, x, activation, training=False):
    """The block by float64 loops; the moving statistics in inference, the batch's in training."""

    def normalized(y, bn):
        gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in bn.weights)
        if training:
            return oracles.batch_normalization(y, gamma, beta, block.epsilon)[0]
        return (y - mean) / np.sqrt(variance + block.epsilon) * gamma + beta

    config = block.get_config()
    window = (config[name] for name in ("strides", "padding", "dilation_rate"))
    y = oracles.depthwise_conv2d(x, np.asarray(block.depthwise.kernel), *window)
    y = activation(normalized(y, block.depthwise_bn))
    return activation(normalized(oracles.conv2d(y, np.asarray(block.pointwise.kernel)), block.pointwise_bn))


BLOCKS = {
    "default": ({}, (3, 3, 4, 1), lambda y: np.maximum(y, 0.1 * y)),
    "relu": (
        {"strides": 2, "rate": 2, "depth_multiplier": 3, "epsilon": 0.1, "activation": "relu"},
        (3, 3, 4, 3),
        lambda y: np.maximum(y, 0),
    ),
    "no activation": (
        {"kernel_size": (2, 3), "strides": (2, 1), "padding": 1, "dilation_rate": (1, 2), "activation": None},
        (2, 3, 4, 1),
        lambda y: y,
    ),
}


@pytest.mark.parametrize("case", BLOCKS)
@pytest.mark.parametrize("training", [False, True])
def test_block_values(case, training):
    options, kernel, activation = BLOCKS[case]
    block = layers.DepthwiseSeparableConv(5, **options)
    block.build(X.shape)
    assert block.depthwise.kernel.shape == kernel
    given = {name: options[name] for name in ("strides", "epsilon") if name in options}
    assert {name: block.get_config()[name] for name in given} == {
        name: (value, value) if name == "strides" and isinstance(value, int) else value for name, value in given.items()
    }
    rng = np.random.default_rng(3)
    block.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape) if "moving_variance" in w.path else rng.normal(size=w.shape)
            for w in block.weights
        ]
    )
    expected = block_reference(block, X, activation, training)
    assert_close(block(X, training=training), expected)


def test_block_normalizations_use_the_momentum():
    block = layers.DepthwiseSeparableConv(5, momentum=0.75)
    block.build(X.shape)
    between = oracles.depthwise_conv2d(X, np.asarray(block.depthwise.kernel), 1, "same")
    block(X, training=True)
    assert_close(block.depthwise_bn.moving_mean, 0.25 * between.mean(axis=(0, 1, 2)), 1e-4)
    assert_close(block.depthwise_bn.moving_variance, 0.75 + 0.25 * between.var(axis=(0, 1, 2)))
    assert np.abs(np.asarray(block.pointwise_bn.moving_mean)).max() > 1e-3


def test_block_weight_options_take_effect():
    block = layers.DepthwiseSeparableConv(
        5,
        depthwise_initializer=keras.initializers.Constant(0.5),
        pointwise_initializer=keras.initializers.Constant(0.25),
        depthwise_regularizer=keras.regularizers.L2(0.1),
        pointwise_regularizer=keras.regularizers.L2(0.01),
    )
    block.build(X.shape)
    assert np.all(np.asarray(block.depthwise.kernel) == 0.5)
    assert np.all(np.asarray(block.pointwise.kernel) == 0.25)
    assert float(sum(block.losses)) == pytest.approx(0.1 * 36 * 0.25 + 0.01 * 20 * 0.0625)


@pytest.mark.parametrize(("depthwise", "pointwise"), list(itertools.product((True, False), (True, False))))
def test_block_without_normalization_has_a_bias(depthwise, pointwise):
    block = layers.DepthwiseSeparableConv(5, depthwise_normalization=depthwise, pointwise_normalization=pointwise)
    check_layer(block, X)
    assert (block.depthwise.use_bias, block.pointwise.use_bias) == (not depthwise, not pointwise)
    assert block.count_params() == 9 * 4 + 20 + (16 if depthwise else 4) + (20 if pointwise else 5)


def test_block_without_activation_is_linear():
    block = layers.DepthwiseSeparableConv(
        5, activation=None, depthwise_normalization=False, pointwise_normalization=False
    )
    assert_close(block(2 * X), 2 * np.asarray(block(X)))


ERRORS = {
    "filters 0": ("filters", lambda: layers.Conv2D(0, 3)),
    "filters float": ("filters", lambda: layers.SeparableConv2D(2.5, 3)),
    "filters of the block": ("filters", lambda: layers.DepthwiseSeparableConv(-1)),
    "kernel 0": ("kernel_size", lambda: layers.Conv2D(4, 0)),
    "kernel of three": ("kernel_size", lambda: layers.DepthwiseConv2D((3, 3, 3))),
    "strides": ("strides", lambda: layers.DepthwiseConv2D(3, strides=-1)),
    "rate": ("rate", lambda: layers.DepthwiseConv2D(3, rate=0)),
    "dilation": ("dilation_rate", lambda: layers.SeparableConv2D(4, 3, dilation_rate=0)),
    "both": ("rate", lambda: layers.Conv2D(4, 3, rate=2, dilation_rate=3)),
    "padding": ("padding", lambda: layers.Conv2D(4, 3, padding="causal")),
    "multiplier": ("depth_multiplier", lambda: layers.DepthwiseConv2D(3, depth_multiplier=0)),
    "groups 0": ("groups", lambda: layers.Conv2D(4, 3, groups=0)),
    "groups of filters": ("groups", lambda: layers.Conv2D(4, 3, groups=3)),
    "groups of channels": ("groups", lambda: layers.Conv2D(6, 3, groups=3).build((None, 8, 8, 4))),
    "format": ("data_format", lambda: layers.Conv2D(4, 3, data_format="NHWC")),
    "rank": ("input", lambda: layers.Conv2D(4, 3).build((None, 8, 4))),
    "channels": ("input", lambda: layers.DepthwiseConv2D(3).build((None, 8, 8, None))),
    "size": ("input size", lambda: layers.Conv2D(4, 3).compute_output_shape((None, 2, 8, 4))),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    argument, make = ERRORS[case]
    assert_refused(make, argument)


def test_input_of_another_rank_is_refused():
    with pytest.raises(ValueError, match="rank 4"):
        layers.Conv2D(4, 3)(X[0])


@pytest.mark.parametrize("name", MAKERS)
def test_input_of_other_channels_is_refused(name):
    """Twice the channels would fit a full kernel as two groups."""
    layer = MAKERS[name]()
    layer(X)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 4"):
        layer(np.concatenate([X, X], axis=-1))


@pytest.mark.parametrize("name", [*CONVOLUTIONS, "DeformableConv2D", "Conv1D", "Conv1DTranspose", "Conv2DTranspose"])
def test_window_is_parsed_once(name, monkeypatch):
    """A layer parses its window when it is made, and its calls do not do so again."""
    parsed = []

    def counting(parse):
        return lambda *arguments, **options: parsed.append(parse) or parse(*arguments, **options)

    for geometry, method in ((Window, "of"), (Window, "of_row"), (Transposed, "of"), (Transposed, "of_row")):
        monkeypatch.setattr(geometry, method, counting(getattr(geometry, method)))
    ops.conv2d(X, np.zeros((3, 3, 4, 6), "float32"))
    assert len(parsed) == 1, "a public op parses"
    x = X[:, 0] if "1D" in name else X
    layer = MAKERS[name](padding="same") if name in MAKERS else getattr(layers, name)(6, 3, padding="same")
    layer.build(x.shape)
    parsed.clear()
    for _ in range(3):
        layer(x)
    assert not parsed
