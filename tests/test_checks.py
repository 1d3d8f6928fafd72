"""The helpers complain when they should: each is fed right answers, and wrong ones of every kind it is there for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optional_packages
import pytest
import quick_cases
import tensorflow as tf
from checks import (
    assert_close,
    assert_refused,
    assert_refused_in_graph_too,
    assert_second_derivatives,
    assert_sentence,
    in_part,
    tape_gradients,
)
from oracles import batch_normalization, conv2d, depthwise_conv2d, gradients, pads, separable_conv2d


def test_assert_close_accepts_close_values():
    assert_close([1.0, 2.0], [1.0, 2.0 + 1e-6])
    assert_close(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.001]),
        ([1.0, 2.0], [1.0]),
        ([1.0, np.nan], [1.0, 2.0]),
        ([np.nan], [np.nan]),
        ([np.inf], [np.inf]),
        ([1e-3], [0.0]),
        (np.zeros((0, 3)), np.zeros((0, 2))),
        ([[1.0, 2.0]], [1.0, 2.0]),
    ],
)
def test_assert_close_fails_on_different_values(actual, expected):
    with pytest.raises(AssertionError):
        assert_close(actual, expected)


def test_assert_sentence_accepts_a_sentence():
    assert_sentence(ValueError("strides: expected a positive int, got 0"), "strides")


@pytest.mark.parametrize(
    "text", ["", "bad strides", "strides: expected an int", "rate: expected 1, got 2", "strides: expected 1,\n got 0"]
)
def test_assert_sentence_fails_on_other_messages(text):
    with pytest.raises(AssertionError):
        assert_sentence(ValueError(text), "strides")


def refuse(kind, text):
    raise kind(text)


def test_assert_refused():
    sentence = "strides: expected a positive int, got 0"
    assert assert_refused(lambda: refuse(ValueError, sentence), "strides") == sentence
    for in_graph in (False, True):
        assert_refused_in_graph_too((TypeError, "strides", lambda: refuse(TypeError, sentence)), in_graph)
    with pytest.raises(AssertionError):
        assert_refused(lambda: refuse(ValueError, sentence), "rate")
    with pytest.raises(pytest.fail.Exception):
        assert_refused(lambda: None, "strides")
    with pytest.raises(TypeError):
        assert_refused(lambda: refuse(TypeError, sentence), "strides")


def test_tape_gradients_of_a_product():
    x, w, upstream = (tf.constant(value) for value in (3.0, 4.0, 2.0))
    assert [float(g) for g in tape_gradients(lambda x, w, power: x**power * w, x, w, upstream, 2)] == [48.0, 18.0]


@tf.custom_gradient
def product_with_a_constant_for_a_gradient(x, w):
    return x * w, lambda upstream: (upstream * w, upstream * tf.stop_gradient(x))


def test_second_derivatives_of_a_product():
    values = [tf.constant(value, "float64") for value in ([1.0, 2.0], [3.0, 4.0], [0.5, 0.25], [1.0, -1.0])]
    assert_second_derivatives(lambda x, w: x * w, *values)
    with pytest.raises(AssertionError, match="off by"):
        assert_second_derivatives(product_with_a_constant_for_a_gradient, *values)


def test_conv2d_oracle_by_hand():
    x = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    w = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    assert conv2d(x, w)[0, ..., 0].tolist() == [[37, 47], [67, 77]]
    assert conv2d(x, w, rate=2)[0, ..., 0].tolist() == [[1 + 2 * 3 + 3 * 7 + 4 * 9]]
    assert conv2d(x, w, strides=2, padding="same")[0, ..., 0].tolist() == [[37, 3 + 3 * 6], [7 + 2 * 8, 9]]
    assert conv2d(x, w, strides=2, padding=1)[0, ..., 0].tolist() == [[4, 3 * 2 + 4 * 3], [2 * 4 + 4 * 7, 77]]


def test_grouped_oracle_separates_groups():
    x = np.ones((1, 1, 1, 4))
    w = np.arange(1.0, 17.0).reshape(8, 2).T.reshape(1, 1, 2, 8)
    assert conv2d(x, w).ravel().tolist() == [3, 7, 11, 15, 19, 23, 27, 31]
    x[..., 2:] = 0
    assert conv2d(x, w).ravel().tolist() == [3, 7, 11, 15, 0, 0, 0, 0]


def test_depthwise_oracle_orders_channels_before_multipliers():
    x = np.array([1.0, 10.0]).reshape(1, 1, 1, 2)
    w = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    assert depthwise_conv2d(x, w).ravel().tolist() == [1, 2, 30, 40]
    assert separable_conv2d(x, w, np.ones((1, 1, 4, 1))).ravel().tolist() == [73]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "rate", "expected"),
    [(4, 3, 2, 1, (0, 1)), (5, 3, 2, 1, (1, 1)), (7, 3, 1, 2, (2, 2)), (4, 2, 1, 1, (0, 1)), (3, 1, 2, 1, (0, 0))],
)
def test_same_padding_by_hand(size, kernel, stride, rate, expected):
    assert pads((size, size), (kernel, kernel), (stride, stride), (rate, rate), "same") == (expected, expected)


def test_gradients_oracle_on_a_product():
    x, w, up = np.array([2.0, 3.0]), np.array([5.0]), np.array([1.0, 10.0])
    to_x, to_w = gradients(lambda a, b: a * b, x, w, up)
    assert to_x.tolist() == [5, 50]
    assert to_w.tolist() == [32]


def test_batch_normalization_oracle():
    x = np.array([1.0, 3.0]).reshape(1, 1, 2, 1)
    y, mean, variance = batch_normalization(x, 2.0, 1.0, 0.0)
    assert (y.ravel().tolist(), mean.tolist(), variance.tolist()) == ([-1.0, 3.0], [2.0], [1.0])


def test_in_part_keeps_every_case():
    """The quick ones are every third, and none is lost."""
    rows = in_part(range(7), 3)
    assert [row.values for row in rows] == [(number,) for number in range(7)]
    assert [bool(row.marks) for row in rows] == [False, True, True, False, True, True, False]
    assert [row.values for row in in_part([(1, 2), (3, 4)], 1)] == [(1, 2), (3, 4)]


def test_quick_cases_are_those_of_tests_that_there_are():
    for file, tests in quick_cases.QUICK.items():
        text = Path(__file__).with_name(f"test_{file}.py").read_text()
        assert all(f"def test_{name}(" in text and step > 1 for name, step in tests.items()), file


class Case(SimpleNamespace):
    """A test as pytest collects it."""

    def get_closest_marker(self, name):
        return name if name in self.marks else None

    def add_marker(self, mark):
        self.marks.append(mark.name)


def test_cases_that_are_left_to_the_slow_run(monkeypatch):
    monkeypatch.setattr(quick_cases, "QUICK", {"ops": {"values": 2}})
    cases = [Case(path=Path(f), name=name, marks=marks) for f, name, marks in (
        ("test_ops.py", "test_values[1]", []), ("test_ops.py", "test_values[2]", ["slow"]),
        ("test_ops.py", "test_values[3]", []), ("test_ops.py", "test_values_too[1]", []),
        ("test_ops.py", "test_values[4]", []), ("test_layers.py", "test_values[2]", []),
    )]  # fmt: skip
    quick_cases.mark_slow_cases(cases)
    assert [case.marks for case in cases] == [[], ["slow"], ["slow"], [], [], []]


def test_names_of_tests_that_need_a_package_are_those_of_tests():
    for file, names in optional_packages.NEED_MICRO.items():
        text = Path(__file__).with_name(f"test_{file}.py").read_text()
        for name in names:
            assert f"def test_{name}(" in text, name


def test_tests_skip_without_their_package(monkeypatch):
    marked = []
    named = {"test_targets.py": "test_micro_outputs_are_matched", "test_convert.py": "test_bundle_folder[int8]"}
    items = [
        SimpleNamespace(path=Path(file), name=name, add_marker=marked.append)
        for file, name in {**named, "test_ops.py": "test_bundle_folder", "test_cost.py": "test_other"}.items()
    ]
    for found, expected in ((object(), 0), (None, 2)):
        monkeypatch.setattr(optional_packages, "find_spec", lambda name, found=found: found)
        optional_packages.skip_without_packages(items)
        assert len(marked) == expected
