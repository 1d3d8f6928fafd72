"""Times: files side by side, operators by themselves, and accuracy against both."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from checks import assert_sentence
from conftest import ROOT
from typer.testing import CliRunner

from tfsep import plots, tflite
from tfsep._flatbuffer.reader import operator_name, read_tflite
from tfsep.cli import app
from tfsep.cost import cost
from tfsep.tflite import _benchmark
from tfsep.tflite._accuracy_points import Point, files_of, points_of
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._single_operator import single_operators

SHIPPED = ROOT / "saved_models" / "fashion_mnist"
RECIPES = ("float32", "float16", "int8", "dynamic_int8")


def file_of(recipe):
    return SHIPPED / f"model_{recipe}.tflite"


@pytest.mark.parametrize("recipe", RECIPES)
def test_single_operator_files_compute_what_the_file_does(recipe):
    """One after the other, each given what came before: the last one's output is the file's, to the last bit."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1, 28, 28, 1)).astype("float32")
    assert_one_by_one(file_of(recipe), LiteRTModel(file_of(recipe)).inputs[0].quantize(x))


def assert_one_by_one(path, stored):
    """Assert that the operators of a file make its output, and return their names."""
    _, model = read_tflite(path)
    graph = model.subgraphs[0]
    known, names = {int(graph.inputs[0]): stored}, []
    for number, content in single_operators(model, {}).items():
        names.append(operator_name(model, graph.operators[number]))
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        op = graph.operators[number]
        given = [int(i) for i in op.inputs if int(i) in known]
        details = interpreter.get_input_details()
        assert len(details) == len(given)
        for detail, tensor in zip(details, given, strict=True):
            interpreter.set_tensor(detail["index"], known[tensor])
        interpreter.invoke()
        for detail, tensor in zip(interpreter.get_output_details(), op.outputs, strict=True):
            known[int(tensor)] = interpreter.get_tensor(detail["index"])
    whole = Interpreter(model_path=str(path), num_threads=1)
    whole.allocate_tensors()
    whole.set_tensor(whole.get_input_details()[0]["index"], stored)
    whole.invoke()
    expected = whole.get_tensor(whole.get_output_details()[0]["index"])
    np.testing.assert_allclose(known[int(graph.outputs[0])], expected, rtol=1e-5, atol=1e-6)
    return names


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (keras.layers.GRU(3), "WHILE"),
        (lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: 2 * x, lambda: tf.tanh(x)), "IF"),
        (keras.layers.GRU(3, stateful=True), "ASSIGN_VARIABLE"),
    ],
)
def test_operators_that_run_other_graphs_or_have_a_state(call, name, tmp_path):
    layer = call if isinstance(call, keras.layers.Layer) else keras.layers.Lambda(call)
    model = keras.Sequential([keras.Input((4, 2), batch_size=1), layer])
    path = tflite.export(model, tmp_path / "m.tflite").path
    x = np.random.default_rng(0).normal(size=(1, 4, 2)).astype("float32")
    assert name in assert_one_by_one(path, x)
    if name == "ASSIGN_VARIABLE":
        report = tflite.profile(path, runs=3, warmup=1)
        assert sum(row.macs for row in report.rows) == cost(path).macs == 4 * 3 * 3 * (2 + 3)


def test_profile():
    report = tflite.profile(file_of("int8"), runs=5, warmup=1)
    costs = cost(file_of("int8"))
    assert sum(row.macs for row in report.rows) == costs.macs
    assert [(row.name, row.macs) for row in report.rows if row.macs] == [(r.name, r.macs) for r in costs.rows if r.macs]
    assert sum(row.time_share for row in report.rows) == pytest.approx(1)
    assert sum(row.macs_share for row in report.rows) == pytest.approx(1)
    first = report.rows[0]
    assert first.ratio == pytest.approx(first.ms / report.sum_ms / (first.macs / costs.macs))
    assert report.rows[-1].ratio is None
    assert report.whole_ms > 0
    assert f"{costs.macs:,}" in report.table().markdown()
    assert "timed as a file of its own, 1 thread;" in str(report)


def test_benchmark_all(monkeypatch):
    """The times that came are the times that are told, each in its own row."""
    times = np.arange(2 * 2 * 4, dtype=float).reshape(2, 2, 4)
    monkeypatch.setattr(_benchmark, "time_contents", lambda *args: times)
    paths = [file_of("int8"), file_of("float16")]
    table = tflite.benchmark_all(paths, (1, 2), runs=4)
    assert [(r.path, r.threads, r.min_ms, r.max_ms, r.median_ms) for r in table.reports] == [
        (str(path), threads, times[i, j].min(), times[i, j].max(), np.median(times[i, j]))
        for i, path in enumerate(paths)
        for j, threads in enumerate((1, 2))
    ]
    assert all(report.memory_bytes > 100_000 for report in table.reports)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (([],), "paths"),
        (([SHIPPED / "none.tflite"],), "path"),
        (([file_of("int8")], [0]), "threads"),
        (([file_of("int8")], []), "threads"),
        (([file_of("int8")], 2), "threads"),
        (([SHIPPED / "model.keras"],), "path"),
    ],
)
def test_benchmark_all_refuses_wrong_arguments(arguments, argument):
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as error:
        tflite.benchmark_all(*arguments)
    assert_sentence(error.value, argument)


@pytest.mark.parametrize(
    ("options", "argument"), [({"threads": 0}, "threads"), ({"runs": 0}, "runs"), ({"warmup": -1}, "warmup")]
)
def test_profile_refuses_wrong_arguments(options, argument):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        tflite.profile(file_of("int8"), **options)
    assert_sentence(error.value, argument)


def test_pareto_front_is_not_dominated():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, gain = rng.integers(1, 6, (2, 8)).tolist()
        beaten = {
            i
            for i in range(8)
            for j in range(8)
            if cost[j] <= cost[i] and gain[j] >= gain[i] and (cost[j], gain[j]) != (cost[i], gain[i])
        }
        chosen = plots.pareto_front(cost, gain)
        assert not set(chosen) & beaten
        assert {(cost[i], gain[i]) for i in set(range(8)) - beaten} == {(cost[i], gain[i]) for i in chosen}


def test_plot_shows_each_file():
    points = [Point("a", 0.9, 1.0, 1000), Point("b", 0.95, 30.0, 5000), Point("c", 0.8, 2.0, 9000)]
    figure = plots.pareto(points)
    for axes, value in zip(figure.axes, (lambda p: p.median_ms, lambda p: p.size_bytes / 1000), strict=True):
        drawn = [tuple(collection.get_offsets()[0]) for collection in axes.collections]
        assert drawn == [(value(p), p.accuracy) for p in points]
        (line,) = axes.lines
        assert [tuple(xy) for xy in line.get_xydata()] == [(value(p), p.accuracy) for p in points[:2]]
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "linear"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        plots.pareto([])
    assert_sentence(error.value, "points")
    with pytest.raises(ValueError) as full:  # noqa: PT011
        plots.pareto(points, figure=figure)
    assert_sentence(full.value, "figure")


def test_plotted_accuracies_are_the_reports(tmp_path):
    times = tflite.benchmark_all([file_of("int8")], (1, 2), runs=3, warmup=1)
    (point,) = points_of(times)
    stored = json.loads(file_of("int8").with_suffix(".json").read_text())
    assert point.accuracy == stored["verification"]["accuracy"]
    assert point.median_ms == min(report.median_ms for report in times.reports)
    assert point.size_bytes == stored["size_bytes"]
    assert len(files_of(SHIPPED)) == 5
    # Files of one name are told apart by their folders.
    copies = [tmp_path / folder / "m.tflite" for folder in ("a", "b")]
    for copy in copies:
        copy.parent.mkdir()
        shutil.copy(file_of("int8"), copy)
        shutil.copy(file_of("int8").with_suffix(".json"), copy.with_suffix(".json"))
    assert [point.name for point in points_of(tflite.benchmark_all(copies, runs=1, warmup=0))] == ["a/m", "b/m"]
    for odd in (tmp_path, None):
        with pytest.raises((FileNotFoundError, TypeError)) as error:
            files_of(odd)
        assert_sentence(error.value, "path")


def test_profile_command(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["bench", *map(str, arguments)])

    plot = tmp_path / "plot.svg"
    done = run(file_of("int8"), file_of("float16"), "--threads", "1,2", "--runs", 3, "--plot", plot, "--format", "csv")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "file,threads,runs,median ms,10 %,90 %,min,max,memory MB"
    assert done.stdout.count("model_int8.tflite") == 2
    assert "</svg>" in plot.read_text()
    done = run(file_of("int8"), "--runs", 3, "--profile", "--format", "markdown")
    assert done.exit_code == 0
    assert "| time / MACs |" in done.stdout
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(file_of("int8").read_bytes())
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.tflite").write_bytes(file_of("int8").read_bytes())
    for wrong in (
        (bare, "--runs", 2, "--plot", tmp_path / "w.png"),
        (tmp_path / "bad.tflite", "--runs", 2, "--plot", tmp_path / "w.png"),
        (bare, "--runs", 2, "--plot", tmp_path / "w.gif"),
        (bare, "--threads", "1;2"),
        (bare, "--threads", "0"),
        (tmp_path / "none",),
    ):
        done = run(*wrong)
        assert done.exit_code == 2, done.output
        assert done.stderr.startswith("tfsep: ")
        assert done.stderr.count("\n") == 1
        assert not list(tmp_path.glob("w.*"))


def test_operators_without_an_optional_tensor_are_skipped(tmp_path):
    """What reads constants only is computed once, by LiteRT, and is in no time."""
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(2, 3)])
    path = tflite.export(model, tmp_path / "m.tflite", "float16").path
    _, flatbuffer = read_tflite(path)
    assert [op.name for op in tflite.inspect(path).operators].count("DEQUANTIZE") == 2
    assert list(single_operators(flatbuffer, {})) == [2]


def test_profile_of_a_file_for_any_batch(tmp_path):
    """A reshape whose size the file computes: it is timed on that size, and what computes it is left out."""
    spec, kernel = tf.TensorSpec((None, 6, 6, 3), tf.float32), np.ones((3, 3, 3, 4), "float32")

    @tf.function(input_signature=[spec], autograph=False)
    def run(x):
        y = tf.reshape(tf.nn.conv2d(x, kernel, 1, "VALID"), (tf.shape(x)[0], -1))
        return {"y": y @ np.ones((64, 2), "float32")}

    path = tmp_path / "any.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()]).convert())
    kinds = [op.name for op in tflite.inspect(path).operators]
    assert {"SHAPE", "PACK", "RESHAPE"} < set(kinds)
    rows = tflite.profile(path, runs=3, warmup=1).rows
    assert [row.operator for row in rows] == [kind for kind in kinds if kind not in ("STRIDED_SLICE", "PACK")]
    assert [row.macs for row in rows if row.macs] == [16 * 27 * 4, 128]
