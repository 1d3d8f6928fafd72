"""Convolutions of sequences: ops beside a float64 loop, layers beside Keras's, files, costs, errors."""

import inspect
import itertools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import (
    assert_close,
    assert_refused_in_graph_too,
    assert_second_derivatives,
    compiled_with_gradients,
    in_part,
    tape_gradients,
)
from layer_checks import check_config, check_layer, check_signature

from tfsep import layers, ops, surgery, tflite
from tfsep.cost import cost

PADDINGS = ("valid", "same", "causal", 2, (0, 3))
OPTIONS = list(itertools.product((1, 2), (1, 2, 3), PADDINGS))
KINDS = {
    "full": (ops.conv1d, (3, 4, 6)),
    "grouped": (ops.conv1d, (3, 2, 6)),
    "a channel a group": (ops.conv1d, (2, 1, 4)),
    "depthwise": (ops.depthwise_conv1d, (3, 4, 2)),
}


def tensors(*shapes, dtype="float64"):
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=shape), dtype) for shape in shapes]


def ends(length, taps, stride, padding, rate):
    """(before, after), from the definitions of TensorFlow's SAME and of causal padding."""
    if padding == "causal":
        return (taps - 1) * rate, 0
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-length // stride) - 1) * stride + (taps - 1) * rate + 1 - length, 0)
        return total // 2, total - total // 2
    return (padding, padding) if isinstance(padding, int) else padding


def exact(op, x, w, stride, padding, rate):
    x, w = np.asarray(x), np.asarray(w)
    if op is ops.depthwise_conv1d:
        w = w.reshape(len(w), 1, -1)
    return oracles.conv1d(x, w, stride, ends(x.shape[1], len(w), stride, padding, rate), rate)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS)
def test_values_and_gradients(kind, stride, rate, padding):
    """The reference gradients are those of a loop over an image of one row."""
    op, shape = KINDS[kind]
    x, w = tensors((2, 9, 4), shape)
    expected = exact(op, x, w, stride, padding, rate)
    assert_close(op(x, w, stride, padding, rate), expected, 1e-12)
    (upstream,) = tensors(expected.shape)
    grouped = np.reshape(w, (1, shape[0], 1, -1)) if op is ops.depthwise_conv1d else np.asarray(w)[None]
    around = ((0, 0), ends(9, shape[0], stride, padding, rate))
    _, to_x, to_w = oracles.products(x[:, None], grouped, upstream[:, None], (1, stride), around, (1, rate))
    found = tape_gradients(op, x, w, upstream, stride, padding, rate)
    assert_close(found[0], to_x[:, 0], 1e-12)
    assert_close(found[1], np.reshape(to_w, shape), 1e-12)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (2, 3)])
def test_separable(stride, rate, padding):
    x, depthwise, pointwise = tensors((2, 9, 4), (3, 4, 2), (1, 8, 5))
    between = exact(ops.depthwise_conv1d, x, depthwise, stride, padding, rate)
    y = ops.separable_conv1d(x, depthwise, pointwise, stride, padding, rate)
    assert_close(y, between @ np.asarray(pointwise)[0], 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_causal_outputs_ignore_later_inputs(kind, stride):
    op, shape = KINDS[kind]
    x, w = tensors((1, 9, 4), shape)
    changed = tf.concat([x[:, :5], x[:, 5:] + 1.0], axis=1)
    before, after = (op(value, w, stride, "causal", 2) for value in (x, changed))
    seen = -(-5 // stride)
    np.testing.assert_array_equal(before[:, :seen], after[:, :seen])
    assert np.abs(before - after)[:, seen:].min(axis=(0, 2)).max() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 3), (2, 2)])
def test_second_derivatives(kind, stride, rate):
    op, shape = KINDS[kind]
    x, w, a, b = tensors((1, 7, 4), shape, (1, 7, 4), shape)
    assert_second_derivatives(lambda x, w: op(x, w, stride, "causal", rate), x, w, a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate", "padding"), in_part(OPTIONS[::7], 2))
def test_unknown_lengths_and_empty_batch(kind, stride, rate, padding):
    op, shape = KINDS[kind]
    x, w = tensors((2, 9, 4), shape)
    specs = {"x": tf.TensorSpec((None, None, 4), "float64"), "w": tf.TensorSpec(shape, "float64")}
    run = compiled_with_gradients(op, stride, padding, rate, **specs)
    expected = exact(op, x, w, stride, padding, rate)
    y, *found = run(x, w)
    assert_close(y, expected, 1e-12)
    for ours, eager in zip(found, tape_gradients(op, x, w, 1.0, stride, padding, rate), strict=True):
        assert_close(ours, eager, 1e-12)
    eager = (op(x[:0], w, stride, padding, rate), *tape_gradients(op, x[:0], w, 1.0, stride, padding, rate))
    for y, to_x, to_w in (run(x[:0], w), eager):
        assert y.shape == (0, *expected.shape[1:])
        assert to_x.shape == (0, 9, 4)
        np.testing.assert_array_equal(to_w, np.zeros(shape))


def test_length_below_kernel_at_run_time():
    run = tf.function(
        lambda x: ops.conv1d(x, tf.ones((3, 4, 2)), rate=2), input_signature=[tf.TensorSpec((1, None, 4))]
    )
    assert run(tf.ones((1, 5, 4))).shape == (1, 1, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="input size: expected at least the effective kernel"):
        run(tf.ones((1, 4, 4)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate"), in_part([(2, 1), (1, 1), (2, 3)], 2))
def test_compiled_by_xla(kind, stride, rate):
    op, shape = KINDS[kind]
    x, w = tensors((2, 9, 4), shape, dtype="float32")

    def run(x, w):
        return op(x, w, stride, "causal", rate), *tape_gradients(op, x, w, 1.0, stride, "causal", rate)

    for compiled, eager in zip(tf.function(run, jit_compile=True, autograph=False)(x, w), run(x, w), strict=True):
        assert_close(compiled, eager)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 6e-3), ("bfloat16", 4e-2)])
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 3)])
def test_dtypes(kind, dtype, tolerance, stride, rate):
    op, shape = KINDS[kind]
    x, w = tensors((2, 9, 4), shape, dtype=dtype)
    y = op(x, w, stride, "same", rate)
    assert y.dtype == dtype
    wide = [tf.cast(value, "float64") for value in (x, w)]
    assert_close(tf.cast(y, "float64"), exact(op, *wide, stride, "same", rate), tolerance)
    right = tape_gradients(op, *wide, 1.0, stride, "same", rate)
    for ours, gradient in zip(tape_gradients(op, x, w, tf.ones_like(y), stride, "same", rate), right, strict=True):
        assert ours.dtype == dtype
        assert_close(tf.cast(ours, "float64"), gradient, tolerance)


def test_channels_first():
    x, w, depthwise, pointwise = tensors((2, 9, 4), (3, 2, 6), (3, 4, 2), (1, 8, 5))
    first = tf.transpose(x, [0, 2, 1])
    for op, filters in (
        (ops.conv1d, [w]),
        (ops.depthwise_conv1d, [depthwise]),
        (ops.separable_conv1d, [depthwise, pointwise]),
    ):
        y = op(first, *filters, 2, "causal", 3, "channels_first")
        assert_close(tf.transpose(y, [0, 2, 1]), op(x, *filters, 2, "causal", 3), 1e-14)


X, W, D, P = np.zeros((1, 5, 4), "f"), np.zeros((3, 4, 8), "f"), np.zeros((3, 4, 2), "f"), np.zeros((1, 8, 3), "f")
WRONG = {
    "nothing": (TypeError, "x", lambda: ops.conv1d(None, W)),
    "an image": (ValueError, "x", lambda: ops.conv1d(X[None], W)),
    "no channels": (ValueError, "x", lambda: ops.conv1d(X[..., :0], W)),
    "no channels first": (ValueError, "x", lambda: ops.conv1d(X[:, :0], W, data_format="channels_first")),
    "no length": (ValueError, "input size", lambda: ops.conv1d(X[:, :0], W, padding="same")),
    "filter of an image": (ValueError, "filter", lambda: ops.conv1d(X, W[None])),
    "integers": (TypeError, "x", lambda: ops.conv1d(X.astype(int), W)),
    "dtypes": (TypeError, "filter", lambda: ops.depthwise_conv1d(X, D.astype("float64"))),
    "groups": (ValueError, "filter", lambda: ops.conv1d(X, W[:, :3])),
    "filters of groups": (ValueError, "filter", lambda: ops.conv1d(X, W[:, :2, :7])),
    "channels": (ValueError, "filter", lambda: ops.depthwise_conv1d(X, D[:, :3])),
    "channels of separable": (ValueError, "depthwise_filter", lambda: ops.separable_conv1d(X, D[:, :3], P)),
    "pointwise": (ValueError, "pointwise_filter", lambda: ops.separable_conv1d(X, D, P[:, :7])),
    "pointwise of three taps": (
        ValueError,
        "pointwise_filter",
        lambda: ops.separable_conv1d(X, D, np.zeros((3, 8, 3), "f")),
    ),
    "no filters": (ValueError, "filter", lambda: ops.conv1d(X, W[..., :0])),
    "strides": (ValueError, "strides", lambda: ops.conv1d(X, W, 0)),
    "a pair of strides": (ValueError, "strides", lambda: ops.conv1d(X, W, (1, 2))),
    "rate": (ValueError, "rate", lambda: ops.conv1d(X, W, rate=1.5)),
    "padding": (ValueError, "padding", lambda: ops.conv1d(X, W, padding=-1)),
    "padding in a word": (ValueError, "padding", lambda: ops.conv1d(X, W, padding="full")),
    "padding of an image": (ValueError, "padding", lambda: ops.conv1d(X, W, padding=((0, 0), (1, 1)))),
    "data_format": (ValueError, "data_format", lambda: ops.conv1d(X, W, data_format="NWC")),
    "size": (ValueError, "input size", lambda: ops.conv1d(X, W, rate=3)),
    "size of separable": (ValueError, "input size", lambda: ops.separable_conv1d(X, D, P, rate=3)),
    "layer: filters": (ValueError, "filters", lambda: layers.Conv1D(0, 3)),
    "layer: kernel": (ValueError, "kernel_size", lambda: layers.Conv1D(4, (3, 3))),
    "layer: strides": (ValueError, "strides", lambda: layers.DepthwiseConv1D(3, strides=(1, 2))),
    "layer: rate": (ValueError, "rate", lambda: layers.SeparableConv1D(4, 3, rate=0)),
    "layer: both": (ValueError, "rate", lambda: layers.Conv1D(4, 3, rate=2, dilation_rate=3)),
    "layer: padding": (ValueError, "padding", lambda: layers.Conv1D(4, 3, padding="full")),
    "layer: groups": (ValueError, "groups", lambda: layers.Conv1D(4, 3, groups=3)),
    "layer: groups of channels": (ValueError, "groups", lambda: layers.Conv1D(6, 3, groups=3).build((None, 8, 4))),
    "layer: multiplier": (ValueError, "depth_multiplier", lambda: layers.DepthwiseConv1D(3, depth_multiplier=0)),
    "layer: rank": (ValueError, "input", lambda: layers.Conv1D(4, 3).build((None, 8, 8, 4))),
    "layer: channels": (ValueError, "input", lambda: layers.Conv1D(4, 3).build((None, 8, None))),
    "layer: size": (ValueError, "input size", lambda: layers.Conv1D(4, 3).compute_output_shape((None, 2, 4))),
}


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_errors(case, in_graph):
    assert_refused_in_graph_too(WRONG[case], in_graph)


SEQUENCES = np.random.default_rng(0).normal(size=(2, 9, 4)).astype("float32")
LAYERS = {
    "Conv1D": lambda **k: layers.Conv1D(6, 3, **k),
    "DepthwiseConv1D": lambda **k: layers.DepthwiseConv1D(3, **{"depth_multiplier": 2, **k}),
    "SeparableConv1D": lambda **k: layers.SeparableConv1D(6, 3, **{"depth_multiplier": 2, **k}),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2, "padding": "causal", "rate": 3, "activation": "relu"},
        {"dilation_rate": (2,), "padding": (1, 2), "use_bias": False},
    ],
)
def test_keras_contract(name, options):
    check_layer(LAYERS[name](**options), SEQUENCES)


@pytest.mark.parametrize("name", LAYERS)
def test_trains_under_mixed_precision(name):
    layer = LAYERS[name](strides=2, padding="same", dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input(SEQUENCES.shape[1:]), layer, keras.layers.GlobalAveragePooling1D()])
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.fit(SEQUENCES, np.ones((2, model.output_shape[-1])), verbose=0)
    assert layer(SEQUENCES).dtype == "bfloat16"
    assert all(w.dtype == "float32" for w in layer.weights)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_keras_contract_with_groups():
    check_layer(layers.Conv1D(6, 3, groups=2, strides=2, rate=2, padding="causal"), SEQUENCES)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_channels_first(name):
    options = {"strides": 2, "padding": "causal", "bias_initializer": "ones"}
    last, first = LAYERS[name](**options), LAYERS[name](**options, data_format="channels_first")
    y = last(SEQUENCES)
    transposed = SEQUENCES.transpose(0, 2, 1)
    first.build(transposed.shape)
    first.set_weights(last.get_weights())
    assert_close(np.transpose(first(transposed), (0, 2, 1)), y)
    assert first.compute_output_shape((None, 4, None)) == (None, y.shape[-1], None)
    check_layer(LAYERS[name](**options, data_format="channels_first"), transposed)


@pytest.mark.parametrize("name", LAYERS)
def test_arguments_match_keras_and_are_in_the_config(name):
    kind = getattr(layers, name)
    check_signature(kind, getattr(keras.layers, name))
    check_config(kind, {"kernel_size": (2,), "strides": (3,), "dilation_rate": (2,), "padding": (1, 2)})


KERAS_CASES = [
    ("Conv1D", {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}),
    ("Conv1D", {"filters": 6, "kernel_size": 2, "dilation_rate": 3, "groups": 2, "padding": "causal"}),
    ("Conv1D", {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "causal"}),
    ("DepthwiseConv1D", {"kernel_size": 3, "strides": 2, "depth_multiplier": 2, "padding": "same"}),
    ("DepthwiseConv1D", {"kernel_size": 3, "dilation_rate": 2, "use_bias": False}),
    ("SeparableConv1D", {"filters": 6, "kernel_size": 3, "depth_multiplier": 2, "strides": 2, "activation": "relu"}),
    ("SeparableConv1D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("name", "options"), KERAS_CASES)
def test_equal_to_keras(name, options):
    theirs = getattr(keras.layers, name)(**options)
    expected = theirs(SEQUENCES)
    theirs.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in theirs.weights])
    for ours in (getattr(layers, name)(**options), getattr(layers, name).from_config(theirs.get_config())):
        ours.build(SEQUENCES.shape)
        assert [(w.name, w.shape) for w in ours.weights] == [(w.name, w.shape) for w in theirs.weights]
        ours.set_weights(theirs.get_weights())
        assert_close(ours(SEQUENCES), theirs(SEQUENCES))
        assert ours.compute_output_shape(SEQUENCES.shape) == expected.shape


@pytest.mark.parametrize("name", ["DepthwiseConv1D", "SeparableConv1D"])
@pytest.mark.parametrize(("initializer", "variance"), [("glorot_uniform", 2 / (9 * 3)), ("he_normal", 2 / 9)])
def test_depthwise_initializers_use_the_true_fan_in(name, initializer, variance):
    """A depthwise kernel of 9 taps and multiplier 2: fan-in 9, fan-out 18."""
    options = {"filters": 4} if name == "SeparableConv1D" else {}
    layer = getattr(layers, name)(kernel_size=9, depth_multiplier=2, depthwise_initializer=initializer, **options)
    layer.build((None, 20, 1024))
    kernel = np.asarray(layer.weights[0])
    assert kernel.shape == (9, 1024, 2)
    assert np.var(kernel) == pytest.approx(variance, rel=0.05)


def test_worked_figure():
    """(32, 15, 256) through 128 filters of width 3: 98,304 weights and 128 biases, 13 positions."""
    layer = layers.Conv1D(128, 3)
    assert layer(np.ones((32, 15, 256), "float32")).shape == (32, 13, 128)
    assert [int(np.prod(w.shape)) for w in layer.weights] == [98_304, 128]
    report = cost(keras.Sequential([keras.Input((15, 256)), layer]))
    assert (report.params, report.macs) == (98_432, 13 * 98_304)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv1D(6, 3, 2, "causal", groups=2), [("conv1d", 2, 6 * 2 * 3 + 6, 5 * 6 * 2 * 3)]),
        (layers.DepthwiseConv1D(3, 1, "valid", 2, rate=2), [("depthwise_conv1d", 4, 24 + 8, 5 * 8 * 3)]),
        (
            layers.SeparableConv1D(5, 3, 2, "same", depth_multiplier=2),
            [("depthwise_conv1d", 4, 24, 5 * 8 * 3), ("conv1d", 1, 40 + 5, 5 * 8 * 5)],
        ),
    ],
)
def test_costs(layer, expected):
    report = cost(keras.Sequential([keras.Input((9, 4)), layer]))
    assert [(row.kind, row.groups, row.params, row.macs) for row in report.rows] == expected
    assert not report.uncounted


@pytest.mark.parametrize("name", LAYERS)
def test_batch_normalization_folds_in(name):
    model = keras.Sequential([keras.Input((9, 4)), LAYERS[name](padding="causal"), layers.BatchNormalization()])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 2, w.shape) for w in model.weights])
    folded = surgery.fold_batch_norm(model)
    assert len(folded.layers) == 1
    assert_close(folded(SEQUENCES), model(SEQUENCES))


EXPORTED = {
    "Conv1D": (lambda: layers.Conv1D(6, 3, activation="relu"), ["CONV_2D"]),
    "strided, dilated, grouped": (lambda: layers.Conv1D(6, 3, 2, "same", rate=2, groups=2), ["CONV_2D"]),
    "causal": (lambda: layers.Conv1D(6, 3, 2, "causal", rate=2), ["PAD", "CONV_2D"]),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, 2, "same", 2, rate=2), ["DEPTHWISE_CONV_2D"]),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(5, 3, 2, "same", rate=3), ["DEPTHWISE_CONV_2D", "CONV_2D"]),
}


@pytest.mark.parametrize("case", EXPORTED)
def test_exported_files(case, tmp_path):
    """The operators of an image, between two reshapes that copy no data."""
    make, operators = EXPORTED[case]
    model = keras.Sequential([keras.Input((20, 4)), make()])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.weights])
    data = rng.uniform(-1, 1, (16, 20, 4)).astype("f")
    for recipe in ("float32", "int8"):
        report = tflite.export(model, tmp_path / "m.tflite", recipe, calibration=data)
        assert [op.name for op in tflite.inspect(report.path).operators] == ["RESHAPE", *operators, "RESHAPE"]
        assert report.delegated == report.nodes
        assert cost(report.path).macs == cost(model).macs
        if recipe == "float32":
            assert_close(tflite.predict(report.path, data), model(data))


def test_exported_file_in_channels_first(tmp_path):
    model = keras.Sequential(
        [keras.Input((4, 20)), layers.Conv1D(6, 3, bias_initializer="ones", data_format="channels_first")]
    )
    report = tflite.export(model, tmp_path / "m.tflite")
    assert set(report.ops) <= {"TRANSPOSE", "RESHAPE", "CONV_2D", "ADD"}


def test_every_op_has_a_layer():
    for name, kind in (
        ("conv1d", "Conv1D"),
        ("depthwise_conv1d", "DepthwiseConv1D"),
        ("separable_conv1d", "SeparableConv1D"),
    ):
        shared = {"strides", "padding", "rate", "data_format"}
        assert shared <= set(inspect.signature(getattr(ops, name)).parameters)
        assert shared <= set(inspect.signature(getattr(layers, kind)).parameters)
