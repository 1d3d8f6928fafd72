"""Integer geometry: every output size against a count of window positions, every error against its wording."""

import itertools

import numpy as np
import pytest
from checks import assert_sentence
from oracles import pads

from tfsep import geometry
from tfsep._utils.arguments import positive_int, positive_number
from tfsep.geometry import Window
from tfsep.geometry._padding import choose_rate, normalize_data_format, normalize_padding
from tfsep.geometry._sizes import pair


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "rate", "padding"),
    list(
        itertools.product((1, 4, 5, 8), (1, 2, 3), (1, 2, 3), (1, 2, 3), ("same", "valid", 1, (0, 2), ((0, 1), (2, 0))))
    ),
)
def test_output_size_equals_a_count_of_windows(size, kernel, stride, rate, padding):
    window = Window.of(kernel, stride, padding, rate)
    expected_pads = pads((size, size), (kernel,) * 2, (stride,) * 2, (rate,) * 2, padding)
    counts = []
    for before, after in expected_pads:
        starts = range(0, size + before + after, stride)
        counts.append(sum(1 for start in starts if start + (kernel - 1) * rate < size + before + after))
    if 0 in counts:
        with pytest.raises(ValueError, match="leaves an output of no size"):
            window.output_size((size, size))
    else:
        assert window.output_size((size, size)) == tuple(counts)
        assert window.pads((size, size)) == expected_pads


def test_unknown_sizes_stay_unknown():
    assert Window.of(3, 2, "same").output_size((None, 5)) == (None, 3)


def test_axes_are_independent():
    window = Window.of((3, 1), (1, 2), ((1, 0), (0, 3)), (2, 1))
    assert window.effective_kernel == (5, 1)
    assert window.output_size((6, 7)) == (3, 5)


@pytest.mark.parametrize("value", [3, np.int64(3), (3, 3), [3, 3], np.array([3, 3]), np.array(3)])
def test_pair_accepts(value):
    assert pair(value, "kernel_size") == (3, 3)
    assert all(type(n) is int for n in pair(value, "kernel_size"))


@pytest.mark.parametrize("value", [0, -1, 1.0, "3", None, True, (1, 2, 3), (1,), (1, 0), (1, "2"), ()])
def test_pair_refuses_wrong_values(value):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole sentence is checked
        pair(value, "strides")
    assert_sentence(error.value, "strides")
    assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize("value", [0, -0.5, np.nan, np.inf, 10**400, True, None, "a", [1.0]])
def test_positive_number_refuses_wrong_values(value):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        positive_number(value, "tolerance")
    assert_sentence(error.value, "tolerance")


@pytest.mark.parametrize("value", [np.array([1.5, 2]), np.array([[1, 2], [3, 4]]), np.array([1, 2, 3])])
def test_pair_refuses_arrays_of_other_shapes(value):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        pair(value, "strides")
    assert_sentence(error.value, "strides")


@pytest.mark.parametrize("value", [0, -1, 2.5, True, None, "a"])
def test_positive_int_refuses(value):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        positive_int(value, "filters")
    assert_sentence(error.value, "filters")


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("VALID", "valid"),
        ("Same", "same"),
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        (np.array([1, 2]), ((1, 1), (2, 2))),
        (np.array([[0, 1], [2, 3]]), ((0, 1), (2, 3))),
    ],
)
def test_padding_accepts(padding, expected):
    assert normalize_padding(padding) == expected


@pytest.mark.parametrize("padding", ["full", -1, (1, -1), ((0, 1), (2,)), (1, 2, 3), 1.5, None, ((0, 1), (0, -1))])
def test_padding_refuses_wrong_values(padding):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        normalize_padding(padding)
    assert_sentence(error.value, "padding")


def test_data_format_refuses_wrong_values():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        normalize_data_format("NHWC")
    assert_sentence(error.value, "data_format")


def test_rate_and_dilation_rate_must_agree():
    assert choose_rate(2, 2) == (2, 2)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        choose_rate(2, 3)
    assert_sentence(error.value, "rate")


@pytest.mark.parametrize(
    ("kernel", "rate", "expected"),
    [
        ((3, 3), (1, 1), ((1, 1), (1, 1))),
        ((5, 3), (1, 2), ((2, 2), (2, 2))),
        ((2, 4), (1, 1), ((0, 1), (1, 2))),
    ],
)
def test_fixed_padding_follows_the_kernel(kernel, rate, expected):
    assert geometry.fixed_padding(kernel, rate) == expected
