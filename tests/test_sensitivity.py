"""`quantize.sensitivity` beside models with islands around one operation, and what stays in float32."""

import contextlib
import itertools
import json
import re

import keras
import numpy as np
import pytest
from checks import assert_close, assert_refused
from quantize_networks import trained

from tfsep import plots, quantize, tflite
from tfsep.quantize._calibrate import calibrated_once
from tfsep.quantize._calibration_settings import CalibrationSettings
from tfsep.quantize._config import Config
from tfsep.quantize._float_choice import FloatChoice
from tfsep.quantize._measured_parts import MeasuredParts
from tfsep.quantize._output_agreement import OutputAgreement

L = keras.layers
RNG = np.random.default_rng(3)
SAMPLES = RNG.normal(size=(40, 6)).astype("float32")
ROWS = RNG.normal(size=(8, 4)).astype("float32")
DENSE = keras.Sequential([keras.Input((4,)), L.Dense(3, name="first"), L.Dense(2, name="second")])
PLAIN = {"method": "minmax", "equalize": False, "correct_bias": False}
"""Ranges of what the float model computes, which a model with islands has, too."""


def network():
    """A network of which the result of `wide` does not fit 8 bits: a channel that no layer reads is large."""
    inputs = keras.Input((6,))
    x = L.Dense(4, activation="relu", name="first")(inputs)
    x = L.Activation("silu", name="gate")(L.Add(name="sum")([x, L.Dense(4, name="branch")(x)]))
    x = L.Dense(4, name="taker")(L.Dense(4, activation="relu", name="wide")(x))
    model = keras.Model(inputs, L.Dense(5, name="head")(x))
    trained(model, SAMPLES)
    wide, taker = model.get_layer("wide"), model.get_layer("taker")
    wide.bias.assign([1500, *np.array(wide.bias)[1:]])
    taker.kernel.assign(np.array(taker.kernel) * np.array([0, 1, 1, 1])[:, None])
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def found(model):
    return quantize.sensitivity(model, SAMPLES, **PLAIN)


def ratio(expected, actual):
    expected, actual = (np.asarray(each, "float64") for each in (expected, actual))
    return 10 * np.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2))


def same(expected, actual):
    return np.mean(np.argmax(expected, 1) == np.argmax(actual, 1))


def test_an_operation_alone_costs_what_a_model_with_all_others_in_float32_loses(model, found):
    rows = {row.name: row for row in found.rows}
    assert list(rows)[:2] == ["wide", "taker"]  # both ends of the tensor
    assert [row.sqnr for row in found.rows] == sorted(row.sqnr for row in found.rows)
    expected = np.asarray(model(SAMPLES))
    for name in ("taker", "gate"):
        alone = np.asarray(quantize.calibrate(model, SAMPLES, **PLAIN, keep_float=set(rows) - {name})(SAMPLES))
        assert rows[name].sqnr == pytest.approx(ratio(expected, alone), abs=0.02)
        assert rows[name].error == pytest.approx(10 ** (-ratio(expected, alone) / 20), rel=0.01)
        assert rows[name].same_class == same(expected, alone)
    assert min(abs(rows[name].sqnr - rows["gate"].sqnr) for name in rows if name != "gate") > 0.05  # no other's figures


def test_the_record_is_a_table_json_and_a_plot(model, found, tmp_path):
    covered = {row.name: row for row in quantize.coverage(quantize.prepare(model)).rows}
    assert {row.name: (row.kind, row.macs) for row in found.rows} == {
        name: (row.kind, row.macs) for name, row in covered.items()
    }
    stored = json.loads(found.to_json())
    assert [row["name"] for row in stored["rows"]] == [row.name for row in found.rows]
    assert (stored["samples"], stored["error"]) == (40, found.error)
    lines = found.to_markdown().splitlines()
    assert lines[0] == "| operation | kind | SQNR (dB) | relative error | same class | MACs |"
    assert lines[2].startswith("| wide | Dense | ")
    assert lines[-1].startswith("| all in int8 | ")
    assert len(lines) == len(str(found).splitlines()) == len(found.rows) + 3
    axes = plots.sensitivity(found, most=3).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.name for row in found.rows[:3]]
    assert [bar.get_width() for bar in axes.patches] == [row.error for row in found.rows[:3]]
    assert axes.texts[0].get_text() == f"{100 * (1 - found.rows[0].same_class):.1f} %"
    axes.figure.savefig(tmp_path / "plot.svg")
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()


def test_all_parts_in_integers_are_the_model_and_none_the_float_model(model):
    """Real numbers are computed with the weights that calibration did not change for integers."""
    made = calibrated_once(model, SAMPLES, CalibrationSettings(**PLAIN), Config())
    bias = made.model.get_layer("head_sums").layer.bias
    bias.assign(bias + np.array([5, 0, 0, 0, 0], "float32"))
    changed = np.array(bias)
    measured = MeasuredParts(made)
    every, none = measured.together(measured.part.names), measured.together(())
    assert every.sqnr == pytest.approx(ratio(model(SAMPLES), made.model(SAMPLES)), abs=1e-4)
    assert every.agreement == same(model(SAMPLES), made.model(SAMPLES))
    assert none.sqnr > 100
    assert {name: own.sqnr < 10 for name, own in measured.alone().items()}["head"]
    assert_close(made.model.get_layer("head_sums").layer.bias, changed, 0)


def test_requantized_tensors_and_layers_of_one_name():
    """A sigmoid has a range of its own, and is requantized for a concatenation; a nested model may have names again."""
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3, name="twice"), L.ReLU(name="relu")], name="inner")
    inputs = keras.Input((4,))
    x = L.Concatenate(name="both")([inner(inputs), L.Dense(3, activation="sigmoid", name="gate")(inputs)])
    model = trained(keras.Model(inputs, L.Dense(2, name="twice")(x)), ROWS)
    made = calibrated_once(model, ROWS, CalibrationSettings(**PLAIN), Config(runtime="reference"))
    part = MeasuredParts(made).part
    assert part.names == ("twice", "gate", "gate_activation", "both")
    assert_close(part.outputs((ROWS,), part.names)[0], made.model(ROWS), 0)
    assert [row.macs for row in quantize.coverage(made.model).rows] == [4 * 3 + 6 * 2, 4 * 3, 0, 0]
    kept = quantize.calibrate(model, ROWS, **PLAIN, keep_float=["twice"])
    assert {row.name for row in quantize.coverage(kept).islands} == {"twice", "relu"}


def test_agreement_of_classes_and_of_numbers():
    rows = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    first, last = rows[[1, 1, 2, 3, 0, 1]], rows[[0, 1, 2, 3, 0, 0]]
    for expected, actual, agreement in (
        ([rows], [first], 5 / 6),
        ([rows, rows], [first, last], 4 / 6),
    ):
        assert agreement_of(expected, actual) == (pytest.approx(agreement), "samples of the same class")
    for expected, actual, agreement in (
        ([rows[:, :1] + 1], [1.25 * (rows[:, :1] + 1)], 0.75),
        ([rows, rows[..., None]], [1.25 * rows, 1.25 * rows[..., None]], 0.75),
        ([rows[:, :1]], [-3 * rows[:, :1]], 0.0),
    ):
        assert agreement_of(expected, actual) == (pytest.approx(agreement), "1 - relative error")


def agreement_of(expected, actual):
    found = OutputAgreement()
    for part in (slice(0, 4), slice(4, 6)):
        found.add([each[part] for each in expected], [each[part] for each in actual])
    return found.agreement, found.unit


# What stays in float32.


def reported(model, **options):
    reports = []
    prepared = quantize.calibrate(model, SAMPLES, **{**PLAIN, **options}, report=reports.append)
    return prepared, reports[0]


def test_a_budget_is_met_by_few_operations_in_float32_and_the_file_is_exact(model, found, tmp_path):
    prepared, report = reported(model, budget=0.95)
    assert report.agreement == same(model(SAMPLES), prepared(SAMPLES)) >= 0.95
    assert found.same_class <= 0.9
    # Both ends of the tensor that does not fit, and no more.
    assert report.in_float == ("wide", "taker")
    islands = [row.name for row in quantize.coverage(prepared).islands]
    assert islands == ["wide", "taker"]
    assert f"wide, taker, for an agreement of 0.95; {found.same_class:.4f} without" == report.rows[-1].changed
    assert report.rows[-2].after == report.rows[-1].before < report.rows[-1].after
    assert f"agreement with the float model: {report.agreement:.4f} (samples of the same class)" in str(report)
    written = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=SAMPLES)
    assert written.verification.unexplained == 0
    # By name, it is the same model.
    named, _ = reported(model, keep_float=["taker", "wide"])
    assert_close(named(SAMPLES), prepared(SAMPLES), 0)


def cheapest_of_all(noise, cost, budget, last):
    """The least cost of all choices but that of the last one that meet a budget, of errors that add up."""
    sets = [kept for count in range(len(noise)) for kept in itertools.combinations(sorted(set(noise) - {last}), count)]
    met = [kept for kept in sets if 1 - sum(noise.values()) + sum(map(noise.get, kept)) >= budget]
    return min(sum(map(cost.get, kept)) for kept in met)


@pytest.mark.parametrize("budget", [0.7, 0.8, 0.9, 0.97])
def test_the_choice_costs_hardly_more_than_the_best_of_all(budget):
    rng = np.random.default_rng(int(100 * budget))
    noise = dict(zip("abcdefgh", (rng.dirichlet(np.full(8, 0.3)) * 0.5).tolist(), strict=True))
    cost = dict(zip("abcdefgh", rng.uniform(1, 9, 8).tolist(), strict=True))

    def agreement(kept):
        return 1 - sum(noise.values()) + sum(map(noise.get, kept))

    choice = FloatChoice(noise, cost, agreement, budget)
    chosen = choice.cheapest()
    assert agreement(chosen) >= budget
    assert all(agreement(set(chosen) - {name}) < budget for name in chosen)
    best = cheapest_of_all(noise, cost, budget, choice.worst_first[-1])
    assert best <= sum(map(cost.get, chosen)) <= 1.25 * best
    assert list(chosen) == sorted(chosen)
    # With other costs another one is chosen.
    by_cost = [FloatChoice({"a": 1, "b": 1.1, "c": 0}, {"a": a, "b": 2}, len, 1) for a in (1, 3)]
    assert [each.cheapest() for each in by_cost] == [("a",), ("b",)]


def test_a_budget_that_is_not_met_names_the_one_that_is():
    layers = [L.Dense(4, name="first"), L.Dense(4, name="second"), L.Dense(1, name="last")]
    model = trained(keras.Sequential([keras.Input((4,)), *layers]), ROWS)
    layers[0].bias.assign([900, 0, 0, 0])
    layers[1].kernel.assign(np.array(layers[1].kernel) * np.array([0, 1, 1, 1])[:, None])
    data = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    message = assert_refused(lambda: quantize.calibrate(model, data, budget=1.0, **PLAIN), "budget", ValueError)
    met = float(re.search(r"expected at most (0\.\d+), the agreement with all operations but 'last' in", message)[1])
    assert 0.9 < met < 1
    reports = []
    quantize.calibrate(model, data, budget=met, **PLAIN, report=reports.append)
    assert reports[0].in_float == ("first", "second")
    assert reports[0].agreement >= met
    assert reports[0].agreement_unit == "1 - relative error"


BAD = {
    "nearly a name": ({"keep_float": ["frist"]}, "keep_float", ValueError, "got 'frist'; the nearest is 'first'"),
    "a name alone": ({"keep_float": "first"}, "keep_float", ValueError, "names of layers, got 'first'"),
    "another's name": ({"float_layers": ["frist"], "keep_float": ["first"]}, "float_layers", ValueError, "'frist'"),
    "more than all": ({"budget": 1.01}, "budget", ValueError, r"\[0, 1\], got 1.01"),
    "no share": ({"budget": "all"}, "budget", ValueError, "a number"),
    "NaN for a share": ({"budget": float("nan")}, "budget", ValueError, "a number"),
    "no such time": ({"budget": 1, "latency": {"secnd": 1.0}}, "latency", ValueError, "nearest is 'second'"),
    "times without names": ({"budget": 1, "latency": [1.0]}, "latency", TypeError, "by name"),
    "one time": ({"budget": 1, "latency": 3}, "latency", TypeError, "by name"),
    "all by name": ({"keep_float": ["first", "second"]}, "model", ValueError, "an operation in integers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_choices_are_refused(case):
    changes, argument, kind, words = BAD[case]
    message = assert_refused(lambda: quantize.calibrate(DENSE, ROWS, **changes), argument, kind)
    assert re.search(words, message), message


BAD_DATA = {
    "no samples": ({"data": ROWS[:0]}, "data", ValueError, "at least one sample"),
    "constant": ({"data": np.ones_like(ROWS)}, "data", ValueError, "only constant ones"),
    "NaN": ({"data": np.where(ROWS > 1, np.nan, ROWS)}, "data", ValueError, "NaN or infinity"),
    "labels": ({"data": np.arange(8)}, "data", ValueError, r"shape \(N, 4\)"),
    "no data": ({"data": None}, "data", TypeError, "arrays"),
    "a budget": ({"budget": 0.9}, "budget", TypeError, "which calibrate takes"),
    "no method": ({"method": "men"}, "method", ValueError, "nearest is 'mse'"),
    "no name": ({"keep_float": ["thrid"]}, "keep_float", ValueError, "nearest is 'first'"),
    "unknown": ({"foo": 1}, "foo", TypeError, "one of"),
    "prepared": ({"model": quantize.prepare(DENSE)}, "model", ValueError, "not prepared"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_arguments_of_sensitivity_are_refused(case):
    changes, argument, kind, words = BAD_DATA[case]
    message = assert_refused(lambda: quantize.sensitivity(**({"model": DENSE, "data": ROWS} | changes)), argument, kind)
    assert re.search(words, message), message


# Latency, and export in one step.


def test_latency_is_measured_where_the_budget_asks_for_it():
    """A function of names stands for the numbers, and is called once for operations in int8, or not at all."""
    asked = []

    def measured(names):
        asked.append(tuple(names))
        return dict.fromkeys(names, 1.0)

    model = keras.Sequential([DENSE, L.Reshape((2, 1), name="column")])
    for budget in (0.01, 0.9999):
        with contextlib.suppress(ValueError):
            quantize.calibrate(model, ROWS, **PLAIN, budget=budget, latency=measured)
    assert asked == [("first", "second", "column")]
    wrong = {"budget": 0.9999, "latency": lambda names: names}
    assert_refused(lambda: quantize.calibrate(model, ROWS, **PLAIN, **wrong), "latency", TypeError)


def test_latency_of_an_unknown_operation_is_refused():
    message = assert_refused(lambda: tflite.float_latency(DENSE, ["frist"]), "names", ValueError)
    assert message.endswith("got 'frist'; the nearest is 'first'")


@pytest.mark.slow
def test_an_export_that_calibrates_writes_the_bytes_of_the_two_steps(tmp_path):
    def generated():
        for start in range(0, 8, 3):
            yield ROWS[start : start + 3]

    paths = [tmp_path / name for name in ("two.tflite", "one.tflite", "again.tflite")]
    tflite.export(quantize.calibrate(DENSE, ROWS, "mse"), paths[0], "int8")
    report = tflite.export(DENSE, paths[1], "int8", generated(), calibrate="mse")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (report.data, report.samples, report.verification.differing) == ("calibration", 8, 0)
    assert report.calibration["samples"] == 8
    assert report.calibration["rows"][0]["part"] == "ranges: minmax"
    assert re.fullmatch(
        r"calibrated on 8 samples, on which .* is [01]\.\d{4} \(samples of the same class\)", report.notes[0]
    )
    named = {"method": "mse", "samples": 6, "keep_float": ["second"]}
    report = tflite.export(DENSE, paths[2], "int8", ROWS, data=ROWS, calibrate=named)
    assert report.data == "given"
    assert report.calibration["samples"] == 6
    assert report.ops["DEQUANTIZE"] == 1
    for changes, argument, words in (
        ({"recipe": "float32"}, "recipe", "'int8' with calibrate"),
        ({"recipe": "int16x8"}, "recipe", "'int8' with calibrate"),
        ({"calibration": None}, "calibration", "got None"),
        ({"calibration": ROWS[:0]}, "calibration", "at least one sample"),
        ({"calibration": np.ones_like(ROWS)}, "calibration", "only constant ones"),
        ({"calibration": ROWS * np.inf}, "calibration", "NaN or infinity"),
        ({"calibration": np.arange(8)}, "calibration", "shape (N, 4)"),
        ({"calibration": 0 * ROWS[:1]}, "calibration", "constant"),
        ({"calibrate": "men"}, "method", "nearest is 'mse'"),
        ({"calibrate": {"keep_float": ["secand"]}}, "keep_float", "nearest is 'second'"),
        ({"calibrate": {"budget": 2}}, "budget", "got 2"),
        ({"calibrate": {"foo": 2}}, "foo", "one of"),
        ({"calibrate": 3}, "calibrate", "a method or arguments"),
        ({"max_calibration_samples": 0}, "max_calibration_samples", "positive int"),
    ):
        arguments = {"recipe": "int8", "calibration": ROWS, "calibrate": "mse"} | changes
        message = assert_refused(
            lambda arguments=arguments: tflite.export(DENSE, tmp_path / "bad.tflite", **arguments),
            argument,
            (ValueError, TypeError),
        )
        assert words in message
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        name for path in paths for name in (path.name, path.with_suffix(".json").name)
    )
