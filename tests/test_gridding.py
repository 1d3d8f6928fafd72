"""Stacks of dilated convolutions: counts against real convolutions of an impulse, holes against a count of zeros."""

import itertools

import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_refused, assert_sentence, in_part
from matplotlib.figure import Figure
from processes import imported_by

from tfsep import MOBILENETV1_CONV_DEFS, Conv, DepthSepConv, geometry, ops, plots
from tfsep.defs import resolve

RATES = [r for n in (1, 2, 3) for r in itertools.product((1, 2, 3, 4, 6), repeat=n)]
STACKS_OF_RATES = [r for n in (2, 3) for r in itertools.combinations_with_replacement(range(1, 17), n)]


def impulse_response(rates, kernel):
    """The impulse response of transposed layers of ones: a stack of full correlations."""
    kh, kw = kernel
    y = np.ones((1, 1, 1, 1))
    for rows, columns in rates:
        pad = (rows * (kh - 1),) * 2, (columns * (kw - 1),) * 2
        y = oracles.conv2d(y, np.ones((kh, kw, 1, 1)), 1, pad, (rows, columns))
    return y[0, :, :, 0]


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3), (1, 4)])
@pytest.mark.parametrize("rates", [((1, 1),), ((2, 2), (2, 2)), ((1, 2), (3, 1)), ((2, 3), (1, 4), (2, 2))])
def test_coverage_equals_an_impulse_response(rates, kernel):
    counts = geometry.coverage(rates, kernel)
    np.testing.assert_array_equal(counts, impulse_response(rates, kernel))
    assert counts.dtype == np.int64
    assert counts.sum() == np.prod(kernel) ** len(rates)


def test_coverage_equals_the_gradient_of_an_output():
    rates, x = (1, 3, 2), tf.Variable(tf.zeros((1, 13, 13, 1)))
    with tf.GradientTape() as tape:
        y = x
        for rate in rates:
            y = ops.conv2d(y, tf.ones((3, 3, 1, 1)), rate=rate)
    np.testing.assert_array_equal(tape.gradient(y, x)[0, :, :, 0], geometry.coverage(rates))


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_check_rates_equals_a_brute_force_count(kernel):
    for rates in RATES:
        counts = geometry.coverage(rates, kernel)
        check = geometry.check_rates(rates, kernel)
        missing = "".join("0" if count else "1" for count in counts.diagonal())
        assert check.size == counts.shape
        assert check.holes == np.sum(counts == 0)
        assert check.complete == (counts.min() > 0)
        assert check.largest_hole == (max(map(len, missing.split("0"))),) * 2
        assert check.common_divisor == (np.gcd.reduce(rates),) * 2


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_suggested_rates_are_the_best(kernel):
    """Among all stacks of this length without holes: the same sum or the nearest, and the smallest maximum."""
    whole = [r for r in STACKS_OF_RATES if geometry.coverage(r, kernel).min() > 0]
    for rates in (r for r in RATES if len(r) > 1):
        check = geometry.check_rates(rates, kernel)
        if check.complete:
            assert check.suggestion == rates
            continue
        others = [r for r in whole if len(r) == len(rates)]
        nearest = min(abs(sum(r) - sum(rates)) for r in others)
        smallest = min(max(r) for r in others if abs(sum(r) - sum(rates)) == nearest)
        given = check.suggestion
        assert geometry.check_rates(given, kernel).complete
        assert np.gcd.reduce(given) == 1
        assert (abs(sum(given) - sum(rates)), max(given)) == (nearest, smallest), (rates, given)


def test_known_rates():
    """The paper's: rates of 2 cover a quarter; 1, 2, 5 is whole, 1, 2, 9 is not; a sum too large for so few layers."""
    assert geometry.check_rates([2, 2, 2]).suggestion == (1, 2, 3)
    assert geometry.check_rates([1, 2, 5]).complete
    assert not geometry.check_rates([1, 2, 9]).complete
    assert geometry.check_rates([8, 8]).suggestion == (1, 3)
    assert geometry.check_rates([2]).suggestion == (1,)


def test_axes_are_checked_separately():
    check = geometry.check_rates([(2, 1), (2, 3)])
    assert check.size == (9, 9)
    assert check.holes == 4 * 9
    assert check.largest_hole == (1, 0)
    assert check.common_divisor == (2, 1)
    assert check.suggestion == (1, 3)


def paper_distance(rates):
    """M2 of arXiv 1702.08502, equation 2, as it is printed."""
    m = rates[-1]
    for r in reversed(rates[1:-1]):
        m = max(m - 2 * r, m - 2 * (m - r), r)
    return m


def test_rule_of_the_paper_and_its_exceptions():
    for rates in (r for r in RATES if len(r) > 1):
        check = geometry.check_rates(rates)
        assert check.distance == (paper_distance(rates),) * 2
        if rates[0] == 1 and list(rates) == sorted(rates) and len(rates) == 3:
            assert check.complete == (check.distance[0] <= 3), rates
    by_rule = {r: geometry.check_rates(r).distance[0] <= 3 for r in ((1, 2, 5), (2, 2, 2), (2, 3), (1, 3, 2))}
    by_count = {r: geometry.check_rates(r).complete for r in by_rule}
    assert by_rule == {(1, 2, 5): True, (2, 2, 2): True, (2, 3): True, (1, 3, 2): False}
    assert by_count == {(1, 2, 5): True, (2, 2, 2): False, (2, 3): False, (1, 3, 2): True}


def test_check_prints_one_sentence():
    assert str(geometry.check_rates([2, 2, 2])) == (
        "rates (2, 2, 2), kernel 3: receptive field 13×13, 120 of its 169 pixels never seen, in holes up to 1×1 "
        "pixels, common divisor 2; try (1, 2, 3)"
    )
    assert str(geometry.check_rates([(1, 2)], (3, 1))) == "rates ((1, 2)), kernel (3, 1): receptive field 3×1, no holes"


STACKS = {
    "strides": ((Conv(3, 2, 1), Conv((5, 2), (1, 3), 1), Conv(1, 1, 1, 2)), (31, 29)),
    "rates": ((Conv(3, 1, 1, 2), Conv(3, 2, 1, (1, 3)), Conv(2, 1, 1)), (24, 28)),
}


@pytest.mark.parametrize("padding", in_part([("same",), ("valid",), (((0, 1), (2, 0)),), (1,)], 2))
@pytest.mark.parametrize("case", STACKS)
def test_receptive_field_is_the_support_of_the_gradient(case, padding):
    layers, size = STACKS[case]
    field = geometry.receptive_field(layers, padding=padding, size=size)
    x = tf.Variable(tf.zeros((1, *size, 1)))
    with tf.GradientTape(persistent=True) as tape:
        y = x
        for layer in layers:
            window = geometry.Window.of(layer.kernel, layer.stride, padding, layer.rate)
            y = ops.conv2d(y, tf.ones((*window.kernel, 1, 1)), window.strides, padding, window.rate)
        outputs = {(i, j): y[0, i, j, 0] for i in range(y.shape[1]) for j in range(y.shape[2])}
    for (i, j), output in outputs.items():
        seen = np.argwhere(tape.gradient(output, x)[0, :, :, 0].numpy() > 0)
        if not len(seen):
            continue
        region = field.region(i, j)
        low, high = (np.array([side[end] for side in region]) for end in (0, 1))
        assert (seen.min(axis=0) >= low).all()
        assert (seen.max(axis=0) <= high).all()
        if (low >= 0).all() and (high < size).all():
            np.testing.assert_array_equal(seen.min(axis=0), low)
            np.testing.assert_array_equal(seen.max(axis=0), high)
            assert field.center(i, j) == tuple((low + high) / 2)


def test_published_receptive_fields():
    """Araujo et al., Table 1: MobileNet v1 sees 315 pixels at stride 32."""
    field = geometry.receptive_field(MOBILENETV1_CONV_DEFS)
    assert (field.size, field.stride) == ((315, 315), (32, 32))
    assert geometry.receptive_field(resolve(MOBILENETV1_CONV_DEFS)) == field
    assert geometry.receptive_field([DepthSepConv(3, 2, 8)]).size == (3, 3)
    assert geometry.receptive_field([1, (2, 3)], kernel=(3, 5)).size == (7, 17)


def test_numpy_rates():
    given = geometry.check_rates(np.array([2, 2, 2]))
    assert given == geometry.check_rates((2, 2, 2))
    assert all(type(n) is int for rate in given.rates for n in rate)
    assert geometry.check_rates(np.array([[1, 2], [2, 1]])).rates == ((1, 2), (2, 1))


def test_check_rates_imports_neither_tensorflow_nor_numpy():
    program = "import tfsep; tfsep.geometry.check_rates([2, 2]); tfsep.geometry.receptive_field([1, 2])"
    assert imported_by(program, ("tensorflow", "keras", "numpy", "matplotlib", "tfsep")) == ["tfsep"]


def test_coverage_plot():
    figure = plots.coverage([2, 2])
    pictures = [axes.images[0] for axes in figure.axes if axes.images]
    counts = geometry.coverage([2, 2])
    np.testing.assert_array_equal(pictures[0].get_array().filled(0), counts)
    np.testing.assert_array_equal(pictures[0].get_array().mask, counts == 0)
    np.testing.assert_array_equal(pictures[1].get_array().filled(0), geometry.coverage([1, 3]))
    assert pictures[0].get_extent() == [-4.5, 4.5, 4.5, -4.5]
    (whole,) = [axes for axes in plots.coverage(iter([1, (2, 1)])).axes if axes.images]
    assert whole.get_title() == "rates 1, 2×1: no holes"


def test_coverage_plot_in_a_given_figure():
    given = Figure(figsize=(9, 3))
    assert plots.coverage([2, 2], figure=given) is given
    assert given.get_size_inches().tolist() == [9, 3]
    drawn, expected = (
        [axes.images[0].get_array() for axes in figure.axes if axes.images]
        for figure in (given, plots.coverage([2, 2]))
    )
    assert len(drawn) == len(expected) == 2
    for picture, same in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(picture.filled(0), same.filled(0))
    half = Figure().subfigures(1, 2)[0]
    assert plots.coverage([1], figure=half) is half
    assert len(half.axes) == 2


def full():
    figure = Figure()
    figure.subplots()
    return figure


def test_figure_of_another_library():
    with pytest.raises(TypeError) as error:
        plots.coverage([1], figure=(9, 3))
    assert_sentence(error.value, "figure")


ERRORS = {
    "no rates": ("rates", lambda: geometry.coverage([])),
    "a rate of 0": ("rates", lambda: geometry.check_rates([1, 0])),
    "half a rate": ("rates", lambda: geometry.check_rates([1, 1.5])),
    "one number": ("rates", lambda: geometry.check_rates(3)),
    "a word": ("rates", lambda: geometry.coverage("123")),
    "kernel": ("kernel", lambda: geometry.coverage([1], 0)),
    "too far": ("rates", lambda: geometry.check_rates([10**9])),
    "too many": ("rates", lambda: geometry.coverage([1] * 20)),
    "of the picture": ("rates", lambda: plots.coverage([0])),
    "a figure with axes": ("figure", lambda: plots.coverage([1], figure=full())),
    "no layers": ("layers", lambda: geometry.receptive_field([])),
    "a number of layers": ("layers", lambda: geometry.receptive_field(3)),
    "a layer of nothing": ("layers", lambda: geometry.receptive_field([None])),
    "kernel of a layer": ("kernel_size", lambda: geometry.receptive_field([Conv(0, 1, 1)])),
    "stride of a layer": ("strides", lambda: geometry.receptive_field([Conv(3, 0, 1)])),
    "padding": ("padding", lambda: geometry.receptive_field([1], padding="full")),
    "a size is wanted": ("size", lambda: geometry.receptive_field([Conv(3, 2, 1)], padding="same")),
    "size": ("size", lambda: geometry.receptive_field([1], size=0)),
    "too small": ("input size", lambda: geometry.receptive_field([4], size=8)),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    argument, run = ERRORS[case]
    assert_refused(run, argument)
