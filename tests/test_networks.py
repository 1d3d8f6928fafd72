"""Many networks the whole way, by ``benchmarks/networks.py`` and ``quantize.py``; their tables are of the same rows."""

import importlib
import inspect
import json
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
rows, worker, zoo = (importlib.import_module(name) for name in ("rows", "network_worker", "zoo"))
SWEEPS = {
    table: (importlib.import_module(table).SWEEP, names)
    for table, names in (("networks", zoo.ZOO), ("quantize", zoo.QUANTIZED))
}
SWEEP, _ = SWEEPS["networks"]

FAMILIES = {name for name, thing in vars(keras.applications).items() if inspect.ismodule(thing)} - {"imagenet_utils"}


@pytest.mark.slow
@pytest.mark.parametrize(("table", "name"), [(table, name) for table, (_, names) in SWEEPS.items() for name in names])
def test_network(table, name):
    """Rows stay in the folder of runs, which the last test makes the table of."""
    sweep, _ = SWEEPS[table]
    sweep.runs.mkdir(parents=True, exist_ok=True)
    assert sweep.run(name, sweep.runs)["faults"] == []


@pytest.mark.slow
@pytest.mark.parametrize("table", SWEEPS)
def test_table_is_written(table):
    sweep, names = SWEEPS[table]
    sweep.write_kept(names)


def test_every_family_of_applications_is_there():
    """By the letters of the names, without widths and depths."""

    def letters(name):
        return "".join(c for c in name.lower() if c.isalpha())

    names = {letters(name) for name in zoo.ZOO}
    missing = {family for family in FAMILIES if not any(name.startswith(letters(family)) for name in names)}
    assert missing == set()
    assert len(zoo.ZOO) >= 60
    assert len({rows.file_name(name) for name in zoo.QUANTIZED}) == len(zoo.QUANTIZED) > len(zoo.ZOO)


def small():
    layers = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((5,)), *layers])


def row_of(tmp_path):
    """The row of a small network."""
    run = worker.Run(zoo.Network("small", small), tmp_path / "row.json")
    run.step("cost", run.count)
    run.step("fold_batch_norm", run.fold)
    run.step("export", lambda: run.export("float32"))
    run.step("cost of the file", run.count_file)
    run.step("export", lambda: run.export("int8"))
    return json.loads((tmp_path / "row.json").read_text())


def test_row_of_a_network(tmp_path):
    row = row_of(tmp_path)
    assert row["faults"] == []
    assert (row["params"], row["MACs"], row["folded"], row["left"]) == ("81", "48", 1, 0)
    assert (row["float32"], row["int8"]) == ("faithful", "faithful")
    assert 0 < float(row["int8 RMS"]) < 0.1
    SWEEP.write([{**row, "s": "1"}, {"network": "other", "faults": ["cost: x"]}], tmp_path)
    text = (tmp_path / "networks.md").read_text()
    assert "| small | 81 | 48 |" in text
    assert "- **other**, cost: x" in text


def test_faults_are_found(tmp_path, monkeypatch):
    """Another model in place of the folded one, another count, refusals of files that the converter makes well."""

    def refuse(*_, **__):
        raise ValueError("model: refused")

    def other(model):
        folded = keras.models.clone_model(model)
        folded.set_weights([1.01 * np.asarray(weight) for weight in model.get_weights()])
        return folded

    class Count:
        params, macs, uncounted = 80, 48, ()

    monkeypatch.setattr(worker, "fold_batch_norm", other)
    monkeypatch.setattr(worker, "cost", lambda *_, **__: Count)
    monkeypatch.setattr(worker.tflite, "export", refuse)
    monkeypatch.setattr(worker.tflite, "convert", refuse)
    row = row_of(tmp_path)
    faults = row["faults"]
    assert row["notes"] == []
    assert [fault.split(":")[0] for fault in faults] == ["cost", "fold_batch_norm", "float32 refused", "int8 refused"]
