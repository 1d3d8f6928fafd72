"""`prepare` takes networks of every kind as they are, and files compute what it does; a run of all writes a table."""

import time

import numpy as np
import pytest
from conftest import ROOT
from island_networks import APPLICATIONS, HANDWRITTEN, SHAPE
from quantize_networks import trained

from tfsep import quantize, tflite
from tfsep._utils.table import Table

NETWORKS = HANDWRITTEN | APPLICATIONS
QUICK = ("hard swish by operations", "super-resolution", "fine-tuned")
ROWS = []
HEADERS = (
    "network",
    "operations",
    "in float32",
    "kinds in float32",
    "MACs in int8",
    "elements",
    "differing",
    "seconds",
)


def swept(name, folder):
    """A row of the table: what is in int8, and how the file differs."""
    model = NETWORKS[name]()
    shape = SHAPE if name in HANDWRITTEN else model.input_shape[1:]
    count, high = (32, 1.0) if name in HANDWRITTEN else (4, 255.0)
    images = np.random.default_rng(0).uniform(0 if high > 1 else -1, high, (count, *shape)).astype("float32")
    trained(model, images)
    start = time.perf_counter()
    prepared = quantize.prepare(model)
    seconds = time.perf_counter() - start
    covered = quantize.coverage(prepared)
    quantize.observe(prepared, images, batch_size=16)
    found = tflite.export(prepared, folder / "m.tflite", "int8", data=images).verification
    kinds = ", ".join(sorted({row.kind for row in covered.islands}))
    share = "" if covered.share is None else f"{covered.share:.2%}"
    counts = len(covered.rows), len(covered.islands)
    return (name, *counts, kinds, share, found.elements, found.differing, round(seconds, 1)), covered, found


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_networks_are_taken_as_they_are(name, tmp_path):
    row, covered, found = swept(name, tmp_path)
    ROWS.append(row)
    assert found.differing in (0, None)
    if name in APPLICATIONS:
        assert covered.share > 0.99 or name.startswith("ConvNeXt")


@pytest.mark.slow
def test_the_table_of_the_sweep():
    """Of a run of all; where one was left out, the table stays as it is."""
    if len(ROWS) < len(NETWORKS):
        pytest.skip("not all networks were run")
    text = "# What of each network is in int8\n\nWritten by `tests/test_quantize_sweep.py`.\n\n"
    (ROOT / "benchmarks" / "quantize.md").write_text(text + Table(HEADERS, ROWS).markdown() + "\n")
