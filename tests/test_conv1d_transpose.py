"""Transposed convolutions of sequences: the op beside loops and PyTorch, and the quantized layer beside its file."""

import itertools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_refused, tape_gradients
from layer_checks import randomize

from tfsep import layers, ops, quantize, tflite

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 7, 4)).astype("float32")
PADDINGS = ("valid", "same", 1, (0, 2))
OPTIONS = list(itertools.product((1, 2, 3), (1, 2, 3), PADDINGS))
# Filters of x's 4 channels, (k, F / groups, C), by the number of groups.
SHAPES = {1: (3, 3, 4), 2: (3, 3, 4), 4: (2, 2, 4)}


def tensors(*shapes, dtype="float64"):
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=shape), dtype) for shape in shapes]


def before_and_length(length, taps, stride, padding, more, rate):
    """The padding before, and the length of the result: Keras's rule for names, PyTorch's for elements."""
    reach, ahead = (taps - 1) * rate + 1, (length - 1) * stride
    if padding == "valid":
        return 0, ahead + (max(reach, stride) if more is None else reach + more)
    if padding == "same":
        count = length * stride if more is None else ahead + reach - 2 * (reach // 2) + more
        return max(ahead + reach - count, 0) // 2, count
    ends = (padding, padding) if isinstance(padding, int) else padding
    return ends[0], ahead + reach - sum(ends) + (more or 0)


def exact(x, w, stride, padding, groups, more, rate):
    """One input element and tap at a time."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    taps, per_group, channels = w.shape
    own = channels // groups
    before, count = before_and_length(x.shape[1], taps, stride, padding, more, rate)
    y = np.zeros((len(x), count, per_group * groups))
    for i, tap, g in np.ndindex(x.shape[1], taps, groups):
        at = i * stride + tap * rate - before
        if 0 <= at < count:
            seen, filters = slice(g * own, (g + 1) * own), slice(g * per_group, (g + 1) * per_group)
            y[:, at, filters] += x[:, i, seen] @ w[tap, :, seen].T
    return y


@pytest.mark.parametrize("groups", SHAPES)
@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS)
def test_values_and_gradients(groups, stride, rate, padding):
    x, w = tensors((1, 5, 4), SHAPES[groups])
    for more in (None, *range(stride)):
        right = exact(x, w, stride, padding, groups, more, rate)
        y = ops.conv1d_transpose(x, w, stride, padding, groups, more, rate)
        assert_close(y, right, 1e-12, f"output_padding {more}")
    (upstream,) = tensors(right.shape)
    expected = oracles.gradients(
        lambda x, w: exact(x, w, stride, padding, groups, more, rate), x.numpy(), w.numpy(), upstream.numpy()
    )
    found = tape_gradients(lambda x, w: ops.conv1d_transpose(x, w, stride, padding, groups, more, rate), x, w, upstream)
    for ours, one in zip(found, expected, strict=True):
        assert_close(ours, one, 1e-12)


@pytest.mark.parametrize("groups", SHAPES)
@pytest.mark.parametrize(("stride", "rate", "padding"), OPTIONS)
def test_is_the_adjoint_of_conv1d(groups, stride, rate, padding):
    """``<Ax, y> = <x, Aᵀy>``."""
    y, w = tensors((2, 5, 4), SHAPES[groups])
    back = ops.conv1d_transpose(y, w, stride, padding, groups, None, rate)
    (x,) = tensors(back.shape)
    ahead = ops.conv1d(x, w, stride, padding, rate)
    assert_close(tf.reduce_sum(ahead * y), tf.reduce_sum(x * back), 1e-11)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("stride", "more", "rate"), [(1, 0, 1), (2, 0, 1), (2, 1, 2), (3, 2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_values_equal_pytorch(groups, padding, stride, more, rate):
    torch = pytest.importorskip("torch")
    x, w = tensors((2, 5, 4), (3, 3, 4))
    theirs = torch.nn.functional.conv_transpose1d(
        torch.tensor(np.transpose(x, (0, 2, 1))),
        torch.tensor(np.transpose(w, (2, 1, 0))),
        stride=stride,
        padding=padding,
        output_padding=more,
        groups=groups,
        dilation=rate,
    )
    y = ops.conv1d_transpose(x, w, stride, padding, groups, more, rate)
    assert_close(y, np.transpose(theirs.numpy(), (0, 2, 1)), 1e-12)


@pytest.mark.parametrize("groups", SHAPES)
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (2, 3)])
def test_unknown_sizes_and_no_sequences(groups, stride, rate):
    x, w = tensors((2, 5, 4), SHAPES[groups])
    run = tf.function(
        lambda x: ops.conv1d_transpose(x, w, stride, "same", groups, None, rate),
        input_signature=[tf.TensorSpec((None, None, 4), "float64")],
        autograph=False,
    )
    expected = exact(x, w, stride, "same", groups, None, rate)
    assert run.get_concrete_function().output_shapes.as_list() == [None, None, expected.shape[2]]
    assert_close(run(x), expected, 1e-12)
    assert run(x[:0]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("groups", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 6e-3), ("bfloat16", 4e-2)])
def test_dtypes(groups, dtype, tolerance):
    x, w = tensors((2, 5, 4), SHAPES[groups], dtype=dtype)
    y = ops.conv1d_transpose(x, w, 2, "same", groups, None, 3)
    assert y.dtype == dtype
    rounded = [tf.cast(value, "float64") for value in (x, w)]
    assert_close(tf.cast(y, "float64"), exact(*rounded, 2, "same", groups, None, 3), tolerance)


@pytest.mark.parametrize("groups", SHAPES)
def test_compiled_by_xla(groups):
    x, w = tensors((2, 5, 4), SHAPES[groups], dtype="float32")

    def run(x, w):
        return ops.conv1d_transpose(x, w, 2, 1, groups, 1, 2)

    assert_close(tf.function(run, jit_compile=True, autograph=False)(x, w), run(x, w))


def test_channels_first_op():
    x, w = tensors((2, 5, 4), (3, 3, 4))
    first = ops.conv1d_transpose(tf.transpose(x, [0, 2, 1]), w, 2, 1, 2, 1, 2, "channels_first")
    assert_close(tf.transpose(first, [0, 2, 1]), ops.conv1d_transpose(x, w, 2, 1, 2, 1, 2), 1e-14)


def randomized(*parts):
    model = keras.Sequential([keras.Input(X.shape[1:]), *parts])
    randomize(model)
    return model


QUANTIZED = {
    "same": lambda: layers.Conv1DTranspose(5, 3, 2, "same"),
    "elements": lambda: layers.Conv1DTranspose(5, 3, 2, (1, 0), 1, use_bias=False),
    "stride and rate": lambda: layers.Conv1DTranspose(4, 3, 2, rate=3),
    "groups": lambda: layers.Conv1DTranspose(6, 3, 2, 1, groups=2, activation="relu"),
    "keras": lambda: L.Conv1DTranspose(5, 3, strides=3, output_padding=2),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_file_computes_what_was_prepared(name, tmp_path):
    model = randomized(QUANTIZED[name](), L.ReLU())
    prepared = quantize.observe(quantize.prepare(model), X)
    report = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X)
    expected = np.asarray(model(X))
    assert (report.verification.differing, report.verification.elements) == (0, expected.size)
    assert np.sqrt(np.mean(np.square(prepared(X) - expected))) < 0.02 * np.std(expected)


W = np.zeros((3, 6, 4), "float32")
WRONG = {
    "causal op": ("padding", lambda: ops.conv1d_transpose(X, W, 2, "causal")),
    "rank": ("x", lambda: ops.conv1d_transpose(X[0], W)),
    "filter rank": ("filter", lambda: ops.conv1d_transpose(X, W[0])),
    "channels": ("filter", lambda: ops.conv1d_transpose(X, W[:, :, :3])),
    "groups": ("groups", lambda: ops.conv1d_transpose(X, W, groups=3)),
    "output_padding": ("output_padding", lambda: ops.conv1d_transpose(X, W, 2, output_padding=2)),
    "strides": ("strides", lambda: ops.conv1d_transpose(X, W, 0)),
    "no size": ("input size", lambda: ops.conv1d_transpose(X[:, :1], W, 1, 2)),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    argument, run = WRONG[case]
    assert_refused(run, argument)
