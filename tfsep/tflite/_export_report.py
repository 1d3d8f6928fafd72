"""Report of an export: a record, a table and JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, overload

from tfsep._utils.table import Table
from tfsep.tflite._tensor_info import TensorInfo
from tfsep.tflite._verify_report import VerifyReport

_Figure = TypeVar("_Figure")


class _Verified(Generic[_Figure]):
    """A figure of a report's verification, by its name there; None where nothing was verified."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, report: None, owner: type) -> Self: ...

    @overload
    def __get__(self, report: "ExportReport", owner: type) -> _Figure | None: ...

    def __get__(self, report: "ExportReport | None", owner: type) -> Self | _Figure | None:
        if report is None:
            return self
        return None if report.verification is None else getattr(report.verification, self._name)


@dataclass(frozen=True)
class ExportReport:
    """A file that was written, and its verification.

    Attributes:
        path: path of the file; the report is beside it as JSON.
        recipe: name of the recipe.
        size_bytes: size of the file in bytes.
        sha256: SHA-256 hash of the file.
        ops: number of operators of each name.
        delegated: number of operators of the main graph that XNNPACK, LiteRT's default on CPUs, takes.
        nodes: number of operators of the main graph; those in a loop's body are not counted.
        verification: the file beside the model, on `data`; None for a file that nothing in Python runs.
        data: source of the samples of the verification: ``"given"``, ``"calibration"`` or ``"random"``, seeded normal
            numbers.
        calibration: number of samples, of distinct ones, and their range; or None.
        inputs: inputs with type, shape, scale and zero point.
        outputs: outputs with type, shape, scale and zero point.
        notes: remarks for the user.
        versions: versions of the packages that made the file.
        preprocessing: how images are prepared for the model, in the form of JSON; None where that was not given.
        class_names: names of the classes; none where they were not given.
    """

    path: Path
    recipe: str
    size_bytes: int
    sha256: str
    ops: dict[str, int]
    delegated: int
    nodes: int
    verification: VerifyReport | None
    data: str | None
    calibration: dict[str, Any] | None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]
    preprocessing: dict[str, Any] | None = None
    class_names: tuple[str, ...] = ()

    max_error = _Verified[float]()
    """Largest absolute difference between the file and the model."""

    rms_error = _Verified[float]()
    """Relative RMS error of the file against the model."""

    top1_agreement = _Verified[float]()
    """Share of samples with the same class in both; None where the output is no row of classes."""

    accuracy = _Verified[float]()
    """Share of samples whose label the file predicts; None without labels."""

    model_accuracy = _Verified[float]()
    """Share of samples whose label the model predicts; None without labels."""

    samples = _Verified[int]()
    """Number of samples of the verification."""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON."""
        return {
            "file": self.path.name,
            "recipe": self.recipe,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "ops": self.ops,
            "delegated": self.delegated,
            "nodes": self.nodes,
            "verification": None if self.verification is None else {"data": self.data, **self.verification.to_dict()},
            "calibration": self.calibration,
            "inputs": [info._asdict() for info in self.inputs],
            "outputs": [info._asdict() for info in self.outputs],
            "preprocessing": self.preprocessing,
            "class_names": list(self.class_names),
            "notes": list(self.notes),
            "versions": self.versions,
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def table(self) -> Table:
        """Return a row for each measure."""
        rows = [
            ("file", str(self.path)),
            ("recipe", self.recipe),
            ("size", f"{self.size_bytes:,} bytes"),
            ("operators", ", ".join(f"{count} {name}" for name, count in self.ops.items())),
            ("delegated to XNNPACK", f"{self.delegated} of {self.nodes}"),
            *((f"input {i.name}", _described(i)) for i in self.inputs),
            *((f"output {o.name}", _described(o)) for o in self.outputs),
            ("verified on", "nothing" if self.verification is None else f"{self.data} data"),
            *(() if self.verification is None else self.verification.table().rows),
            *(("note", note) for note in self.notes),
        ]
        return Table(("measure", "value"), rows)

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def _described(info: TensorInfo) -> str:
    stored = f", scale {info.scale:.6g}, zero point {info.zero_point}" if info.scale else ""
    return f"{info.dtype} {'×'.join(map(str, info.shape))}{stored}"
