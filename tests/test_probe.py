"""The probe of TensorFlow's kernels: it accepts correct ones and rejects wrong ones of every product."""

import itertools
from dataclasses import replace

import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close

from tfsep import ops
from tfsep.geometry import Window
from tfsep.ops import _kernel_probe as probe
from tfsep.ops import _lowering
from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS, WIDE_DEPTHWISE_KERNELS

PRODUCTS = ("forward", "input_gradient", "filter_gradient")


@pytest.fixture
def fresh():
    """A probe with an empty cache, before and after the test."""
    probe._passes.cache_clear()
    yield
    probe._passes.cache_clear()


def test_reference_products_match_the_oracle():
    rng = np.random.default_rng(0)
    for strides, rate, groups in (((1, 1), (1, 1), 1), ((2, 1), (2, 3), 2), ((3, 3), (1, 2), 4)):
        window = Window((3, 2), strides, "valid", rate)
        x, w = rng.normal(size=(2, 9, 8, 4)), rng.normal(size=(3, 2, 4 // groups, 8))
        upstream = rng.normal(size=(2, *window.output_size((9, 8)), 8))
        factors = (x, w), (upstream, w), (x, upstream)
        exact = oracles.products(x, w, upstream, strides, "valid", rate)
        for name, given, right in zip(PRODUCTS, factors, exact, strict=True):
            assert_close(probe.reference_product(name, *given, window, x.shape, w.shape), right, 1e-12, name)


def test_basic_kernels_pass(fresh):
    for product in PRODUCTS:
        assert probe.computes_correctly(product, DEPTHWISE_KERNELS, "float32", (1, 1), (1, 1))
        assert probe.computes_correctly(product, STANDARD_KERNELS, "float32", (2, 2), (1, 1), per_group=3)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("wrong", ["a rate missed", "scaled", "garbage in one", "shape", "raises"])
def test_wrong_kernel_is_rejected(product, wrong, fresh, monkeypatch):
    right = getattr(STANDARD_KERNELS, product)

    def spoiled(one, other, window, *shape):
        value = right(one, other, window, *shape)
        if wrong == "a rate missed":
            return value if window.rate == (1, 1) else tf.roll(value, 1, axis=1)
        if wrong == "scaled":
            return value * 1.01
        if wrong == "garbage in one":
            return value + tf.one_hot(0, value.shape[-1], 1e3)
        if wrong == "shape":
            return value[..., :-1]
        raise tf.errors.UnimplementedError(None, None, "no such kernel")

    monkeypatch.setitem(probe._KINDS, "standard", STANDARD_KERNELS._replace(**{product: spoiled}))
    assert not probe.computes_correctly(product, STANDARD_KERNELS, "float32", (1, 1), (2, 2), per_group=3)
    for other in set(PRODUCTS) - {product}:
        assert probe.computes_correctly(other, STANDARD_KERNELS, "float32", (1, 1), (1, 1), per_group=3)


@pytest.mark.parametrize("wrong", ["rows", "columns"])
def test_wrong_padding_is_rejected(wrong, fresh, monkeypatch):
    right = WIDE_DEPTHWISE_KERNELS

    def shifted(x, w, window):
        (top, bottom), (left, end) = window.padding
        pads = ((bottom, top), (left, end)) if wrong == "rows" else ((top, bottom), (end, left))
        return right.forward(x, w, replace(window, padding=pads))

    given = "float32", (1, 1), (2, 2)
    assert probe.computes_correctly("forward", right, *given)
    probe._passes.cache_clear()
    monkeypatch.setitem(probe._KINDS, right.name, right._replace(forward=shifted))
    assert not probe.computes_correctly("forward", right, *given)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_accumulation_is_rejected(dtype, fresh, monkeypatch):
    def forward(x, w, window):
        rows, columns = (x.shape[axis] - w.shape[axis - 1] + 1 for axis in (1, 2))
        taps = np.ndindex(*w.shape[:2])
        return sum(STANDARD_KERNELS.tap_product(x[:, i : i + rows, j : j + columns], w[i, j]) for i, j in taps)

    def exact(*given):
        return tf.cast(forward(*(tf.cast(value, "float32") for value in given[:2]), given[2]), dtype)

    for kernel, right in ((forward, False), (exact, True)):
        probe._passes.cache_clear()
        monkeypatch.setitem(probe._KINDS, "standard", STANDARD_KERNELS._replace(forward=kernel))
        assert probe.computes_correctly("forward", STANDARD_KERNELS, dtype, (1, 1), (1, 1), per_group=3) == right


@pytest.mark.parametrize(
    ("kernels", "dtypes"), [(STANDARD_KERNELS, ["bfloat16"]), (DEPTHWISE_KERNELS, ["float16", "bfloat16", "float32"])]
)
def test_crashing_kernels_are_never_tried(kernels, dtypes, fresh, monkeypatch):
    monkeypatch.setattr(probe, "_passes", lambda *_: pytest.fail("tried"))
    for dtype, rate in itertools.product(dtypes, [(2, 1), (1, 2), (2, 2)]):
        assert not probe.computes_correctly("filter_gradient", kernels, dtype, (1, 1), rate)
    monkeypatch.setattr(probe, "_passes", lambda *_: True)
    for other in (((1, 1), "CPU", False), ((2, 2), "GPU", False), ((2, 2), "CPU", True)):
        rate, device, compiled = other
        assert probe.computes_correctly(
            "filter_gradient", kernels, dtypes[0], (1, 1), rate, device=device, compiled=compiled
        )


def test_probe_inside_a_user_graph(fresh):
    """In a graph no op runs when it is called: the probe runs in a thread of its own."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 8, 8, 2)).astype("f"), rng.normal(size=(3, 3, 2, 1)).astype("f")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        image, filter = tf.constant(x), tf.constant(w)
        y = ops.depthwise_conv2d(image, filter, 2, "same", 2)
        results = session.run([y, *tf.gradients(y, [image, filter])])
    exact = oracles.products(x, w.reshape(3, 3, 1, 2), np.ones((1, 4, 4, 2)), (2, 2), "same", (2, 2))
    for ours, right in zip(results, exact, strict=True):
        assert_close(ours, right.reshape(ours.shape), 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (1, 2), (2, 2), (2, 3), ((1, 2), (3, 1))])
@pytest.mark.parametrize("op", ["depthwise_conv2d", "conv2d"])
def test_fallbacks_without_native_kernels(op, stride, rate, dtype, monkeypatch):
    """Every lowering but the native kernels: what a build uses that computes none of them correctly."""
    monkeypatch.setattr(_lowering, "computes_correctly", lambda *_: False)
    rng = np.random.default_rng(0)
    shape = (3, 3, 2, 2) if op == "depthwise_conv2d" else (3, 3, 2, 3)
    x, w = (tf.cast(rng.normal(size=s), dtype) for s in ((2, 8, 7, 2), shape))
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = getattr(ops, op)(x, w, stride, "same", rate)
        loss = tf.reduce_sum(tf.cast(y, "float32"))
    to_x, to_w = tape.gradient(loss, [x, w])
    exact = [tf.cast(value, "float64").numpy() for value in (x, w)]
    grouped = exact[1].reshape(3, 3, 1, 4) if op == "depthwise_conv2d" else exact[1]
    ones = np.ones(y.shape)
    tolerance = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.02}[dtype]
    for ours, right in zip(
        (y, to_x, to_w), oracles.products(exact[0], grouped, ones, _pair(stride), "same", _pair(rate)), strict=True
    ):
        assert_close(tf.cast(ours, "float64"), right.reshape(ours.shape), tolerance)


def _pair(value):
    return (value, value) if isinstance(value, int) else value
