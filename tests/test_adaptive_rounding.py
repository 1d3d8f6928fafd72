"""Adaptive rounding: beside all roundings of small kernels, and in NumPy float64 on data that nothing learned on."""

from itertools import product

import keras
import numpy as np
import pytest
from checks import assert_close
from quantize_networks import prepared_network, trained

from tfsep import layers, quantize, tflite
from tfsep.quantize._adaptive_rounding import round_adaptively
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._kernel_rows import KernelRows
from tfsep.quantize._real_results import real_results
from tfsep.quantize._rounding_steps import RoundingProblem

L = keras.layers
RNG = np.random.default_rng(11)


# The products of each kind.

KINDS = {
    "dense": (L.Dense(3), (5,)),
    "dense on pixels": (L.Dense(3), (4, 5, 2)),
    "1-D, causal": (layers.Conv1D(4, 3, padding="causal", dilation_rate=2, groups=2), (7, 4)),
    "2-D": (L.Conv2D(3, (3, 2), strides=(2, 1), padding="same"), (7, 6, 2)),
    "2-D, groups, valid": (L.Conv2D(6, 3, groups=3), (5, 6, 6)),
    "padded in pixels": (layers.Conv2D(3, 3, strides=2, padding=1), (6, 5, 2)),
    "depthwise": (L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (5, 4, 3)),
    "depthwise 1-D": (L.DepthwiseConv1D(3, strides=2), (8, 3)),
    "transposed": (L.Conv2DTranspose(3, (3, 2), strides=2, padding="same"), (3, 4, 2)),
    "transposed, stride over kernel": (L.Conv2DTranspose(2, 2, strides=3), (3, 2, 4)),
}


@pytest.mark.parametrize("case", KINDS)
def test_rows_times_the_kernel_are_the_layers_results(case):
    layer, shape = KINDS[case]
    x = RNG.normal(size=(3, *shape)).astype("float32")
    expected = np.asarray(layer(x))
    rows = KernelRows(layer, shape[-1])
    pixels = np.prod(expected.shape[1:-1], dtype=int)
    samples, places = (each.ravel() for each in np.meshgrid(range(3), range(pixels), indexing="ij"))
    kernel = np.asarray(layer.kernel)
    grouped = rows.grouped(kernel)
    actual = np.einsum("rgk,gkf->rgf", rows.rows(x, samples, places), grouped).reshape(expected.shape)
    assert_close(actual, expected, 1e-6)
    assert rows.is_depthwise == ("depthwise" in case)
    assert np.array_equal(rows.kernel(grouped), kernel)


# All roundings.


def problem(activation=None, limit=np.inf, inputs=9, filters=12):
    """Filters of a dense layer on numbers that go together, so that errors of weights add up."""
    rng = np.random.default_rng(4)
    together = 30 * np.abs(rng.normal(size=(128, 2)) @ rng.normal(size=(2, inputs)))
    x = np.round(together + 10 * np.abs(rng.normal(size=(128, inputs))))
    units = rng.uniform(-126, 126, (1, inputs, filters))
    lower, low = np.floor(units), -np.inf if limit == np.inf else 0.0
    sums = np.clip(x @ units[0] * 1e-4, low, limit)
    target = sums if activation is None else np.asarray(activation(sums))
    kernel = lower, np.ones_like(units), units - lower
    scale = np.full(filters, 1e-4)
    return RoundingProblem(x[:, np.newaxis], *kernel, np.zeros(filters), scale, low, limit, target, activation, False)


def errors(task, kernels):
    """The mean squared error of each filter (..., F) with kernels (..., K, F), in float64."""
    made = np.clip(task.x[:, 0] @ kernels * task.scale, task.low, task.high)
    made = made if task.activation is None else np.asarray(task.activation(made))
    return np.mean((made - task.target) ** 2, -2)


SILU = pytest.param(keras.ops.silu, np.inf, marks=pytest.mark.slow)


@pytest.mark.parametrize(("activation", "limit"), [(None, np.inf), (None, 1.5), SILU])
def test_what_is_learned_is_near_the_best_of_all_roundings(activation, limit):
    task = problem(activation, limit)
    every = np.array(list(product((0, 1), repeat=9)))[..., np.newaxis]
    best = errors(task, task.lower[0] + every).min(0)
    learned, nearest = (
        errors(task, (task.lower + up)[0]) / np.maximum(best, 1e-12) for up in (task.learned(300, 0), task.nearest())
    )
    # A third of the filters get the best of all; nearest is far off.
    assert np.median(learned) < 2
    assert np.median(nearest) > 2
    assert np.mean(learned < 1.0001) >= 0.3
    assert learned.max() < 8


# A model.


def correlated(seed, count=32):
    """Images whose channels go together, as results of layers do."""
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=(count, 6, 6, 2)) @ np.random.default_rng(0).uniform(0.3, 1, (2, 12))).astype("f4")


@pytest.fixture(scope="module")
def rounded():
    """A model, quantized by both roundings, and what the report says."""
    inputs = keras.Input((6, 6, 12))
    x = L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False, name="first")(inputs))
    x = L.DepthwiseConv2D(3, activation="silu", name="depthwise")(L.ReLU(6)(x))
    model = trained(keras.Model(inputs, L.Dense(4, name="dense")(L.GlobalAveragePooling2D()(x))), correlated(1))
    reports = []
    options = {"equalize": False, "correct_bias": False, "method": "minmax", "steps": 60}
    made = {
        name: quantize.calibrate(model, correlated(1), rounding=name, report=reports.append, **options)
        for name in ("nearest", "adaptive")
    }
    return model, made, reports[1], options


def test_results_on_other_data_are_nearer_to_the_float_model(rounded):
    model, made, report, _ = rounded
    unseen = correlated(2)
    expected = np.asarray(model(unseen), "float64")
    error = {name: np.mean((np.asarray(each(unseen), "float64") - expected) ** 2) for name, each in made.items()}
    assert error["adaptive"] < 0.9 * error["nearest"]
    # The first layer in loops: integers that are stored, on numbers rounded to the input's steps.
    x = unseen.astype("float64").reshape(-1, 12)
    first = made["adaptive"].get_layer("first")
    scale, zero = made["adaptive"].layers[1].qparams()
    whole = np.clip(np.round(x / scale) + zero, -128, 127) - zero
    exact = model.get_layer("first").kernel.numpy()[0, 0].astype("float64")
    norm = model.layers[2]
    factor = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    shift = norm.beta.numpy() - norm.moving_mean.numpy() * factor
    target = np.clip(x @ (exact * factor) + shift, 0, 6)
    found = {}
    for name, each in made.items():
        kernel, bias, scales = (np.asarray(part, "float64") for part in each.get_layer(first.name).stored(scale))
        found[name] = np.mean((np.clip((whole @ kernel.T + bias) * scales * scale, 0, 6) - target) ** 2)
    assert found["adaptive"] < 0.8 * found["nearest"]
    rows = {row.part: row for row in report.rows}
    assert rows["adaptive rounding"].after > rows["adaptive rounding"].before + 0.5


def test_layers_are_reported(rounded):
    _, made, report, _ = rounded
    assert [row.name for row in report.layers] == ["first", "depthwise", "dense_sums"]
    assert all(row.after <= row.before for row in report.layers)
    for row in report.layers:
        each = {name: np.asarray(model.get_layer(row.name).stored(0.01)[0]) for name, model in made.items()}
        steps = np.abs(each["adaptive"] - each["nearest"])
        assert steps.max() <= 1
        assert (steps.sum(), steps.size) == (row.changed, row.weights)
    assert "| first | 96 |" in report.to_markdown()
    assert str(report).count("first") == 1
    assert report.to_dict()["layers"][0]["name"] == "first"


def test_the_file_is_exact_and_the_same_again(rounded, tmp_path, capsys):
    model, made, _, options = rounded
    prepared = made["adaptive"]
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=correlated(2)).verification.differing == 0
    capsys.readouterr()
    again = quantize.calibrate(model, correlated(1), rounding="adaptive", **options)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), prepared.get_weights(), strict=True))
    assert not any(capsys.readouterr())


@pytest.mark.slow
def test_a_budget_has_each_kernel_learned_once(monkeypatch):
    """Kernels that equalization leaves as they are keep what they have learned, wherever others go to float32."""
    learned = []
    own = RoundingProblem.learned
    monkeypatch.setattr(RoundingProblem, "learned", lambda self, *how: learned.append(self) or own(self, *how))
    x = np.random.default_rng(5).normal(size=(40, 6)).astype("float32")
    blocks = [L.Dense(6, "tanh", name=f"d{i}", bias_initializer="random_normal") for i in range(4)]
    model = trained(keras.Sequential([keras.Input((6,)), *blocks, L.Reshape((3, 2))]), x)
    reports, options = [], {"rounding": "adaptive", "steps": 5, "method": "minmax"}
    made = quantize.calibrate(model, x, **options, budget=0.98, report=reports.append)
    (report,) = reports
    assert 0 < len(report.in_float) < 4
    assert len(learned) == 4
    again = quantize.calibrate(model, x, **options, keep_float=report.in_float)
    assert len(learned) > 4  # it has learned nothing before
    near, alone, expected = (np.asarray(each(x)) for each in (made, again, model))
    assert np.std(near - expected) < 1.2 * np.std(alone - expected)
    assert len(report.layers) == 4 - len(report.in_float)


def test_halves_are_where_the_converter_rounds_them():
    """Away from zero, where nothing is learned: what multiplies them is 0."""
    layer = L.Dense(1, use_bias=False, name="halves")
    model = keras.Sequential([keras.Input((5,)), layer])
    layer.kernel.assign(np.array([[127], [2.5], [-2.5], [-0.5], [0]], "float32"))
    data = RNG.normal(size=(8, 5)).astype("float32") * [1, 0, 0, 0, 1]
    prepared = quantize.observe(quantize.prepare(model), data)
    samples = CalibrationSamples(prepared, data, 8, 8, 0)
    (done,) = round_adaptively(samples, real_results(samples, 0), 5, 0, {})
    stored = np.asarray(prepared.get_layer("halves_sums").stored(0.1)[0])
    assert (stored.tolist(), done.changed, done.weights) == ([[127, 3, -3, -1, 0]], 0, 5)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
@pytest.mark.parametrize("name", ["plain", "residual", "separable", "branches"])
def test_files_of_all_kinds_are_exact(name, runtime, tmp_path):
    """After every part: stored integers are what was learned, whichever kernels there are."""
    model, _, images = prepared_network(name)
    options = {"rounding": "adaptive", "weight_scales": "moments", "steps": 30, "method": "mse", "runtime": runtime}
    reports = []
    prepared = quantize.calibrate(model, images, report=reports.append, **options)
    assert any(row.changed for row in reports[0].layers)
    found = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=images).verification
    assert (found.unexplained if found.otherwise else found.differing) == 0
