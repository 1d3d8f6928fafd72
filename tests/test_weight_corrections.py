"""Scales of kernels by error, and analytic bias correction, beside searches and loops in NumPy float64."""

import keras
import numpy as np
import pytest
from checks import assert_close
from quantize_networks import trained

from tfsep import quantize
from tfsep.quantize._analytic_means import AnalyticMeans, clipped_mean
from tfsep.quantize._bias_correction import correct_biases_analytically
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._real_results import real_results
from tfsep.quantize._weight_scales import narrow_weight_scales

L = keras.layers
RNG = np.random.default_rng(3)
IMAGES = np.abs(RNG.normal(size=(24, 6, 6, 4))).astype("float32")


def prepared_of(model):
    prepared = quantize.observe(quantize.prepare(model), IMAGES)
    samples = CalibrationSamples(prepared, IMAGES, 64, 32, 0)
    return prepared, samples, real_results(samples, 0)


def network():
    """Convolutions with a normalization each, a sum, and what has no known mean."""
    inputs = keras.Input((6, 6, 4))
    x = L.ReLU()(L.BatchNormalization(name="n1")(L.Conv2D(6, 3, use_bias=False, name="c1")(inputs)))
    y = L.BatchNormalization(name="n2")(L.DepthwiseConv2D(3, padding="same", use_bias=False, name="d")(x))
    z = L.BatchNormalization(name="n3", scale=False)(L.Conv2D(6, 1, use_bias=False, name="c2")(L.ReLU(6)(y)))
    x = L.Conv2D(5, 1, name="sum", activation="silu")(L.Add()([x, z]))
    x = L.Dense(3, name="unknown")(L.GlobalAveragePooling2D()(x))
    model = trained(keras.Model(inputs, x), IMAGES)
    # A few weights far from the others.
    kernel = model.get_layer("sum").kernel
    values = np.array(kernel)
    values[0, 0, 0, :3] = 8 * np.abs(values).max()
    kernel.assign(values)
    return model


@pytest.mark.parametrize("by", ["mse", "moments"])
def test_a_filters_scale_has_the_least_error_of_all_that_a_search_tries(by):
    kernel = np.append(RNG.normal(size=(39, 2)), [[5.0, 40.0]], 0).astype("float32")
    kernel[-1] *= 1 + np.arange(2) / 100
    layer = L.Dense(2, name="dense", use_bias=False)
    model = keras.Sequential([keras.Input((40,)), layer])
    layer.kernel.assign(kernel)
    data = (RNG.normal(size=(48, 40)) * np.append(np.ones(39), 0.01)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model), data)
    samples = CalibrationSamples(prepared, data, 64, 32, 0)
    done = narrow_weight_scales(samples, real_results(samples, 0), by)
    own = prepared.get_layer("dense_sums")
    whole, _, scale = (np.asarray(part, "float64") for part in own.stored(0.01))
    assert np.abs(whole).max(1).tolist() == [127, 127]
    weights = np.mean(data.astype("float64") ** 2, 0) if by == "moments" else np.ones(40)
    for filter_ in range(2):
        errors = []
        for share in np.linspace(0.5, 1, 201):
            step = share * np.abs(kernel[:, filter_]).max() / 127
            rounded = [step * min(max(round(float(w) / step), -127), 127) for w in kernel[:, filter_]]
            errors.append(np.sum(weights * (kernel[:, filter_] - rounded) ** 2))
        found = np.sum(weights * (kernel[:, filter_] - whole[filter_] * scale[filter_]) ** 2)
        assert found <= 1.05 * min(errors)
        if by == "moments":
            # What is multiplied by hardly anything is clipped.
            assert found < 0.5 * errors[-1]
    assert (done.of, done.filters) == (2, 2 if by == "moments" else done.filters)


def test_a_clipped_mean_is_that_of_drawn_numbers():
    drawn = RNG.normal(size=400_000)
    for mean, deviation, low, high in ((0.3, 0.5, 0, np.inf), (4.0, 3.0, 0, 6), (-1, 0.7, 0, 6), (2, 0, 0, 1)):
        expected = np.clip(mean + deviation * drawn, low, high).mean()
        assert abs(clipped_mean(mean, deviation, low, high) - expected) < 0.01
    assert clipped_mean(0.3, 0.5, -np.inf, np.inf) == pytest.approx(0.3)


def test_analytic_correction_is_the_error_of_kernels_times_the_means():
    model = network()
    prepared, samples, reals = prepared_of(model)
    means = AnalyticMeans(prepared)
    known = {real.call.layer.name: means.means(real.call.call.inputs[0]) for real in reals}
    assert [name for name, each in known.items() if each is None] == ["c1", "unknown_sums"]
    # Behind the sum: a rectified normal and one that is not clipped, channel by channel.
    first, third = (model.get_layer(name) for name in ("n1", "n3"))
    expected = [
        np.maximum(float(b) + abs(float(g)) * RNG.normal(size=100_000), 0).mean() + float(other)
        for b, g, other in zip(*map(np.array, (first.beta, first.gamma, third.beta)), strict=True)
    ]
    assert_close(known["sum"], expected, 0.02)
    layer = next(real.call.layer for real in reals if real.call.layer.name == "sum")
    whole, _, scale = (np.asarray(part, "float64") for part in layer.stored(0.05))
    kernel = np.array(layer.layer.kernel, "float64")[0, 0]
    lack = [sum(known["sum"][c] * (kernel[c, f] - whole[f, c] * scale[f]) for c in range(6)) for f in range(5)]
    before = np.array(layer.layer.bias)
    done = correct_biases_analytically(samples, reals)
    assert_close(np.array(layer.layer.bias) - before, lack, 1e-3)
    assert (done.layers, done.unknown, done.without_bias) == (3, 2, ())


def test_parts_are_switched_and_reported():
    model = network()
    reports = []
    options = {"equalize": False, "method": "minmax", "weight_scales": "moments", "correct_bias": "analytic"}
    quantize.calibrate(model, IMAGES, report=reports.append, **options)
    parts = {row.part: row.changed for row in reports[0].rows}
    assert list(parts) == ["ranges: minmax", "weight scales: moments", "bias correction"]
    assert "of 26 filters narrowed" in parts["weight scales: moments"]
    assert "analytic, means of 2 layers not known" in parts["bias correction"]
