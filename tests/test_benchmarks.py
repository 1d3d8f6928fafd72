"""The benchmarks run: a smoke size of each group, every library in its process."""

import csv
import importlib.util
import subprocess
import sys

import pytest
from conftest import ROOT

GROUPS = {
    "forward, rate 1",
    "forward, stride with rate",
    "groups, gradients, no oneDNN",
    "xla, forward",
    "xla, gradients",
}


@pytest.mark.parametrize(
    "only",
    [
        "forward, (rate 1|stride)|groups|xla",
        pytest.param("forward, (rate 1|stride)|groups|xla|gradients$|deformable", marks=pytest.mark.slow),
    ],
)
def test_smoke_run(only, tmp_path):
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
    assert {row["group"] for row in rows} >= GROUPS
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
