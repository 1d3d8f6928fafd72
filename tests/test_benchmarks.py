"""The benchmarks run: a smoke size of each group, every library in its process."""

import csv
import importlib.util
import json
import runpy
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

GROUPS = {"forward, rate 1", "forward, stride with rate", "groups, gradients, no oneDNN"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "groups"),
    [
        ("forward, rate 1", {"forward, rate 1"}),
        ("forward, (rate 1|stride)|groups|xla|gradients$|deformable", GROUPS),
    ],
)
def test_smoke_run(only, groups, tmp_path):
    command = [
        sys.executable,
        "benchmarks/run.py",
        "--smoke",
        "--only",
        only,
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["group"] for row in rows} >= groups
    for row in rows:
        assert float(row["ours"]) > 0
        # Times are written with three digits, and ratios with two behind the point.
        ratio = float(row["ratio"])
        assert abs(float(row["peer"]) / float(row["ours"]) - ratio) <= 0.005 + 0.011 * ratio
        assert row["reached"] == ("yes" if float(row["ratio"]) >= float(row["goal"]) else "no")
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == len(rows) + 2
    if "deformable" in only and importlib.util.find_spec("torch") is None:
        assert "left out, for want of PyTorch" in done.stdout
    if "deformable" in only and importlib.util.find_spec("torchvision") is None:
        assert "left out, for want of torchvision: deformable, forward" in done.stdout


@pytest.mark.parametrize(("only", "said"), [("(", "a regular expression, got '('"), ("nothing", "got 'nothing'")])
def test_unknown_cases_are_refused(only, said):
    command = [sys.executable, "benchmarks/run.py", "--smoke", "--only", only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def gpu_run(folder, *options):
    command = [sys.executable, "benchmarks/gpu.py", *options, "--torch", "false", "--out", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_rehearsal_for_a_gpu(tmp_path):
    """On a CPU too: the rows are written as they come, none is of speed, and a run that ended early is gone on with."""
    part = gpu_run(tmp_path, "--quick", "--minutes", "0")
    assert part.returncode == 0, part.stderr[-2000:]
    assert "In 0 minutes at most: correctness (15 cases); probe (8 cases)" in part.stdout
    assert "0 reached, 0 not reached" in part.stdout
    done = gpu_run(tmp_path, "--quick", "--minutes", "60")
    assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / "gpu.csv").open() as file:
        rows = list(csv.DictReader(file))
    states = {row["group"]: row["reached"] for row in rows}
    judged = ("correctness", "probe", "prepared", "runs")
    assert {name for name, state in states.items() if state == "yes"} == set(judged)
    assert {name for name, state in states.items() if state == "not measured"} == {"torch"}
    assert all(row["against"] == "because torch is not there" for row in rows if row["group"] == "torch")
    assert all(float(row["ratio"]) > 0 for row in rows if row["reached"] == "")
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert lines[0].startswith("Rehearsal, ")
    assert "driver" in lines[0]
    assert lines[-1] == done.stdout.splitlines()[-1]
    assert lines[-1].endswith("1 not measured: torch.")


@pytest.mark.slow
def test_without_a_gpu_only_a_rehearsal(tmp_path):
    done = gpu_run(tmp_path / "none")
    assert done.returncode == 2
    assert "--quick: expected it where TensorFlow sees no GPU" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "none").exists()


WORKER = """
import json, os, sys, time
for case in json.loads(sys.argv[-1])["cases"]:
    if case == "crash":
        sys.exit("a line\\nMemory is out")
    elif case == "signal":
        os.kill(os.getpid(), 11)
    elif case == "long":
        time.sleep(60)
    print("a library's own line")
    print(json.dumps({"against": case, "reached": "no" if case == "wrong" else "yes"}), flush=True)
    if case == "wrong":
        break
"""


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    return gpu


@pytest.mark.parametrize(
    ("names", "limit", "states"),
    [
        (["a", "wrong", "crash", "signal", "b"], 30, ["yes", "no", "no", "no", "yes"]),
        (["a", "long", "b"], 1.5, ["yes", "not measured", "not measured"]),
        (["a"], -3, ["not measured"]),
    ],
)
def test_a_case_that_fails_is_a_row_and_the_rest_goes_on(gpu, names, limit, states):
    cases = [gpu.Case(name, None) for name in names]
    rows = list(gpu.rows_of(cases, {}, limit, [sys.executable, "-c", WORKER]))
    assert [case.name for case, row in rows] == names
    assert [row["reached"] for case, row in rows] == states
    said = {case.name: row["against"] for case, row in rows}
    assert said.get("crash", "") in ("", "failed the process ended with 1: Memory is out")
    assert said.get("signal", "") in ("", "failed the process ended with -11")
    assert said.get("b", "b") in ("b", "because the time limit of 2 s")


def test_an_error_of_a_case_is_one_sentence(gpu, monkeypatch, capsys):
    def fail():
        raise ValueError("a cause\n\nand a paragraph")

    cases = [gpu.Case("right", lambda: gpu.said("yes", of=1)), gpu.Case("wrong", fail), gpu.Case("behind", fail)]
    monkeypatch.setitem(gpu.GROUPS, "probe", gpu.GROUPS["probe"]._replace(cases=lambda sizes: cases))
    monkeypatch.setattr(sys, "path", list(sys.path))
    gpu.work({"group": "probe", "quick": True, "gpu": False, "cases": [case.name for case in cases]})
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        {"against": "of 1", "reached": "yes"},
        {"against": "failed ValueError: a cause", "reached": "no"},
    ]


def test_what_is_measured_is_kept_and_the_rest_is_to_do(gpu, tmp_path):
    """A step of PyTorch has ours beside it once both are there, in whatever run."""
    import run

    sizes = gpu.sizes_of(False, True)
    of = gpu.Measured(tmp_path, "an H200", sizes)
    step = run.table_row("", "", "Keras", (10.0, "9–11", 14.0, "13–15"), 1.1)
    torch = {**gpu.said("not measured", torch="2"), "peer": "11.9", "peer spread": "11–12"}
    assert of.add("torch", "float32, eager", torch)["reached"] == "not measured"
    of.add("torch", "mixed_float16, eager", gpu.said("not measured", because="torch is not there"))
    of.add("step, float32", "fit", gpu.said("not measured", because="the time limit of 2 s"))
    assert (of.failed(), of.count().partition(" not measured")[0]) == (
        False,
        "0 reached, 0 not reached, 0 without a goal, 3",
    )
    of = gpu.Measured(tmp_path, "an H200", sizes)
    assert [of.lacks("torch", f"{policy}, eager") for policy in ("float32", "mixed_float16")] == [False, True]
    assert of.lacks("step, float32", "fit")
    assert of.lacks("step, float32", "tfsep train, XLA")
    assert of.add("step, float32", "tfsep train, XLA", step)["reached"] == "yes"
    rows = list(gpu.Measured(tmp_path, "an H200", sizes).rows.values())
    assert [row["group"] for row in rows] == ["step, float32"] * 2 + ["torch"] * 2
    eager = next(row for row in rows if row["case"] == "float32, eager")
    assert (eager["ours"], eager["peer"], eager["ratio"], eager["reached"]) == ("10", "11.9", "1.19", "no")
    assert of.failed()
    assert of.count() == "1 reached, 1 not reached, 0 without a goal, 2 not measured: step, float32; torch."
    compiled = of.add("torch", "float32, compiled", torch)
    assert (compiled["ratio"], compiled["reached"]) == ("1.19", "")
    with pytest.raises(ValueError, match=r"for rows of a CPU, got .* with those of an H200"):
        gpu.Measured(tmp_path, "a CPU", sizes)


def test_what_is_to_run_is_said(gpu):
    cases = {"probe": [gpu.Case("a", None)], "prepared": [], "torch": [gpu.Case("b", None)] * 2}
    limits = {name: f"{gpu.GROUPS[name].limit:.0f} s" for name in cases}
    first, rest = f"probe (1 cases, {limits['probe']})", f"torch (2 cases, {limits['torch']})"
    assert gpu.plan(cases, 15) == f"In 15 minutes at most: {first}; {rest}."
    assert gpu.plan(cases, 1) == f"In 1 minutes at most: {first}.\nIn what these leave of them: {rest}."
    assert gpu.plan(cases, 1, quick=True) == "In 1 minutes at most: probe (1 cases); torch (2 cases)."
    assert (
        gpu.plan(cases, 0)
        == f"In 0 minutes at most: no group to its time limit.\nIn what these leave of them: {first}; {rest}."
    )
    everything = {name: [gpu.Case("a", None)] for name in gpu.GROUPS}
    planned = gpu.plan(everything, 15).splitlines()[0]
    for name in ("correctness", "step, float32", "step, mixed_float16", "torch", "convolutions"):
        assert f"{name} (" in planned


def test_every_case_has_a_name_of_its_own(gpu):
    """As a process and a table ask for it, on machines with a GPU and in rehearsals."""
    for quick, there in ((False, True), (True, True), (True, False)):
        for group in gpu.GROUPS.values():
            names = [case.name for case in group.cases(gpu.sizes_of(quick, there))]
            assert len(set(names)) == len(names) > 0


def test_the_table_of_calibrations_is_drawn(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import calibration_plot

    with (ROOT / "benchmarks" / "calibration.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = {row["network"]: float(row["accuracy"]) for row in rows if row["way"] == "float32"}
    measured = [row for row in rows if row["accuracy"]]
    assert len(own) > 1
    for row in measured:
        assert float(row["points"]) == pytest.approx(100 * (own[row["network"]] - float(row["accuracy"])), abs=0.011)
        assert row["differing"] in ("", "0")
    figure = calibration_plot.draw(rows)
    assert [axes.get_title().partition(":")[0] for axes in figure.axes] == list(own)
    bars = sum(len(axes.patches) for axes in figure.axes)
    assert bars == len(measured) - len(own)


def test_uneven_channels_leave_the_function(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from calibration_networks import Separable, TrainedNetwork, build
    from calibration_training import keras, make_uneven

    images = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    model = build(TrainedNetwork("small", 4, (Separable(8, 2),)), keras)
    model.layers[2].beta.assign([7.0, 0.0, 0.0, 0.0])
    before, kernel = np.asarray(model(images)), np.asarray(model.layers[4].kernel)
    make_uneven(model, images, halvings=8)
    assert np.abs(np.asarray(model(images)) - before).max() < 1e-5 * np.abs(before).max()
    factors = (np.asarray(model.layers[4].kernel) / kernel)[0, 0, :, 0]
    assert factors[0] == 1  # ReLU6 cuts it
    assert factors.max() > 8


def test_shapes_drawn_by_chance():
    """The same of one seed, of every size that was asked for, with steps of the given ones."""
    random_shapes = runpy.run_path(str(ROOT / "benchmarks" / "random_shapes.py"))
    drawn, (least, most) = random_shapes["drawn"], random_shapes["ELEMENTS"]
    shapes = drawn(3, (1, 2), (2, 3))
    assert shapes == drawn(3, (1, 2), (2, 3)) != drawn(4, (1, 2), (2, 3))
    assert len(shapes) == random_shapes["COUNT"]
    for shape in shapes:
        assert {shape["stride"], shape["rate"]} <= {1, 2, 3}
        assert shape["rate"] > 1
        assert least <= shape["side"] ** 2 * shape["channels"] * shape["images"] <= most


@pytest.mark.parametrize(("count", "median"), [(1, 1), (4, 2), (5, 3)])
def test_median_and_worst_of_a_sample(count, median):
    rows = [{"case": f"number {n}", "ratio": f"{n}.00"} for n in range(count, 0, -1)]
    rows = runpy.run_path(str(ROOT / "benchmarks" / "random_shapes.py"))["median_and_worst"](rows)
    assert [row["case"] for row in rows] == [
        f"median of {count} drawn by chance: number {median}",
        f"worst of {count} drawn by chance: number 1",
    ]
