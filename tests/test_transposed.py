"""Transposed convolutions: the adjoint, the gradient and the matrix of the forward ones, and what Keras and PyTorch do.

`test_upsampling_layers` has the layers.
"""

import itertools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused_in_graph_too, assert_second_derivatives, in_part, tape_gradients

from tfsep import ops

PADDINGS = ("valid", "same", 1, ((0, 2), (1, 0)))
OPTIONS = list(itertools.product((1, 2, (1, 3)), (1, 2, (3, 2)), PADDINGS))


def both(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def tensors(*shapes, dtype="float64"):
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=shape), dtype) for shape in shapes]


def outputs(size, kernel, strides, padding, more, rate):
    """((top, left), size) of the result: Keras's rule for names, PyTorch's for pixels, as they document them."""
    reach = [(k - 1) * r + 1 for k, r in zip(kernel, both(rate), strict=True)]
    extra = (None, None) if more is None else both(more)
    result = []
    for axis, (i, k, s, e) in enumerate(zip(size, reach, both(strides), extra, strict=True)):
        if padding == "valid":
            result.append(i * s + max(k - s, 0) if e is None else (i - 1) * s + k + e)
        elif padding == "same":
            result.append(i * s if e is None else (i - 1) * s + k - 2 * (k // 2) + e)
        else:
            around = oracles.pads(None, None, None, None, padding)[axis]
            result.append((i - 1) * s + k - sum(around) + (e or 0))
    pads = oracles.pads(result, kernel, both(strides), both(rate), padding)
    return tuple(side[0] for side in pads), tuple(result)


def exact(x, w, strides, padding, groups, more, rate):
    before, size = outputs(x.shape[1:3], w.shape[:2], strides, padding, more, rate)
    return oracles.conv2d_transpose(x, w, strides, rate, groups, before, size)


def grouped(kind):
    """The op, its filter's shape, and that filter as the oracle's (kh, kw, F / groups, C), with its groups; x has 4."""
    if kind == "depthwise":
        op, shape = ops.depthwise_conv2d_transpose, (3, 2, 2, 2)
        # Channel c·M + m of x goes to channel c of the result: M channels a group.
        return op, shape, lambda w: np.reshape(w, (3, 2, 1, 4)), 2
    groups, filters = kind

    def op(x, w, strides, padding, more=None, rate=1, data_format="channels_last"):
        return ops.conv2d_transpose(x, w, strides, padding, groups, more, rate, data_format)

    return op, (3, 2, filters // groups, 4), np.asarray, groups


KINDS = ["depthwise", (1, 3), (2, 6), (4, 4), (4, 8)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS)
def test_values_and_gradients(kind, stride, rate, padding):
    """The gradient to x is the convolution of upstream; the one to the filter is that convolution's."""
    op, shape, as_grouped, groups = grouped(kind)
    x, w = tensors((2, 4, 5, 4), shape)
    expected = exact(x, as_grouped(w), stride, padding, groups, None, rate)
    y = op(x, w, stride, padding, None, rate)
    assert_close(y, expected, 1e-12)
    (upstream,) = tensors(expected.shape)
    before, size = outputs((4, 5), (3, 2), stride, padding, None, rate)
    reach = [(k - 1) * r + 1 for k, r in zip((3, 2), both(rate), strict=True)]
    ends = [(i - 1) * s + k - n - b for i, s, k, n, b in zip((4, 5), both(stride), reach, size, before, strict=True)]
    pads = [(b, max(e, 0)) for b, e in zip(before, ends, strict=True)]
    to_x, _, to_w = oracles.products(upstream, as_grouped(w), x, stride, pads, rate)
    for ours, right in zip(tape_gradients(op, x, w, upstream, stride, padding, None, rate), (to_x, to_w), strict=True):
        assert_close(ours, np.reshape(right, ours.shape), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS[::5])
def test_op_is_adjoint_and_gradient_of_the_forward_op(kind, stride, rate, padding):
    """``<Ax, y> = <x, Aᵀy>``, and Aᵀy is TensorFlow's gradient of ``<Ax, y>`` to x."""
    op, shape, _, _ = grouped(kind)
    forward = ops.depthwise_conv2d if kind == "depthwise" else ops.conv2d
    y, w = tensors((2, 4, 5, 4), shape)
    back = op(y, w, stride, padding, None, rate)
    (x,) = tensors(back.shape)
    ahead = forward(x, w, stride, padding, rate)
    assert_close(tf.reduce_sum(ahead * y), tf.reduce_sum(x * back), 1e-11)
    assert_close(back, tape_gradients(forward, x, w, y, stride, padding, rate)[0], 1e-12)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, (3, 2), 5])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sizes_and_values_match_keras(kernel, stride, padding):
    x, w = tensors((2, 3, 4, 2), (*both(kernel), 3, 2))
    for more in (None, *range(min(both(stride)))):
        for rate in (1, 2) if stride == 1 else (1,):
            even = more == 0 and padding == "same" and any(((k - 1) * rate + 1) % 2 == 0 for k in both(kernel))
            if even:
                continue  # TensorFlow's op refuses the size that Keras asks of it.
            # TensorFlow has no rates for float64.
            dtype, tolerance = ("float64", 1e-12) if rate == 1 else ("float32", 1e-5)
            layer = keras.layers.Conv2DTranspose(
                3, kernel, stride, padding, more, dilation_rate=rate, use_bias=False, dtype=dtype
            )
            layer.build(x.shape)
            layer.set_weights([w])
            ours = ops.conv2d_transpose(x, w, stride, padding, 1, more, rate)
            assert_close(ours, layer(x), tolerance, f"{more}, {rate}")


@pytest.mark.parametrize(("more", "before", "size"), [(0, (2, 2), (6, 6)), ((1, 0), (1, 2), (7, 6))])
def test_even_kernel_with_same_padding_and_output_padding(more, before, size):
    """Keras's sizes, which TensorFlow refuses: half the kernel is cropped at both ends."""
    x, w = tensors((1, 4, 4, 2), (4, 4, 3, 2))
    expected = oracles.conv2d_transpose(x, w, 2, 1, 1, before, size)
    assert_close(ops.conv2d_transpose(x, w, 2, "same", 1, more), expected, 1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
@pytest.mark.parametrize(("stride", "more"), [(1, 0), (2, 0), (2, 1), ((2, 3), (1, 2))])
@pytest.mark.parametrize("rate", [1, 2, (1, 3)])
def test_values_match_pytorch(groups, padding, stride, more, rate):
    torch = pytest.importorskip("torch")
    x, w = tensors((2, 4, 5, 4), (3, 4, 3, 4))
    y = ops.conv2d_transpose(x, w, stride, padding, groups, more, rate)
    theirs = torch.nn.functional.conv_transpose2d(
        torch.tensor(np.transpose(x, (0, 3, 1, 2))),
        torch.tensor(np.transpose(w, (3, 2, 0, 1))),
        stride=stride,
        padding=padding,
        output_padding=more,
        groups=groups,
        dilation=rate,
    )
    assert_close(y, np.transpose(theirs.numpy(), (0, 2, 3, 1)), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("stride", "more", "rate", "padding"), [(2, 1, 1, 1), ((2, 3), (0, 2), 3, "same"), (3, 2, 2, 0)]
)
def test_output_padding(kind, stride, more, rate, padding):
    op, shape, as_grouped, groups = grouped(kind)
    x, w = tensors((2, 4, 5, 4), shape)
    expected = exact(x, as_grouped(w), stride, padding, groups, more, rate)
    assert_close(op(x, w, stride, padding, more, rate), expected, 1e-12)


@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS[::4])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_separable(stride, rate, padding, multiplier):
    x, depthwise, pointwise = tensors((2, 4, 5, 3), (3, 2, 3, multiplier), (1, 1, 3 * multiplier, 5))
    between = exact(x, np.transpose(depthwise, (0, 1, 3, 2)), stride, padding, 3, None, rate)
    y = ops.separable_conv2d_transpose(x, depthwise, pointwise, stride, padding, None, rate)
    assert_close(y, oracles.conv2d(between, pointwise), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (2, 3), (2, 2), (1, 2)])
def test_second_derivatives(kind, stride, rate):
    """The slope of the gradients of a function that is no longer bilinear, beside their central difference."""
    op, shape, _, _ = grouped(kind)
    x, w, a, b = tensors((1, 4, 3, 4), shape, (1, 4, 3, 4), shape)
    assert_second_derivatives(lambda x, w: op(x, w, stride, "same", None, rate), x, w, a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stride", "rate", "padding"), in_part(OPTIONS[::11], 2))
def test_unknown_sizes_and_empty_batch(kind, stride, rate, padding):
    op, shape, as_grouped, groups = grouped(kind)
    x, w = tensors((2, 4, 5, 4), shape)
    signature = [tf.TensorSpec((None, None, None, 4), "float64"), tf.TensorSpec(shape, "float64")]

    @tf.function(input_signature=signature, autograph=False)
    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = op(x, w, stride, padding, None, rate)
            loss = tf.reduce_sum(y)
        return y, *tape.gradient(loss, [x, w])

    expected = exact(x, as_grouped(w), stride, padding, groups, None, rate)
    y, *found = run(x, w)
    assert run.get_concrete_function().output_shapes[0].as_list() == [None, None, None, expected.shape[3]]
    assert_close(y, expected, 1e-12)
    for ours, eager in zip(found, tape_gradients(op, x, w, 1.0, stride, padding, None, rate), strict=True):
        assert_close(ours, eager, 1e-12)

    for y, to_x, to_w in (
        run(x[:0], w),
        (op(x[:0], w, stride, padding, None, rate), *tape_gradients(op, x[:0], w, 1.0, stride, padding, None, rate)),
    ):
        assert y.shape == (0, *expected.shape[1:])
        assert to_x.shape == (0, 4, 5, 4)
        np.testing.assert_array_equal(to_w, np.zeros(shape))


@pytest.mark.parametrize("kind", KINDS)
def test_size_below_minimum_at_run_time(kind):
    op, shape, _, _ = grouped(kind)
    (w,) = tensors(shape)
    run = tf.function(
        lambda x: op(x, w, 2, (3, 1)), input_signature=[tf.TensorSpec((1, None, None, 4), "float64")], autograph=False
    )
    assert run(tf.ones((1, 3, 2, 4), "float64")).shape[1:3] == (1, 2)
    for size in ((2, 2), (3, 1 - 1)):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            run(tf.ones((1, *size, 4), "float64"))
        assert r"input size: expected at least (3, 2) under padding ((3, 3), (1, 1)), got" in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("stride", "rate", "padding"), in_part([(2, 2, 1), (1, 1, "valid"), (2, 1, "same"), ((1, 2), (3, 1), "same")], 2)
)
def test_compiled_by_xla(kind, stride, rate, padding):
    op, shape, _, _ = grouped(kind)
    x, w = tensors((2, 4, 5, 4), shape, dtype="float32")

    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = op(x, w, stride, padding, None, rate)
            loss = tf.reduce_sum(y * y)
        return y, *tape.gradient(loss, [x, w])

    for compiled, eager in zip(tf.function(run, jit_compile=True, autograph=False)(x, w), run(x, w), strict=True):
        assert_close(compiled, eager)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 6e-3), ("bfloat16", 4e-2)])
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (2, 3)])
def test_dtypes(kind, dtype, tolerance, stride, rate):
    op, shape, as_grouped, groups = grouped(kind)
    x, w = tensors((2, 6, 5, 4), shape, dtype=dtype)
    y = op(x, w, stride, "same", None, rate)
    assert y.dtype == dtype
    rounded = (tf.cast(value, "float64").numpy() for value in (x, w))
    exact_x, exact_w = rounded
    expected = exact(exact_x, as_grouped(exact_w), stride, "same", groups, None, rate)
    assert_close(tf.cast(y, "float64"), expected, tolerance)
    ones = tf.ones_like(y)
    wide = [tf.constant(value) for value in (exact_x, exact_w)]
    right = tape_gradients(op, *wide, 1.0, stride, "same", None, rate)
    for ours, gradient in zip(tape_gradients(op, x, w, ones, stride, "same", None, rate), right, strict=True):
        assert ours.dtype == dtype
        assert_close(tf.cast(ours, "float64"), gradient, tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_first(kind):
    op, shape, _, _ = grouped(kind)
    x, w = tensors((2, 4, 5, 4), shape)
    first = op(tf.transpose(x, [0, 3, 1, 2]), w, 2, "same", None, 3, "channels_first")
    assert_close(tf.transpose(first, [0, 2, 3, 1]), op(x, w, 2, "same", None, 3), 1e-14)


def test_separable_channels_first():
    x, depthwise, pointwise = tensors((2, 4, 5, 3), (3, 2, 3, 2), (1, 1, 6, 5))
    first = ops.separable_conv2d_transpose(
        tf.transpose(x, [0, 3, 1, 2]), depthwise, pointwise, 2, data_format="channels_first"
    )
    last = ops.separable_conv2d_transpose(x, depthwise, pointwise, 2)
    assert_close(tf.transpose(first, [0, 2, 3, 1]), last, 1e-14)


def test_matrix_of_the_worked_example():
    """The 4×9 matrix of a 2×2 kernel on a 3×3 image, as a guide to convolution arithmetic prints it."""
    matrix = ops.convolution_matrix([[1.0, 2.0], [3.0, 4.0]], (3, 3))
    assert matrix.shape == (4, 9)
    assert len(matrix.values) == 16
    np.testing.assert_array_equal(
        tf.sparse.to_dense(matrix),
        [
            [1, 2, 0, 3, 4, 0, 0, 0, 0],
            [0, 1, 2, 0, 3, 4, 0, 0, 0],
            [0, 0, 0, 1, 2, 0, 3, 4, 0],
            [0, 0, 0, 0, 1, 2, 0, 3, 4],
        ],
    )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS)
def test_matrix_equals_the_convolution(groups, stride, rate, padding):
    """C is the Jacobian of the convolution, one input at a time in NumPy; y = Cx, and x' = Cᵀy is the transposed op."""
    filters = 4
    size = outputs((3, 2), (3, 2), stride, padding, None, rate)[1]
    (w,) = tensors((3, 2, 4 // groups, filters))
    matrix = ops.convolution_matrix(w, (*size, 4), stride, padding, rate)
    dense = tf.sparse.to_dense(matrix).numpy()  # which checks that the indices are in order
    units = np.eye(dense.shape[1]).reshape(-1, *size, 4)
    columns = oracles.conv2d(units, w, stride, padding, rate)
    assert_close(dense, columns.reshape(dense.shape[1], -1).T, 1e-14)
    x, y = tensors((1, *size, 4), (1, 3, 2, filters))
    flat = tf.sparse.sparse_dense_matmul(matrix, tf.reshape(x, [-1, 1]))
    assert_close(flat, tf.reshape(ops.conv2d(x, w, stride, padding, rate), [-1, 1]), 1e-12)
    flat = tf.sparse.sparse_dense_matmul(matrix, tf.reshape(y, [-1, 1]), adjoint_a=True)
    assert_close(flat, tf.reshape(ops.conv2d_transpose(y, w, stride, padding, groups, None, rate), [-1, 1]), 1e-12)


def test_matrix_of_one_channel_and_of_a_depthwise_filter():
    w, depthwise, x = tensors((2, 3), (2, 3, 4, 2), (1, 5, 6, 4))
    plain = tf.sparse.to_dense(ops.convolution_matrix(w, (5, 6), 2, "same"))
    assert_close(plain, tf.sparse.to_dense(ops.convolution_matrix(w[..., None, None], (5, 6, 1), 2, "same")), 0)
    matrix = ops.convolution_matrix(tf.reshape(depthwise, [2, 3, 1, 8]), (5, 6, 4), 2)
    y = tf.sparse.sparse_dense_matmul(matrix, tf.reshape(x, [-1, 1]))
    assert_close(y, tf.reshape(ops.depthwise_conv2d(x, depthwise, 2), [-1, 1]), 1e-12)


def test_matrix_in_a_graph_has_a_gradient():
    x, w = tensors((1, 4, 4, 2), (3, 3, 2, 3))

    @tf.function(autograph=False)
    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            matrix = ops.convolution_matrix(w, x.shape[1:], padding="same")
            loss = tf.reduce_sum(tf.sparse.sparse_dense_matmul(matrix, tf.reshape(x, [-1, 1])) ** 2)
        return tape.gradient(loss, w)

    def forward(x, w):
        return ops.conv2d(x, w, padding="same") ** 2

    assert_close(run(x, w), tape_gradients(forward, x, w, 1.0)[1], 1e-12)


X, W = np.zeros((1, 4, 4, 4), "f"), np.zeros((3, 3, 2, 4), "f")
D, P = np.zeros((3, 3, 4, 2), "f"), np.zeros((1, 1, 8, 3), "f")
up, up_depthwise, up_separable = ops.conv2d_transpose, ops.depthwise_conv2d_transpose, ops.separable_conv2d_transpose
WRONG = {
    "nothing": (TypeError, "x", lambda: up(None, W)),
    "rank of x": (ValueError, "x", lambda: up(X[0], W)),
    "rank of filter": (ValueError, "filter", lambda: up(X, W[0])),
    "no rows": (ValueError, "input size", lambda: up(X[:, :0], W)),
    "no channels": (ValueError, "x", lambda: up(X[..., :0], W)),
    "no filters": (ValueError, "filter", lambda: up(X, W[:, :, :0])),
    "channels": (ValueError, "filter", lambda: up(X, W[..., :3])),
    "integers": (TypeError, "x", lambda: up(X.astype(int), W)),
    "dtypes": (TypeError, "filter", lambda: up(X, W.astype("float64"))),
    "strides": (ValueError, "strides", lambda: up(X, W, 0)),
    "rate": (ValueError, "rate", lambda: up(X, W, rate=0)),
    "padding": (ValueError, "padding", lambda: up(X, W, padding="causal")),
    "negative padding": (ValueError, "padding", lambda: up(X, W, padding=-1)),
    "data_format": (ValueError, "data_format", lambda: up(X, W, data_format="NHWC")),
    "groups that do not divide": (ValueError, "groups", lambda: up(X, W, groups=3)),
    "groups 0": (ValueError, "groups", lambda: up(X, W, groups=0)),
    "groups float": (ValueError, "groups", lambda: up(X, W, groups=2.0)),
    "output_padding is the stride": (ValueError, "output_padding", lambda: up(X, W, 2, 1, output_padding=2)),
    "output_padding of rows": (ValueError, "output_padding", lambda: up(X, W, (1, 2), 1, output_padding=1)),
    "output_padding beside a rate": (ValueError, "output_padding", lambda: up(X, W, 1, output_padding=1, rate=2)),
    "output_padding negative": (ValueError, "output_padding", lambda: up(X, W, 2, output_padding=-1)),
    "output_padding float": (ValueError, "output_padding", lambda: up(X, W, 2, output_padding=1.0)),
    "no size": (ValueError, "input size", lambda: up(X, W, 1, 3)),
    "no size of columns": (ValueError, "input size", lambda: up(X, W, 1, (0, 3))),
    "no size under same": (
        ValueError,
        "input size",
        lambda: up(X[:, :1, :1], np.zeros((2, 2, 1, 4), "f"), 2, "same", output_padding=0),
    ),
    "depthwise channels": (ValueError, "filter", lambda: up_depthwise(X, D)),
    "depthwise output_padding": (ValueError, "output_padding", lambda: up_depthwise(X, D[:, :, :2], output_padding=1)),
    "depthwise no size": (ValueError, "input size", lambda: up_depthwise(X, D[:, :, :2], 1, 3)),
    "separable channels": (ValueError, "depthwise_filter", lambda: up_separable(X, D[:, :, :3], P)),
    "separable pointwise": (ValueError, "pointwise_filter", lambda: up_separable(X, D, P[:, :, :7])),
    "separable dtype": (TypeError, "pointwise_filter", lambda: up_separable(X, D, P.astype("float64"))),
    "separable output_padding": (ValueError, "output_padding", lambda: up_separable(X, D, P, 2, output_padding=3)),
    "matrix without a size": (ValueError, "input size", lambda: ops.convolution_matrix(W[:, :, 0, 0], (2, 2))),
    "matrix shape": (ValueError, "input_shape", lambda: ops.convolution_matrix(W, (4,))),
    "matrix open shape": (ValueError, "input_shape", lambda: ops.convolution_matrix(W, (4, None, 4))),
    "matrix shape 0": (ValueError, "input_shape", lambda: ops.convolution_matrix(W, (4, 0, 4))),
    "matrix no shape": (ValueError, "input_shape", lambda: ops.convolution_matrix(W, 4)),
    "matrix rank": (ValueError, "filter", lambda: ops.convolution_matrix(W, (4, 4))),
    "matrix rank of four": (ValueError, "filter", lambda: ops.convolution_matrix(W[0], (4, 4, 4))),
    "matrix groups": (ValueError, "filter", lambda: ops.convolution_matrix(W, (4, 4, 3))),
    "matrix dtype": (TypeError, "filter", lambda: ops.convolution_matrix([[1, 2]], (4, 4))),
    "matrix strides": (ValueError, "strides", lambda: ops.convolution_matrix(W, (4, 4, 4), 0)),
}


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_errors(case, in_graph):
    assert_refused_in_graph_too(WRONG[case], in_graph)
