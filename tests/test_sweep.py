"""Convolutions beside float64 loops, forward and both gradients: exhaustively on tiny images, and at random."""

import itertools
import os
import subprocess
import sys

import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, in_part
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep import PADDINGS, Case, check, computed, expected, random_case

from tfsep import ops

KINDS = {
    "depthwise": {"multiplier": 1},
    "depthwise, multiplier 2": {"multiplier": 2},
    "standard": {"groups": 1, "per_group": 2, "multiplier": 3},
    "grouped": {"groups": 2, "multiplier": 2},
}
WITHOUT_ONEDNN = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}


@pytest.mark.parametrize("kind", in_part(KINDS, 2))
def test_every_small_window(kind):
    """All kinds of kernels, strides, rates and paddings, on images smaller and larger than the kernel."""
    windows = itertools.product(
        ((1, 1), (2, 2), (3, 2), (1, 3)),
        (1, 2, 3, (1, 2), (3, 1)),
        (1, 2, 3, (2, 1)),
        ("same", "valid", 1),
        ((4, 5), (1, 3)),
    )
    cases = [Case(*window, **KINDS[kind]) for window in windows]
    cases = [case for case in cases if case.has_outputs()]
    assert len(cases) > 250
    for case in cases:
        check(case)


def pairs(most):
    side = st.integers(1, most)
    return st.one_of(side, st.tuples(side, side))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    case=st.builds(
        Case,
        kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        stride=pairs(3),
        rate=pairs(4),
        padding=st.sampled_from(PADDINGS),
        size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
        groups=st.sampled_from((None, None, 1, 2, 3)),
        multiplier=st.integers(1, 3),
        per_group=st.integers(1, 2),
        images=st.integers(0, 2),
        data_format=st.sampled_from(("channels_last", "channels_first")),
        dtype=st.sampled_from(("float32", "float64", "float16", "bfloat16")),
        known=st.one_of(st.none(), st.tuples(st.booleans(), st.booleans(), st.booleans())),
    ).filter(Case.has_outputs)
)
def test_arbitrary_convolutions(case):
    check(case)


@pytest.mark.parametrize(("groups", "per_group", "multiplier"), [(1, 24, 8), (8, 2, 2), (None, 12, 1)])
def test_images_wider_than_kernel_blocks(groups, per_group, multiplier):
    """Native kernels work in blocks of pixels and channels; one may be correct and the next not."""
    for dtype in ("bfloat16", "float32"):
        for stride, rate, width in itertools.product((1, 2), (1, 2, 4), (29, 64)):
            check(Case((3, 3), stride, rate, "same", (6, width), groups, multiplier, per_group, dtype=dtype))


@pytest.mark.slow
def test_wide_random_cases():
    rng = np.random.default_rng(2)
    for _ in range(60):
        check(random_case(rng, wide=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_thousand_random_cases(seed):
    rng = np.random.default_rng(1000 + seed)
    for number in range(1000):
        check(random_case(rng, wide=number % 5 == 0))


def without_onednn(cases, seed):
    command = [sys.executable, "sweep.py", str(cases), str(seed)]
    return subprocess.run(command, cwd=ROOT / "tests", env=WITHOUT_ONEDNN, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_random_cases_without_onednn():
    """A build without oneDNN has neither rates nor unequal strides, and refuses gradients: the numbers are the same."""
    done = without_onednn(50, 7)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "checked 50"


@pytest.mark.slow
def test_many_random_cases_without_onednn():
    done = without_onednn(5000, 8)
    assert done.returncode == 0, done.stderr[-2000:]


def test_random_cases_are_varied_and_have_outputs():
    rng = np.random.default_rng(0)
    cases = [random_case(rng) for _ in range(300)]
    assert all(case.has_outputs() for case in cases)
    for field in Case._fields:
        assert len({getattr(case, field) for case in cases}) > 1, field
    smaller = [case for case in cases if min(case.size) < max(case.kernel)]
    assert smaller, "no image smaller than its kernel"


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("wrong", ["scaled", "shifted", "shape", "NaN", "dtype"])
def test_check_detects_wrong_results(which, wrong, monkeypatch):
    """A wrong result, a wrong gradient to x, and a wrong gradient to the filter."""

    def spoil(value):
        spoiled = {
            "scaled": value * 1.001,
            "shifted": tf.roll(value, 1, axis=1),
            "shape": value[:, :-1],
            "NaN": value * np.float32("nan"),
            "dtype": tf.cast(value, "float64"),
        }
        return spoiled[wrong]

    right = computed

    def spoiled(*given):
        results = list(right(*given))
        results[which] = spoil(results[which])
        return results

    case = Case((3, 3), 1, 1, "same", (5, 6))
    check(case)
    monkeypatch.setattr("sweep.computed", spoiled)
    with pytest.raises(AssertionError):
        check(case)


@pytest.mark.parametrize(
    "case",
    [Case((3, 2), 2, 2, 1, (6, 5)), Case((2, 3), (1, 2), 1, "same", (5, 6), groups=2, multiplier=2, per_group=2)],
)
def test_two_oracles_agree(case):
    """The loop over the pixels of y, and the loop over unit inputs."""
    x, w = case.tensors()
    upstream, (y, to_x, to_w), (size, _, _) = expected(case, x, w)
    loop = oracles.depthwise_conv2d if case.groups is None else oracles.conv2d
    run = lambda a, b: loop(a, b, case.stride, case.padding, case.rate)  # noqa: E731
    assert_close(y, run(x.numpy(), w.numpy()), 1e-12)
    assert_close(size, run(np.abs(x.numpy()), np.abs(w.numpy())), 1e-12)
    other_x, other_w = oracles.gradients(run, x.numpy(), w.numpy(), upstream.numpy())
    assert_close(to_x, other_x, 1e-12)
    assert_close(to_w, other_w, 1e-12)
    with pytest.raises(AssertionError):
        assert_close(to_w, np.flip(other_w, axis=0), 1e-12)


LINES = [
    (ops.depthwise_conv2d, (3, 3, 2, 2), 2, "same", 2),
    (ops.depthwise_conv2d, (2, 3, 2, 1), (1, 2), 1, (3, 1)),
    (ops.conv2d, (3, 3, 2, 3), 2, "same", 1),
    (ops.conv2d, (2, 2, 1, 4), 1, "valid", 2),
]


@pytest.mark.parametrize(("op", "shape", "stride", "padding", "rate"), LINES)
def test_gradients_of_gradients(op, shape, stride, padding, rate):
    """A convolution is bilinear: the mixed second derivative along (a, b) is the convolution of a with b."""
    rng = np.random.default_rng(0)
    x, w, a, b = (tf.constant(rng.normal(size=s)) for s in ((1, 6, 7, 2), shape, (1, 6, 7, 2), shape))
    upstream = tf.constant(rng.normal(size=op(x, w, stride, padding, rate).shape))
    with tf.GradientTape() as outer:
        outer.watch(w)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(op(x, w, stride, padding, rate) * upstream)
        along = tf.reduce_sum(inner.gradient(loss, x) * a)
    mixed = tf.reduce_sum(outer.gradient(along, w) * b)
    assert_close(mixed, tf.reduce_sum(op(a, b, stride, padding, rate) * upstream), 1e-12)

    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, w])
        with tf.GradientTape() as inner:
            inner.watch([x, w])
            loss = tf.reduce_sum(op(x, w, stride, padding, rate) ** 2)
        to_x, to_w = inner.gradient(loss, [x, w])
        along = tf.reduce_sum(to_x * a) + tf.reduce_sum(to_w * b)
    curve = [float(tf.reduce_sum(op(x + t * a, w + t * b, stride, padding, rate) ** 2)) for t in (-1e-3, 0, 1e-3)]
    second = tf.reduce_sum(outer.gradient(along, x) * a) + tf.reduce_sum(outer.gradient(along, w) * b)
    assert_close(second, (curve[0] - 2 * curve[1] + curve[2]) / 1e-6, 1e-4)
