"""Targets of networks without convolutions: a loop, attention and a table, with reasons of their own."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tfsep import quantize, tflite
from tfsep._flatbuffer.reader import read_tflite
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._targets._node import nodes_of

L = keras.layers


def recurrent():
    """A loop: an operator one of whose outputs is left out."""
    series = keras.Input((6, 3))
    return keras.Model(series, L.Dense(3, activation="softmax")(L.LSTM(4)(series)))


def attention():
    """Softmax inside and at the end, means over channels and over the sequence."""
    series = keras.Input((10, 16))
    mixed = L.LayerNormalization()(L.MultiHeadAttention(2, 8)(series, series))
    return keras.Model(series, L.Dense(4, activation="softmax")(L.GlobalAveragePooling1D()(mixed)))


def embedding():
    """Whole numbers, compared and added, and a table that they look up."""
    words = keras.Input((10,), dtype="int32")
    return keras.Model(words, L.Dense(2)(L.GlobalAveragePooling1D()(L.Embedding(50, 8)(words))))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Networks without a convolution: their files and reports of export, by name."""
    folder, rng = tmp_path_factory.mktemp("others"), np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    series = rng.normal(size=(40, 10, 16)).astype("float32")
    return {
        name: tflite.export(make(), folder / f"{name}.tflite", recipe, data, tolerance=10.0)
        for name, make, recipe, data in (
            ("recurrent", recurrent, "float32", None),
            ("recurrent_float16", recurrent, "float16", None),
            ("attention", attention, "int8", series),
            ("embedding", embedding, "float32", None),
        )
    }


def broken_rule(target, node):
    return tflite.TARGETS[target].broken_rule(node)


def changes(path, target):
    """Operator and reason of each finding, to what to change."""
    report = tflite.check_targets(path, target)[target]
    return {(found.operator, found.why): found.change for found in report.findings}


def hidden(path):
    """Operators that a delegate took, told by memory: LiteRT has only what leaves the delegate."""
    interpreter = LiteRTModel(path).interpreter
    operators = interpreter._get_ops_details()
    leaving = {int(t) for op in operators if op["op_name"] == "DELEGATE" for t in op["outputs"]}

    def is_there(tensor):
        try:
            return interpreter.get_tensor(tensor) is not None
        except ValueError:
            return False

    return {
        op["index"]
        for op in operators
        if op["op_name"] != "DELEGATE" and any(t in leaving or not is_there(t) for t in op["outputs"] if t >= 0)
    }


@pytest.mark.parametrize("name", ["recurrent", "recurrent_float16", "attention", "embedding"])
def test_memory_estimate_equals_the_measured_arena(others, name):
    export = others[name]
    report = tflite.check_targets(export.path, "xnnpack")["xnnpack"]
    assert report.taken == export.delegated == len(hidden(export.path))
    assert report.nodes == export.nodes == len(tflite.inspect(export.path).operators)
    assert {found.node for found in report.findings} == set(range(report.nodes)) - hidden(export.path)
    assert all(found.change for found in report.findings)


def test_file_for_reference_kernels_is_measured(tmp_path):
    """It was verified on kernels without XNNPACK, which takes it all the same."""
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu")])
    prepared = quantize.observe(quantize.prepare(model, runtime="reference"), images)
    export = tflite.export(prepared, tmp_path / "m.tflite", "int8", data=images)
    assert (
        export.delegated
        == tflite.check_targets(export.path, "xnnpack")["xnnpack"].taken
        == len(hidden(export.path))
        > 0
    )


def test_loops_are_not_delegated(others):
    """The interpreter leaves out a loop's output that nobody takes; it is -1, as the bias that a layer has not."""
    file = others["recurrent"]
    operators = {op["op_name"]: op for op in LiteRTModel(file.path).interpreter._get_ops_details()}
    assert -1 in operators["WHILE"]["outputs"]
    assert -1 in operators["FULLY_CONNECTED"]["inputs"]
    found = changes(file.path, "xnnpack")
    assert list(found) == [
        ("WHILE", "is no operator of this target"),
        ("STRIDED_SLICE", "needs a slice without steps that keeps all axes"),
    ]
    assert found["WHILE", "is no operator of this target"].startswith("use unroll=True")
    assert (file.delegated, file.nodes) == (3, 5)


def test_weights_of_undelegated_operators(others):
    found = changes(others["recurrent_float16"].path, "xnnpack")
    assert ("DEQUANTIZE", "makes weights for operators that are left behind") in found


def test_advice_fits_the_operator(others):
    on_xnnpack = changes(others["attention"].path, "xnnpack")
    softmaxes = {
        found.node: found.change
        for found in tflite.check_targets(others["attention"].path, "xnnpack")["xnnpack"].findings
        if found.operator == "SOFTMAX"
    }
    inner, outer = (softmaxes[node] for node in sorted(softmaxes))
    assert inner == "export with the recipe float32 or float16"
    assert outer.startswith("leave the softmax out of the model")
    assert ("BATCH_MATMUL", "needs float32") in on_xnnpack
    means = [
        f.change
        for f in tflite.check_targets(others["attention"].path, "cmsis-nn")["cmsis-nn"].findings
        if f.operator == "MEAN"
    ]
    assert ["batch normalization" in change for change in means] == [True, True, False]
    assert "pooling layer" in means[-1]
    edge = tflite.check_targets(others["attention"].path, "edgetpu")["edgetpu"].findings
    assert "export with the recipe int8" not in {found.change for found in edge}


@pytest.mark.parametrize(
    ("target", "operators"),
    [
        ("xnnpack", {"LESS", "ADD", "SELECT"}),
        ("gpu", {"LESS", "ADD", "SELECT"}),
        ("nnapi", {"ADD"}),
        ("edgetpu", {"LESS", "ADD", "SELECT"}),
        ("ethos-u", {"LESS", "SELECT"}),
        ("cmsis-nn", {"LESS", "ADD", "SELECT"}),
    ],
)
def test_integer_arithmetic_is_not_delegated(others, target, operators):
    found = changes(others["embedding"].path, target)
    assert {name for (name, _), change in found.items() if change.startswith("compute indices")} == operators
    tables = [change for (name, _), change in found.items() if name == "GATHER"]
    assert all(change.startswith("look the rows of this table up") for change in tables)
    assert bool(tables) == (target not in ("gpu", "nnapi"))


def test_computed_table_is_not_an_embedding(others):
    path = others["embedding"].path
    (gather,) = [node for node in nodes_of(tflite.inspect(path), read_tflite(path)[1]) if node.row.name == "GATHER"]
    assert "this table" in broken_rule("xnnpack", gather).change
    assert "deformable" in broken_rule("xnnpack", replace(gather, constants=frozenset())).change


def test_operators_missing_from_api_level_29(others):
    path = others["attention"].path
    found = {(operator, why) for operator, why in changes(path, "nnapi") if operator != "MEAN"}
    assert found >= {
        ("BATCH_MATMUL", "is no operator of this target"),
        ("FULLY_CONNECTED", "needs an output of two axes"),
        ("RSQRT", "needs float32"),
    }
    node = next(n for n in nodes_of(tflite.inspect(path), read_tflite(path)[1]) if n.row.name == "RESHAPE")
    assert broken_rule("nnapi", node) is None
    assert broken_rule("nnapi", replace(node, row=node.row._replace(name="SPLIT"))).needs == "float32 or uint8"


def test_operators_missing_from_reference_kernels_are_compared_with_builtin_ones(tmp_path):
    """ELU is in LiteRT's default kernels, and in TensorFlow Lite Micro's."""
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    model = keras.Sequential([keras.Input((4, 4, 2)), L.ELU()])
    path = tflite.export(model, tmp_path / "m.tflite").path
    with pytest.raises(ValueError, match="expected a file that LiteRT runs"):
        LiteRTModel(path, reference_kernels=True)
    report = tflite.check_targets(path, "tflm")["tflm"]
    assert report.passed
    assert report.facts["compared_with"] == "LiteRT's default kernels"
    assert report.facts["elements_compared"] == 4 * 32
