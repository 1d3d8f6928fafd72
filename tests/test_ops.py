"""Ops against float64 loops: values, both gradients, layouts, dtypes, sizes known and unknown, no images at all."""

import itertools
import os
import subprocess
import sys

import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsep import ops

STRIDES = (1, 2, (1, 2), 3)
RATES = (1, 2, (2, 3))
PADDINGS = ("same", "valid", 1, ((0, 1), (2, 0)))
KERNELS = ((1, 1), (2, 2), (3, 3), (3, 2))
SWEEP = [
    case
    for case in itertools.product(KERNELS, STRIDES, RATES, PADDINGS)
    if not (case[0] == (1, 1) and case[2] != 1 and case[3] != "same")
]


def tensors(*shapes, dtype="float32"):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32).astype(dtype) for shape in shapes]


@pytest.mark.parametrize(("kernel", "stride", "rate", "padding"), SWEEP)
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_values(kernel, stride, rate, padding, multiplier):
    x, w = tensors((2, 9, 8, 3), (*kernel, 3, multiplier))
    expected = oracles.depthwise_conv2d(x, w, stride, padding, rate)
    assert_close(ops.depthwise_conv2d(x, w, stride, padding, rate), expected)


@pytest.mark.parametrize(("kernel", "stride", "rate", "padding"), SWEEP)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv2d_values(kernel, stride, rate, padding, groups):
    x, w = tensors((2, 9, 8, 4), (*kernel, 4 // groups, 4))
    assert_close(ops.conv2d(x, w, stride, padding, rate), oracles.conv2d(x, w, stride, padding, rate))


@pytest.mark.parametrize(("stride", "rate", "padding"), list(itertools.product((1, 2, (2, 1)), (1, 2), PADDINGS)))
def test_separable_values(stride, rate, padding):
    x, depthwise, pointwise = tensors((2, 9, 8, 3), (3, 3, 3, 2), (1, 1, 6, 5))
    expected = oracles.separable_conv2d(x, depthwise, pointwise, stride, padding, rate)
    assert_close(ops.separable_conv2d(x, depthwise, pointwise, stride, padding, rate), expected)


OPERATIONS = {
    "conv2d": (ops.conv2d, oracles.conv2d, (2, 2, 1, 2)),
    "depthwise_conv2d": (ops.depthwise_conv2d, oracles.depthwise_conv2d, (2, 2, 2, 2)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("stride", "rate", "padding"), list(itertools.product((1, 2, (1, 2)), (1, 2, (1, 2)), ("same", "valid")))
)
def test_gradients(name, stride, rate, padding):
    op, oracle, shape = OPERATIONS[name]
    x, w = tensors((1, 5, 6, 2), shape)
    upstream = np.random.default_rng(1).normal(size=oracle(x, w, stride, padding, rate).shape)
    to_x, to_w = oracles.gradients(lambda a, b: oracle(a, b, stride, padding, rate), x, w, upstream)
    tx, tw = tf.constant(x), tf.constant(w)
    with tf.GradientTape() as tape:
        tape.watch([tx, tw])
        loss = tf.reduce_sum(op(tx, tw, stride, padding, rate) * upstream.astype(np.float32))
    ours_x, ours_w = tape.gradient(loss, [tx, tw])
    assert_close(ours_x, to_x, what="x")
    assert_close(ours_w, to_w, what="filter")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("stride", "rate", "padding"), [(1, 1, "same"), (2, 1, 1), (1, 2, "valid"), (2, 2, "same")])
def test_channels_first(name, stride, rate, padding):
    op, oracle, shape = OPERATIONS[name]
    x, w = tensors((2, 6, 5, 2), shape)
    y = op(x.transpose(0, 3, 1, 2), w, stride, padding, rate, "channels_first")
    assert_close(np.transpose(y, (0, 2, 3, 1)), oracle(x, w, stride, padding, rate))


def test_separable_channels_first():
    x, depthwise, pointwise = tensors((2, 6, 5, 3), (3, 3, 3, 1), (1, 1, 3, 4))
    y = ops.separable_conv2d(x.transpose(0, 3, 1, 2), depthwise, pointwise, data_format="channels_first")
    assert_close(np.transpose(y, (0, 2, 3, 1)), oracles.separable_conv2d(x, depthwise, pointwise))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5), ("float16", 4e-3), ("bfloat16", 3e-2)]
)
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_dtypes(name, dtype, tolerance, stride, rate):
    op, oracle, shape = OPERATIONS[name]
    x, w = (tf.cast(a, dtype) for a in tensors((2, 6, 6, 2), shape))
    y = op(x, w, stride, "same", rate)
    assert y.dtype == dtype
    expected = oracle(tf.cast(x, "float64").numpy(), tf.cast(w, "float64").numpy(), stride, "same", rate)
    assert_close(tf.cast(y, "float64"), expected, tolerance)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("stride", "rate", "padding"), list(itertools.product((1, 2, (1, 2)), (1, (1, 2)), ("same", "valid", 1)))
)
def test_unknown_sizes_and_no_images(name, stride, rate, padding):
    op, oracle, shape = OPERATIONS[name]
    x, w = tensors((2, 7, 6, 2), shape)
    signature = [tf.TensorSpec((None, None, None, 2), tf.float32), tf.TensorSpec(shape, tf.float32)]

    @tf.function(input_signature=signature)
    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            y = op(x, w, stride, padding, rate)
            loss = tf.reduce_sum(y)
        return y, tape.gradient(loss, w)

    expected = oracle(x, w, stride, padding, rate)
    assert_close(run(x, w)[0], expected)
    for images in (x[:0], tf.zeros((0, 7, 6, 2))):
        y, to_w = run(images, w)
        assert y.shape == (0, *expected.shape[1:])
        np.testing.assert_array_equal(to_w, np.zeros(shape))
        assert op(images, w, stride, padding, rate).shape == (0, *expected.shape[1:])


def test_padding_that_is_same_costs_no_operator():
    """An exported graph pads only where the operator itself cannot."""
    spec = [tf.TensorSpec((1, 8, 8, 2)), tf.TensorSpec((3, 3, 2, 1))]

    def operators(padding, strides):
        with ops.exporting():
            graph = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, strides, padding)).get_concrete_function(*spec)
        return [op.type for op in graph.graph.get_operations()]

    assert "Pad" not in operators(1, 1)
    assert "Pad" not in operators(((0, 1), (0, 1)), 2)
    assert "Pad" in operators(1, 2)


@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
@pytest.mark.parametrize("rate", [1, 2, (2, 3)])
def test_an_exported_depthwise_is_one_operator(stride, rate):
    with ops.exporting():
        graph = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, stride, "same", rate)).get_concrete_function(
            tf.TensorSpec((1, 8, 8, 2)), tf.TensorSpec((3, 3, 2, 2))
        )
    (op,) = [op for op in graph.graph.get_operations() if op.type not in ("Placeholder", "Identity", "NoOp")]
    assert op.type == "DepthwiseConv2dNative"
    both = [(v, v) if isinstance(v, int) else v for v in (stride, rate)]
    assert list(op.get_attr("strides")) == [1, *both[0], 1]
    assert list(op.get_attr("dilations")) == [1, *both[1], 1]


def test_exporting_ends_with_its_block():
    with pytest.raises(RuntimeError, match="inside"), ops.exporting():
        raise RuntimeError("inside")
    graph = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, 1, "same", 2)).get_concrete_function(
        tf.TensorSpec((1, 8, 8, 2)), tf.TensorSpec((3, 3, 2, 2))
    )
    assert any(op.type == "SpaceToBatchND" for op in graph.graph.get_operations())


X, W, D, P = (
    np.zeros((1, 5, 5, 4), "f"),
    np.zeros((3, 3, 4, 8), "f"),
    np.zeros((3, 3, 4, 2), "f"),
    np.zeros((1, 1, 8, 3), "f"),
)
WRONG = {
    "rank of x": (ValueError, "x", lambda: ops.conv2d(X[0], W)),
    "rank of filter": (ValueError, "filter", lambda: ops.conv2d(X, W[0])),
    "integers": (TypeError, "x", lambda: ops.conv2d(X.astype(int), W)),
    "dtypes": (TypeError, "filter", lambda: ops.conv2d(X, W.astype("float64"))),
    "groups": (ValueError, "filter", lambda: ops.conv2d(X, W[:, :, :3])),
    "filters of groups": (ValueError, "filter", lambda: ops.conv2d(X, W[:, :, :2, :7])),
    "channels": (ValueError, "filter", lambda: ops.depthwise_conv2d(X, D[:, :, :3])),
    "no filter": (ValueError, "filter", lambda: ops.depthwise_conv2d(X, D[..., :0])),
    "pointwise": (ValueError, "pointwise_filter", lambda: ops.separable_conv2d(X, D, P[:, :, :7])),
    "strides": (ValueError, "strides", lambda: ops.conv2d(X, W, 0)),
    "rate": (ValueError, "rate", lambda: ops.depthwise_conv2d(X, D, rate=(1, 0))),
    "padding": (ValueError, "padding", lambda: ops.depthwise_conv2d(X, D, padding=-1)),
    "data_format": (ValueError, "data_format", lambda: ops.conv2d(X, W, data_format="NCHW")),
    "size": (ValueError, "input size", lambda: ops.conv2d(X, W, rate=3)),
    "size of separable": (ValueError, "input size", lambda: ops.separable_conv2d(X, D, P, rate=3)),
}


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_errors(case, in_graph):
    kind, argument, run = WRONG[case]
    run = tf.function(run, autograph=False) if in_graph else run
    with pytest.raises(kind) as error:
        run()
    assert_sentence(error.value, argument)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_depthwise(data):
    """Any kernel, stride, rate, padding and size that leaves an output."""
    draw = data.draw
    side = st.integers(1, 4)
    kernel, stride, rate = (draw(st.tuples(side, side)) for _ in range(3))
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(pads, pads)))
    reach = [(k - 1) * r + 1 for k, r in zip(kernel, rate, strict=True)]
    size = draw(st.tuples(st.integers(reach[0], reach[0] + 4), st.integers(reach[1], reach[1] + 4)))
    x, w = tensors((1, *size, 2), (*kernel, 2, draw(st.integers(1, 3))))
    expected = oracles.depthwise_conv2d(x, w, stride, padding, rate)
    assert_close(
        ops.depthwise_conv2d(x, w, stride, padding, rate), expected, what=f"{kernel} {stride} {rate} {padding}"
    )


WITHOUT_ONEDNN = """
import itertools, sys
sys.path.insert(0, "tests")
import numpy as np, oracles, tensorflow as tf
from checks import assert_close
from tfsep import ops
rng = np.random.default_rng(0)
x, w = rng.normal(size=(2, 9, 8, 3)).astype("f"), rng.normal(size=(3, 3, 3, 2)).astype("f")
g = rng.normal(size=(3, 3, 1, 6)).astype("f")
count = 0
for stride, rate, padding in itertools.product((1, 2, (1, 2)), (1, 2, (2, 3)), ("same", "valid", 1)):
    expected = oracles.depthwise_conv2d(x, w, stride, padding, rate)
    assert_close(ops.depthwise_conv2d(x, w, stride, padding, rate), expected, what=f"{stride} {rate} {padding}")
    assert ops.depthwise_conv2d(x[:0], w, stride, padding, rate).shape == (0, *expected.shape[1:])
    assert_close(ops.conv2d(x, g, stride, padding, rate), oracles.conv2d(x, g, stride, padding, rate))
    count += 1
wv, none = tf.constant(w), tf.constant(x[:0])
with tf.GradientTape() as tape:
    tape.watch(wv)
    loss = tf.reduce_sum(ops.depthwise_conv2d(none, wv))
assert not np.any(tape.gradient(loss, wv)), "a gradient from no images"
print(count)
"""


def test_values_without_onednn():
    """The same numbers on a build without oneDNN, whose kernels know neither rates nor unequal strides."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ONEDNN], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "27"
