"""The benchmarks run: a smoke size of each group, every library in its process."""

import csv
import importlib.util
import runpy
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

GROUPS = {"forward, rate 1", "forward, stride with rate", "groups, gradients, no oneDNN"}


@pytest.mark.parametrize(
    ("only", "groups"),
    [
        ("forward, rate 1", {"forward, rate 1"}),
        pytest.param("forward, (rate 1|stride)|groups|xla|gradients$|deformable", GROUPS, marks=pytest.mark.slow),
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


@pytest.mark.slow
def test_quick_run_for_a_gpu(tmp_path):
    """It runs on a CPU too; the rows are written as they come, and a group that fails is one of them."""
    command = [sys.executable, "benchmarks/gpu.py", "--quick", "--torch", "false", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / "gpu.csv").open() as file:
        rows = list(csv.DictReader(file))
    groups = {row["group"] for row in rows}
    assert {"correctness", "probe", "prepared", "inference", "layers, XLA", "training step, mixed_float16"} <= groups
    assert [row["case"] for row in rows if row["group"] in ("failed", "left out")] == ["torch"]
    assert all(row["reached"] == "yes" for row in rows if row["group"] in ("correctness", "prepared"))
    title = (tmp_path / "gpu.md").read_text().splitlines()[0]
    assert "tensorflow" in title
    assert "driver" in title


@pytest.mark.slow
def test_a_group_at_its_limit_and_one_that_fails_are_rows(tmp_path):
    program = """
import sys, gpu
gpu.GROUPS = {"unknown": gpu.GROUPS["probe"], "probe": gpu.GROUPS["probe"]._replace(limit=1)}
sys.argv = ["gpu.py", *sys.argv[1:]]
sys.exit(gpu.main())
"""
    command = [sys.executable, "-c", program, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    with (tmp_path / "gpu.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [row["group"] for row in rows.values()] == ["failed", "failed"]
    assert "invalid choice" in rows["unknown"]["against"]
    assert "at its limit of 1 s" in rows["probe"]["against"]
    done = subprocess.run(
        [*command, "--minutes", "0"], cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count("left out"), done.stdout.count("no time is left")) == (0, 2, 2)


def test_steps_beside_those_of_pytorch(monkeypatch, tmp_path):
    """In one run or in two, of which the second one measured a part."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = runpy.run_path(str(ROOT / "benchmarks" / "gpu.py"))
    step = gpu["table_row"](
        "training step, float32", "tfsep train with XLA", "Keras", (10.0, "9–11", 14.0, "13–15"), 1.1
    )
    torch = {**gpu["said"](step["group"], "PyTorch eager", torch="2"), "peer": "11.9", "peer spread": "11–12"}
    rows = [gpu["beside_torch"]({**torch, "case": f"PyTorch {how}"}, [step]) for how in ("eager", "compiled")]
    assert [(row["ours"], row["peer"], row["ratio"], row["reached"]) for row in rows] == [
        ("10", "11.9", "1.19", "no"),
        ("10", "11.9", "1.19", ""),
    ]
    assert gpu["beside_torch"](torch, [{**step, "group": "training step, mixed_float16"}]) is torch
    gpu["_write"](tmp_path, "", [step])
    before = gpu["_read"](tmp_path)
    assert gpu["beside_torch"](torch, before)["ratio"] == "1.19"
    again = {**step, "ours": "9"}
    assert [row["ours"] for row in gpu["merged"](before, [torch, again])] == ["", "9"]
    assert gpu["merged"](before, [torch]) == [*before, torch]


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
