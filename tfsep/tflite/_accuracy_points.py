"""Accuracies from the JSON reports beside files, as points of a plot."""

import json
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from tfsep._utils.arguments import as_path
from tfsep.tflite._benchmark import BenchmarkTable


class Point(NamedTuple):
    """A file as a point of a plot.

    Attributes:
        name: name of the file, without its suffix; with its folder's, where several files have the same.
        accuracy: accuracy on the data of the verification.
        median_ms: median time of one run.
        size_bytes: size of the file in bytes.
    """

    name: str
    accuracy: float
    median_ms: float
    size_bytes: int


def files_of(path: str | PathLike[str]) -> list[Path]:
    """Return the ``.tflite`` files of a folder, by name, or the one file.

    Raises:
        TypeError: if it is no path.
        FileNotFoundError: for a folder without any.
    """
    path = as_path(path, "path")
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.tflite"))
    if not files:
        raise FileNotFoundError(f"path: expected .tflite files in a folder, got {path}, which has none")
    return files


def points_of(times: BenchmarkTable) -> list[Point]:
    """Return accuracies from the reports beside the files, with the times; one point per file, its fastest.

    Files without a report of an accuracy are left out.

    Raises:
        ValueError: if a report is damaged, or none has an accuracy.
    """
    best: dict[Path, Point] = {}
    stems = Counter(path.stem for path in {Path(report.path) for report in times.reports})
    for report in times.reports:
        path = Path(report.path)
        accuracy = _accuracy(path.with_suffix(".json"))
        if accuracy is None or (path in best and best[path].median_ms <= report.median_ms):
            continue
        name = path.stem if stems[path.stem] == 1 else f"{path.absolute().parent.name}/{path.stem}"
        best[path] = Point(name, accuracy, report.median_ms, path.stat().st_size)
    if not best:
        raise ValueError(
            "plot: expected reports with an accuracy beside the files, got none: export with labelled data"
        )
    return list(best.values())


def _accuracy(path: Path) -> float | None:
    if not path.is_file():
        return None
    try:
        accuracy = (json.loads(path.read_text(encoding="utf-8")).get("verification") or {}).get("accuracy")
        return None if accuracy is None else float(accuracy)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"plot: expected a report of an export, got {path}, which is damaged ({error})") from error
