"""Ops against float64 loops: gradients, layouts, dtypes, sizes known and unknown, no images, exports, errors.

`test_sweep` has the values and gradients of every description."""

import itertools
import re

import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused_in_graph_too, compiled_with_gradients, in_part
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsep import ops
from tfsep.ops import _lowering
from tfsep.ops._kernel_probe import computes_correctly
from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS

PADDINGS = ("same", "valid", 1, ((0, 1), (2, 0)))


def tensors(*shapes, dtype="float32"):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32).astype(dtype) for shape in shapes]


@pytest.mark.parametrize(("stride", "rate", "padding"), list(itertools.product((1, 2, (2, 1)), (1, 2), PADDINGS)))
def test_separable_values(stride, rate, padding):
    x, depthwise, pointwise = tensors((2, 9, 8, 3), (3, 3, 3, 2), (1, 1, 6, 5))
    expected = oracles.separable_conv2d(x, depthwise, pointwise, stride, padding, rate)
    assert_close(ops.separable_conv2d(x, depthwise, pointwise, stride, padding, rate), expected)


OPERATIONS = {
    "conv2d": (ops.conv2d, oracles.conv2d, (2, 2, 2, 3)),
    "grouped conv2d": (ops.conv2d, oracles.conv2d, (2, 2, 1, 2)),
    "depthwise_conv2d": (ops.depthwise_conv2d, oracles.depthwise_conv2d, (2, 2, 2, 2)),
}


def gradients(op, x, w, upstream, *options):
    """TensorFlow's gradients of ``sum(op(x, w) · upstream)``."""
    x, w = tf.convert_to_tensor(x), tf.convert_to_tensor(w)
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        loss = tf.reduce_sum(op(x, w, *options) * tf.cast(upstream, x.dtype))
    return tape.gradient(loss, [x, w])


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("stride", "rate", "padding"), list(itertools.product((1, 2, (1, 2)), (1, (1, 2)), PADDINGS)))
def test_gradients(name, stride, rate, padding):
    op, oracle, shape = OPERATIONS[name]
    x, w = tensors((1, 5, 6, 2), shape)
    upstream = np.random.default_rng(1).normal(size=oracle(x, w, stride, padding, rate).shape)
    to_x, to_w = oracles.gradients(lambda a, b: oracle(a, b, stride, padding, rate), x, w, upstream)
    ours_x, ours_w = gradients(op, x, w, upstream, stride, padding, rate)
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
    exact_x, exact_w = tf.cast(x, "float64").numpy(), tf.cast(w, "float64").numpy()
    expected = oracle(exact_x, exact_w, stride, "same", rate)
    assert_close(tf.cast(y, "float64"), expected, tolerance)
    ones = np.ones(expected.shape)
    wanted = oracles.gradients(lambda a, b: oracle(a, b, stride, "same", rate), exact_x, exact_w, ones)
    actual = gradients(op, x, w, ones, stride, "same", rate)
    for ours, exact, what in zip(actual, wanted, ("x", "filter"), strict=True):
        assert ours.dtype == dtype
        assert_close(tf.cast(ours, "float64"), exact, tolerance, what)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("stride", "rate", "padding"), in_part(itertools.product((1, 2, (1, 2)), (1, (1, 2)), ("same", "valid", 1)), 2)
)
def test_unknown_sizes_and_empty_batch(name, stride, rate, padding):
    op, oracle, shape = OPERATIONS[name]
    x, w = tensors((2, 7, 6, 2), shape)
    specs = {"x": tf.TensorSpec((None, None, None, 2)), "w": tf.TensorSpec(shape)}
    run = compiled_with_gradients(op, stride, padding, rate, **specs)
    expected = oracle(x, w, stride, padding, rate)
    y, to_x, to_w = run(x, w)
    assert_close(y, expected)
    known = gradients(op, x, w, np.ones(expected.shape), stride, padding, rate)
    assert_close(to_x, known[0], what="x")
    assert_close(to_w, known[1], what="filter")

    none = x[:0]
    y, to_x, to_w = run(none, w)
    assert y.shape == (0, *expected.shape[1:])
    assert to_x.shape == none.shape
    np.testing.assert_array_equal(to_w, np.zeros(shape))
    assert op(none, w, stride, padding, rate).shape == (0, *expected.shape[1:])
    np.testing.assert_array_equal(gradients(op, none, w, 1.0, stride, padding, rate)[1], np.zeros(shape))


WIDE = {
    "3×3": ((9, 10), (3, 3), 1, (7, 8), "same", True),
    "5×5": ((9, 10), (5, 5), 1, 4, "same", True),
    "a rate above the size": ((4, 5), (3, 3), 1, 12, "same", True),
    "columns alone": ((6, 10), (3, 3), 1, (1, 7), "same", True),
    "rows alone": ((10, 6), (3, 3), 1, (7, 1), "same", False),
    "as far as a kernel takes": ((9, 10), (3, 3), 1, 6, "same", False),
    "pixels": ((9, 10), (3, 2), 1, 5, ((1, 9), (8, 7)), True),
    "pixels on one side": ((9, 10), (2, 2), 1, 8, ((8, 0), (8, 0)), False),
    "a stride": ((9, 11), (3, 3), 2, 7, "same", True),
    "a stride of a common factor": ((9, 11), (3, 3), 2, 8, "same", True),
}


@pytest.mark.parametrize(
    ("case", "channels"),
    [*((case, (18, 1)) for case in WIDE), *(("3×3", counts) for counts in ((3, 1), (2, 2), (1, 1)))],
)
def test_wide_padding(case, channels):
    """Dilated kernels over more padding than oneDNN's depthwise kernel takes; another op then has the padding."""
    size, kernel, stride, rate, padding, wide = WIDE[case]
    x, w = tensors((2, *size, channels[0]), (*kernel, *channels))

    def on_cpu(*given):
        with tf.device("CPU"):
            return ops.depthwise_conv2d(*given)

    y = on_cpu(x, w, stride, padding, rate)
    upstream = np.random.default_rng(1).normal(size=y.shape)
    grouped = w.reshape(*kernel, 1, -1)
    exact = oracles.products(x, grouped, upstream, stride, padding, rate)
    results = y, *gradients(on_cpu, x, w, upstream, stride, padding, rate)
    for ours, right, what in zip(results, exact, ("y", "x", "filter"), strict=True):
        assert_close(ours, right.reshape(ours.shape), what=what)

    spec = {"x": tf.TensorSpec((None, *size, channels[0])), "w": tf.TensorSpec(w.shape)}
    run = compiled_with_gradients(on_cpu, stride, padding, rate, **spec).get_concrete_function()
    exact = oracles.products(x, grouped, np.ones(y.shape), stride, padding, rate)
    for ours, right, what in zip(run(tf.constant(x), tf.constant(w)), exact, ("y", "x", "filter"), strict=True):
        assert_close(ours, right.reshape(ours.shape), what=what)
    forward = next(op for op in run.graph.get_operations() if op.type in ("Conv2D", "DepthwiseConv2dNative"))
    native = computes_correctly("forward", DEPTHWISE_KERNELS, "float32", (stride, stride), (2, 2))
    assert (forward.type == "Conv2D") == (native and wide and channels[0] > channels[1] == 1)


@pytest.mark.parametrize("context", ["is_exporting", "is_saving", "is_in_saved_model", "is_compiling"])
def test_wide_padding_in_a_file_is_depthwise(context, monkeypatch):
    """Other programs, and other devices, have one depthwise operator for it; nor does XLA need another op."""
    x, w = tensors((1, 9, 9, 18), (3, 3, 18, 1))
    expected = oracles.depthwise_conv2d(x, w, 1, "same", 8)
    monkeypatch.setattr(_lowering, context, lambda: True)
    run = tf.function(lambda x: ops.depthwise_conv2d(x, w, 1, "same", 8), autograph=False)
    assert_close(run(tf.constant(x)), expected)
    assert not any(op.type == "Conv2D" for op in run.get_concrete_function(tf.constant(x)).graph.get_operations())


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("images", [None, 1])
@pytest.mark.parametrize(("rate", "padding", "size"), [(1, "valid", 2), (2, 1, 2), (2, "valid", 1), (1, "same", 0)])
def test_size_below_kernel_at_run_time(name, images, rate, padding, size):
    """TensorFlow with oneDNN returns uninitialised memory in the shape of x where the output has no size."""
    op, _, shape = OPERATIONS[name]
    x, w = tensors((1, size, size, 2), (3, 3, *shape[2:]))
    run = tf.function(lambda x: op(x, w, 1, padding, rate), input_signature=[tf.TensorSpec((images, None, None, 2))])
    effective = f"({2 * rate + 1}, {2 * rate + 1})"
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(x)
    assert f"input size: expected at least the effective kernel {effective} under padding" in str(error.value)
    assert f"got] [{size} {size}]" in str(error.value)


def test_pixel_padding_equal_to_same_adds_no_operator():
    """An exported graph pads only where the operator itself cannot."""
    spec = [tf.TensorSpec((1, 8, 8, 2)), tf.TensorSpec((3, 3, 2, 1))]

    def operators(padding, strides):
        with ops.exporting():
            graph = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, strides, padding)).get_concrete_function(*spec)
        return [op.type for op in graph.graph.get_operations()]

    assert "Pad" not in operators(1, 1)
    assert "Pad" not in operators(((0, 1), (0, 1)), 2)
    assert "Pad" in operators(1, 2)


@pytest.mark.parametrize("padding", ["same", "valid", 1])
@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
@pytest.mark.parametrize("rate", [1, 2, (2, 3)])
def test_exported_depthwise_conv2d_is_one_operator(stride, rate, padding):
    with ops.exporting():
        graph = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, stride, padding, rate)).get_concrete_function(
            tf.TensorSpec((1, 8, 8, 2)), tf.TensorSpec((3, 3, 2, 2))
        )
    silent = {"Placeholder", "Identity", "NoOp", *(("Pad", "Const") if padding == 1 else ())}
    (op,) = [op for op in graph.graph.get_operations() if op.type not in silent]
    assert op.type == "DepthwiseConv2dNative"
    both = [(v, v) if isinstance(v, int) else v for v in (stride, rate)]
    assert list(op.get_attr("strides")) == [1, *both[0], 1]
    assert list(op.get_attr("dilations")) == [1, *both[1], 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exported_conv2d_is_one_operator(dtype):
    """Also for a dtype whose gradients of groups and rates have no native kernel, and are lowered otherwise."""
    with ops.exporting():
        graph = tf.function(lambda x, w: ops.conv2d(x, w, (1, 2), "same", (2, 3))).get_concrete_function(
            tf.TensorSpec((1, 8, 8, 4), dtype), tf.TensorSpec((3, 3, 2, 4), dtype)
        )
    (op,) = [op for op in graph.graph.get_operations() if op.type not in ("Placeholder", "Identity", "NoOp")]
    assert op.type == "Conv2D"
    assert list(op.get_attr("strides")) == [1, 1, 2, 1]
    assert list(op.get_attr("dilations")) == [1, 2, 3, 1]


def test_exporting_ends_with_its_block():
    with pytest.raises(RuntimeError, match="inside"), ops.exporting():
        raise RuntimeError("inside")
    graph = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, 1, "same", 2)).get_concrete_function(
        tf.TensorSpec((1, 8, 8, 2)), tf.TensorSpec((3, 3, 2, 2))
    )
    assert any(op.type == "IdentityN" for op in graph.graph.get_operations()), "no gradient of its own"


X, W, D, P = (np.zeros(shape, "f") for shape in ((1, 5, 5, 4), (3, 3, 4, 8), (3, 3, 4, 2), (1, 1, 8, 3)))
WRONG = {
    "nothing": (TypeError, "x", lambda: ops.conv2d(None, W)),
    "a ragged list": (TypeError, "filter", lambda: ops.depthwise_conv2d(X, [[1.0], [1.0, 2.0]])),
    "no channels": (ValueError, "x", lambda: ops.conv2d(X[..., :0], W)),
    "no channels first": (ValueError, "x", lambda: ops.conv2d(X[:, :0], W, data_format="channels_first")),
    "no rows": (ValueError, "input size", lambda: ops.conv2d(X[:, :0], W, padding="same")),
    "dtypes of separable": (TypeError, "pointwise_filter", lambda: ops.separable_conv2d(X, D, P.astype("float16"))),
    "unequal pads": (ValueError, "padding", lambda: ops.conv2d(X, W, padding=((0, 1), 2, 3))),
    "four strides": (ValueError, "strides", lambda: ops.conv2d(X, W, [1, 2, 2, 1])),
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
    "huge strides": (ValueError, "strides", lambda: ops.conv2d(X, W, 2**31, "same")),
    "huge rate": (ValueError, "rate", lambda: ops.depthwise_conv2d(X, D, 1, "same", 2**40)),
    "huge padding": (ValueError, "padding", lambda: ops.depthwise_conv2d(X, D, 1, 2**30)),
    "a strange data_format": (ValueError, "data_format", lambda: ops.conv2d(X, W, data_format=np.array([1, 2]))),
    "rate": (ValueError, "rate", lambda: ops.depthwise_conv2d(X, D, rate=(1, 0))),
    "padding": (ValueError, "padding", lambda: ops.depthwise_conv2d(X, D, padding=-1)),
    "data_format": (ValueError, "data_format", lambda: ops.conv2d(X, W, data_format="NCHW")),
    "size": (ValueError, "input size", lambda: ops.conv2d(X, W, rate=3)),
    "size of separable": (ValueError, "input size", lambda: ops.separable_conv2d(X, D, P, rate=3)),
}


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_errors(case, in_graph):
    text = assert_refused_in_graph_too(WRONG[case], in_graph)
    if text.startswith(("strides:", "rate:", "padding:", "input size:")):
        assert re.search(r"where x \(N, H, W, C\) is \(\d+, \d+, \d+, \d+\) and the filter \(\d+, ", text)


def test_errors_under_autograph():
    """AutoGraph prefixes the message with the location, and keeps the type."""
    with pytest.raises(ValueError, match=r"strides: expected a positive int or a pair of them, got 0"):
        tf.function(lambda: ops.conv2d(X, W, 0))()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_adjoint_identity(data):
    """``<op(x, w), y> = <x, gradient to x> = <w, gradient to w>``: a convolution is linear in each."""
    draw = data.draw
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    options = draw(pair), draw(st.sampled_from(PADDINGS)), draw(pair)
    op, per_group = draw(st.sampled_from([(ops.depthwise_conv2d, 4), *((ops.conv2d, n) for n in (1, 2, 4))]))
    x, w = tensors((2, 8, 9, 4), (*draw(pair), per_group, 4))
    forward = op(x, w, *options).numpy().astype(np.float64)
    upstream = np.random.default_rng(2).normal(size=forward.shape).astype(np.float32)
    to_x, to_w = gradients(op, x, w, upstream, *options)
    scale = np.linalg.norm(forward) * np.linalg.norm(upstream)
    for side in (np.vdot(x, to_x), np.vdot(w, to_w)):
        assert abs(np.vdot(forward, upstream) - side) < 1e-5 * scale, options
