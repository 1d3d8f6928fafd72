"""`prepare` takes networks of every kind as they are, and files compute what it does: ``benchmarks/quantize.py``.

All of its networks run in ``test_networks.py``.
"""

import importlib
import json
import sys

import keras
import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
SWEEP = importlib.import_module("quantize").SWEEP
worker, zoo = (importlib.import_module(name) for name in ("quantize_worker", "zoo"))


def row_of(name, tmp_path, steps):
    run = worker.Run(zoo.QUANTIZED[name], tmp_path / "row.json")
    for step in steps:
        run.step(step, getattr(run, step))
    return json.loads((tmp_path / "row.json").read_text())


@pytest.mark.parametrize("name", ["small hard swish by operations", "small super-resolution", "small fine-tuned"])
def test_networks_are_taken_as_they_are(name, tmp_path):
    row = row_of(name, tmp_path, ["default"])
    assert (row["faults"], row["differing"], row["MACs in int8"]) == ([], "0", "100.00%")
    assert int(row["elements"].replace(",", "")) > 0


def small():
    layers = [keras.layers.Conv2D(4, 1, name="c"), keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((4, 4, 3)), *layers])


def test_faults_are_found(tmp_path, monkeypatch):
    """A convolution in float32, elements that differ, a refusal."""
    prepare = worker.quantize.prepare

    class Report:
        class verification:
            elements, differing, edges, unexplained = 4000, 1000, 0, 1000

    monkeypatch.setitem(zoo.QUANTIZED, "other", zoo.Network("other", small))
    monkeypatch.setattr(worker.quantize, "prepare", lambda model: prepare(model, float_layers=("c",)))
    monkeypatch.setattr(worker.tflite, "export", lambda *_, **__: Report)
    row = row_of("other", tmp_path, ["default", "reference"])
    assert (row["in float32"], row["kinds in float32"], row["MACs in int8"]) == (1, "Conv2D", "40.00%")
    share, differing, refused = row["faults"]
    assert share == "60.00% of the MACs in float32: c"
    assert differing == "1,000 of 4,000 elements differ"
    assert refused.startswith("reference: TypeError: ")
    SWEEP.write([row], tmp_path)
    assert "- **other**, 1,000 of 4,000 elements differ" in (tmp_path / "quantize.md").read_text()
