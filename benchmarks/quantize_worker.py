"""One network of ``zoo``, prepared and exported as int8; see ``quantize.py``: ``quantize_worker.py NAME ROW.json``."""

import sys
import time
from pathlib import Path
from typing import Any

import network_worker
from zoo import QUANTIZED

from tfsep import quantize, tflite

LEAST_SHARE = 0.99
"""Of the multiply-accumulates of a network that is all convolutions and products with weights."""
OTHERWISE = (
    *("SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "Conv3D"),
    *("MultiHeadAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention", "EinsumDense", "Einsum"),
    *("Matmul", "Dot", "DeformableConv2D"),
)
"""Kinds without an integer kernel in LiteRT, of this rank, or for two tensors: their products may be in float32."""


class Run(network_worker.Run):
    """A network on its way, and its row."""

    def default(self) -> None:
        """The network with no settings."""
        start = time.perf_counter()
        prepared = quantize.prepare(self.model)
        self.row["prepare s"] = f"{time.perf_counter() - start:.1f}"
        covered = quantize.coverage(prepared, self.network.input_shape)
        self.cover(covered)
        found = self.file(prepared, "xnnpack").verification
        assert found is not None
        self.row |= {"elements": _counted(found.elements), "differing": _counted(found.differing)}
        self.row["edges"] = _counted(found.edges)
        if found.differing and found.unexplained != 0:
            self.faults.append(f"{found.differing:,} of {found.elements:,} elements differ")

    def cover(self, covered: quantize.Coverage) -> None:
        """What is in integers, and whether the products in float32 are of kinds that may be."""
        kinds = sorted({row.kind for row in covered.islands})
        self.row |= {"operations": len(covered.rows), "in float32": len(covered.islands)}
        self.row |= {"kinds in float32": ", ".join(kinds)}
        self.row["MACs in int8"] = "" if covered.share is None else f"{covered.share:.2%}"
        left = [row for row in covered.islands if row.macs and row.kind not in OTHERWISE]
        share = sum(row.macs or 0 for row in left) / (covered.macs or 1)
        if share > 1 - LEAST_SHARE:
            self.faults.append(f"{share:.2%} of the MACs in float32: {', '.join(row.name for row in left[:4])}")

    def reference(self) -> None:
        """The network in the kernels of microcontrollers."""
        prepared = quantize.prepare(self.model, runtime="reference")
        report = self.file(prepared, "reference")
        found = report.verification
        assert found is not None
        if found.elements is not None:
            edges = f", {found.edges:,} edges" if found.edges else ""
            self.row["reference"] = f"{found.differing:,} of {found.elements:,}{edges}"
        if "WHILE" in report.ops:
            self.row["TFLM"] = "not run"
            self.notes.append("TFLM: WHILE does not end there")
            return
        micro = tflite.check_targets(report.path, "tflm")["tflm"]
        if micro.facts:
            self.row["TFLM"] = str(micro.facts["elements_that_differ"])
        else:
            self.row["TFLM"] = "not run"
            self.notes.append(f"TFLM: {micro.findings[0].why}")

    def file(self, prepared: Any, name: str) -> tflite.ExportReport:
        """The verified int8 file of a prepared model, with ranges of data."""
        quantize.observe(prepared, self.calibration)
        return tflite.export(prepared, self.folder / f"{name}.tflite", "int8", data=self.data, **self.options)


def _counted(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def main() -> None:
    """Run one network."""
    run = Run(QUANTIZED[sys.argv[1]], Path(sys.argv[2]))
    run.step("prepare", run.default)
    run.step("reference", run.reference)


if __name__ == "__main__":
    main()
