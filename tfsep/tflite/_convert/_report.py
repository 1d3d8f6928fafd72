"""Report of a conversion: a record, JSON and the README of the folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfsep._utils.table import Table
from tfsep.tflite._benchmark import BenchmarkTable
from tfsep.tflite._convert._metadata import LABELS
from tfsep.tflite._export_report import ExportReport
from tfsep.tflite._targets import TargetsReport
from tfsep.tflite._tensor_info import TensorInfo
from tfsep.tflite._verify_report import VerifyReport


@dataclass(frozen=True)
class ConvertReport:
    """A folder that was written.

    Attributes:
        folder: where it is.
        files: names of the files in it.
        export: report of the export, with the verification.
        benchmark: the file's time and memory on this machine.
        targets: whether targets take the file; None where none was asked for.
        labels: labels of the classes; none where the output is no row of classes.
        described: whether the file has metadata in it.
        notes: remarks for the user, including the export's.
    """

    folder: Path
    files: tuple[str, ...]
    export: ExportReport
    benchmark: BenchmarkTable
    targets: TargetsReport | None
    labels: tuple[str, ...]
    described: bool
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all targets that were asked for take the file, but for documented leftovers."""
        return self.targets is None or self.targets.passed

    @property
    def complete(self) -> bool:
        """Whether all targets that were asked for take the whole file."""
        return self.targets is None or self.targets.complete

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON: the export's report and more."""
        return {
            **self.export.to_dict(),
            "notes": list(self.notes),
            "labels": len(self.labels) or None,
            "metadata": self.described,
            "benchmark": [{**r.to_dict(), "path": self.export.path.name} for r in self.benchmark.reports],
            "targets": {} if self.targets is None else self.targets.to_dict(),
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __str__(self) -> str:
        """Return the export, the times, the targets, and the list of files as text."""
        parts = [self.export.table().text(), self.benchmark.table().text()]
        parts += [] if self.targets is None else [str(self.targets)]
        parts += [f"note: {note}" for note in self.notes if note not in self.export.notes]
        return "\n\n".join([*parts, f"{self.folder}: {', '.join(self.files)}"])


def _channels(verified: VerifyReport) -> tuple[str, ...]:
    """The worst channels of the outputs, as Markdown."""
    figures = verified.channel_table().markdown()
    return ("The output channels that differ most from the model's, relative to their own deviation:", "", figures)


def readme(report: ConvertReport, snippets: dict[str, str], outputs: tuple[TensorInfo, ...]) -> str:
    """Return the README of a folder: its content, and how to call the file."""
    export = report.export
    tensors = Table(
        ("tensor", "type", "shape", "scale", "zero point"),
        [
            (
                f"{role} {i}, `{t.name}`",
                t.dtype,
                "×".join(map(str, t.shape)),
                *((f"{t.scale:.9g}", t.zero_point) if t.scale else ("", "")),
            )
            for role, infos in (("input", export.inputs), ("output", outputs))
            for i, t in enumerate(infos)
        ],
    )
    stem, verified = export.path.stem, export.verification
    lines = [
        f"# {export.path.name}",
        "",
        f"Recipe `{export.recipe}`, {export.size_bytes:,} bytes, made by tfsep {export.versions['tfsep']}.",
        f"`{stem}.json` says how it was verified, how fast it is, and which targets take it.",
        "",
        *(() if verified is None or not verified.channels.worst else (*_channels(verified), "")),
        tensors.markdown(),
        "",
        "A stored number q stands for `scale · (q - zero point)`; where there is no scale, for itself.",
        *(
            ("", f"`{LABELS}` has a line for each of the {len(report.labels)} classes, in the output's order.")
            if report.labels
            else ()
        ),
        "",
        f"`{stem}.h` is the file as an array for C and C++, for TensorFlow Lite Micro.",
    ]
    for language, code in snippets.items():
        lines += ["", f"## {language}", "", f"```{language.lower()}", code, "```"]
    if report.targets is not None:
        lines += ["", "## Targets", "", report.targets.table().markdown()]
        lines += ["", report.targets.findings().markdown()] if report.targets.findings().rows else []
    return "\n".join(lines) + "\n"
