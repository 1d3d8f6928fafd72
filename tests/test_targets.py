"""Targets: what is measured is what the runtimes did, and each documented rule stops what it speaks of."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from checks import assert_sentence
from conftest import ROOT

from tfsep import Conv, DepthSepConv, layers, models, tflite
from tfsep._flatbuffer.reader import read_tflite
from tfsep._workers import Reply, WorkerError, run_worker
from tfsep.tflite._inspect import OperatorRow
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._targets import _measured
from tfsep.tflite._targets._alternatives import alternative_to
from tfsep.tflite._targets._node import Node, nodes_of
from tfsep.tflite._targets._target import Rule, Source, Target

L = keras.layers
GUIDE = (ROOT / "docs" / "guides" / "targets.md").read_text()
WITH_RULES = [name for name, target in tflite.TARGETS.items() if target.rules]
X = np.random.default_rng(0).normal(size=(8, 12, 12, 8)).astype("float32")
MENAGERIE = {
    "depthwise": lambda: layers.DepthwiseConv2D(3, 2, "same", rate=2),
    "multiplier": lambda: layers.DepthwiseConv2D(3, 1, "same", 2, rate=(2, 3)),
    "groups": lambda: layers.Conv2D(6, 3, 1, "same", groups=2, activation="relu6"),
    "strides": lambda: layers.DepthwiseConv2D(3, 4, "same"),
    "transposed": lambda: layers.Conv2DTranspose(4, 3, strides=3, padding="same"),
    "leap": lambda: layers.Conv2D(4, 3, 5, padding="same"),
    "wide": lambda: layers.Conv2D(32, 5),
    "window": lambda: layers.DepthwiseConv2D(12),
    "maximum": lambda: L.MaxPooling2D(2),
    "average": lambda: L.AveragePooling2D(9, 2, "same"),
    "nearest": lambda: L.UpSampling2D(2, interpolation="nearest"),
    "gelu": lambda: L.Activation("gelu"),
    "tanh": lambda: L.Activation("tanh"),
    "padded": lambda: L.ZeroPadding2D(1),
    "softmax": L.Softmax,
    "cropped": lambda: L.Cropping2D(1),
    "exponential": lambda: L.Activation("exponential"),
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """One network with many kinds of operators, in three recipes."""
    folder = tmp_path_factory.mktemp("zoo")
    image = keras.Input((12, 12, 8), name="image")
    outputs = [L.GlobalAveragePooling2D(name=f"mean_{n}")(make()(image)) for n, make in MENAGERIE.items()]
    model = keras.Model(image, L.Dense(5)(L.Concatenate(name="joined")(outputs)))
    return {
        recipe: tflite.export(model, folder / f"{recipe}.tflite", recipe, X, tolerance=10.0).path
        for recipe in ("float32", "int8", "dynamic_int8")
    }


def broken_rule(target, node):
    return tflite.TARGETS[target].broken_rule(node)


def nodes_in(path):
    return nodes_of(tflite.inspect(path), read_tflite(path)[1])


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """An int8 MobileNet v1."""
    keras.utils.set_random_seed(0)
    conv_defs = [Conv(3, 2, 8), DepthSepConv(3, 1, 16), DepthSepConv(3, 2, 16)]
    model = models.MobileNetV1((32, 32, 3), 10, conv_defs=conv_defs)
    images = np.random.default_rng(1).normal(size=(40, 32, 32, 3)).astype("float32")
    for layer in model.layers:
        layer.momentum = 0.0  # of the normalizations: the statistics of one call, or the outputs hardly vary
    model(images, training=True)
    return tflite.export(model, tmp_path_factory.mktemp("net") / "m.tflite", "int8", images, tolerance=10.0).path


@pytest.mark.parametrize("recipe", ["float32", "int8", "dynamic_int8"])
def test_xnnpack_rules_match_the_delegate(zoo, recipe):
    """The rules explain exactly the nodes that were left, and stop none that was taken."""
    taken = frozenset().union(*LiteRTModel(zoo[recipe]).partitions())
    nodes = nodes_in(zoo[recipe])
    for node in nodes:
        assert (node.row.number in taken) == (broken_rule("xnnpack", node) is None), node.row
    report = tflite.check_targets(zoo[recipe], "xnnpack")["xnnpack"]
    assert (report.taken, report.nodes) == (len(taken), len(nodes))
    assert report.basis == "measured"
    assert {found.node for found in report.findings} == set(range(len(nodes))) - taken
    assert report.partitions == len(LiteRTModel(zoo[recipe]).partitions()) > 1


def test_scales_too_far_apart_are_not_delegated(zoo):
    """A node of XNNPACK's addition, whose second step becomes 1/1025 and 257 of its output's."""
    tensor = next(node for node in nodes_in(zoo["int8"]) if node.row.name == "CONV_2D").outputs[0]
    for times, needs in ((2**-10, None), (1 / 1025, "inputs whose"), (255, None), (257, "inputs whose")):
        other = tensor._replace(scales=(tensor.scales[0] * times,))
        add = Node(OperatorRow(0, "ADD", 2, (0, 1), (0,), {}), (tensor, other), (tensor,), frozenset())
        rule = broken_rule("xnnpack", add)
        assert (rule is None) == (needs is None)
        assert rule is None or rule.needs.startswith(needs)


def test_unexplained_node_is_reported(zoo, monkeypatch):
    monkeypatch.setattr(Target, "broken_rule", lambda target, node: None)
    report = tflite.check_targets(zoo["float32"], "xnnpack")["xnnpack"]
    assert {found.why for found in report.findings} == {"is left behind, and no documented rule says why"}


BROKEN = {  # of the int8 file: target, layer's operator, and what its report says of exactly that one
    ("gpu", "groups"): "needs channels of each group that are multiples of 4, or it is split",
    ("edgetpu", "multiplier"): "needs equal rates in rows and columns",
    ("ethos-u", "strides"): "needs strides of at most 3",
    ("ethos-u", "transposed"): "needs strides of 1×1 or 2×2",
    ("ethos-u", "leap"): "needs strides of at most 3, or padding 'valid' and rate 1",
    ("ethos-u", "average"): "needs a pool of at most 8 rows and columns, or padding 'valid'",
    ("cmsis-nn", "multiplier"): "needs a depth multiplier of 1 for its fast kernel",
    ("cmsis-nn", "depthwise"): "needs rate 1 for its fast kernel",
    ("cmsis-nn", "transposed"): "needs strides of at most 2 for its fast kernel",
    ("edgetpu", "exponential"): "is no operator of this target",
}
OPERATOR = {
    "transposed": lambda op: op.name == "TRANSPOSE_CONV",
    "groups": lambda op: op.name == "CONV_2D" and op.options.get("fusedActivationFunction") == 3,
    "leap": lambda op: op.name == "CONV_2D" and op.options["strideH"] == 5,
    "average": lambda op: op.name == "AVERAGE_POOL_2D",
    "strides": lambda op: op.options.get("strideH") == 4,
    "depthwise": lambda op: op.options.get("dilationHFactor") == 2 and op.options.get("strideH") == 2,
    "multiplier": lambda op: op.options.get("dilationWFactor") == 3,
    "exponential": lambda op: op.name == "EXP",
}


@pytest.mark.parametrize(("target", "layer"), BROKEN)
def test_each_rule_rejects_its_operator(zoo, target, layer):
    report = tflite.check_targets(zoo["int8"], target)[target]
    (number,) = [op.number for op in tflite.inspect(zoo["int8"]).operators if OPERATOR[layer](op)]
    (found,) = [found for found in report.findings if found.node == number]
    assert found.why == BROKEN[target, layer]
    assert found.change
    assert found.source == str(tflite.TARGETS[target].source) or "transpose" in found.source
    assert (report.basis, report.passed) == ("documented rule", False)


def test_tensor_types_are_checked(zoo):
    whys = {
        target: {f.why for f in tflite.check_targets(zoo["float32"], target)[target].findings} for target in WITH_RULES
    }
    assert "needs 8-bit integers throughout" in whys["edgetpu"]
    assert "needs integers of 8 or 16 bits" in whys["ethos-u"]
    assert "needs int8 or int16" in whys["cmsis-nn"]
    dynamic = tflite.check_targets(zoo["dynamic_int8"], ["gpu", "xnnpack", "nnapi"])
    assert "needs weights of its activations' type" in {f.why for f in dynamic["gpu"].findings}
    assert not dynamic.passed


def test_rules_on_handmade_nodes(zoo):
    """A bias that is left out, a computed weight, a later version, a batch of two."""
    nodes = nodes_in(zoo["int8"])
    conv = next(node for node in nodes if node.row.name == "CONV_2D" and node.groups == 1 and node.strides == (1, 1))
    bare = replace(conv, row=conv.row._replace(version=3), inputs=(*conv.inputs[:2], None))
    assert broken_rule("xnnpack", bare).needs == broken_rule("nnapi", bare).needs == "a bias"
    computed = replace(conv, constants=conv.constants - {conv.inputs[1].number})
    assert broken_rule("xnnpack", computed).needs == "static weights and bias"
    assert broken_rule("edgetpu", computed).needs == "static weights"
    later = replace(conv, row=conv.row._replace(version=7))
    assert "operator version" in broken_rule("gpu", later).needs
    two = replace(conv, outputs=(conv.outputs[0]._replace(shape=(2, *conv.outputs[0].shape[1:])),))
    assert broken_rule("edgetpu", two).needs == "a batch of one"


def test_edge_tpu_runs_nothing_after_the_first_unsupported_operator(zoo):
    report = tflite.check_targets(zoo["int8"], "edgetpu")["edgetpu"]
    assert report.taken == min(found.node for found in report.findings)


def test_rules_are_data():
    for name, target in tflite.TARGETS.items():
        assert target.name == name
        assert target.measure is not None or name in WITH_RULES
        for source in (target.source, *(rule.source for rule in target.rules if rule.source is not None)):
            assert source.name
            assert source.version
        for rule in target.rules:
            assert set(rule.operators) <= target.operators
            assert rule.needs
            assert rule.change


def test_mobilenet_passes_or_is_explained(mobilenet):
    report = tflite.check_targets(mobilenet)
    complete = {r.target for r in report.reports if r.complete}
    assert complete == {"tflm", "gpu", "edgetpu", "ethos-u"}
    softmax = report["xnnpack"].findings[0].node
    assert (report["xnnpack"].passed, report["xnnpack"].leftovers) == (True, (softmax,)), "it is the last operator"
    assert report["xnnpack"].summary().endswith(f"in 1 partition; SOFTMAX {softmax} runs outside it")
    assert [f.operator for f in report["xnnpack"].findings] == ["SOFTMAX"]
    assert report["xnnpack"].findings[0].change.startswith("leave the softmax out of the model")
    assert {f.operator for f in report["cmsis-nn"].findings} == {"MEAN"}
    assert {f.operator for f in report["nnapi"].findings} <= {"MEAN"}
    for text in ("measured", "documented rule", "SOFTMAX", "LiteRT 2."):
        assert text in str(report)
    assert report.to_dict()["xnnpack"]["findings"][0]["node"] == report["xnnpack"].findings[0].node


def test_the_guide_has_the_shipped_files_figures():
    report = tflite.check_targets(ROOT / "saved_models" / "fashion_mnist" / "model_int8.tflite")
    by_target = {
        target.strip("`"): line.rsplit("| ", 1)[1]
        for line in GUIDE.splitlines()
        if line.startswith("| `")
        for target in line.split(" | ")[0].removeprefix("| ").split(", ")
    }
    missing = set(tflite.TARGETS) - set(by_target)
    assert not missing, f"docs/guides/targets.md: expected a row of its table for each target, got none of {missing}"
    xnnpack, micro = report["xnnpack"], report["tflm"]
    assert by_target["xnnpack"].startswith(f"{xnnpack.taken} of {xnnpack.nodes}: {xnnpack.findings[0].operator} ")
    assert by_target["tflm"].startswith(
        f"runs, {micro.facts['elements_that_differ']} outputs differ, {micro.facts['arena_bytes']:,} bytes"
    )
    for target in WITH_RULES:
        if target != "xnnpack":
            assert by_target[target].startswith("pass") == report[target].passed


def test_micro_runs_the_file_in_the_smallest_arena(mobilenet):
    report = tflite.check_targets(mobilenet, "tflm")["tflm"]
    assert report.facts["elements_that_differ"] == 0
    assert report.facts["elements_compared"] == 40
    arena = report.facts["arena_bytes"]
    assert arena % 16 == 0
    for size, code in ((arena, 0), (arena - 16, 1)):
        program = f"""
import numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file({str(mobilenet)!r}, arena_size={size})
interpreter.set_input(np.zeros((1, 32, 32, 3), np.int8), 0)
interpreter.invoke()
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert done.returncode == code


def test_micro_failure_is_explained(zoo):
    for path, operator, why in (
        (ROOT / "saved_models" / "fashion_mnist" / "model_dynamic_int8.tflite", "CONV_2D", "Hybrid models are not"),
        (zoo["dynamic_int8"], "GELU", "Didn't find op"),
    ):
        report = tflite.check_targets(path, "tflm")["tflm"]
        (found,) = report.findings
        assert not report.passed
        assert found.operator == operator
        assert tflite.inspect(path).operators[found.node].name == operator
        assert why in found.why
        assert found.change


def test_arena_in_which_a_kernel_aborts_is_too_small():
    program = """
import os
from tfsep._workers import _micro
_micro._opened = lambda content, arena: os.abort() if arena < 5000 else None if arena < 9000 else content
_micro._runs = lambda interpreter, sample: True
print(_micro._smallest_arena(b"a file", []))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout == "9008\n"


def test_differing_micro_outputs_are_counted(mobilenet, monkeypatch):
    def other(*args, **kwargs):
        reply = run_worker(*args, **kwargs)
        reply.arrays[0].ravel()[3] ^= 1
        return reply

    monkeypatch.setattr(_measured, "run_worker", other)
    report = tflite.check_targets(mobilenet, "tflm")["tflm"]
    assert not report.passed
    assert report.facts["elements_that_differ"] == 1
    assert "1 of 40 outputs" in report.findings[0].why


def test_micro_outputs_are_matched(tmp_path):
    """Two outputs whose names are in another order than the file's list."""
    image = keras.Input((6, 6, 4), name="image")
    heads = [L.Dense(n, name=name)(L.Flatten()(image)) for n, name in ((3, "z"), (2, "a"))]
    path = tflite.export(keras.Model(image, heads), tmp_path / "m.tflite").path
    report = tflite.check_targets(path, "tflm")["tflm"]
    assert report.passed
    assert report.facts["elements_compared"] == 20


def test_crash_in_micro_is_reported(mobilenet, monkeypatch):
    for log, why in (("", ""), ("a/b.cc:3 No room.\n", " and says: No room.")):

        def crash(*args, log=log, **kwargs):
            raise WorkerError("it ends by signal SIGSEGV", log)

        monkeypatch.setattr(_measured, "run_worker", crash)
        report = tflite.check_targets(mobilenet, "tflm")["tflm"]
        assert (report.passed, report.taken) == (False, 0)
        assert report.findings[0].why == f"does not survive it: it ends by signal SIGSEGV{why}"
        assert "recipe" not in report.findings[0].change


def test_nodes_of_a_loop_body_are_not_counted_in_the_graph(mobilenet):
    nodes = nodes_in(mobilenet)
    for said, number in (("CONV_2D (number 0)", 0), ("MUL (number 0)", None), ("MUL (number 99)", None)):
        (found,) = _measured._refused(
            tflite.TARGETS["tflm"], f"says: Node {said} failed to prepare with status 1", nodes
        ).findings
        assert (found.node, found.operator) == (number, said.split()[0])
        assert found.change == "use another layer: the interpreter refuses this operator as it is here"


def test_silent_micro_worker_is_reported(mobilenet, monkeypatch):
    monkeypatch.setattr(_measured, "run_worker", lambda *args: Reply({"ran": False}, [], ""))
    (found,) = tflite.check_targets(mobilenet, "tflm")["tflm"].findings
    assert found.why == "does not run, and says nothing"


def test_target_has_advice_of_its_own_for_an_operator_that_it_lacks(mobilenet, monkeypatch):
    operators = frozenset(tflite.inspect(mobilenet).op_counts) - {"CONV_2D", "SOFTMAX"}
    rules = (Rule((), lambda node: False, "luck", ""), Rule(("CONV_2D",), lambda node: False, "", "use a matrix"))
    monkeypatch.setitem(tflite.TARGETS, "own", Target("own", "a target", Source("a sheet", "1"), operators, rules))
    changes = {f.operator: (f.why, f.change) for f in tflite.check_targets(mobilenet, "own")["own"].findings}
    assert changes.pop("CONV_2D") == ("is no operator of this target", "use a matrix")
    softmax = next(node for node in nodes_in(mobilenet) if node.row.name == "SOFTMAX")
    assert changes.pop("SOFTMAX") == ("is no operator of this target", alternative_to(softmax))
    assert set(changes.values()) == {("needs luck", "")}


def test_custom_target_is_a_record(mobilenet, monkeypatch):
    source = Source("a data sheet", "1")
    rule = Rule(("CONV_2D",), lambda node: False, "something else", "use another layer")
    operators = frozenset(tflite.inspect(mobilenet).op_counts)
    monkeypatch.setitem(tflite.TARGETS, "own", Target("own", "a target", source, operators, (rule,), prefix_only=True))
    assert "own" in [report.target for report in tflite.check_targets(mobilenet).reports]
    report = tflite.check_targets(mobilenet, "own")["own"]
    assert {(f.operator, f.why, f.source) for f in report.findings} == {
        ("CONV_2D", "needs something else", "a data sheet, 1")
    }
    assert (report.passed, report.basis, report.taken) == (False, "documented rule", report.findings[0].node)


@pytest.mark.parametrize(
    ("targets", "kind"), [("tpu", ValueError), ([], ValueError), (3, TypeError), (["gpu", None], ValueError)]
)
def test_unknown_targets_are_refused(mobilenet, targets, kind):
    with pytest.raises(kind) as error:
        tflite.check_targets(mobilenet, targets)
    assert_sentence(error.value, "target")


def test_without_the_package_for_micro(mobilenet, monkeypatch):
    monkeypatch.setattr(_measured, "find_spec", lambda name: None)
    with pytest.raises(ImportError) as error:
        tflite.check_targets(mobilenet, "tflm")
    assert_sentence(error.value, "target")


def test_failing_workers_are_reported():
    for name, request, message in (
        ("run_once", {"kernels": "AUTO", "keep_tensors": False}, "not a valid Flatbuffer"),
        ("nothing", {}, "nothing"),
    ):
        with pytest.raises(WorkerError, match=message):
            run_worker(name, request, [np.zeros(64, np.uint8)])
    with pytest.raises(WorkerError, match="does not end within"):
        run_worker("time_files", {"threads": [1], "runs": 1, "warmup": 0}, seconds=0.01)
